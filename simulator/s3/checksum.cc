#include "simulator/s3/checksum.h"

#include <array>
#include <openssl/evp.h>

namespace thinsnap::s3 {
namespace {

class DigestChecksum final : public Checksum {
 public:
  explicit DigestChecksum(const EVP_MD* digest) : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    ASSERT(EVP_DigestInit_ex(context_.get(), digest, nullptr) == 1);
  }
  void Add(ByteSpan bytes) override {
    ASSERT(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  Bytes Finish() override {
    Bytes out(EVP_MAX_MD_SIZE);
    unsigned size = 0;
    ASSERT(EVP_DigestFinal_ex(context_.get(), out.data(), &size) == 1);
    out.resize(size);
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// A reflected CRC with all bits set before and after.
template <typename T, T kPolynomial>
class CrcChecksum final : public Checksum {
 public:
  void Add(ByteSpan bytes) override {
    static const std::array<T, 256> kTable = [] {
      std::array<T, 256> table;
      for (unsigned i = 0; i < 256; ++i) {
        T value = i;
        for (int bit = 0; bit < 8; ++bit)
          value = (value & 1) != 0 ? value >> 1 ^ kPolynomial : value >> 1;
        table[i] = value;
      }
      return table;
    }();
    for (const std::uint8_t byte : bytes) value_ = value_ >> 8 ^ kTable[(value_ ^ byte) & 0xff];
  }
  Bytes Finish() override {
    const T value = ~value_;
    Bytes out;
    for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
      out.push_back(static_cast<std::uint8_t>(value >> shift));
    }
    return out;
  }

 private:
  T value_ = static_cast<T>(~T{0});
};

}  // namespace

std::unique_ptr<Checksum> MakeChecksum(std::string_view name) {
  if (name == "md5") return std::make_unique<DigestChecksum>(EVP_md5());
  if (name == "sha1") return std::make_unique<DigestChecksum>(EVP_sha1());
  if (name == "sha256") return std::make_unique<DigestChecksum>(EVP_sha256());
  if (name == "crc32") return std::make_unique<CrcChecksum<std::uint32_t, 0xedb88320U>>();
  if (name == "crc32c") return std::make_unique<CrcChecksum<std::uint32_t, 0x82f63b78U>>();
  if (name == "crc64nvme")
    return std::make_unique<CrcChecksum<std::uint64_t, 0x9a6c9329ac4bc9b5ULL>>();
  return nullptr;
}

}  // namespace thinsnap::s3
