// Session: a writer's lease and checkpoint, sessions/<ulid>.<keyed hash of the series>. It names in
// advance the point key that its writer will commit and lists the data packs that the store has
// acknowledged, so that an interrupted export goes on from there. SessionKeeper keeps one alive
// while an export runs.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/pack.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::repo {

inline constexpr Duration kLease = std::chrono::hours(1);
inline constexpr Duration kRenewal = std::chrono::minutes(5);
inline constexpr Duration kCheckpoint = std::chrono::seconds(60);
// A session that was not rewritten for this long belongs to nobody who is alive.
inline constexpr Duration kQuiet = std::chrono::minutes(6);

struct SessionPack {
  PackId id;
  std::uint32_t epoch = 0;
  std::uint32_t units = 0;
  std::uint32_t trailer_offset = 0;
  std::uint32_t trailer_length = 0;
  std::uint64_t first_block = 0;
  std::uint64_t last_block = 0;
  bool operator==(const SessionPack&) const = default;
};

struct Session {
  std::string id;
  std::string series;
  PointName point;   // the key that it will commit
  WallTime started;  // by the store; zero before the first rewrite
  std::uint64_t position_bytes = 0;
  bool abandoned = false;          // its writer ended and said so
  std::vector<SessionPack> packs;  // ascending by first block within each writer's run
};

std::string SessionKey(const std::string& id);
std::string NewSessionId(const Keyring& keyring, WallTime now, Random& random,
                         const std::string& series);
Bytes EncodeSession(const Session& session);
Result<Session> ParseSession(ByteSpan payload);

struct FoundSession {
  Session session;
  Duration quiet{};  // since its last rewrite, by the store's clock
};
// The sessions of a series, newest first. Damaged ones are passed over: they only cost an upload.
Result<std::vector<FoundSession>> FindSessions(store::ObjectStore& store, const Keyring& keyring,
                                               const std::string& series);

// Thread-safe.
class SessionKeeper {
 public:
  SessionKeeper(store::ObjectStore& store, Runtime& runtime, Random& random, const Keyring& keyring,
                Session session);

  // The first PUT.
  Status Open();
  // Rewrites the session as the lease and the checkpoint need; returns when the lease is lost
  // (kFailedPrecondition) or the task's group is stopped (kCancelled). Run it as a task of its own.
  Status KeepAlive();
  // kFailedPrecondition once the session was not renewed for one lease: nothing more may be
  // written.
  Status CheckLease();
  void AddPack(const SessionPack& pack);
  std::vector<SessionPack> packs();
  void SetPosition(std::uint64_t bytes);
  // What an interrupted writer leaves for the next one.
  Status Abandon();
  Status Delete();

  const std::string& id() const { return id_; }
  std::uint64_t sent_bytes();

 private:
  Status Put();

  store::ObjectStore& store_;
  Runtime& runtime_;
  Random& random_;
  const Keyring& keyring_;
  const std::string id_;
  std::mutex mutex_;
  Session session_ GUARDED_BY(mutex_);
  bool changed_ GUARDED_BY(mutex_) = false;
  MonoTime renewed_ GUARDED_BY(mutex_){};  // when the last successful PUT was sent
  std::uint64_t sent_ GUARDED_BY(mutex_) = 0;
};

}  // namespace thinsnap::repo
