// ObjectFile: the SQLite file under VersionedStore. One row for each object, one for the revision.
// A write is one transaction: in the write-ahead log, and so safe from kill -9, when the call
// returns.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "simulator/objects/store.h"

struct sqlite3;
struct sqlite3_stmt;

namespace thinsnap::objects {

// Not thread-safe but for Checkpoint.
class ObjectFile {
 public:
  static Result<std::unique_ptr<ObjectFile>> Open(const std::string& path);
  ~ObjectFile();
  ObjectFile(const ObjectFile&) = delete;
  ObjectFile& operator=(const ObjectFile&) = delete;

  // 0 in a new file.
  Result<Revision> ReadRevision();
  Status ReadAll(const std::function<Status(StoreKey, Revision, std::string_view)>& on_object);
  Status Put(const StoreKey& key, Revision revision, std::string_view bytes);
  Status Remove(const StoreKey& key, Revision revision);
  Status Checkpoint();

 private:
  ObjectFile() = default;
  Error Failed(std::string_view what) const;
  Status Prepare(const char* sql, sqlite3_stmt** statement);
  Status Step(sqlite3_stmt* statement, std::string_view what);
  Status InTransaction(sqlite3_stmt* change, Revision revision);

  sqlite3* db_ = nullptr;
  sqlite3* checkpoint_db_ = nullptr;
  sqlite3_stmt *begin_ = nullptr, *commit_ = nullptr, *rollback_ = nullptr, *put_ = nullptr,
               *remove_ = nullptr, *set_revision_ = nullptr;
};

}  // namespace thinsnap::objects
