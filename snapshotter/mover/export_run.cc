#include "snapshotter/mover/export_run.h"

#include <algorithm>
#include <utility>

#include "base/block/aligned_buffer.h"
#include "base/core/log.h"
#include "snapshotter/repo/tombstone.h"

namespace thinsnap::mover {
namespace {

using repo::ExportMode;

constexpr std::size_t kSeenMax = 4096;
constexpr int kBasesTried = 3;
constexpr int kCommitTries = 4;
constexpr Duration kLastWords = std::chrono::seconds(5);

}  // namespace

ExportRun::ExportRun(repo::Repository& repository, Runtime& runtime, Random& random,
                     const ExportRequest& request, int attempt,
                     const std::vector<repo::ListedPoint>& listed)
    : repository_(repository),
      store_(repository.store()),
      keyring_(repository.keyring()),
      runtime_(runtime),
      random_(random),
      request_(request),
      listed_(listed),
      name_(repo::MakePointName(request.series, request.snapshot, attempt)),
      attempt_(attempt) {}

Result<std::optional<repo::PointInfo>> ExportRun::Run() {
  TRY(OpenSession());
  std::optional<Error> lease_lost;
  TaskGroup keeping(runtime_);
  keeping.Spawn("session keeper", [this] {
    const Status ended = keeper_->KeepAlive();
    if (!ended.ok() && !ended.Is(Code::kCancelled)) LogWarning("mover", ended.error().message());
  });
  auto outcome = [&]() -> Result<std::optional<repo::PointInfo>> {
    tombstoned_ = TRY(repo::ReadTombstones(store_, keyring_));
    TRY(ChooseBase());
    ChooseMode();
    return Commit(TRY(Move()));
  }();
  keeping.Stop();
  keeping.Join();
  if (!outcome.ok()) {
    LeaveSession();
    return outcome;
  }
  const Status deleted = keeper_->Delete();
  if (!deleted.ok()) LogInfo("mover", "session left behind: " + deleted.error().message());
  if (*outcome) CleanSessions();
  return outcome;
}

// What interrupted exports of the series stored is taken over; being listed in this session, it is
// kept from the collector and found again if this one is interrupted too.
Status ExportRun::OpenSession() {
  found_ = TRY(repo::FindSessions(store_, keyring_, request_.series));
  repo::Session session;
  session.id = repo::NewSessionId(keyring_, runtime_.clock().Now(), random_, request_.series);
  session.series = request_.series;
  session.point = name_;
  std::set<repo::PackId> known;
  for (const repo::FoundSession& found : found_) {
    if (request_.anew) break;
    for (const repo::SessionPack& pack : found.session.packs) {
      if (known.insert(pack.id).second) session.packs.push_back(pack);
    }
  }
  keeper_.emplace(store_, runtime_, random_, keyring_, std::move(session));
  return keeper_->Open();
}

Result<std::optional<ExportRun::Base>> ExportRun::LoadBase(const repo::PointName& name) {
  auto point = repo::ReadPoint(store_, keyring_, name);
  if (point.Is(Code::kNotFound)) return std::optional<Base>();
  std::optional<Base> base;
  Status whole;
  if (point.ok()) {
    auto table = repo::ReadPackTable(store_, keyring_, *point);
    if (table.ok()) {
      base.emplace(Base{std::move(point).value(), std::move(table).value(), nullptr});
    } else {
      whole = std::move(table).error();
    }
  } else {
    whole = std::move(point).error();
  }
  if (!base) {
    if (!whole.Is(Code::kDataLoss)) return std::move(whole).error().In("read the base");
    alarm_ = whole.error().message();
    LogError("mover", "base " + name.str() + " cannot be used: " + alarm_);
    return base;
  }
  for (const repo::TableRun& run : base->point.table_runs) {
    if (std::any_of(run.begin(), run.end(), [&](const repo::RecordPlace& piece) {
          return tombstoned_.contains(piece.pack);
        })) {
      base->point.table_runs.clear();  // read already; the next table is stored whole
      break;
    }
  }
  for (const auto& [id, entry] : base->table.entries()) {
    if (entry.kind != repo::PackKind::kMap || !tombstoned_.contains(id)) continue;
    reason_ = "the map of point " + name.str() + " is about to be collected";
    return std::optional<Base>();
  }
  base->map = std::make_unique<repo::MapReader>(store_, runtime_, keyring_, base->point.root);
  return base;
}

Status ExportRun::ChooseBase() {
  if (request_.anew) {
    reason_ = "asked for";
    return {};
  }
  std::vector<repo::PointName> candidates;
  if (request_.base) candidates.push_back(*request_.base);
  for (auto it = listed_.rbegin(); it != listed_.rend(); ++it) {
    if (it->looks_void || it->parts.snapshot == request_.snapshot) continue;
    if (candidates.size() >= kBasesTried + (request_.base ? 1U : 0U)) break;
    if (!request_.base || it->name != *request_.base) candidates.push_back(it->name);
  }
  for (const repo::PointName& candidate : candidates) {
    base_ = TRY(LoadBase(candidate));
    if (base_) return {};
  }
  if (reason_.empty()) {
    reason_ = candidates.empty() ? "the series has no point yet" : "no earlier point can be read";
  }
  return {};
}

void ExportRun::ChooseMode() {
  mode_ = ExportMode::kFull;
  if (!base_) return;
  mode_ = ExportMode::kReread;
  const repo::PointInfo& base = base_->point.info;
  if (!request_.changed) {
    reason_ = "nothing names the changed ranges";
  } else if (!request_.base) {
    reason_ = "no snapshot is here that an earlier point was made from";
  } else if (base.name != *request_.base) {
    reason_ = "point " + request_.base->str() + " is not in the repository";
  } else if (base.device_identity.empty() ||
             base.device_identity != request_.base_device_identity) {
    reason_ =
        "the base's snapshot is another device than point " + base.name.str() + " was made from";
  } else if (base.size_bytes > request_.source->size_bytes()) {
    reason_ = "the volume became smaller";
  } else if (std::any_of(tombstoned_.begin(), tombstoned_.end(), [&](const repo::PackId& pack) {
               return base_->table.Find(pack) != nullptr;
             })) {
    reason_ = "packs of the base are about to be collected";
  } else {
    mode_ = ExportMode::kChanged;
    reason_.clear();
  }
}

void ExportRun::FallBack(ExportMode mode, const std::string& reason, bool alarm) {
  LogWarning("mover", "export of " + request_.series + " starts over: " + reason);
  if (alarm) alarm_ = reason;
  mode_ = mode;
  reason_ = reason;
  if (mode == ExportMode::kFull) base_.reset();
}

// Passes over the volume until one holds. What a pass stored serves the next.
Result<PipelineOutput> ExportRun::Move() {
  for (;;) {
    auto output = Pass();
    if (output.Is(Code::kFailedPrecondition) && mode_ == ExportMode::kChanged &&
        keeper_->CheckLease().ok()) {
      FallBack(ExportMode::kReread, "the changed ranges are not known: " + output.error().message(),
               false);
      continue;
    }
    if (output.Is(Code::kDataLoss) && base_) {
      FallBack(ExportMode::kFull, "the base is damaged: " + output.error().message(), true);
      continue;
    }
    return output;
  }
}

Result<std::unique_ptr<block::ExtentStream>> ExportRun::Ranges() const {
  if (mode_ == ExportMode::kChanged) return request_.changed();
  if (request_.allocated) return request_.allocated();
  return block::CollectExtents(
      [this](const block::ExtentVisitor& visit) { return request_.source->Allocated(visit); });
}

Result<PipelineOutput> ExportRun::Pass() {
  block::BlockDevice& source = *request_.source;
  const bool patch = mode_ == ExportMode::kChanged;
  const std::uint64_t leaves =
      (repo::BlocksOf(source.size_bytes()) + repo::kFanOut - 1) / repo::kFanOut;
  const std::uint64_t watched = leaves == 0 ? 0 : random_.Below(leaves) * repo::kFanOut;
  std::unique_ptr<block::ExtentStream> ranges = TRY(Ranges());
  const auto left = keeper_->packs();
  std::vector<repo::SessionPack> usable;
  for (const repo::SessionPack& pack : left) {
    if (!tombstoned_.contains(pack.id)) usable.push_back(pack);
  }
  PipelineInput input{
      .repository = repository_,
      .runtime = runtime_,
      .random = random_,
      .source = source,
      .keeper = *keeper_,
      .absent = tombstoned_,
      .ranges = std::move(ranges),
      .patch = patch,
      .left = std::move(usable),
      .watched_leaf = watched,
      .inline_table_bytes = request_.inline_table_bytes,
      .progress = request_.progress,
  };
  if (base_) {
    input.base_map = base_->map.get();
    input.base_table = base_->table;
    input.base_table_runs = base_->point.table_runs;
  }
  ExportPipeline pipeline(std::move(input));
  PipelineOutput output = TRY(pipeline.Run());
  if (!patch || leaves == 0) return output;

  // Trust, but verify: the blocks of one stretch that were called unchanged.
  const std::shared_ptr<const repo::Leaf> leaf = TRY(base_->map->LeafAt(watched));
  repo::Fingerprinter fingerprinter(keyring_.fingerprint_key());
  block::AlignedBuffer block(repo::kBlockBytes);
  for (unsigned i = 0; i < repo::kFanOut; ++i) {
    const std::uint64_t offset = (watched + i) * repo::kBlockBytes;
    if (((output.watched_wanted >> i) & 1) != 0 || offset >= source.size_bytes()) continue;
    const std::size_t length = static_cast<std::size_t>(
        std::min<std::uint64_t>(repo::kBlockBytes, source.size_bytes() - offset));
    std::fill(block.span().begin(), block.span().end(), std::uint8_t{0});
    TRY(source.ReadAt(offset, block.span().first(length)));
    const bool had = leaf != nullptr && leaf->Has(i);
    const bool same =
        had ? fingerprinter.Of(block.span()) == leaf->fingerprints[i] : IsZero(block.span());
    if (same) continue;
    sent_by_failed_passes_ += output.uploaded_bytes;
    FallBack(ExportMode::kReread,
             "a block that was called unchanged differs from the base, at byte " +
                 std::to_string(offset),
             true);
    return Pass();
  }
  output.read_bytes += repo::kFanOut * std::uint64_t{repo::kBlockBytes};
  return output;
}

repo::Point ExportRun::Describe(PipelineOutput output) const {
  repo::Point point;
  repo::PointInfo& info = point.info;
  info.name = name_;
  info.series = request_.series;
  info.snapshot = request_.snapshot;
  info.attempt = attempt_;
  info.cut = request_.cut;
  info.size_bytes = request_.source->size_bytes();
  info.data_bytes =
      std::min(output.root.stored_blocks() * std::uint64_t{repo::kBlockBytes}, info.size_bytes);
  info.read_bytes = output.read_bytes;
  info.changed_bytes = output.changed_blocks * repo::kBlockBytes;
  info.stored_bytes = output.stored_bytes;
  info.uploaded_bytes = output.uploaded_bytes + sent_by_failed_passes_;
  info.mode = mode_;
  info.mode_reason = reason_;
  if (base_) info.base = base_->point.info.name;
  info.device_identity = request_.device_identity;
  info.attributes = request_.attributes;
  point.root = output.root;
  point.inline_table = std::move(output.inline_table);
  point.table_runs = std::move(output.table_runs);
  point.session = keeper_->id();
  point.alarm = alarm_;
  const std::size_t skipped = listed_.size() - std::min(listed_.size(), kSeenMax);
  for (std::size_t i = skipped; i < listed_.size(); ++i) {
    const repo::ListedPoint& other = listed_[i];
    if (other.looks_void) continue;
    point.seen.push_back(other.parts.snapshot + "." + std::to_string(other.parts.attempt));
  }
  return point;
}

Result<std::optional<repo::PointInfo>> ExportRun::Commit(PipelineOutput output) {
  // Whoever stops an export may count on it: no point comes, even where nothing else had to wait.
  TRY(Runtime::CheckCancelled());
  repo::Point point = Describe(std::move(output));
  const std::uint64_t sent_before = point.info.uploaded_bytes + keeper_->sent_bytes();
  const std::string key = repo::PointKey(name_);
  Bytes object;
  // The point says how much was sent, itself included; its length settles at once.
  for (int i = 0; i < 3; ++i) {
    point.info.uploaded_bytes = sent_before + object.size();
    object = keyring_.SealObject(random_, key, TRY(repo::EncodePoint(point)));
  }
  if (object.size() > repo::kPointMaxBytes) {
    return Error(Code::kInternal, "point " + name_.str() + " is larger than a point may be");
  }
  for (int i = 0; i < kCommitTries; ++i) {
    TRY(keeper_->CheckLease());
    const auto put = store_.Put(key, object, {.if_absent = true, .if_match = {}});
    if (put.ok()) {
      point.info.committed = put->date;
      return std::optional(point.info);
    }
    if (!put.Is(Code::kFailedPrecondition) && !put.Is(Code::kUnknownOutcome) &&
        !put.Is(Code::kAborted)) {
      return put.error().In("commit " + name_.str());
    }
    // Refused, or the answer was lost: the key says which. A manifest there is of this snapshot,
    // whoever wrote it.
    auto found = repo::ReadPointObject(store_, keyring_, name_);
    if (found.Is(Code::kNotFound)) continue;
    if (!found.ok()) return std::move(found).error().In("commit " + name_.str());
    if (repo::Point* committed = std::get_if<repo::Point>(&*found)) {
      return std::optional(std::move(committed->info));
    }
    LogInfo("mover", "session " + keeper_->id() + " was revoked; the export starts again");
    return std::optional<repo::PointInfo>();
  }
  return Error(Code::kUnavailable,
               "commit " + name_.str() + ": the store neither took the point nor showed another");
}

// The last acknowledged packs are told to the next writer, if the store answers within a moment.
// Nothing relies on it.
void ExportRun::LeaveSession() {
  if (!keeper_->CheckLease().ok()) return;
  TaskGroup writing(runtime_);
  TaskGroup watching(runtime_);
  writing.Spawn("abandon session", [&] {
    const Status left = keeper_->Abandon();
    if (!left.ok()) LogInfo("mover", "session not marked: " + left.error().message());
    watching.Stop();
  });
  watching.Spawn("abandon session deadline", [&] {
    if (runtime_.SleepFor(kLastWords).ok()) writing.Stop();
  });
  writing.Join();
  watching.Join();
}

// Whose key is used and whose writer is gone has no further use.
void ExportRun::CleanSessions() {
  for (const repo::FoundSession& found : found_) {
    const repo::PointName& key = found.session.point;
    const bool used = key == name_ || std::any_of(listed_.begin(), listed_.end(),
                                                  [&](const auto& it) { return it.name == key; });
    if (!used || (!found.session.abandoned && found.quiet <= repo::kLease)) continue;
    const Status deleted = store_.Delete(repo::SessionKey(found.session.id));
    if (!deleted.ok()) LogInfo("mover", "session left behind: " + deleted.error().message());
  }
}

}  // namespace thinsnap::mover
