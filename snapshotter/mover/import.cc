// Restoring a point, slice by slice: the leaves of 64 GiB are read, what they name is sorted by
// pack and offset, and each pack's share is fetched with one request, opened, checked and written
// where it belongs.
#include <algorithm>
#include <utility>

#include "snapshotter/mover/import_slice.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/point_store.h"

namespace thinsnap::mover {

Status ImportBlocks(repo::Repository& repository, Runtime& runtime, const ImportRequest& request) {
  const repo::Point point =
      TRY(repo::ReadPoint(repository.store(), repository.keyring(), request.point));
  ASSERT(request.target != nullptr);
  if (request.target->size_bytes() < point.info.size_bytes) {
    return Error(Code::kInvalidArgument, "the target has " +
                                             std::to_string(request.target->size_bytes()) +
                                             " bytes; point " + request.point.str() + " needs " +
                                             std::to_string(point.info.size_bytes));
  }
  repo::MapReader map(repository.store(), runtime, repository.keyring(), point.root);
  ImportMeter meter(runtime, request.progress,
                    point.root.stored_blocks() * std::uint64_t{repo::kBlockBytes});
  const std::uint64_t blocks = repo::BlocksOf(point.info.size_bytes);
  for (std::uint64_t first = 0; first < blocks; first += kSliceBlocks) {
    TRY(Runtime::CheckCancelled());
    const SlicePlan plan =
        TRY(PlanSlice(map, first, std::min(blocks, first + kSliceBlocks)).In(request.point.str()));
    if (!request.target_is_blank) {
      TRY(DiscardHoles(plan, point.info.size_bytes, *request.target));
    }
    TRY(FetchSlice(repository, runtime, plan, point.info.size_bytes, *request.target, meter)
            .In("restore " + request.point.str()));
  }
  TRY(request.target->Flush());
  meter.Finish();
  return {};
}

}  // namespace thinsnap::mover
