#include "snapshotter/repo/crypto.h"

#include <cstring>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <utility>

namespace thinsnap::repo {
namespace {

int Int(std::size_t size) {
  ASSERT(size <= 1U << 30);
  return static_cast<int>(size);
}

std::array<std::uint8_t, 12> Nonce(std::uint64_t nonce) {
  std::array<std::uint8_t, 12> bytes{};
  StoreLe(bytes.data(), nonce);
  return bytes;
}

// The state after the one block of key material that HMAC starts with.
EVP_MD_CTX* KeyedState(const Key& key, std::uint8_t pad) {
  std::array<std::uint8_t, 64> block{};
  std::memcpy(block.data(), key.bytes().data(), Key::kBytes);
  for (std::uint8_t& byte : block) byte = static_cast<std::uint8_t>(byte ^ pad);
  EVP_MD_CTX* state = EVP_MD_CTX_new();
  ASSERT(state != nullptr);
  ASSERT(EVP_DigestInit_ex(state, EVP_sha256(), nullptr) == 1);
  ASSERT(EVP_DigestUpdate(state, block.data(), block.size()) == 1);
  OPENSSL_cleanse(block.data(), block.size());
  return state;
}

}  // namespace

Key::Key(ByteSpan bytes) {
  ASSERT(bytes.size() == kBytes);
  std::memcpy(bytes_.data(), bytes.data(), kBytes);
}

Key::~Key() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

std::array<std::uint8_t, 32> Sha256(ByteSpan bytes) {
  std::array<std::uint8_t, 32> digest;
  ASSERT(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) ==
         1);
  return digest;
}

std::array<std::uint8_t, 32> HmacSha256(ByteSpan key, ByteSpan bytes) {
  static constexpr std::uint8_t kNothing = 0;
  std::array<std::uint8_t, 32> digest;
  const std::uint8_t* key_data = key.empty() ? &kNothing : key.data();
  const std::uint8_t* data = bytes.empty() ? &kNothing : bytes.data();
  ASSERT(HMAC(EVP_sha256(), key_data, Int(key.size()), data, bytes.size(), digest.data(),
              nullptr) != nullptr);
  return digest;
}

Key DeriveKey(ByteSpan secret, ByteSpan salt, std::string_view info) {
  auto extracted = HmacSha256(salt, secret);
  Bytes block(info.begin(), info.end());
  block.push_back(1);
  auto expanded = HmacSha256(extracted, block);
  Key key(expanded);
  OPENSSL_cleanse(extracted.data(), extracted.size());
  OPENSSL_cleanse(expanded.data(), expanded.size());
  return key;
}

