#include "snapshotter/operator/storage_sync.h"

#include <cctype>
#include <map>
#include <utility>

#include "base/core/log.h"
#include "snapshotter/api/policy.h"

namespace thinsnap::backup {

namespace {

Status WriteImportedStatus(Context& context, const kube::ResourceType& type, const Json& imported,
                           Json created) {
  const auto* status = Find(imported, "status");
  if (status == nullptr || Find(created, "status.phase") != nullptr) return {};
  created.as_object()["status"] = *status;
  auto written = context.client.Update(type, created, "status");
  if (!written.ok())
    return std::move(written).error().In("writing the status of " + kube::NameOf(created));
  return {};
}

Status ImportSnapshots(Context& context, store::ObjectStore& folder, const Json& repository) {
  std::vector<std::string> keys;
  TRY(store::ListAll(folder, kSnapshotsPrefix, [&](const store::ObjectInfo& info) -> Status {
    if (info.key.ends_with(".yaml")) keys.push_back(info.key);
    return {};
  }));
  for (const auto& key : keys) {
    const auto view = ReadView(folder, key);
    auto imported =
        view.ok() ? ImportSnapshot(*view, context.kinds, repository) : Result<Json>(view.error());
    if (!imported.ok()) {
      if (imported.Is(Code::kUnavailable) || imported.Is(Code::kCancelled))
        return std::move(imported).error();
      context.events.Emit(
          repository, "Warning", "SnapshotNotImported",
          view.ok() ? key + ": " + imported.error().message() : imported.error().message());
      continue;
    }
    kube::SetCondition(
        *imported, "Unverified", true, "ReadFromView",
        "read from " + key + "; the sealed restore points have not been compared yet",
        context.Now());
    auto created = TRY(EnsureExists(context.client, context.kinds.snapshot, *imported));
    TRY(WriteImportedStatus(context, context.kinds.snapshot, *imported, std::move(created)));
  }
  return {};
}

// Brings one repository of the bucket back. The answer is why it could not be, for status.
Result<std::string> ImportEntry(Context& context, const Json& storage,
                                const Backends::Access& access, const RepositoryEntry& entry) {
  const auto ns = TRY(GetIfExists(context.client, kube::types::kNamespace, {"", entry.ns}));
  if (!ns) return "namespace " + entry.ns + " does not exist; it is not made by itself";
  if (!MayUse(storage, entry.ns, &*ns)) return UsageRefusal(storage, "BackupStorage", entry.ns);
  const auto existing =
      TRY(GetIfExists(context.client, context.kinds.repository, {entry.ns, entry.name}));
  auto folder = TRY(context.backends.OpenFolder(access, entry.path));
  if (existing) {
    const auto reference = ReferenceKey(ValueAt(*existing, "spec.storageRef"), entry.ns);
    if (reference != kube::KeyOf(storage)) {
      return "Repository " + entry.ns + "/" + entry.name +
             " exists already and belongs to BackupStorage " + reference.ToString();
    }
    // Also where a BackupConfiguration was faster and made the Repository: what the bucket held
    // before is older than both.
    TRY(ImportSnapshots(context, *folder, *existing));
    return std::string();
  }

  // An entry is a view too: what it names has to be there.
  const auto header = repo::ReadRepositoryHeader(*folder);
  if (header.Is(Code::kNotFound)) {
    return "metadata.yaml names a repository at " + entry.path +
           ", but there is no repo.json; accepted is a path that holds a repository";
  }
  const auto view = ReadView(*folder, kRepositoryKey);
  if (!view.ok() && !view.Is(Code::kNotFound) && !view.Is(Code::kInvalidArgument))
    return view.error();
  auto imported = view.ok() ? ImportRepository(*view, context.kinds, storage, entry)
                            : Result<Json>(view.error());
  if (!imported.ok()) {
    context.events.Emit(storage, "Warning", "ViewIgnored",
                        entry.path + "/" + kRepositoryKey + ": " + imported.error().message() +
                            "; Repository " + entry.ns + "/" + entry.name +
                            " is brought back without it");
    // Without its view a repository still has its points; a RestoreSession can name the passphrase.
    auto bare = kube::NewObject(context.kinds.repository, {entry.ns, entry.name});
    bare.as_object()["spec"] = JsonObject{{"deletionPolicy", "Delete"}};
    imported = ImportRepository(bare, context.kinds, storage, entry);
    if (!imported.ok()) return imported.error().message();
  }
  kube::SetAnnotation(*imported, context.kinds.Key("imported-from"),
                      entry.cluster.empty() ? "unknown" : entry.cluster);
  auto created = TRY(EnsureExists(context.client, context.kinds.repository, *imported));
  TRY(WriteImportedStatus(context, context.kinds.repository, *imported, created));
  TRY(ImportSnapshots(context, *folder, created));
  LogInfo("operator",
          "imported Repository " + entry.ns + "/" + entry.name + " from " + folder->Describe());
  return std::string();
}

std::uint64_t ParseSizeText(const std::string& text) {
  std::size_t used = 0;
  double number = 0;
  for (; used < text.size() && (std::isdigit(static_cast<unsigned char>(text[used])) != 0);
       ++used) {
    number = number * 10 + (text[used] - '0');
  }
  if (used < text.size() && text[used] == '.') {
    double scale = 0.1;
    for (++used; used < text.size() && (std::isdigit(static_cast<unsigned char>(text[used])) != 0);
         ++used) {
      number += scale * (text[used] - '0');
      scale /= 10;
    }
  }
  static const std::map<std::string, double> kUnits{
      {" B", 1}, {" KiB", 1024}, {" MiB", 1048576}, {" GiB", 1073741824}, {" TiB", 1099511627776}};
  const auto unit = kUnits.find(text.substr(used));
  return unit == kUnits.end() ? 0 : static_cast<std::uint64_t>(number * unit->second);
}

}  // namespace

Result<bool> SyncRepositories(Context& context, Json& storage, const Backends::Access& access,
                              const Metadata& metadata) {
  std::map<std::string, bool> synced;
  for (const auto& known : ArrayAt(storage, "status.repositories")) {
    synced[StringAt(known, "namespace") + "/" + StringAt(known, "name")] = BoolAt(known, "synced");
  }
  JsonArray items;
  bool complete = true;
  std::uint64_t total = 0;
  for (const auto& entry : RepositoriesOf(metadata.content)) {
    std::string problem;
    // What was here once and was deleted since is not brought back.
    if (!synced[entry.ns + "/" + entry.name]) {
      auto imported = ImportEntry(context, storage, access, entry);
      if (imported.Is(Code::kCancelled) || imported.Is(Code::kAborted))
        return std::move(imported).error();
      problem = imported.ok() ? *imported : imported.error().message();
    }
    JsonObject item{{"name", entry.name},
                    {"namespace", entry.ns},
                    {"path", entry.path},
                    {"size", entry.size},
                    {"synced", problem.empty()}};
    if (!problem.empty()) item["error"] = problem;
    items.push_back(std::move(item));
    complete = complete && problem.empty();
    total += ParseSizeText(entry.size);
  }
  Set(storage, "status.repositories", std::move(items));
  Set(storage, "status.totalSize", Json(SizeText(total)));
  return complete;
}

}  // namespace thinsnap::backup
