// ExportPipeline: one pass over a volume. A planner asks for ranges and looks up the base, workers
// read, hash and compress, the calling task puts the results in order, seals them into packs and
// builds the map, uploaders put packs. Every queue is bounded; when anything fails, everything
// stops.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "snapshotter/mover/leaf_builder.h"
#include "snapshotter/mover/left_records.h"
#include "snapshotter/mover/segment.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/map_writer.h"
#include "snapshotter/repo/point.h"
#include "snapshotter/repo/session.h"

namespace thinsnap::mover {

struct PipelineInput {
  repo::Repository& repository;
  Runtime& runtime;
  Random& random;
  block::BlockDevice& source;
  repo::SessionKeeper& keeper;
  const std::set<repo::PackId>& absent;  // tombstoned packs
  // What to read. patch: everything else is as in the base; otherwise everything else is zeros.
  std::unique_ptr<block::ExtentStream> ranges;
  bool patch = false;
  repo::MapReader* base_map = nullptr;
  repo::PackTable base_table = {};
  std::vector<repo::TableRun> base_table_runs = {};  // empty: not to be built upon
  std::vector<repo::SessionPack> left = {};          // packs of interrupted exports
  std::uint64_t watched_leaf = 0;                    // its wanted blocks are reported
  std::size_t inline_table_bytes = repo::kInlineTableBytes;
  const ProgressCallback& progress;
};

struct PipelineOutput {
  repo::MapRoot root;
  Bytes inline_table;
  std::vector<repo::TableRun> table_runs;
  std::uint64_t read_bytes = 0;
  std::uint64_t changed_blocks = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t uploaded_bytes = 0;
  std::uint64_t watched_wanted = 0;  // bit i: block i of the watched leaf was wanted
};

// Runs once.
class ExportPipeline {
 public:
  explicit ExportPipeline(PipelineInput input);
  Result<PipelineOutput> Run();

 private:
  // Tasks.
  Status Plan();
  Status Work();
  Status Upload();
  Status Assemble();

  Status PlanSegment(std::uint64_t first_block, std::uint16_t wanted);
  Status Consume(SegmentResult result);
  Status StoreRuns(const SegmentResult& result);
  Status FinishLeaf();
  Status FinishPack();
  Status FinishMap();
  Status StoreTable();
  void Report(std::uint64_t done_bytes, bool last);
  void Fail(const Error& error);
  Error Failure(Error otherwise);
  // Runs a task's body, and Fail()s when it fails.
  void Start(TaskGroup& group, const std::string& name, Status (ExportPipeline::*body)());

  PipelineInput in_;
  const repo::Keyring& keyring_;
  const unsigned workers_;

  Channel<char> permits_;  // segments under way
  Channel<Segment> work_;
  Channel<SegmentResult> results_;
  Channel<repo::FinishedPack> uploads_;
  Channel<Bytes> buffers_;  // for packs under construction
  Channel<char> uploaders_done_;
  std::atomic<unsigned> working_;
  std::atomic<std::uint64_t> uploaded_bytes_ = 0;

  // The planner's.
  LeftRecords left_;
  std::uint64_t next_sequence_ = 0;
  std::uint64_t plan_leaf_ = UINT64_MAX;
  std::shared_ptr<const repo::Leaf> plan_base_;
  std::atomic<std::uint64_t> watched_wanted_ = 0;

  // The assembler's.
  std::optional<repo::MapWriter> map_;
  std::optional<repo::PackBuilder> builder_;
  std::optional<LeafBuilder> leaf_;
  std::shared_ptr<const repo::Leaf> leaf_base_;
  PipelineOutput out_;
  MonoTime reported_{};

  std::mutex mutex_;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  TaskGroup* group_ = nullptr;
};

}  // namespace thinsnap::mover
