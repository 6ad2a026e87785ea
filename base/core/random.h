// Random: where chance comes from. The kernel's in production, a seeded stream in the simulator.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/core/bytes.h"

namespace thinsnap {

// Thread-safe. SystemRandom is fit for keys.
class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(MutableByteSpan bytes) = 0;
  // A source of its own for the part of this name: of a seeded one it depends on seed and name
  // alone, so that one more draw in one part never shifts what another part draws.
  virtual std::unique_ptr<Random> Stream(std::string_view name) const = 0;

  std::uint64_t NextU64();
  // Uniform in [0, bound); bound > 0.
  std::uint64_t Below(std::uint64_t bound);
  // n characters of Kubernetes' alphabet for generated names, bcdfghjklmnpqrstvwxz2456789.
  std::string NameSuffix(int n);
  // RFC 9562 version 4, lower case.
  std::string Uuid();
};

// Another seed for each salt.
std::uint64_t MixedSeed(std::uint64_t seed, std::uint64_t salt);

class SystemRandom final : public Random {
 public:
  void Fill(MutableByteSpan bytes) override;
  std::unique_ptr<Random> Stream(std::string_view name) const override;
};

// xoshiro256** seeded through splitmix64; the same seed gives the same stream on every machine. Not
// for keys.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed);
  void Fill(MutableByteSpan bytes) override;
  std::unique_ptr<Random> Stream(std::string_view name) const override;

 private:
  std::uint64_t Step();

  const std::uint64_t seed_;
  std::mutex mutex_;
  std::array<std::uint64_t, 4> state_;
};

}  // namespace thinsnap
