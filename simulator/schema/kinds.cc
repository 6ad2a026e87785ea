#include "simulator/schema/kinds.h"

#include <algorithm>
#include <tuple>

namespace thinsnap::schema {

const KindVersion* Kind::FindVersion(std::string_view version) const {
  for (const auto& candidate : versions) {
    if (candidate.version == version) return &candidate;
  }
  return nullptr;
}

const Subresource* Kind::FindSubresource(const KindVersion& version, std::string_view name) const {
  for (const auto& candidate : version.subresources) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

std::string Kind::api_version(std::string_view version) const {
  return group.empty() ? std::string(version) : group + "/" + std::string(version);
}

std::string Kind::group_resource() const {
  return group.empty() ? resource : resource + "." + group;
}

KindTable::KindTable() : kinds_(BuiltinKinds()) {}

KindRef KindTable::Find(std::string_view group, std::string_view version,
                        std::string_view resource) const {
  std::lock_guard lock(mutex_);
  for (const auto& kind : kinds_) {
    if (kind->group == group && kind->resource == resource && kind->FindVersion(version) != nullptr)
      return kind;
  }
  return nullptr;
}

KindRef KindTable::FindKind(std::string_view group, std::string_view version,
                            std::string_view name) const {
  std::lock_guard lock(mutex_);
  for (const auto& kind : kinds_) {
    if (kind->group == group && kind->kind == name && kind->FindVersion(version) != nullptr)
      return kind;
  }
  return nullptr;
}

KindRef KindTable::FindResource(std::string_view group, std::string_view resource) const {
  std::lock_guard lock(mutex_);
  for (const auto& kind : kinds_) {
    if (kind->group == group && kind->resource == resource) return kind;
  }
  return nullptr;
}

std::vector<KindRef> KindTable::All() const {
  std::lock_guard lock(mutex_);
  return kinds_;
}

std::vector<Group> KindTable::Groups() const {
  std::lock_guard lock(mutex_);
  std::vector<Group> groups;
  for (const auto& kind : kinds_) {
    auto group = std::find_if(groups.begin(), groups.end(), [&kind](const Group& candidate) {
      return candidate.name == kind->group;
    });
    if (group == groups.end()) group = groups.insert(groups.end(), Group{kind->group, {}});
    for (const auto& version : kind->versions) {
      auto& names = group->versions;
      if (std::find(names.begin(), names.end(), version.version) == names.end())
        names.push_back(version.version);
    }
  }
  return groups;
}

std::uint64_t KindTable::generation() const {
  std::lock_guard lock(mutex_);
  return generation_;
}

void KindTable::Add(KindRef kind) {
  std::lock_guard lock(mutex_);
  ++generation_;
  for (auto& existing : kinds_) {
    if (existing->group == kind->group && existing->resource == kind->resource) {
      existing = std::move(kind);
      return;
    }
  }
  // Custom kinds come after the built-in ones, sorted.
  const auto place = std::find_if(kinds_.begin(), kinds_.end(), [&kind](const KindRef& other) {
    return other->custom &&
           std::tie(other->group, other->resource) > std::tie(kind->group, kind->resource);
  });
  kinds_.insert(place, std::move(kind));
}

void KindTable::Remove(std::string_view group, std::string_view resource) {
  std::lock_guard lock(mutex_);
  const auto removed = std::erase_if(kinds_, [&](const KindRef& kind) {
    return kind->custom && kind->group == group && kind->resource == resource;
  });
  if (removed != 0) ++generation_;
}

}  // namespace thinsnap::schema
