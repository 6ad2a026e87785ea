#include "simulator/s3/s3_storage.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "simulator/s3/checksum.h"
#include "snapshotter/store/sigv4.h"

namespace thinsnap::s3 {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMinPartBytes = 5 * kMiB;

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    names.push_back(entry.path().filename());
  return names;
}

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

S3Status CheckCondition(const WriteCondition& condition, const ObjectMeta* present) {
  if (condition.if_absent && present != nullptr) return Fault("PreconditionFailed");
  if (condition.if_match.empty()) return {};
  if (present == nullptr) return Fault("NoSuchKey");
  if (condition.if_match != "*" && condition.if_match != present->etag)
    return Fault("PreconditionFailed");
  return {};
}

}  // namespace

Result<std::unique_ptr<S3Storage>> S3Storage::Open(Random& random, Clock& clock,
                                                   const std::string& folder) {
  std::unique_ptr<S3Storage> storage(new S3Storage(random, clock, folder));
  TRY(storage->Load().In("S3 data in " + folder));
  return storage;
}

Status S3Storage::Load() {
  TRY(MakeFolders(folder_ + "/buckets"));
  TRY(MakeFolders(folder_ + "/drafts"));
  lock_.Reset(::open((folder_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_) return ErrnoError(errno, "open the lock");
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::kFailedPrecondition, "another S3 server uses this folder");
  }
  for (const std::string& name : NamesIn(folder_ + "/drafts"))
    ::unlink((folder_ + "/drafts/" + name).c_str());
  const std::lock_guard lock(mutex_);
  for (const std::string& name : NamesIn(folder_ + "/buckets")) TRY(LoadBucket(name));
  return {};
}

Status S3Storage::LoadBucket(const std::string& name) {
  struct stat stat;
  const std::string folder = BucketFolder(name);
  if (::stat(folder.c_str(), &stat) != 0) return ErrnoError(errno, "stat " + folder);
  Bucket& bucket = buckets_[name];
  bucket.created = FromUnixSeconds(stat.st_mtim.tv_sec);
  for (const std::string& shard : NamesIn(folder + "/objects")) {
    const std::string shard_folder = folder + "/objects/" + shard;
    for (const std::string& file : NamesIn(shard_folder)) {
      ObjectMeta meta = TRY(ReadObjectMeta(shard_folder + "/" + file));
      const std::string key = meta.key;
      bucket.objects[key] = std::move(meta);
    }
  }
  for (const std::string& id : NamesIn(folder + "/uploads")) {
    const std::string upload_folder = folder + "/uploads/" + id;
    auto description = ReadObjectMeta(upload_folder + "/upload");
    if (!description.ok()) {  // killed while it was made or removed
      std::error_code error;
      fs::remove_all(upload_folder, error);
      continue;
    }
    Upload& upload = bucket.uploads[id];
    upload.id = id;
    upload.meta = std::move(description).value();
    for (const std::string& file : NamesIn(upload_folder)) {
      if (!file.starts_with("part-")) continue;
      upload.parts[std::atoi(file.c_str() + 5)] = TRY(ReadObjectMeta(upload_folder + "/" + file));
    }
  }
  return {};
}

std::string S3Storage::ObjectPath(const std::string& bucket, const std::string& key) const {
  const std::string hash = store::Sha256Hex(AsBytes(key));
  return BucketFolder(bucket) + "/objects/" + hash.substr(0, 2) + "/" + hash;
}

std::string S3Storage::UploadFolder(const std::string& bucket, const std::string& id) const {
  return BucketFolder(bucket) + "/uploads/" + id;
}

S3Result<S3Storage::Bucket*> S3Storage::Get(const std::string& bucket) {
  const auto found = buckets_.find(bucket);
  if (found == buckets_.end()) return Fault("NoSuchBucket");
  return &found->second;
}

S3Status S3Storage::CreateBucket(const std::string& bucket) {
  const std::lock_guard lock(mutex_);
  if (buckets_.contains(bucket)) return Fault("BucketAlreadyOwnedByYou");
  TRY(MakeFolders(BucketFolder(bucket) + "/objects"));
  TRY(MakeFolders(BucketFolder(bucket) + "/uploads"));
  TRY(FsyncFolder(BucketFolder(bucket)));
  TRY(FsyncFolder(folder_ + "/buckets"));
  buckets_[bucket].created = Now();
  return {};
}

S3Status S3Storage::DeleteBucket(const std::string& bucket) {
  const std::lock_guard lock(mutex_);
  Bucket* found = TRY(Get(bucket));
  if (!found->objects.empty() || !found->uploads.empty()) return Fault("BucketNotEmpty");
  buckets_.erase(bucket);
  std::error_code error;
  fs::remove_all(BucketFolder(bucket), error);
  TRY(FsyncFolder(folder_ + "/buckets"));
  return {};
}

S3Status S3Storage::CheckBucket(const std::string& bucket) {
  const std::lock_guard lock(mutex_);
  TRY(Get(bucket));
  return {};
}

