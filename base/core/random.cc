#include "base/core/random.h"

#include <cerrno>
#include <sys/random.h>

namespace thinsnap {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;

std::uint64_t SplitMix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

std::uint64_t Random::NextU64() {
  std::array<std::uint8_t, 8> bytes{};
  Fill(bytes);
  return LoadLe<std::uint64_t>(bytes.data());
}

std::uint64_t Random::Below(std::uint64_t bound) {
  ASSERT(bound > 0);
  // Values above the last whole multiple of bound would favour small results: draw again.
  const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % bound + 1) % bound;
  std::uint64_t value = NextU64();
  while (value > limit) value = NextU64();
  return value % bound;
}

std::string Random::NameSuffix(int n) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string text;
  for (int i = 0; i < n; ++i) text += kAlphabet[Below(kAlphabet.size())];
  return text;
}

std::string Random::Uuid() {
  std::array<std::uint8_t, 16> bytes{};
  Fill(bytes);
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string text = HexEncode(bytes);
  for (const std::size_t place : {20U, 16U, 12U, 8U}) text.insert(place, "-");
  return text;
}

void SystemRandom::Fill(MutableByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0) {
      ASSERT(errno == EINTR);
      continue;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

std::unique_ptr<Random> SystemRandom::Stream(std::string_view) const {
  return std::make_unique<SystemRandom>();
}

std::uint64_t MixedSeed(std::uint64_t seed, std::uint64_t salt) {
  return SplitMix(SplitMix(seed + kGolden) ^ (salt + kGolden));
}

SeededRandom::SeededRandom(std::uint64_t seed) : seed_(seed), state_{} {
  for (std::uint64_t& word : state_) {
    seed += kGolden;
    word = SplitMix(seed);
  }
}

std::unique_ptr<Random> SeededRandom::Stream(std::string_view name) const {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a: the same on every machine
  for (const char c : name) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return std::make_unique<SeededRandom>(MixedSeed(seed_, hash));
}

std::uint64_t SeededRandom::Step() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

void SeededRandom::Fill(MutableByteSpan bytes) {
  const std::lock_guard lock(mutex_);
  while (!bytes.empty()) {
    const std::uint64_t word = Step();
    const std::size_t n = std::min(bytes.size(), sizeof word);
    std::memcpy(bytes.data(), &word, n);
    bytes = bytes.subspan(n);
  }
}

}  // namespace thinsnap
