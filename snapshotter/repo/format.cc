#include "snapshotter/repo/format.h"

#include <algorithm>

namespace thinsnap::repo {

std::string PackPrefix(PackKind kind) {
  return kind == PackKind::kData ? "packs/data/" : "packs/map/";
}

std::string PackKey(PackKind kind, const PackId& id) {
  const std::string hex = id.Hex();
  return PackPrefix(kind) + hex.substr(0, 2) + "/" + hex;
}

bool ParsePackKey(const std::string& key, PackKind& kind, PackId& id) {
  for (const PackKind candidate : {PackKind::kData, PackKind::kMap}) {
    const std::string prefix = PackPrefix(candidate);
    if (!key.starts_with(prefix) || key.size() != prefix.size() + 3 + 32) continue;
    const auto bytes = HexDecode(std::string_view(key).substr(prefix.size() + 3));
    if (!bytes.ok() || bytes->size() != id.bytes.size()) return false;
    std::copy(bytes->begin(), bytes->end(), id.bytes.begin());
    kind = candidate;
    return PackKey(kind, id) == key;
  }
  return false;
}

}  // namespace thinsnap::repo