std::vector<std::pair<std::string, WallTime>> S3Storage::Buckets() {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, WallTime>> all;
  for (const auto& [name, bucket] : buckets_) all.emplace_back(name, bucket.created);
  return all;
}

Result<std::unique_ptr<DraftFile>> S3Storage::NewDraft() {
  return DraftFile::Make(folder_ + "/drafts/" + random_.NameSuffix(20));
}

S3Status S3Storage::Put(const std::string& bucket, DraftFile& draft, ObjectMeta& meta,
                        const WriteCondition& condition) {
  meta.modified = Now();
  TRY(draft.Seal(meta));
  const std::string path = ObjectPath(bucket, meta.key);
  const std::string shard = FolderOf(path);
  bool shard_is_durable = false;
  {
    const std::lock_guard lock(mutex_);
    Bucket* found = TRY(Get(bucket));
    const auto present = found->objects.find(meta.key);
    TRY(CheckCondition(condition, present == found->objects.end() ? nullptr : &present->second));
    shard_is_durable = found->durable_shards.contains(shard);
    TRY(MakeFolders(shard));
    TRY(draft.Place(path));
    found->objects[meta.key] = meta;
  }
  TRY(FsyncFolder(shard));
  if (shard_is_durable) return {};
  TRY(FsyncFolder(FolderOf(shard)));
  const std::lock_guard lock(mutex_);
  if (const auto found = buckets_.find(bucket); found != buckets_.end()) {
    found->second.durable_shards.insert(shard);
  }
  return {};
}

S3Result<ObjectMeta> S3Storage::Find(const std::string& bucket, const std::string& key) {
  const std::lock_guard lock(mutex_);
  Bucket* found = TRY(Get(bucket));
  const auto object = found->objects.find(key);
  if (object == found->objects.end()) return Fault("NoSuchKey");
  return object->second;
}

S3Result<StoredObject> S3Storage::Open(const std::string& bucket, const std::string& key) {
  const std::lock_guard lock(mutex_);
  Bucket* found = TRY(Get(bucket));
  const auto object = found->objects.find(key);
  if (object == found->objects.end()) return Fault("NoSuchKey");
  StoredObject opened;
  opened.meta = object->second;
  opened.fd =
      std::make_shared<UniqueFd>(::open(ObjectPath(bucket, key).c_str(), O_RDONLY | O_CLOEXEC));
  if (!*opened.fd) return Fault("InternalError", "the object's file is gone");
  return opened;
}

S3Status S3Storage::Delete(const std::string& bucket, const std::string& key,
                           const std::string& if_match) {
  const std::string path = ObjectPath(bucket, key);
  {
    const std::lock_guard lock(mutex_);
    Bucket* found = TRY(Get(bucket));
    const auto object = found->objects.find(key);
    if (object == found->objects.end()) {
      if (!if_match.empty()) return Fault("NoSuchKey");
      return {};
    }
    if (!if_match.empty() && if_match != "*" && if_match != object->second.etag) {
      return Fault("PreconditionFailed");
    }
    // The file first: what could not be removed is still there.
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "delete " + path);
    found->objects.erase(object);
  }
  TRY(FsyncFolder(FolderOf(path)));
  return {};
}

S3Result<ListedPage> S3Storage::List(const std::string& bucket, const std::string& prefix,
                                     const std::string& delimiter, const std::string& after,
                                     std::size_t max_keys) {
  const std::lock_guard lock(mutex_);
  const Bucket* found = TRY(Get(bucket));
  ListedPage page;
  auto at = found->objects.lower_bound(prefix);
  if (after >= prefix) at = found->objects.upper_bound(after);
  while (at != found->objects.end() && at->first.starts_with(prefix)) {
    const std::string& key = at->first;
    const std::size_t cut = delimiter.empty() ? key.npos : key.find(delimiter, prefix.size());
    const std::string name = cut == key.npos ? key : key.substr(0, cut + delimiter.size());
    // A page that ended with a common prefix goes on behind everything below it.
    const bool passed = cut != key.npos && name <= after && after.starts_with(name);
    if (!passed) {
      if (page.entries.size() == max_keys) {
        page.more = max_keys > 0;
        break;
      }
      page.entries.push_back({name, cut == key.npos ? std::optional(at->second) : std::nullopt});
      page.last = name;
    }
    if (cut == key.npos) {
      ++at;
    } else {
      while (at != found->objects.end() && at->first.starts_with(name)) ++at;
    }
  }
  return page;
}

S3Result<std::string> S3Storage::CreateUpload(const std::string& bucket, ObjectMeta meta) {
  Bytes chance(16);
  random_.Fill(chance);
  const std::string id = HexEncode(chance);
  const auto draft = TRY(NewDraft());
  meta.modified = Now();
  TRY(draft->Seal(meta));
  const std::lock_guard lock(mutex_);
  Bucket* found = TRY(Get(bucket));
  const std::string folder = UploadFolder(bucket, id);
  TRY(MakeFolders(folder));
  TRY(draft->Place(folder + "/upload"));
  TRY(FsyncFolder(folder));
  TRY(FsyncFolder(FolderOf(folder)));
  found->uploads[id] = Upload{id, std::move(meta), {}};
  return id;
}

