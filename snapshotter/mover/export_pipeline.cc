#include "snapshotter/mover/export_pipeline.h"

#include <algorithm>
#include <unistd.h>
#include <utility>

#include "snapshotter/mover/segment_plan.h"
#include "snapshotter/mover/segment_worker.h"

namespace thinsnap::mover {
namespace {

using Fate = BlockOutcome::Fate;

constexpr std::size_t kSegmentsUnderWay = 12;
constexpr std::size_t kPackBuffers = 4;
constexpr unsigned kUploaders = 2;
constexpr Duration kReportEvery = std::chrono::milliseconds(200);

unsigned Workers() {
  return static_cast<unsigned>(std::clamp(::sysconf(_SC_NPROCESSORS_ONLN), 2L, 4L));
}

Error Stopped() { return Error(Code::kCancelled, "the export is stopping"); }

// What a closed channel means to a task that waits for more.
template <typename T>
Result<T> Next(Channel<T>& channel) {
  std::optional<T> item = TRY(channel.Receive());
  if (!item) return Stopped();
  return std::move(*item);
}

}  // namespace

ExportPipeline::ExportPipeline(PipelineInput input)
    : in_(std::move(input)),
      keyring_(in_.repository.keyring()),
      workers_(Workers()),
      permits_(in_.runtime, kSegmentsUnderWay),
      work_(in_.runtime, kSegmentsUnderWay),
      results_(in_.runtime, kSegmentsUnderWay),
      uploads_(in_.runtime, 1),
      buffers_(in_.runtime, kPackBuffers),
      uploaders_done_(in_.runtime, kUploaders),
      working_(workers_),
      left_(in_.repository.store(), keyring_, in_.left) {}

void ExportPipeline::Start(TaskGroup& group, const std::string& name,
                           Status (ExportPipeline::*body)()) {
  group.Spawn(name, [this, body] {
    const Status status = (this->*body)();
    if (!status.ok()) Fail(status.error());
  });
}

void ExportPipeline::Fail(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = error;
  }
  permits_.Close();
  work_.Close();
  results_.Close();
  uploads_.Close();
  buffers_.Close();
  uploaders_done_.Close();
  group_->Stop();
}

Error ExportPipeline::Failure(Error otherwise) {
  std::lock_guard lock(mutex_);
  return failure_ ? *failure_ : std::move(otherwise);
}

Result<PipelineOutput> ExportPipeline::Run() {
  TaskGroup group(in_.runtime);
  group_ = &group;
  for (std::size_t i = 0; i < kSegmentsUnderWay; ++i) TRY(permits_.Send(0));
  for (std::size_t i = 0; i < kPackBuffers; ++i) TRY(buffers_.Send(Bytes()));
  map_.emplace(keyring_, in_.random, in_.source.size_bytes(), in_.base_map, in_.patch,
               in_.base_table,
               [this](repo::FinishedPack pack) { return uploads_.Send(std::move(pack)); });
  Start(group, "export plan", &ExportPipeline::Plan);
  for (unsigned i = 0; i < workers_; ++i) Start(group, "export work", &ExportPipeline::Work);
  for (unsigned i = 0; i < kUploaders; ++i) Start(group, "export upload", &ExportPipeline::Upload);
  const Status assembled = Assemble();
  if (!assembled.ok()) {
    Fail(assembled.error());
    group.Join();
    return Failure(assembled.error());
  }
  group.Join();
  out_.uploaded_bytes = uploaded_bytes_;
  out_.watched_wanted = watched_wanted_;
  return std::move(out_);
}

Status ExportPipeline::Plan() {
  SegmentPlan plan(in_.source.size_bytes(),
                   [this](std::uint64_t first_block, std::uint16_t wanted) {
                     return PlanSegment(first_block, wanted);
                   });
  while (const std::optional<block::Extent> extent = TRY(in_.ranges->Next())) {
    TRY(plan.Add(*extent));
  }
  TRY(plan.Finish());
  work_.Close();
  return {};
}

