#include "snapshotter/repo/keyring.h"

#include <utility>

#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {
namespace {

constexpr std::string_view kObjectMagic = "tsnobj01";
constexpr std::size_t kSaltBytes = 32;
// Magic, suite, epoch, salt.
constexpr std::size_t kObjectHead = 8 + 1 + 4 + kSaltBytes;
constexpr std::size_t kObjectMin = kObjectHead + kTagBytes + 4;

Key PlainKey(const RepositoryId& id, std::string_view label) {
  return DeriveKey(AsBytes(id.str()), AsBytes("thinsnap plain"), label);
}

Error Damaged(const std::string& name, std::string_view what) {
  return Error(Code::kDataLoss, "object " + name + " is damaged: " + std::string(what));
}

Bytes ObjectData(const RepositoryId& id, const std::string& name) {
  Bytes data(id.str().begin(), id.str().end());
  data.push_back(0);
  Append(data, AsBytes(name));
  return data;
}

}  // namespace

Bytes PackCipher::AdditionalData(SealKind kind, std::uint32_t offset, std::size_t length) const {
  Bytes data(repository_.begin(), repository_.end());
  data.push_back(0);
  data.push_back(static_cast<std::uint8_t>(kind));
  AppendLe(data, offset);
  AppendLe(data, static_cast<std::uint32_t>(length));
  return data;
}

void PackCipher::Seal(SealKind kind, std::uint32_t offset, ByteSpan bytes, MutableByteSpan out) {
  cipher_.Seal(offset, AdditionalData(kind, offset, out.size()), bytes, out);
}

bool PackCipher::Open(SealKind kind, std::uint32_t offset, ByteSpan sealed, MutableByteSpan out) {
  return cipher_.Open(offset, AdditionalData(kind, offset, sealed.size()), sealed, out);
}

Keyring::Keyring(RepositoryId id)
    : id_(std::move(id)),
      suite_(Suite::kPlain),
      epoch_(1),
      master_(PlainKey(id_, "master")),
      fingerprint_key_(PlainKey(id_, "fingerprint")) {}

Keyring::Keyring(RepositoryId id, std::uint32_t epoch, const Key& master,
                 const Key& fingerprint_key)
    : id_(std::move(id)),
      suite_(Suite::kSealed),
      epoch_(epoch),
      master_(master),
      fingerprint_key_(fingerprint_key) {}

Result<PackCipher> Keyring::ForPack(PackKind kind, const PackId& pack, std::uint32_t epoch) const {
  if (epoch != epoch_) {
    return Error(Code::kFailedPrecondition,
                 "pack " + pack.Hex() + " belongs to key epoch " + std::to_string(epoch) +
                     "; this program has the key of epoch " + std::to_string(epoch_));
  }
  const Key key = DeriveKey(master_.bytes(), pack.bytes,
                            kind == PackKind::kData ? "thinsnap data pack" : "thinsnap map pack");
  return PackCipher(id_.str(), kind, suite_, key);
}

Bytes Keyring::SealObject(Random& random, const std::string& name, ByteSpan payload) const {
  Bytes object(kObjectMagic.begin(), kObjectMagic.end());
  object.push_back(suite_ == Suite::kSealed ? 1 : 0);
  AppendLe(object, epoch_);
  object.resize(kObjectHead + payload.size() + kTagBytes);
  const MutableByteSpan salt =
      MutableByteSpan(object).subspan(kObjectHead - kSaltBytes, kSaltBytes);
  random.Fill(salt);
  RecordCipher cipher(suite_, DeriveKey(master_.bytes(), salt, "thinsnap object"));
  cipher.Seal(0, ObjectData(id_, name), payload, MutableByteSpan(object).subspan(kObjectHead));
  AppendLe(object, Crc32c(object));
  return object;
}

Status CheckObjectFrame(const std::string& name, ByteSpan object) {
  if (object.size() < kObjectMin) {
    return Damaged(name,
                   "it has " + std::to_string(object.size()) + " bytes, fewer than any object");
  }
  if (AsText(object.first(kObjectMagic.size())) != kObjectMagic) {
    return Damaged(name, "it does not start with tsnobj01");
  }
  const ByteSpan body = object.first(object.size() - 4);
  if (Crc32c(body) != LoadLe<std::uint32_t>(object.data() + body.size())) {
    return Damaged(name, "its checksum does not fit");
  }
  return {};
}

Result<Bytes> Keyring::OpenObject(const std::string& name, ByteSpan object) const {
  TRY(CheckObjectFrame(name, object));
  if (object[8] != (suite_ == Suite::kSealed ? 1 : 0)) {
    return Damaged(name, "it was written for the other suite");
  }
  const auto epoch = LoadLe<std::uint32_t>(object.data() + 9);
  if (epoch != epoch_) {
    return Error(Code::kFailedPrecondition, "object " + name + " belongs to key epoch " +
                                                std::to_string(epoch) + "; this program has " +
                                                std::to_string(epoch_));
  }
  const ByteSpan salt = object.subspan(kObjectHead - kSaltBytes, kSaltBytes);
  const ByteSpan sealed = object.subspan(kObjectHead, object.size() - kObjectHead - 4);
  RecordCipher cipher(suite_, DeriveKey(master_.bytes(), salt, "thinsnap object"));
  Bytes payload(sealed.size() - kTagBytes);
  if (!cipher.Open(0, ObjectData(id_, name), sealed, payload)) {
    return Damaged(name, "its seal does not open under this repository's key and its name");
  }
  return payload;
}

std::array<std::uint8_t, 32> Keyring::Authenticate(std::string_view purpose,
                                                   std::string_view text) const {
  const Key key = DeriveKey(master_.bytes(), AsBytes(purpose), "thinsnap authenticate");
  return HmacSha256(key.bytes(), AsBytes(text));
}

std::string Keyring::KeyedName(std::string_view purpose, std::string_view text) const {
  const Key key = DeriveKey(fingerprint_key_.bytes(), AsBytes(purpose), "thinsnap name");
  const auto mac = HmacSha256(key.bytes(), AsBytes(text));
  return HexEncode(ByteSpan(mac).first(16));
}

}  // namespace thinsnap::repo