S3Result<Upload*> S3Storage::GetUpload(const std::string& bucket, const std::string& key,
                                       const std::string& id) {
  Bucket* found = TRY(Get(bucket));
  const auto upload = found->uploads.find(id);
  if (upload == found->uploads.end() || upload->second.meta.key != key)
    return Fault("NoSuchUpload");
  return &upload->second;
}

S3Status S3Storage::PutPart(const std::string& bucket, const std::string& key,
                            const std::string& id, int number, DraftFile& draft, ObjectMeta& meta) {
  meta.modified = Now();
  TRY(draft.Seal(meta));
  const std::string folder = UploadFolder(bucket, id);
  {
    const std::lock_guard lock(mutex_);
    Upload* upload = TRY(GetUpload(bucket, key, id));
    TRY(draft.Place(folder + "/part-" + std::to_string(number)));
    upload->parts[number] = meta;
  }
  TRY(FsyncFolder(folder));
  return {};
}

S3Result<Upload> S3Storage::FindUpload(const std::string& bucket, const std::string& key,
                                       const std::string& id) {
  const std::lock_guard lock(mutex_);
  const Upload* upload = TRY(GetUpload(bucket, key, id));
  return *upload;
}

S3Result<std::vector<Upload>> S3Storage::Uploads(const std::string& bucket,
                                                 const std::string& prefix) {
  const std::lock_guard lock(mutex_);
  const Bucket* found = TRY(Get(bucket));
  std::vector<Upload> all;
  for (const auto& [id, upload] : found->uploads) {
    if (upload.meta.key.starts_with(prefix)) all.push_back(Upload{id, upload.meta, {}});
  }
  return all;
}

S3Result<ObjectMeta> S3Storage::CompleteUpload(
    const std::string& bucket, const std::string& key, const std::string& id,
    const std::vector<std::pair<int, std::string>>& parts, const WriteCondition& condition,
    const ClaimedChecksum& claimed) {
  const Upload upload = TRY(FindUpload(bucket, key, id));
  const auto draft = TRY(NewDraft());
  const auto digest = MakeChecksum("md5");
  const auto checksum = MakeChecksum(claimed.name);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto part = upload.parts.find(parts[i].first);
    if (part == upload.parts.end() || part->second.etag != parts[i].second)
      return Fault("InvalidPart");
    if (i + 1 < parts.size() && part->second.size < kMinPartBytes) return Fault("EntityTooSmall");
    const std::string path = UploadFolder(bucket, id) + "/part-" + std::to_string(parts[i].first);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return Fault("NoSuchUpload");
    TRY(draft->CopyFrom(fd.get(), 0, part->second.size,
                        claimed.of_bytes ? checksum.get() : nullptr));
    digest->Add(*HexDecode(part->second.etag));
    if (checksum == nullptr || claimed.of_bytes) continue;
    const auto own = Base64Decode(part->second.headers.Get(kChecksumHeader + claimed.name));
    if (!own.ok() || own->empty()) {
      return Fault("InvalidRequest", "part " + std::to_string(parts[i].first) +
                                         " was sent without the checksum " + claimed.name);
    }
    checksum->Add(*own);
  }
  ObjectMeta meta = upload.meta;
  if (checksum != nullptr) {
    const std::string value = Base64Encode(checksum->Finish());
    const std::string counted =
        claimed.of_bytes ? value : value + "-" + std::to_string(parts.size());
    if (claimed.value != value && claimed.value != counted) return Fault("BadDigest");
    meta.headers.Set(kChecksumHeader + claimed.name, counted);
  }
  meta.etag = HexEncode(digest->Finish()) + "-" + std::to_string(parts.size());
  {
    // Another one may have completed or aborted it meanwhile.
    const std::lock_guard lock(mutex_);
    TRY(GetUpload(bucket, key, id));
  }
  TRY(Put(bucket, *draft, meta, condition));
  // Killed here, the upload remains beside its object, as harmless as a forgotten one.
  if (auto aborted = AbortUpload(bucket, key, id);
      !aborted.ok() && aborted.error().code != "NoSuchUpload") {
    return aborted.error();
  }
  return meta;
}

S3Status S3Storage::AbortUpload(const std::string& bucket, const std::string& key,
                                const std::string& id) {
  const std::lock_guard lock(mutex_);
  TRY(GetUpload(bucket, key, id));
  const std::string folder = UploadFolder(bucket, id);
  // The description goes first: without it the rest is removed at the next start.
  if (::unlink((folder + "/upload").c_str()) != 0) return ErrnoError(errno, "delete an upload");
  TRY(FsyncFolder(folder));
  std::error_code error;
  fs::remove_all(folder, error);
  buckets_[bucket].uploads.erase(id);
  return {};
}

}  // namespace thinsnap::s3