Status ExportPipeline::PlanSegment(std::uint64_t first_block, std::uint16_t wanted) {
  TRY(Next(permits_));
  const std::uint64_t leaf = first_block / repo::kFanOut * repo::kFanOut;
  if (leaf != plan_leaf_) {
    plan_leaf_ = leaf;
    plan_base_ = nullptr;
    if (in_.base_map != nullptr) plan_base_ = TRY(in_.base_map->LeafAt(leaf));
  }
  if (leaf == in_.watched_leaf) {
    watched_wanted_ |= std::uint64_t{wanted} << (first_block - leaf);
  }
  Segment segment;
  segment.sequence = next_sequence_++;
  segment.first_block = first_block;
  segment.wanted = wanted;
  segment.base = plan_base_;
  segment.left = TRY(left_.In(first_block));
  return work_.Send(std::move(segment));
}

Status ExportPipeline::Work() {
  SegmentWorker worker(in_.source, keyring_.fingerprint_key(), in_.absent);
  for (;;) {
    std::optional<Segment> segment = TRY(work_.Receive());
    if (!segment) break;
    SegmentResult result = TRY(worker.Process(*segment));
    TRY(results_.Send(std::move(result)));
  }
  if (--working_ == 0) results_.Close();
  return {};
}

Status ExportPipeline::Upload() {
  for (;;) {
    std::optional<repo::FinishedPack> pack = TRY(uploads_.Receive());
    if (!pack) break;
    TRY(in_.keeper.CheckLease());
    const std::string key = repo::PackKey(pack->kind, pack->id);
    TRY(in_.repository.store().Put(key, pack->object()).In("write pack " + key));
    uploaded_bytes_ += pack->size;
    if (pack->kind != repo::PackKind::kData) continue;
    in_.keeper.AddPack({pack->id, pack->epoch, pack->units, pack->trailer_offset,
                        pack->trailer_length, pack->first_block, pack->last_block});
    TRY(buffers_.Send(std::move(pack->buffer)));
  }
  return uploaders_done_.Send(0);
}

Status ExportPipeline::Assemble() {
  std::map<std::uint64_t, SegmentResult> early;
  std::uint64_t next = 0;
  for (;;) {
    std::optional<SegmentResult> result = TRY(results_.Receive());
    if (!result) break;
    early.emplace(result->sequence, std::move(*result));
    while (!early.empty() && early.begin()->first == next) {
      TRY(Consume(std::move(early.begin()->second)));
      early.erase(early.begin());
      ++next;
      TRY(permits_.Send(0));
    }
  }
  {
    std::lock_guard lock(mutex_);
    if (failure_) return *failure_;
  }
  ASSERT(early.empty() && next == next_sequence_);
  TRY(FinishLeaf());
  TRY(FinishPack());
  TRY(FinishMap());
  uploads_.Close();
  for (unsigned i = 0; i < kUploaders; ++i) TRY(Next(uploaders_done_));
  Report(in_.source.size_bytes(), true);
  return {};
}

Status ExportPipeline::Consume(SegmentResult result) {
  const std::uint64_t first = result.first_block / repo::kFanOut * repo::kFanOut;
  if (!leaf_ || leaf_->first_block() != first) {
    TRY(FinishLeaf());
    leaf_.emplace(first, in_.patch ? result.base.get() : nullptr);
    leaf_base_ = result.base;
  }
  const unsigned start = static_cast<unsigned>(result.first_block - first);
  for (unsigned i = 0; i < kSegmentBlocks; ++i) {
    const BlockOutcome& block = result.blocks[i];
    const bool had = leaf_base_ != nullptr && leaf_base_->Has(start + i);
    switch (block.fate) {
      case Fate::kUntouched:
      case Fate::kNew:
        break;
      case Fate::kHole:
        leaf_->SetHole(start + i);
        if (had) ++out_.changed_blocks;
        break;
      case Fate::kSame:
        leaf_->SetAs(start + i, *leaf_base_);
        break;
      case Fate::kLeft:
        leaf_->Set(start + i, block.place, block.fingerprint);
        ++out_.changed_blocks;
        break;
    }
  }
  TRY(StoreRuns(result));
  out_.read_bytes += result.read_bytes;
  const std::uint64_t done = (result.first_block + kSegmentBlocks) * repo::kBlockBytes;
  Report(std::min(done, in_.source.size_bytes()), false);
  return {};
}

