// DirectoryObjectStore: objects as files below a folder, for NFS exports, local disks and tests.
// An object is one file under its key's name, so that people can read a repository. Puts are a
// temporary file, fsync, link or rename, and fsync of every folder on the way; conditional ones are
// exact among processes that use this class (on a file system that knows neither hard links nor
// RENAME_NOREPLACE, sshfs say, among those of one machine).
#pragma once

#include <memory>
#include <string>

#include "base/core/file.h"
#include "base/core/random.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

// Since a key is a path, a key may not go on after another object's key ("a" and "a/b"), parts are
// at most 255 bytes, and the first part ".thinsnap-store" is ours. Such keys are refused.
class DirectoryObjectStore final : public ObjectStore {
 public:
  // Removes what killed writers left, where it may. Makes nothing: the first write makes the
  // folder, so that a look at a wrong path leaves no trace and a read-only one can be read.
  static Result<std::unique_ptr<ObjectStore>> Open(Clock& clock, Random& random,
                                                   const std::string& folder);

  DirectoryObjectStore(Clock& clock, Random& random, std::string folder)
      : clock_(clock), random_(random), folder_(std::move(folder)) {}

  Result<PutResult> Put(const std::string& key, ByteSpan body,
                        const PutCondition& condition = {}) override;
  Result<Object> Get(const std::string& key,
                     std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(const std::string& key) override;
  Result<Page> List(const std::string& prefix, const std::string& after = "") override;
  Status Delete(const std::string& key) override;
  std::string Describe() const override { return "file://" + folder_; }

 private:
  // A file in the private folder whose writer holds its lock; removed with the object.
  struct Temporary {
    UniqueFd fd;
    std::string path;
    ~Temporary();
  };

  Status CheckFolder() const;
  void RemoveLeftovers();
  // The folder with the private one in it.
  Status MakeOwnFolder();
  Result<std::string> PathOf(const std::string& key) const;
  Result<std::unique_ptr<Temporary>> MakeTemporary();
  // Serialises writers of a key: exclusive for those that look before they write.
  Result<UniqueFd> LockKey(const std::string& key, bool exclusive);
  Result<UniqueFd> OpenObject(const std::string& key, ObjectInfo& info);
  Status Place(const std::string& key, const std::string& temporary, const std::string& path,
               bool if_absent);
  // Gives the file its name unless there is one of that name: 0 or an errno.
  Result<int> PlaceNew(const std::string& key, const std::string& temporary,
                       const std::string& path);
  Status SyncFolders(const std::string& path);
  WallTime Date() const;

  Clock& clock_;
  Random& random_;
  const std::string folder_;
};

}  // namespace thinsnap::store
