#include "snapshotter/mover/segment_worker.h"

#include <algorithm>
#include <utility>

namespace thinsnap::mover {
namespace {

using Fate = BlockOutcome::Fate;

bool Wanted(const Segment& segment, unsigned i) { return ((segment.wanted >> i) & 1) != 0; }

}  // namespace

SegmentWorker::SegmentWorker(block::BlockDevice& source, const repo::Key& fingerprint_key,
                             const std::set<repo::PackId>& absent)
    : source_(source),
      absent_(absent),
      fingerprinter_(fingerprint_key),
      buffer_(repo::kRecordMaxBytes) {}

ByteSpan SegmentWorker::Block(unsigned i) {
  return ByteSpan(buffer_.span()).subspan(std::size_t{i} * repo::kBlockBytes, repo::kBlockBytes);
}

// Neighbouring blocks in one request; what lies beyond the volume's end counts as zeros.
Status SegmentWorker::Read(const Segment& segment, SegmentResult& result) {
  for (unsigned i = 0; i < kSegmentBlocks;) {
    if (!Wanted(segment, i)) {
      ++i;
      continue;
    }
    unsigned end = i;
    while (end < kSegmentBlocks && Wanted(segment, end)) ++end;
    const std::uint64_t offset = (segment.first_block + i) * repo::kBlockBytes;
    const MutableByteSpan all = buffer_.span().subspan(std::size_t{i} * repo::kBlockBytes,
                                                       std::size_t{end - i} * repo::kBlockBytes);
    ASSERT(offset < source_.size_bytes());
    const std::size_t length = static_cast<std::size_t>(
        std::min<std::uint64_t>(all.size(), source_.size_bytes() - offset));
    TRY(source_.ReadAt(offset, all.first(length)).In("read the volume"));
    std::fill(all.begin() + static_cast<std::ptrdiff_t>(length), all.end(), std::uint8_t{0});
    result.read_bytes += length;
    i = end;
  }
  return {};
}

void SegmentWorker::Judge(const Segment& segment, unsigned i, BlockOutcome& outcome) {
  const ByteSpan block = Block(i);
  if (IsZero(block)) {
    outcome.fate = Fate::kHole;
    return;
  }
  outcome.fingerprint = fingerprinter_.Of(block);
  const std::uint64_t number = segment.first_block + i;
  if (segment.base != nullptr) {
    const unsigned position = static_cast<unsigned>(number % repo::kFanOut);
    if (segment.base->Has(position) &&
        segment.base->fingerprints[position] == outcome.fingerprint &&
        (absent_.empty() || !absent_.contains(segment.base->ExtentAt(position)->place.pack))) {
      outcome.fate = Fate::kSame;
      return;
    }
  }
  for (const auto& record : segment.left) {
    if (number < record->first_block ||
        number - record->first_block >= record->fingerprints.size()) {
      continue;
    }
    const std::size_t index = static_cast<std::size_t>(number - record->first_block);
    if (record->fingerprints[index] != outcome.fingerprint) continue;
    outcome.fate = Fate::kLeft;
    outcome.place = {record->place, static_cast<std::uint8_t>(index),
                     static_cast<std::uint8_t>(record->fingerprints.size())};
    return;
  }
  outcome.fate = Fate::kNew;
}

Result<SegmentResult> SegmentWorker::Process(const Segment& segment) {
  SegmentResult result;
  result.sequence = segment.sequence;
  result.first_block = segment.first_block;
  result.base = segment.base;
  TRY(Read(segment, result));
  for (unsigned i = 0; i < kSegmentBlocks; ++i) {
    if (Wanted(segment, i)) Judge(segment, i, result.blocks[i]);
  }
  for (unsigned i = 0; i < kSegmentBlocks;) {
    if (result.blocks[i].fate != Fate::kNew) {
      ++i;
      continue;
    }
    unsigned end = i;
    while (end < kSegmentBlocks && result.blocks[end].fate == Fate::kNew) ++end;
    const ByteSpan payload = encoder_.Encode(
        ByteSpan(buffer_.span())
            .subspan(std::size_t{i} * repo::kBlockBytes, std::size_t{end - i} * repo::kBlockBytes));
    result.runs.push_back({i, end - i, Bytes(payload.begin(), payload.end())});
    i = end;
  }
  return result;
}

}  // namespace thinsnap::mover
