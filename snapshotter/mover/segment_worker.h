// SegmentWorker: reads a segment, tests for zeros, hashes, compares with base and left records,
// compresses what is new.
#pragma once

#include <set>

#include "base/block/aligned_buffer.h"
#include "base/block/block_device.h"
#include "base/core/result.h"
#include "snapshotter/mover/segment.h"
#include "snapshotter/repo/crypto.h"
#include "snapshotter/repo/record.h"

namespace thinsnap::mover {

// Not thread-safe; one for each worker task.
class SegmentWorker {
 public:
  // absent: packs whose blocks count as not stored, because they are about to be deleted.
  SegmentWorker(block::BlockDevice& source, const repo::Key& fingerprint_key,
                const std::set<repo::PackId>& absent);

  Result<SegmentResult> Process(const Segment& segment);

 private:
  Status Read(const Segment& segment, SegmentResult& result);
  void Judge(const Segment& segment, unsigned i, BlockOutcome& outcome);
  ByteSpan Block(unsigned i);

  block::BlockDevice& source_;
  const std::set<repo::PackId>& absent_;
  repo::Fingerprinter fingerprinter_;
  repo::RecordEncoder encoder_;
  block::AlignedBuffer buffer_;
};

}  // namespace thinsnap::mover
