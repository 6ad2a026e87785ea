#include "simulator/objects/object_file.h"

#include <sqlite3.h>

namespace thinsnap::objects {
namespace {

Status BindKey(sqlite3_stmt* statement, const StoreKey& key) {
  int index = 0;
  for (const std::string* part : {&key.resource, &key.ns, &key.name}) {
    if (sqlite3_bind_text(statement, ++index, part->data(), static_cast<int>(part->size()),
                          SQLITE_STATIC) != SQLITE_OK) {
      return Error(Code::kInternal, "SQLite refuses a key");
    }
  }
  return {};
}

std::string_view ColumnText(sqlite3_stmt* statement, int column) {
  const void* data = sqlite3_column_blob(statement, column);
  return {static_cast<const char*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(statement, column))};
}

}  // namespace

Result<std::unique_ptr<ObjectFile>> ObjectFile::Open(const std::string& path) {
  std::unique_ptr<ObjectFile> file(new ObjectFile);
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path.c_str(), &file->db_, kFlags, nullptr) != SQLITE_OK)
    return file->Failed("open " + path);
  // NORMAL: the log is synced at checkpoints only. A kill loses nothing, a power cut at most the
  // tail of the log.
  for (const char* pragma :
       {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA cache_size=-256",
        "PRAGMA wal_autocheckpoint=4000", "PRAGMA locking_mode=NORMAL"}) {
    if (sqlite3_exec(file->db_, pragma, nullptr, nullptr, nullptr) != SQLITE_OK)
      return file->Failed(path);
  }
  const char* const tables =
      "CREATE TABLE IF NOT EXISTS objects(resource TEXT, ns TEXT, name TEXT, revision INTEGER NOT "
      "NULL,"
      " value BLOB NOT NULL, PRIMARY KEY(resource, ns, name)) WITHOUT ROWID;"
      "CREATE TABLE IF NOT EXISTS state(id INTEGER PRIMARY KEY, revision INTEGER NOT NULL);"
      "INSERT OR IGNORE INTO state VALUES(1, 0)";
  if (sqlite3_exec(file->db_, tables, nullptr, nullptr, nullptr) != SQLITE_OK)
    return file->Failed(path);
  TRY(file->Prepare("BEGIN IMMEDIATE", &file->begin_));
  TRY(file->Prepare("COMMIT", &file->commit_));
  TRY(file->Prepare("ROLLBACK", &file->rollback_));
  TRY(file->Prepare("INSERT OR REPLACE INTO objects VALUES(?,?,?,?,?)", &file->put_));
  TRY(file->Prepare("DELETE FROM objects WHERE resource=? AND ns=? AND name=?", &file->remove_));
  TRY(file->Prepare("UPDATE state SET revision=? WHERE id=1", &file->set_revision_));
  // Checkpoints run on a connection of their own, beside writes.
  if (sqlite3_open_v2(path.c_str(), &file->checkpoint_db_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, nullptr) != SQLITE_OK) {
    return file->Failed("open " + path);
  }
  sqlite3_busy_timeout(file->db_, 5000);
  return file;
}

ObjectFile::~ObjectFile() {
  for (auto* statement : {begin_, commit_, rollback_, put_, remove_, set_revision_})
    sqlite3_finalize(statement);
  sqlite3_close(checkpoint_db_);
  sqlite3_close(db_);
}

Error ObjectFile::Failed(std::string_view what) const {
  const int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(db_);
  const char* text = db_ == nullptr ? "no memory" : sqlite3_errmsg(db_);
  // A full disk too is kInternal: kResourceExhausted would tell clients to slow down and try again.
  Code kind = Code::kInternal;
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) kind = Code::kDataLoss;
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) kind = Code::kFailedPrecondition;
  return Error(kind, std::string(what) + ": " + text);
}

Status ObjectFile::Prepare(const char* sql, sqlite3_stmt** statement) {
  if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, nullptr) != SQLITE_OK)
    return Failed(sql);
  return {};
}

Status ObjectFile::Step(sqlite3_stmt* statement, std::string_view what) {
  const int code = sqlite3_step(statement);
  if (code == SQLITE_DONE || code == SQLITE_ROW) {
    sqlite3_reset(statement);
    return {};
  }
  auto error = Failed(what).In(sqlite3_db_filename(db_, "main"));
  sqlite3_reset(statement);
  return error;
}

Status ObjectFile::InTransaction(sqlite3_stmt* change, Revision revision) {
  TRY(Step(begin_, "begin"));
  auto done = Step(change, "write an object");
  if (done.ok()) {
    sqlite3_bind_int64(set_revision_, 1, static_cast<sqlite3_int64>(revision));
    done = Step(set_revision_, "write the revision");
  }
  if (done.ok()) done = Step(commit_, "commit");
  // The write has failed already; what the rollback says adds nothing.
  if (!done.ok()) Step(rollback_, "roll back").IgnoreError();
  sqlite3_clear_bindings(change);
  return done;
}

Result<Revision> ObjectFile::ReadRevision() {
  sqlite3_stmt* statement = nullptr;
  TRY(Prepare("SELECT revision FROM state WHERE id=1", &statement));
  const bool row = sqlite3_step(statement) == SQLITE_ROW;
  const auto revision = row ? static_cast<Revision>(sqlite3_column_int64(statement, 0)) : 0;
  sqlite3_finalize(statement);
  if (!row) return Failed("read the revision");
  return revision;
}

Status ObjectFile::ReadAll(
    const std::function<Status(StoreKey, Revision, std::string_view)>& on_object) {
  sqlite3_stmt* statement = nullptr;
  TRY(Prepare("SELECT resource, ns, name, revision, value FROM objects ORDER BY resource, ns, name",
              &statement));
  Status status;
  int code;
  while (status.ok() && (code = sqlite3_step(statement)) != SQLITE_DONE) {
    if (code != SQLITE_ROW) {
      status = Failed("read the objects");
      break;
    }
    status = on_object(
        {std::string(ColumnText(statement, 0)), std::string(ColumnText(statement, 1)),
         std::string(ColumnText(statement, 2))},
        static_cast<Revision>(sqlite3_column_int64(statement, 3)), ColumnText(statement, 4));
  }
  sqlite3_finalize(statement);
  return status;
}

Status ObjectFile::Put(const StoreKey& key, Revision revision, std::string_view bytes) {
  TRY(BindKey(put_, key));
  sqlite3_bind_int64(put_, 4, static_cast<sqlite3_int64>(revision));
  sqlite3_bind_blob64(put_, 5, bytes.data(), bytes.size(), SQLITE_STATIC);
  return InTransaction(put_, revision);
}

Status ObjectFile::Remove(const StoreKey& key, Revision revision) {
  TRY(BindKey(remove_, key));
  return InTransaction(remove_, revision);
}

Status ObjectFile::Checkpoint() {
  const int code = sqlite3_wal_checkpoint_v2(checkpoint_db_, nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                             nullptr, nullptr);
  if (code != SQLITE_OK && code != SQLITE_BUSY) {
    return Error(Code::kInternal, std::string("checkpoint: ") + sqlite3_errmsg(checkpoint_db_));
  }
  return {};
}

}  // namespace thinsnap::objects
