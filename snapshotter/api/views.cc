#include "snapshotter/api/views.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/core/bytes.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"

namespace thinsnap::backup {

namespace {

constexpr int kMaxAttempts = 20;
constexpr std::size_t kMaxViewBytes = 4 << 20;

ByteSpan AsBytes(const std::string& text) {
  return ByteSpan(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

Result<Json> ParseView(const Bytes& bytes, const std::string& key) {
  if (bytes.size() > kMaxViewBytes) {
    return Error(Code::kInvalidArgument,
                 key + " has " + FormatSize(bytes.size()) + "; at most 4 MiB are read");
  }
  auto parsed =
      ParseYaml(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  if (!parsed.ok()) return std::move(parsed).error().In(key);
  if (!parsed->is_object()) return Error(Code::kInvalidArgument, key + " holds no YAML object");
  return parsed;
}

// The domain that a view was written under: "storage.kubestash.com/v1alpha1" -> "kubestash.com".
std::string DomainOf(const Json& view) {
  const auto api_version = StringAt(view, "apiVersion");
  const auto dot = api_version.find('.');
  const auto slash = api_version.find('/');
  if (dot == std::string::npos || slash == std::string::npos || slash < dot) return "";
  return api_version.substr(dot + 1, slash - dot - 1);
}

// Keys of labels and annotations from one domain to the other.
void CopyKeys(const Json& view, const char* member, Json& to, const std::string& from,
              const std::string& domain) {
  const auto* source = FindObject(view, std::string("metadata.") + member);
  if (source == nullptr) return;
  JsonObject copy;
  for (const auto& [key, value] : *source) {
    if (!value.is_string()) continue;
    std::string name(key);
    if (name == "kubectl.kubernetes.io/last-applied-configuration") continue;
    if (!from.empty() && name.starts_with(from + "/")) name = domain + name.substr(from.size());
    copy[name] = value;
  }
  if (!copy.empty()) Set(to, std::string("metadata.") + member, std::move(copy));
}

Result<Json> Import(const Json& view, const kube::ResourceType& type, const Kinds& kinds,
                    const kube::ObjectKey& key) {
  const auto domain = DomainOf(view);
  if (StringAt(view, "kind") != type.kind ||
      (domain != kinds.domain && domain != "kubestash.com" && domain != "thinsnap.io")) {
    return Error(Code::kInvalidArgument, "found apiVersion " + StringAt(view, "apiVersion") +
                                             ", kind " + StringAt(view, "kind") +
                                             "; accepted is a " + type.kind + " of " +
                                             type.api_version());
  }
  auto object = kube::NewObject(type, key);
  CopyKeys(view, "labels", object, domain, kinds.domain);
  CopyKeys(view, "annotations", object, domain, kinds.domain);
  for (const char* part : {"spec", "status"}) {
    if (const auto* value = FindObject(view, part)) object.as_object()[part] = *value;
  }
  kube::AddFinalizer(object, kinds.finalizer);
  return object;
}

// Adds the repositories whose folder has a repo.json, by the names that their repository.yaml has.
// One that does not say which cluster owns it is somebody else's until it is adopted.
Status AddRepositoriesOf(store::ObjectStore& store, Json& metadata) {
  constexpr std::string_view kHeader = "/repo.json";
  std::vector<std::string> folders;
  TRY(store::ListAll(store, "", [&](const store::ObjectInfo& info) -> Status {
    if (info.key.ends_with(kHeader))
      folders.push_back(info.key.substr(0, info.key.size() - kHeader.size()));
    return {};
  }));
  for (const auto& folder : folders) {
    const auto view = ReadView(store, folder + "/" + kRepositoryKey);
    if (view.Is(Code::kNotFound) || view.Is(Code::kInvalidArgument)) continue;
    if (!view.ok()) return view.error();
    RepositoryEntry entry;
    entry.name = StringAt(*view, "metadata.name");
    entry.ns = StringAt(*view, "metadata.namespace");
    entry.path = "/" + folder;
    entry.size = StringAt(*view, "status.size", "0 B");
    entry.id = StringAt(*view, "status.repositoryID");
    entry.cluster = StringIn(*view, "metadata.annotations", DomainOf(*view) + "/cluster");
    if (entry.cluster.empty()) entry.cluster = "unknown";
    if (StringAt(*view, "kind") == "Repository" && !entry.name.empty() && !entry.ns.empty())
      PutEntry(metadata, entry);
  }
  return {};
}

}  // namespace

Json NewMetadata(const std::string& domain, const std::string& created) {
  return JsonObject{{"apiVersion", "config." + domain + "/v1alpha1"},
                    {"kind", "BackendMeta"},
                    {"creationTimestamp", created},
                    {"operatorVersion", THINSNAP_VERSION},
                    {"repositories", JsonArray()}};
}

std::vector<RepositoryEntry> RepositoriesOf(const Json& metadata) {
  std::vector<RepositoryEntry> entries;
  for (const auto& item : ArrayAt(metadata, "repositories")) {
    RepositoryEntry entry{StringAt(item, "name"), StringAt(item, "namespace"),
                          StringAt(item, "path"), StringAt(item, "size"),
                          StringAt(item, "id"),   StringAt(item, "cluster")};
    if (!entry.name.empty() && !entry.ns.empty() && !entry.path.empty())
      entries.push_back(std::move(entry));
  }
  return entries;
}

bool PutEntry(Json& metadata, const RepositoryEntry& entry) {
  JsonObject item{{"name", entry.name},      {"namespace", entry.ns}, {"path", entry.path},
                  {"size", entry.size},      {"synced", true},        {"id", entry.id},
                  {"cluster", entry.cluster}};
  if (FindArray(metadata, "repositories") == nullptr) Set(metadata, "repositories", JsonArray());
  auto& items = metadata.as_object()["repositories"].as_array();
  for (auto& existing : items) {
    if (StringAt(existing, "name") != entry.name || StringAt(existing, "namespace") != entry.ns)
      continue;
    if (existing == Json(item)) return false;
    existing = std::move(item);
    return true;
  }
  items.push_back(std::move(item));
  return true;
}

bool RemoveEntry(Json& metadata, const std::string& ns, const std::string& name) {
  if (FindArray(metadata, "repositories") == nullptr) return false;
  auto& items = metadata.as_object()["repositories"].as_array();
  for (auto it = items.begin(); it != items.end(); ++it) {
    if (StringAt(*it, "name") != name || StringAt(*it, "namespace") != ns) continue;
    items.erase(it);
    return true;
  }
  return false;
}

Result<Metadata> ReadMetadata(store::ObjectStore& store) {
  auto object = TRY(store.Get(kMetadataKey));
  auto parsed = ParseView(object.bytes, kMetadataKey);
  if (!parsed.ok()) return Error(Code::kDataLoss, parsed.error().message());
  Json content = std::move(*parsed);
  if (StringAt(content, "kind") != "BackendMeta") {
    return Error(Code::kInvalidArgument, std::string(kMetadataKey) + " has kind \"" +
                                             StringAt(content, "kind") +
                                             "\"; accepted is BackendMeta");
  }
  return Metadata{std::move(content), object.info.etag};
}

Status ChangeMetadata(store::ObjectStore& store,
                      const std::function<bool(Json& metadata)>& change) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    auto metadata = TRY(ReadMetadata(store));
    if (!change(metadata.content)) return {};
    store::PutCondition condition;
    condition.if_match = metadata.etag;
    const auto put = store.Put(kMetadataKey, AsBytes(ToYaml(metadata.content)), condition);
    if (put.ok()) return {};
    // Another writer was faster, or our own answer was lost: reading again tells.
    if (!put.Is(Code::kFailedPrecondition) && !put.Is(Code::kUnknownOutcome) &&
        !put.Is(Code::kAborted)) {
      return put.error().In(std::string("writing ") + kMetadataKey);
    }
  }
  return Error(Code::kAborted,
               std::string(kMetadataKey) + " is being written by others all the time");
}

Status InitMetadata(store::ObjectStore& store, const std::string& domain,
                    const std::string& created) {
  const auto existing = ReadMetadata(store);
  if (existing.ok()) return {};
  if (!existing.Is(Code::kNotFound) && !existing.Is(Code::kDataLoss)) return existing.error();
  store::PutCondition condition;
  condition.if_absent = existing.Is(Code::kNotFound);
  if (!condition.if_absent) {
    const auto damaged = TRY(store.Get(kMetadataKey));
    TRY(store.Put(kDamagedMetadataKey, damaged.bytes));
    condition.if_match = damaged.info.etag;
  }
  Json metadata = NewMetadata(domain, created);
  TRY(AddRepositoriesOf(store, metadata));
  const auto put = store.Put(kMetadataKey, AsBytes(ToYaml(metadata)), condition);
  if (put.ok() || put.Is(Code::kFailedPrecondition)) return {};
  if (put.Is(Code::kUnknownOutcome)) {
    TRY(ReadMetadata(store));
    return {};
  }
  return put.error().In(std::string("writing ") + kMetadataKey);
}

std::string ViewOf(const Json& object) {
  Json view = object;
  Remove(view, "metadata.managedFields");
  Remove(view, "metadata.selfLink");
  return ToYaml(view);
}

Status PutText(store::ObjectStore& store, const std::string& key, const std::string& text) {
  TRY(store.Put(key, AsBytes(text)));
  return {};
}

Result<Json> ReadView(store::ObjectStore& store, const std::string& key) {
  auto object = TRY(store.Get(key));
  return ParseView(object.bytes, key);
}

Result<Json> ImportRepository(const Json& view, const Kinds& kinds, const Json& storage,
                              const RepositoryEntry& entry) {
  auto object = TRY(Import(view, kinds.repository, kinds, {entry.ns, entry.name}));
  // What was pinned elsewhere is pinned again here, from repo.json itself.
  Remove(object, "status.conditions");
  Remove(object, "status.repositoryID");
  Remove(object, "status.suite");
  Remove(object, "status.volumeSnapshotClasses");
  Set(object, "status.phase", "NotReady");
  Set(object, "spec.path", Json(entry.path));
  Set(object, "spec.storageRef",
      JsonObject{{"name", kube::NameOf(storage)}, {"namespace", kube::NamespaceOf(storage)}});
  return object;
}

Result<Json> ImportSnapshot(const Json& view, const Kinds& kinds, const Json& repository) {
  const auto name = StringAt(view, "metadata.name");
  if (name.empty() || name.size() > 253) {
    return Error(Code::kInvalidArgument,
                 "found metadata.name \"" + name + "\"; accepted is a Snapshot's name");
  }
  auto object = TRY(Import(view, kinds.snapshot, kinds, {kube::NamespaceOf(repository), name}));
  Set(object, "spec.repository", Json(kube::NameOf(repository)));
  // A view cannot ask for data to be destroyed.
  Set(object, "spec.deletionPolicy", "Delete");
  kube::SetLabel(object, kinds.Key("repo-name"), kube::NameOf(repository));
  kube::AddOwnerReference(object, kube::OwnerReference(repository));
  return object;
}

}  // namespace thinsnap::backup
