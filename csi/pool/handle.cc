#include "csi/pool/handle.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/core/id.h"

namespace thinsnap::pool {
namespace {

constexpr std::string_view kVersion = "ts1", kGroupVersion = "tg1";
constexpr std::size_t kLongest = 110;
constexpr std::size_t kPoolIdLength = 13;
constexpr std::size_t kLongestRepositoryId = 40;

bool IsLowerAlphanumeric(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

// The parts behind the version, or nullopt.
std::optional<std::vector<std::string>> Parts(std::string_view text,
                                              std::string_view version = kVersion) {
  if (text.size() > kLongest) return std::nullopt;
  std::vector<std::string> parts;
  for (;;) {
    const auto dot = text.find('.');
    parts.emplace_back(text.substr(0, dot));
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  if (parts.size() < 3 || parts[0] != version) return std::nullopt;
  parts.erase(parts.begin());
  if (parts[0].size() != kPoolIdLength || !IsLowerAlphanumeric(parts[0])) return std::nullopt;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (!IsUlid(parts[i])) return std::nullopt;
  }
  return parts;
}

}  // namespace

std::string VolumeHandle::ToString() const {
  return std::string(kVersion) + "." + pool.str() + "." + volume.str();
}

Result<VolumeHandle> VolumeHandle::Parse(std::string_view text) {
  const auto parts = Parts(text);
  if (!parts || parts->size() != 2) {
    return Error(Code::kNotFound, "there is no volume \"" + std::string(text) + "\"");
  }
  return VolumeHandle{PoolId((*parts)[0]), VolumeId((*parts)[1])};
}

std::string SnapshotHandle::ToString() const {
  std::string text = volume_handle().ToString() + "." + snapshot.str();
  if (!repository.empty()) text += "@" + repository;
  return text;
}

Result<SnapshotHandle> SnapshotHandle::Parse(std::string_view text) {
  const auto at = text.find('@');
  const auto parts = Parts(text.substr(0, at));
  std::string_view repository;
  bool good = parts && parts->size() == 3 && text.size() <= kLongest;
  if (at != std::string_view::npos) {
    repository = text.substr(at + 1);
    good = good && !repository.empty() && repository.size() <= kLongestRepositoryId &&
           IsLowerAlphanumeric(repository);
  }
  if (!good) return Error(Code::kNotFound, "there is no snapshot \"" + std::string(text) + "\"");
  return SnapshotHandle{PoolId((*parts)[0]), VolumeId((*parts)[1]), SnapshotId((*parts)[2]),
                        std::string(repository)};
}

std::string GroupHandle::ToString() const {
  return std::string(kGroupVersion) + "." + pool.str() + "." + group.str();
}

Result<GroupHandle> GroupHandle::Parse(std::string_view text) {
  const auto parts = Parts(text, kGroupVersion);
  if (!parts || parts->size() != 2) {
    return Error(Code::kNotFound, "there is no group snapshot \"" + std::string(text) + "\"");
  }
  return GroupHandle{PoolId((*parts)[0]), GroupId((*parts)[1])};
}

}  // namespace thinsnap::pool
