// Repository: the backup repository in an object store, as docs/format.md lays it down. This header
// is what the rest of the house uses; how points, maps, packs and sessions look is the business of
// their own headers beside it.
//
// Vocabulary
//   Block    64 KiB, aligned: the grain of change.
//   Record   1 to 16 neighbouring blocks, compressed and sealed once: the grain of work.
//   Pack     about 16 MiB of records: the grain of requests and of collection.
//   Map      a 64-ary tree from block to record; shared between points.
//   Point    a restore point: one object that commits an export. Key
//   points/<series>/<id>.<attempt>. Series   the points of one volume. Session  a writer's lease
//   and checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/id.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "base/data/json.h"
#include "snapshotter/repo/format.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::repo {

using RepositoryId = Id<struct RepositoryIdTag>;  // 26 characters, drawn at init

// Names a restore point: "<series>/<id>.<attempt>" without "points/".
using PointName = Id<struct PointNameTag>;

enum class ExportMode {
  kFull,
  kChanged,
  kReread
};  // everything stored / ranges from the pool / everything read

// What a point says of itself; in the sealed manifest, so it is to be trusted.
struct PointInfo {
  PointName name;
  std::string series;
  std::string snapshot;  // ULID
  int attempt = 0;
  WallTime cut;                      // the point in time
  WallTime committed;                // by the store
  std::uint64_t size_bytes = 0;      // of the volume
  std::uint64_t data_bytes = 0;      // in blocks that are not holes
  std::uint64_t read_bytes = 0;      // while exporting
  std::uint64_t changed_bytes = 0;   // blocks that differ from the base
  std::uint64_t stored_bytes = 0;    // those after compression and sealing, new packs only
  std::uint64_t uploaded_bytes = 0;  // everything sent, maps and the point included
  ExportMode mode = ExportMode::kFull;
  std::string mode_reason;      // for people: why not incremental
  PointName base;               // empty if none
  std::string device_identity;  // of the snapshot that was read
  Json attributes;              // the writer's own: claim, namespace, class, labels; at most 32 KiB
};

// What a guess at the passphrase costs. The default takes about 0.1 s and 64 MiB; tests lower it.
struct KdfCost {
  std::uint32_t memory_kib = 64 * 1024;
  std::uint32_t passes = 3;
  std::uint32_t lanes = 1;
};

struct InitOptions {
  std::optional<Secret> passphrase;  // absent: suite plain
  KdfCost kdf;
};

struct OpenOptions {
  std::optional<Secret> passphrase;
  // Pinned earlier: a repository with another id or suite is refused (kFailedPrecondition), never
  // taken silently.
  std::string expected_id;
  std::optional<Suite> expected_suite;
};

class Keyring;

// Thread-safe.
class Repository {
 public:
  virtual ~Repository() = default;

  virtual const RepositoryId& id() const = 0;
  virtual Suite suite() const = 0;
  virtual store::ObjectStore& store() = 0;
  // The keys, for those who read and write packs (mover, verify).
  virtual const Keyring& keyring() const = 0;

  // Manifests of a series, or of all (series empty), oldest first; voids left out. Damaged ones are
  // reported to `damaged` and passed over.
  virtual Result<std::vector<PointInfo>> ListPoints(
      const std::string& series = "",
      const std::function<void(const PointName&, const Error&)>& damaged = nullptr) = 0;
  // kNotFound (also for a void), kDataLoss.
  virtual Result<PointInfo> GetPoint(const PointName& name) = 0;
  // The committed point of that snapshot whatever its attempt; kNotFound.
  virtual Result<PointInfo> FindPoint(const std::string& series, const std::string& snapshot) = 0;
  // Overwrites the manifest with a void. Missing is fine.
  virtual Status Forget(const PointName& name) = 0;
};

// kAlreadyExists when repo.json is there; kFailedPrecondition when packs/ or points/ hold anything
// without it; kUnimplemented where the store ignores or refuses conditional writes.
Result<std::unique_ptr<Repository>> InitRepository(store::ObjectStore& store, Runtime& runtime,
                                                   Random& random, const InitOptions& options);
// kNotFound: no repository here; kUnauthenticated: wrong passphrase; kFailedPrecondition: a
// passphrase was given for a plain repository, or none for a sealed one, or a pin does not fit, or
// a newer format; kDataLoss, also where repo.json is gone and packs or points are not. The store
// outlives the repository.
Result<std::unique_ptr<Repository>> OpenRepository(store::ObjectStore& store, Runtime& runtime,
                                                   Random& random, const OpenOptions& options);

// id, suite, format version of repo.json, without a key (unauthenticated); kNotFound.
struct RepositoryHeader {
  RepositoryId id;
  Suite suite = Suite::kPlain;
  int format = 0;
};
Result<RepositoryHeader> ReadRepositoryHeader(store::ObjectStore& store);

}  // namespace thinsnap::repo
