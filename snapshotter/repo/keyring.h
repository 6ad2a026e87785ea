// Keyring: every key of a repository, and what they are used for. In the suite plain the keys
// follow from the public id, so that both suites have one layout and one code path; what they give
// there is a checksum and no secret.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/random.h"
#include "base/core/result.h"
#include "snapshotter/repo/crypto.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::repo {

// What a record's additional data says of it.
enum class SealKind : std::uint8_t { kDataRecord = 1, kMapRecord = 2, kTrailer = 3 };

// Seals and opens the records of one pack. Not thread-safe.
class PackCipher {
 public:
  PackCipher(std::string repository, PackKind kind, Suite suite, const Key& key)
      : repository_(std::move(repository)), kind_(kind), cipher_(suite, key) {}

  PackKind kind() const { return kind_; }
  void Seal(SealKind kind, std::uint32_t offset, ByteSpan bytes, MutableByteSpan out);
  [[nodiscard]] bool Open(SealKind kind, std::uint32_t offset, ByteSpan sealed,
                          MutableByteSpan out);

 private:
  Bytes AdditionalData(SealKind kind, std::uint32_t offset, std::size_t length) const;

  std::string repository_;
  PackKind kind_;
  RecordCipher cipher_;
};

// Immutable and thread-safe.
class Keyring {
 public:
  // The keys of a plain repository.
  explicit Keyring(RepositoryId id);
  Keyring(RepositoryId id, std::uint32_t epoch, const Key& master, const Key& fingerprint_key);

  const RepositoryId& id() const { return id_; }
  Suite suite() const { return suite_; }
  std::uint32_t epoch() const { return epoch_; }
  const Key& fingerprint_key() const { return fingerprint_key_; }
  const Key& master() const { return master_; }

  // kFailedPrecondition for an epoch that this ring does not have.
  Result<PackCipher> ForPack(PackKind kind, const PackId& pack, std::uint32_t epoch) const;

  // Objects outside packs: a salt of their own at the head, bound to their full name, a CRC-32C in
  // clear at the end.
  Bytes SealObject(Random& random, const std::string& name, ByteSpan payload) const;
  // kDataLoss names the object and what is wrong with it.
  Result<Bytes> OpenObject(const std::string& name, ByteSpan object) const;

  // 32 hex digits that say nothing of `text` to who lacks the key.
  std::string KeyedName(std::string_view purpose, std::string_view text) const;
  // HMAC for what stands in clear and must be believed (repo.json, slots).
  std::array<std::uint8_t, 32> Authenticate(std::string_view purpose, std::string_view text) const;

 private:
  RepositoryId id_;
  Suite suite_;
  std::uint32_t epoch_;
  Key master_;
  Key fingerprint_key_;
};

// The checks of a sealed object's frame that need no key: magic, version, length, CRC. kDataLoss.
Status CheckObjectFrame(const std::string& name, ByteSpan object);

}  // namespace thinsnap::repo
