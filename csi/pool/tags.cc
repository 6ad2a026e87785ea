#include "csi/pool/tags.h"

#include <algorithm>
#include <charconv>

namespace thinsnap::tags {

std::string Get(const pool::Tags& tags, const std::string& key) {
  const auto found = tags.find(key);
  return found == tags.end() ? "" : found->second;
}

bool Has(const pool::Tags& tags, const std::string& key) { return !Get(tags, key).empty(); }

std::uint64_t GetBytes(const pool::Tags& tags, const std::string& key, std::uint64_t otherwise) {
  const std::string text = Get(tags, key);
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  return error == std::errc() && end == text.data() + text.size() ? bytes : otherwise;
}

std::vector<std::string> SplitList(const std::string& list) {
  std::vector<std::string> items;
  std::string item;
  for (const char c : list + ",") {
    if (c == ',') {
      if (!item.empty()) items.push_back(std::move(item));
      item.clear();
    } else if (c != ' ') {
      item += c;
    }
  }
  return items;
}

std::string JoinList(const std::vector<std::string>& items) {
  std::string list;
  for (const std::string& item : items) list += (list.empty() ? "" : ",") + item;
  return list;
}

std::vector<std::string> RepositoriesOf(const pool::SnapshotInfo& snapshot) {
  return SplitList(Get(snapshot.tags, kRepositories));
}

std::string PointIn(const pool::SnapshotInfo& snapshot, const std::string& repository) {
  return Get(snapshot.tags, kPointPrefix + repository);
}

bool IsExported(const pool::SnapshotInfo& snapshot) {
  const auto repositories = RepositoriesOf(snapshot);
  return std::all_of(repositories.begin(), repositories.end(),
                     [&](const std::string& id) { return !PointIn(snapshot, id).empty(); });
}

}  // namespace thinsnap::tags
