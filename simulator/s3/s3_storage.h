// S3Storage: buckets, objects and multipart uploads in a folder. What is acknowledged is durable; a
// kill at any moment leaves whole objects only. An index in memory, read at start, holds the names
// in order.
//
//   buckets/BUCKET/objects/XX/<SHA-256 of the key>   see object_file.h
//   buckets/BUCKET/uploads/ID/upload, part-NNNNN      the upload's description; its parts
//   drafts/                                           being written; emptied at start
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "simulator/s3/object_file.h"
#include "simulator/s3/s3_fault.h"

namespace thinsnap::s3 {

struct WriteCondition {
  bool if_absent = false;
  std::string if_match;  // an etag or "*"
};

// What a client says of an object in parts.
struct ClaimedChecksum {
  std::string name;  // as MakeChecksum knows it; empty: nothing is said
  std::string value;
  bool of_bytes = false;  // else of the parts' own checksums in a row
};

struct StoredObject {
  ObjectMeta meta;
  std::shared_ptr<UniqueFd> fd;
};

struct Upload {
  std::string id;
  ObjectMeta meta;  // of the object to be
  std::map<int, ObjectMeta> parts;
};

// What one page of a listing holds: objects, or common prefixes that stand for many.
struct ListedEntry {
  std::string name;
  std::optional<ObjectMeta> object;  // none: a common prefix
};

struct ListedPage {
  std::vector<ListedEntry> entries;
  bool more = false;
  std::string last;  // go on after this key
};

// Thread-safe.
class S3Storage {
 public:
  // Holds a lock on the folder: one server for each.
  static Result<std::unique_ptr<S3Storage>> Open(Random& random, Clock& clock,
                                                 const std::string& folder);

  S3Status CreateBucket(const std::string& bucket);
  S3Status DeleteBucket(const std::string& bucket);
  S3Status CheckBucket(const std::string& bucket);
  std::vector<std::pair<std::string, WallTime>> Buckets();

  Result<std::unique_ptr<DraftFile>> NewDraft();
  // Seals and places; sets meta.modified.
  S3Status Put(const std::string& bucket, DraftFile& draft, ObjectMeta& meta,
               const WriteCondition& condition);
  S3Result<ObjectMeta> Find(const std::string& bucket, const std::string& key);
  S3Result<StoredObject> Open(const std::string& bucket, const std::string& key);
  // if_match: an etag or "*"; empty: unconditional, and missing is fine.
  S3Status Delete(const std::string& bucket, const std::string& key,
                  const std::string& if_match = "");
  S3Result<ListedPage> List(const std::string& bucket, const std::string& prefix,
                            const std::string& delimiter, const std::string& after,
                            std::size_t max_keys);

  S3Result<std::string> CreateUpload(const std::string& bucket, ObjectMeta meta);
  S3Status PutPart(const std::string& bucket, const std::string& key, const std::string& id,
                   int number, DraftFile& draft, ObjectMeta& meta);
  S3Result<Upload> FindUpload(const std::string& bucket, const std::string& key,
                              const std::string& id);
  S3Result<std::vector<Upload>> Uploads(const std::string& bucket, const std::string& prefix);
  // `parts`: number and etag, checked and ascending.
  S3Result<ObjectMeta> CompleteUpload(const std::string& bucket, const std::string& key,
                                      const std::string& id,
                                      const std::vector<std::pair<int, std::string>>& parts,
                                      const WriteCondition& condition,
                                      const ClaimedChecksum& claimed = {});
  S3Status AbortUpload(const std::string& bucket, const std::string& key, const std::string& id);

 private:
  struct Bucket {
    WallTime created;
    std::map<std::string, ObjectMeta> objects;
    std::map<std::string, Upload> uploads;
    std::set<std::string> durable_shards;  // their names in objects/ are known to be on disk
  };

  S3Storage(Random& random, Clock& clock, std::string folder)
      : random_(random), clock_(clock), folder_(std::move(folder)) {}

  Status Load();
  Status LoadBucket(const std::string& name) REQUIRES(mutex_);
  std::string BucketFolder(const std::string& bucket) const {
    return folder_ + "/buckets/" + bucket;
  }
  std::string ObjectPath(const std::string& bucket, const std::string& key) const;
  std::string UploadFolder(const std::string& bucket, const std::string& id) const;
  // With the mutex held.
  S3Result<Bucket*> Get(const std::string& bucket) REQUIRES(mutex_);
  S3Result<Upload*> GetUpload(const std::string& bucket, const std::string& key,
                              const std::string& id) REQUIRES(mutex_);
  WallTime Now() const { return std::chrono::floor<std::chrono::milliseconds>(clock_.Now()); }

  Random& random_;
  Clock& clock_;
  const std::string folder_;
  UniqueFd lock_;
  std::mutex mutex_;
  std::map<std::string, Bucket> buckets_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::s3
