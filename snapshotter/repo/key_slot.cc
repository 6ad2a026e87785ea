#include "snapshotter/repo/key_slot.h"

#include <argon2.h>
#include <mutex>
#include <openssl/crypto.h>
#include <utility>

#include "base/data/json.h"

namespace thinsnap::repo {
namespace {

constexpr std::string_view kKdf = "argon2id";
constexpr std::size_t kSaltBytes = 16;
constexpr std::uint32_t kMaxMemoryKib = 1024 * 1024;
constexpr std::uint32_t kMaxPasses = 64;
constexpr std::uint32_t kMaxLanes = 16;
constexpr std::size_t kWrappedBytes = 2 * Key::kBytes;

// What the wrapping is bound to.
std::string Binding(const RepositoryId& id, const std::string& slot, const KdfCost& cost,
                    std::uint32_t epoch) {
  return "thinsnap slot\n" + id.str() + "\n" + slot + "\n" + std::string(kKdf) + "\n" +
         std::to_string(cost.memory_kib) + "\n" + std::to_string(cost.passes) + "\n" +
         std::to_string(cost.lanes) + "\n" + std::to_string(epoch) + "\n";
}

// One at a time in the process: each takes tens of MiB for its moment.
Result<Key> Stretch(std::string_view text, ByteSpan salt, const KdfCost& cost) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  Key key;
  const int answer =
      argon2id_hash_raw(cost.passes, cost.memory_kib, cost.lanes, text.data(), text.size(),
                        salt.data(), salt.size(), key.mutable_bytes().data(), Key::kBytes);
  if (answer == ARGON2_MEMORY_ALLOCATION_ERROR) {
    return Error(Code::kResourceExhausted, "not enough memory for the key derivation: it needs " +
                                               std::to_string(cost.memory_kib) + " KiB");
  }
  if (answer != ARGON2_OK) {
    return Error(Code::kInvalidArgument,
                 std::string("the key derivation refused: ") + argon2_error_message(answer));
  }
  return key;
}

std::string_view WithoutLineEnd(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

Error Damaged(const std::string& slot, std::string_view what) {
  return Error(Code::kDataLoss, "key slot " + slot + " is damaged: " + std::string(what));
}

std::string MacText(const std::string& binding, const std::string& salt,
                    const std::string& wrapped) {
  return binding + salt + "\n" + wrapped + "\n";
}

}  // namespace

std::string SlotKey(const std::string& slot) { return "keys/" + slot; }

Result<std::string> WrapKeys(Random& random, const Keyring& keyring, const std::string& slot,
                             const Secret& passphrase, const KdfCost& cost) {
  const std::string_view text = WithoutLineEnd(passphrase.Reveal());
  if (text.empty()) return Error(Code::kInvalidArgument, "the passphrase is empty");
  Bytes salt(kSaltBytes);
  random.Fill(salt);
  const Key wrapping = TRY(Stretch(text, salt, cost));
  Bytes keys;
  Append(keys, keyring.master().bytes());
  Append(keys, keyring.fingerprint_key().bytes());
  Bytes wrapped(keys.size() + kTagBytes);
  const std::string binding = Binding(keyring.id(), slot, cost, keyring.epoch());
  RecordCipher(Suite::kSealed, wrapping).Seal(0, AsBytes(binding), keys, wrapped);
  OPENSSL_cleanse(keys.data(), keys.size());

  JsonObject json;
  json["kdf"] = kKdf;
  json["memoryKiB"] = cost.memory_kib;
  json["passes"] = cost.passes;
  json["lanes"] = cost.lanes;
  json["salt"] = Base64Encode(salt);
  json["epoch"] = keyring.epoch();
  json["wrapped"] = Base64Encode(wrapped);
  json["slots"] = JsonArray{Json(slot)};
  json["mac"] = Base64Encode(keyring.Authenticate(
      "slot", MacText(binding, Base64Encode(salt), Base64Encode(wrapped)) + slot + "\n"));
  return ToPrettyJson(json);
}

Result<Keyring> UnwrapKeys(const RepositoryId& id, const std::string& slot, std::string_view object,
                           const Secret& passphrase) {
  auto parsed = ParseJson(object);
  if (!parsed.ok()) return Damaged(slot, parsed.error().message());
  const Json& json = *parsed;
  if (const std::string kdf = StringAt(json, "kdf"); kdf != kKdf) {
    return Error(Code::kFailedPrecondition, "key slot " + slot + " uses the derivation \"" + kdf +
                                                "\"; this program knows argon2id");
  }
  const std::int64_t memory = IntAt(json, "memoryKiB");
  const std::int64_t passes = IntAt(json, "passes");
  const std::int64_t lanes = IntAt(json, "lanes");
  const std::int64_t epoch = IntAt(json, "epoch");
  if (memory < 8 * lanes || memory > kMaxMemoryKib || passes < 1 || passes > kMaxPasses ||
      lanes < 1 || lanes > kMaxLanes || epoch < 1 || epoch > UINT32_MAX) {
    return Damaged(slot,
                   "its cost is out of range: up to 1 GiB, 64 passes and 16 lanes are allowed");
  }
  const KdfCost cost{static_cast<std::uint32_t>(memory), static_cast<std::uint32_t>(passes),
                     static_cast<std::uint32_t>(lanes)};
  const auto salt = Base64Decode(StringAt(json, "salt"));
  const auto wrapped = Base64Decode(StringAt(json, "wrapped"));
  const auto mac = Base64Decode(StringAt(json, "mac"));
  if (!salt.ok() || salt->size() != kSaltBytes || !wrapped.ok() ||
      wrapped->size() != kWrappedBytes + kTagBytes || !mac.ok()) {
    return Damaged(slot, "salt, wrapped key or MAC has the wrong length");
  }
  Bytes keys(kWrappedBytes);
  const std::string binding = Binding(id, slot, cost, static_cast<std::uint32_t>(epoch));
  const auto opens = [&](std::string_view text) -> Result<bool> {
    const Key wrapping = TRY(Stretch(text, *salt, cost).In("key slot " + slot));
    return RecordCipher(Suite::kSealed, wrapping).Open(0, AsBytes(binding), *wrapped, keys);
  };
  const std::string_view given = passphrase.Reveal();
  const Secret bare{std::string(WithoutLineEnd(given))};
  const Secret as_once(given == bare.Reveal() ? std::string(given) + "\n" : std::string(given));
  if (!TRY(opens(bare.Reveal())) && !TRY(opens(as_once.Reveal()))) {
    return Error(Code::kUnauthenticated, "the passphrase does not open key slot " + slot +
                                             " (or the slot or repo.json is damaged)");
  }
  Keyring keyring(id, static_cast<std::uint32_t>(epoch), Key(ByteSpan(keys).first(Key::kBytes)),
                  Key(ByteSpan(keys).last(Key::kBytes)));
  OPENSSL_cleanse(keys.data(), keys.size());
  std::string slots;
  for (const Json& name : ArrayAt(json, "slots")) {
    if (name.is_string()) slots += std::string(name.get_string()) + "\n";
  }
  const auto expected = keyring.Authenticate(
      "slot", MacText(binding, StringAt(json, "salt"), StringAt(json, "wrapped")) + slots);
  if (!EqualInConstantTime(expected, *mac)) return Damaged(slot, "its MAC does not fit");
  return keyring;
}

}  // namespace thinsnap::repo
