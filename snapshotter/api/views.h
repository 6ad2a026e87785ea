// Views: the YAML files that KubeStash keeps in a bucket. They are written for others and read back
// only where sealed points cannot be; nothing in them is trusted further than that.
//
//   metadata.yaml                   at bucket and prefix: which repositories there are, and which
//   cluster owns each <directory>/repository.yaml     the Repository <directory>/snapshots/<n>.yaml
//   one Snapshot each
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "snapshotter/api/kinds.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::backup {

inline constexpr char kMetadataKey[] = "metadata.yaml";
inline constexpr char kDamagedMetadataKey[] = "metadata.yaml.damaged";
inline constexpr char kRepositoryKey[] = "repository.yaml";
inline constexpr char kSnapshotsPrefix[] = "snapshots/";

struct RepositoryEntry {
  std::string name, ns, path, size;
  std::string id;       // of the engine's repository; empty in KubeStash's own files
  std::string cluster;  // uid of the owner's kube-system; empty in KubeStash's own files
};

// An empty metadata.yaml.
Json NewMetadata(const std::string& domain, const std::string& created);
std::vector<RepositoryEntry> RepositoriesOf(const Json& metadata);
// Both return whether anything changed.
bool PutEntry(Json& metadata, const RepositoryEntry& entry);
bool RemoveEntry(Json& metadata, const std::string& ns, const std::string& name);

struct Metadata {
  Json content;
  std::string etag;
};
// kNotFound: not initialized; kDataLoss: damaged; kInvalidArgument: something else of this name.
Result<Metadata> ReadMetadata(store::ObjectStore& store);
// Reads, lets `change` edit, and writes on the condition that nobody wrote meanwhile; again when
// somebody did. `change` returns false to leave it as it is. kNotFound when there is none.
Status ChangeMetadata(store::ObjectStore& store, const std::function<bool(Json& metadata)>& change);
// Writes one where there is none or a damaged one, which is kept as kDamagedMetadataKey, with the
// repositories that the store holds. Idempotent; two at once are harmless.
Status InitMetadata(store::ObjectStore& store, const std::string& domain,
                    const std::string& created);

// An object as a view: without what belongs to one cluster's bookkeeping.
std::string ViewOf(const Json& object);
Status PutText(store::ObjectStore& store, const std::string& key, const std::string& text);
Result<Json> ReadView(store::ObjectStore& store, const std::string& key);

// Objects for this cluster from views of any domain (ours or kubestash.com): new metadata, the
// storage that imports, the finalizer of this domain. The kind is checked; kInvalidArgument names
// what is wrong.
Result<Json> ImportRepository(const Json& view, const Kinds& kinds, const Json& storage,
                              const RepositoryEntry& entry);
Result<Json> ImportSnapshot(const Json& view, const Kinds& kinds, const Json& repository);

}  // namespace thinsnap::backup
