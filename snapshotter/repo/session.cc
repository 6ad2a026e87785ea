#include "snapshotter/repo/session.h"

#include <algorithm>
#include <utility>

#include "base/core/id.h"
#include "base/core/log.h"
#include "base/data/json.h"
#include "snapshotter/repo/small_object.h"
#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {
namespace {

constexpr std::size_t kMaxPacks = 1 << 20;
constexpr std::uint64_t kSessionMaxBytes = 64 * kMiB;

std::string SeriesMark(const Keyring& keyring, const std::string& series) {
  return keyring.KeyedName("session of series", series).substr(0, 16);
}

}  // namespace

std::string SessionKey(const std::string& id) { return "sessions/" + id; }

std::string NewSessionId(const Keyring& keyring, WallTime now, Random& random,
                         const std::string& series) {
  return NewUlid(now, random) + "." + SeriesMark(keyring, series);
}

Bytes EncodeSession(const Session& session) {
  JsonObject json;
  json["kind"] = "writer";
  json["series"] = session.series;
  json["point"] = session.point.str();
  json["started"] = session.started == WallTime() ? "" : FormatRfc3339(session.started);
  json["position"] = session.position_bytes;
  json["abandoned"] = session.abandoned;
  Bytes payload;
  AppendSized(payload, AsBytes(ToJson(json)));
  AppendVarint(payload, session.packs.size());
  for (const SessionPack& pack : session.packs) {
    Append(payload, pack.id.bytes);
    AppendVarint(payload, pack.epoch);
    AppendVarint(payload, pack.units);
    AppendVarint(payload, pack.trailer_offset);
    AppendVarint(payload, pack.trailer_length);
    AppendVarint(payload, pack.first_block);
    AppendVarint(payload, pack.last_block);
  }
  return payload;
}

Result<Session> ParseSession(ByteSpan payload) {
  WireReader reader(payload);
  const ByteSpan text = reader.Sized();
  Session session;
  const std::uint64_t count = reader.Count(22, kMaxPacks);
  session.packs.resize(count);
  for (SessionPack& pack : session.packs) {
    reader.Fill(pack.id.bytes);
    pack.epoch = static_cast<std::uint32_t>(reader.Varint(UINT32_MAX));
    pack.units = static_cast<std::uint32_t>(reader.Varint(kPackMaxUnits + kRecordBlocks));
    pack.trailer_offset = static_cast<std::uint32_t>(reader.Varint(kPackMaxBytes));
    pack.trailer_length = static_cast<std::uint32_t>(reader.Varint(kPackMaxBytes));
    pack.first_block = reader.Varint(kMaxVolumeBytes / kBlockBytes);
    pack.last_block = reader.Varint(kMaxVolumeBytes / kBlockBytes);
  }
  if (!reader.done()) return Error(Code::kDataLoss, "the session is not well formed");
  const Json json = TRY(ParseJson(AsText(text)));
  if (StringAt(json, "kind") != "writer") {
    return Error(Code::kUnimplemented, "the session is of kind " + StringAt(json, "kind"));
  }
  session.series = StringAt(json, "series");
  session.point = PointName(StringAt(json, "point"));
  session.position_bytes = static_cast<std::uint64_t>(IntAt(json, "position"));
  session.abandoned = BoolAt(json, "abandoned");
  const std::string started = StringAt(json, "started");
  if (!started.empty()) session.started = TRY(ParseRfc3339(started));
  return session;
}

Result<std::vector<FoundSession>> FindSessions(store::ObjectStore& store, const Keyring& keyring,
                                               const std::string& series) {
  const std::string suffix = "." + SeriesMark(keyring, series);
  std::vector<std::string> keys;
  TRY(store::ListAll(store, "sessions/", [&](const store::ObjectInfo& info) -> Status {
    if (info.key.ends_with(suffix)) keys.push_back(info.key);
    return {};
  }));
  std::reverse(keys.begin(), keys.end());
  std::vector<FoundSession> found;
  for (const std::string& key : keys) {
    auto object = GetSmallObject(store, key, kSessionMaxBytes);
    if (object.Is(Code::kNotFound) || object.Is(Code::kDataLoss)) continue;
    if (!object.ok()) return std::move(object).error();
    auto payload = keyring.OpenObject(key, object->bytes);
    if (!payload.ok()) continue;
    auto session = ParseSession(*payload);
    if (!session.ok() || session->series != series) continue;
    session->id = key.substr(std::string_view("sessions/").size());
    found.push_back({std::move(session).value(), object->date - object->info.modified});
  }
  return found;
}

SessionKeeper::SessionKeeper(store::ObjectStore& store, Runtime& runtime, Random& random,
                             const Keyring& keyring, Session session)
    : store_(store),
      runtime_(runtime),
      random_(random),
      keyring_(keyring),
      id_(session.id),
      session_(std::move(session)) {}

Status SessionKeeper::Put() {
  Bytes payload;
  {
    std::lock_guard lock(mutex_);
    changed_ = false;
    payload = EncodeSession(session_);
  }
  const Bytes object = keyring_.SealObject(random_, SessionKey(id_), payload);
  const MonoTime sent = runtime_.clock().MonoNow();
  const auto put = store_.Put(SessionKey(id_), object);
  std::lock_guard lock(mutex_);
  sent_ += object.size();
  if (!put.ok()) {
    changed_ = true;
    return put.error();
  }
  renewed_ = sent;
  if (session_.started == WallTime()) session_.started = put->date;
  return {};
}

Status SessionKeeper::Open() { return Put().In("open session " + id_); }

Status SessionKeeper::KeepAlive() {
  MonoTime tried = runtime_.clock().MonoNow();
  for (;;) {
    TRY(runtime_.SleepFor(kCheckpoint));
    TRY(CheckLease());
    bool due = false;
    {
      std::lock_guard lock(mutex_);
      due = changed_ || runtime_.clock().MonoNow() - tried >= kRenewal - kCheckpoint;
    }
    if (!due) continue;
    tried = runtime_.clock().MonoNow();
    const Status put = Put();
    if (put.Is(Code::kCancelled)) return put;
    if (!put.ok()) LogWarning("repo", "session " + id_ + " not renewed: " + put.error().message());
  }
}

Status SessionKeeper::CheckLease() {
  std::lock_guard lock(mutex_);
  if (runtime_.clock().MonoNow() - renewed_ < kLease) return {};
  return Error(Code::kFailedPrecondition,
               "session " + id_ + " could not be renewed for one hour; its writer gives up");
}

void SessionKeeper::AddPack(const SessionPack& pack) {
  std::lock_guard lock(mutex_);
  session_.packs.push_back(pack);
  changed_ = true;
}

std::vector<SessionPack> SessionKeeper::packs() {
  std::lock_guard lock(mutex_);
  return session_.packs;
}

void SessionKeeper::SetPosition(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  session_.position_bytes = bytes;
}

Status SessionKeeper::Abandon() {
  {
    std::lock_guard lock(mutex_);
    session_.abandoned = true;
  }
  return Put();
}

Status SessionKeeper::Delete() { return store_.Delete(SessionKey(id_)); }

std::uint64_t SessionKeeper::sent_bytes() {
  std::lock_guard lock(mutex_);
  return sent_;
}

}  // namespace thinsnap::repo
