#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

Status ListAll(ObjectStore& store, const std::string& prefix,
               const std::function<Status(const ObjectInfo&)>& visit) {
  std::string after;
  for (;;) {
    const Page page = TRY(store.List(prefix, after));
    for (const ObjectInfo& info : page.objects) TRY(visit(info));
    if (!page.more) return {};
    if (page.objects.empty() || page.objects.back().key <= after) {
      return Error(
          Code::kInternal,
          store.Describe() + ": a page of the listing does not go on after \"" + after + "\"");
    }
    after = page.objects.back().key;
  }
}

}  // namespace thinsnap::store