bool EqualInConstantTime(ByteSpan a, ByteSpan b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

RecordCipher::RecordCipher(Suite suite, const Key& key) : suite_(suite), key_(key) {
  if (suite_ == Suite::kPlain) {
    digest_ = EVP_MD_CTX_new();
    ASSERT(digest_ != nullptr);
  }
}

RecordCipher::~RecordCipher() {
  EVP_CIPHER_CTX_free(seal_);
  EVP_CIPHER_CTX_free(open_);
  EVP_MD_CTX_free(digest_);
}

RecordCipher::RecordCipher(RecordCipher&& other) noexcept
    : suite_(other.suite_),
      key_(other.key_),
      seal_(std::exchange(other.seal_, nullptr)),
      open_(std::exchange(other.open_, nullptr)),
      digest_(std::exchange(other.digest_, nullptr)) {}

RecordCipher& RecordCipher::operator=(RecordCipher&& other) noexcept {
  std::swap(suite_, other.suite_);
  std::swap(key_, other.key_);
  std::swap(seal_, other.seal_);
  std::swap(open_, other.open_);
  std::swap(digest_, other.digest_);
  return *this;
}

void RecordCipher::Checksum(std::uint64_t nonce, ByteSpan aad, ByteSpan bytes, std::uint8_t* tag) {
  std::array<std::uint8_t, 16> head;
  StoreLe(head.data(), nonce);
  StoreLe(head.data() + 8, std::uint64_t{aad.size()});
  std::array<std::uint8_t, 32> digest;
  ASSERT(EVP_DigestInit_ex(digest_, EVP_sha256(), nullptr) == 1);
  ASSERT(EVP_DigestUpdate(digest_, key_.bytes().data(), Key::kBytes) == 1);
  ASSERT(EVP_DigestUpdate(digest_, head.data(), head.size()) == 1);
  ASSERT(EVP_DigestUpdate(digest_, aad.data(), aad.size()) == 1);
  ASSERT(EVP_DigestUpdate(digest_, bytes.data(), bytes.size()) == 1);
  ASSERT(EVP_DigestFinal_ex(digest_, digest.data(), nullptr) == 1);
  std::memcpy(tag, digest.data(), kTagBytes);
}

void RecordCipher::Seal(std::uint64_t nonce, ByteSpan aad, ByteSpan bytes, MutableByteSpan out) {
  ASSERT(out.size() == bytes.size() + kTagBytes);
  if (suite_ == Suite::kPlain) {
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    Checksum(nonce, aad, bytes, out.data() + bytes.size());
    return;
  }
  const auto iv = Nonce(nonce);
  if (seal_ == nullptr) {
    seal_ = EVP_CIPHER_CTX_new();
    ASSERT(seal_ != nullptr);
    ASSERT(EVP_EncryptInit_ex(seal_, EVP_aes_256_gcm(), nullptr, key_.bytes().data(), nullptr) ==
           1);
  }
  int written = 0;
  ASSERT(EVP_EncryptInit_ex(seal_, nullptr, nullptr, nullptr, iv.data()) == 1);
  ASSERT(EVP_EncryptUpdate(seal_, nullptr, &written, aad.data(), Int(aad.size())) == 1);
  if (!bytes.empty()) {
    ASSERT(EVP_EncryptUpdate(seal_, out.data(), &written, bytes.data(), Int(bytes.size())) == 1);
  }
  std::uint8_t* tag = out.data() + bytes.size();
  ASSERT(EVP_EncryptFinal_ex(seal_, tag, &written) == 1);
  ASSERT(EVP_CIPHER_CTX_ctrl(seal_, EVP_CTRL_GCM_GET_TAG, kTagBytes, tag) == 1);
}

bool RecordCipher::Open(std::uint64_t nonce, ByteSpan aad, ByteSpan sealed, MutableByteSpan out) {
  if (sealed.size() < kTagBytes) return false;
  const ByteSpan body = sealed.first(sealed.size() - kTagBytes);
  const ByteSpan tag = sealed.last(kTagBytes);
  ASSERT(out.size() == body.size());
  if (suite_ == Suite::kPlain) {
    std::array<std::uint8_t, kTagBytes> expected;
    Checksum(nonce, aad, body, expected.data());
    if (!EqualInConstantTime(expected, tag)) return false;
    if (!body.empty()) std::memcpy(out.data(), body.data(), body.size());
    return true;
  }
  const auto iv = Nonce(nonce);
  if (open_ == nullptr) {
    open_ = EVP_CIPHER_CTX_new();
    ASSERT(open_ != nullptr);
    ASSERT(EVP_DecryptInit_ex(open_, EVP_aes_256_gcm(), nullptr, key_.bytes().data(), nullptr) ==
           1);
  }
  int written = 0;
  std::array<std::uint8_t, kTagBytes> tag_copy;
  std::memcpy(tag_copy.data(), tag.data(), kTagBytes);
  ASSERT(EVP_DecryptInit_ex(open_, nullptr, nullptr, nullptr, iv.data()) == 1);
  ASSERT(EVP_DecryptUpdate(open_, nullptr, &written, aad.data(), Int(aad.size())) == 1);
  if (!body.empty()) {
    ASSERT(EVP_DecryptUpdate(open_, out.data(), &written, body.data(), Int(body.size())) == 1);
  }
  ASSERT(EVP_CIPHER_CTX_ctrl(open_, EVP_CTRL_GCM_SET_TAG, kTagBytes, tag_copy.data()) == 1);
  std::array<std::uint8_t, 16> rest;
  return EVP_DecryptFinal_ex(open_, rest.data(), &written) == 1;
}

Fingerprinter::Fingerprinter(const Key& key)
    : inner_(KeyedState(key, 0x36)), outer_(KeyedState(key, 0x5c)), work_(EVP_MD_CTX_new()) {
  ASSERT(work_ != nullptr);
}

Fingerprinter::~Fingerprinter() {
  EVP_MD_CTX_free(inner_);
  EVP_MD_CTX_free(outer_);
  EVP_MD_CTX_free(work_);
}

Fingerprint Fingerprinter::Of(ByteSpan block) {
  std::array<std::uint8_t, 32> digest;
  ASSERT(EVP_MD_CTX_copy_ex(work_, inner_) == 1);
  ASSERT(EVP_DigestUpdate(work_, block.data(), block.size()) == 1);
  ASSERT(EVP_DigestFinal_ex(work_, digest.data(), nullptr) == 1);
  ASSERT(EVP_MD_CTX_copy_ex(work_, outer_) == 1);
  ASSERT(EVP_DigestUpdate(work_, digest.data(), digest.size()) == 1);
  ASSERT(EVP_DigestFinal_ex(work_, digest.data(), nullptr) == 1);
  Fingerprint fingerprint;
  std::memcpy(fingerprint.data(), digest.data(), fingerprint.size());
  return fingerprint;
}

}  // namespace thinsnap::repo
