#include "snapshotter/mover/verify_blocks.h"

#include <algorithm>

#include "snapshotter/mover/import_slice.h"
#include "snapshotter/repo/point_store.h"

namespace thinsnap::mover {
namespace {

// Takes everything and keeps nothing.
class NullDevice final : public block::BlockDevice {
 public:
  explicit NullDevice(std::uint64_t size) : size_(size) {}
  std::uint64_t size_bytes() const override { return size_; }
  Status ReadAt(std::uint64_t, MutableByteSpan) override {
    return Error(Code::kUnimplemented, "nothing was kept");
  }
  Status WriteAt(std::uint64_t, ByteSpan) override { return {}; }
  Status Discard(std::uint64_t, std::uint64_t) override { return {}; }
  Status Flush() override { return {}; }
  Status Allocated(const block::ExtentVisitor&) override { return {}; }

 private:
  std::uint64_t size_;
};

// A pack's id is random; records of one pack differ by their offset. A collision of two in 2^64
// would skip one.
std::uint64_t PlaceHash(const repo::PackId& pack, const Piece& piece) {
  const std::uint64_t low = LoadLe<std::uint64_t>(pack.bytes.data());
  const std::uint64_t where =
      (std::uint64_t{piece.offset} << 16) | (std::uint64_t{piece.record_first} << 8) | piece.count;
  return low ^ (where * 0x9e3779b97f4a7c15ULL);
}

}  // namespace

Status VerifyBlocks(repo::Repository& repository, Runtime& runtime, const repo::PointName& name,
                    VerifiedRecords& verified, const ProgressCallback& progress) {
  const repo::Point point = TRY(repo::ReadPoint(repository.store(), repository.keyring(), name));
  repo::MapReader map(repository.store(), runtime, repository.keyring(), point.root);
  ImportMeter meter(runtime, progress,
                    point.root.stored_blocks() * std::uint64_t{repo::kBlockBytes});
  NullDevice nowhere(point.info.size_bytes);
  const std::uint64_t blocks = repo::BlocksOf(point.info.size_bytes);
  for (std::uint64_t first = 0; first < blocks; first += kSliceBlocks) {
    TRY(Runtime::CheckCancelled());
    SlicePlan plan = TRY(PlanSlice(map, first, std::min(blocks, first + kSliceBlocks)));
    std::erase_if(plan.pieces, [&](const Piece& piece) {
      return verified.contains(PlaceHash(plan.packs[piece.pack].id, piece));
    });
    CutShares(plan);
    TRY(FetchSlice(repository, runtime, plan, point.info.size_bytes, nowhere, meter));
    for (const Piece& piece : plan.pieces) {
      verified.insert(PlaceHash(plan.packs[piece.pack].id, piece));
    }
  }
  meter.Finish();
  return {};
}

}  // namespace thinsnap::mover
