#include "csi/pool/thin_pool.h"

#include <utility>

namespace thinsnap::pool {

std::string PoolStatus::Trouble() const {
  const std::pair<bool, const char*> all[] = {
      {read_only, "the kernel only reads it"},
      {needs_check, "its metadata has to be checked and repaired"},
      {out_of_data_space, "its data space is full"},
      {metadata_low, "its metadata space is nearly full"},
  };
  std::string sentence;
  for (const auto& [is_so, what] : all) {
    if (is_so) sentence += (sentence.empty() ? "" : "; ") + std::string(what);
  }
  return sentence;
}

}  // namespace thinsnap::pool
