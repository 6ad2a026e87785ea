// SpareFiles: a few files with blocks of their own, for writing a record where the filesystem has
// no block left. Without them nothing could be removed from a full pool: the record that says what
// is to go could not be written. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/core/result.h"

namespace thinsnap::reflink {

class SpareFiles {
 public:
  // The folder lies on the filesystem of the files that are to be written.
  explicit SpareFiles(std::string folder) : folder_(std::move(folder)) {}

  // Makes what is missing. A filesystem without room for them is no failure: the next write that
  // finds room tries again.
  Status Fill();
  // As WriteFileAtomic, for a file that may exist. Where there is no space left, a spare file is
  // written and changes places with the one at `path`, which is the spare from then on.
  // kResourceExhausted: no spare is left either, or the text is longer than a spare.
  Status Write(const std::string& path, std::string_view content);

 private:
  Status WriteOver(const std::string& spare, const std::string& path, std::string_view content);
  std::string Name(int index) const { return folder_ + "/" + std::to_string(index); }

  const std::string folder_;
  bool complete_ = false;
};

}  // namespace thinsnap::reflink