Status ExportPipeline::StoreRuns(const SegmentResult& result) {
  for (const NewRun& run : result.runs) {
    std::array<repo::Fingerprint, kSegmentBlocks> fingerprints;
    for (unsigned i = 0; i < run.count; ++i) {
      fingerprints[i] = result.blocks[run.first + i].fingerprint;
    }
    if (builder_ && !builder_->HasRoom(run.payload.size(), run.count)) TRY(FinishPack());
    if (!builder_) {
      Bytes buffer = TRY(Next(buffers_));
      builder_.emplace(keyring_, repo::PackKind::kData, in_.random, std::move(buffer));
    }
    const repo::RecordPlace place = builder_->AddBlocks(run.payload, result.first_block + run.first,
                                                        std::span(fingerprints).first(run.count));
    const auto blocks = static_cast<std::uint8_t>(run.count);
    for (unsigned i = 0; i < run.count; ++i) {
      const std::uint64_t block = result.first_block + run.first + i;
      leaf_->Set(static_cast<unsigned>(block % repo::kFanOut),
                 {place, static_cast<std::uint8_t>(i), blocks}, fingerprints[i]);
    }
    out_.changed_blocks += run.count;
    out_.stored_bytes += place.length;
  }
  return {};
}

Status ExportPipeline::FinishLeaf() {
  if (!leaf_) return {};
  const repo::Leaf leaf = leaf_->Build();
  const std::shared_ptr<const repo::Leaf> base = std::move(leaf_base_);
  leaf_.reset();
  leaf_base_ = nullptr;
  const bool same = base != nullptr ? leaf == *base : leaf.stored == 0;
  if (in_.patch) {
    if (same) return {};
    return map_->PutLeaf(leaf, base.get());
  }
  if (leaf.stored == 0) return {};
  if (!same) return map_->PutLeaf(leaf, nullptr);
  const auto ref = TRY(in_.base_map->RefAt(0, leaf.first_block));
  ASSERT(ref.has_value());
  return map_->ShareLeaf(leaf, *ref);
}

Status ExportPipeline::FinishPack() {
  if (!builder_) return {};
  repo::FinishedPack pack = std::move(*builder_).Finish();
  builder_.reset();
  // The last records' leaf may come later than this; totals are set again before the table is used.
  in_.left.push_back({pack.id, pack.epoch, pack.units, pack.trailer_offset, pack.trailer_length,
                      pack.first_block, pack.last_block});
  in_.keeper.SetPosition(pack.last_block * repo::kBlockBytes);
  return uploads_.Send(std::move(pack));
}

Status ExportPipeline::FinishMap() {
  out_.root = TRY(map_->Finish());
  repo::PackTable& table = map_->table();
  for (const repo::SessionPack& pack : in_.left) table.SetTotal(pack.id, pack.units);
  for (const auto& [id, entry] : in_.base_table.entries()) table.SetTotal(id, entry.total);
  if (const auto incomplete = table.Incomplete(); !incomplete.empty()) {
    return Error(Code::kInternal, "the pack table uses more of pack " + incomplete.front().Hex() +
                                      " than it holds; the point is not committed");
  }
  TRY(StoreTable());
  return map_->Flush();
}

// In the point while small; else in map packs, as what differs from the base's where that is much
// less.
Status ExportPipeline::StoreTable() {
  Bytes whole = map_->table().Encode();
  if (whole.size() < in_.inline_table_bytes) {
    out_.inline_table = std::move(whole);
    return {};
  }
  const std::size_t runs = in_.base_table_runs.size();
  if (runs > 0 && runs < repo::kMaxTableRuns) {
    const Bytes difference = map_->table().EncodeDifference(in_.base_table);
    if (difference.size() < whole.size() / 2) {
      out_.table_runs = in_.base_table_runs;
      if (difference.size() > 1) out_.table_runs.push_back(TRY(map_->WriteTable(difference)));
      return {};
    }
  }
  out_.table_runs = { TRY(map_->WriteTable(whole)) };
  return {};
}

void ExportPipeline::Report(std::uint64_t done_bytes, bool last) {
  if (!in_.progress) return;
  const MonoTime now = in_.runtime.clock().MonoNow();
  if (!last && now - reported_ < kReportEvery) return;
  reported_ = now;
  in_.progress({in_.source.size_bytes(), done_bytes, out_.changed_blocks * repo::kBlockBytes,
                uploaded_bytes_});
}

}  // namespace thinsnap::mover
