#include "snapshotter/repo/small_object.h"

namespace thinsnap::repo {

Result<store::Object> GetSmallObject(store::ObjectStore& store, const std::string& key,
                                     std::uint64_t max_bytes) {
  auto object = store.Get(key, store::ByteRange{0, max_bytes});
  if (object.Is(Code::kOutOfRange)) return Error(Code::kDataLoss, "object " + key + " is empty");
  if (!object.ok()) return std::move(object).error().In("read " + key);
  if (object->info.size > max_bytes) {
    return Error(Code::kDataLoss, "object " + key + " has " + std::to_string(object->info.size) +
                                      " bytes; at most " + std::to_string(max_bytes) +
                                      " are expected");
  }
  return object;
}

}  // namespace thinsnap::repo
