// Where a file's bytes lie on its filesystem (FIEMAP, Documentation/filesystems/fiemap.rst): clones
// that share blocks show the same physical places.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/block/extent_spool.h"
#include "base/core/result.h"

namespace thinsnap::reflink {

// Written extents only: holes and preallocated space read as zeros.
struct MappedExtent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t physical = 0;
  bool shared = false;  // with another file
};

// Pulls a file's extents in order, a few hundred at a time. The file must not change meanwhile; it
// may be removed.
class FileMapReader {
 public:
  // Flushes delayed allocation first.
  static Result<FileMapReader> Open(const std::string& path);
  // length 0: the end.
  Result<MappedExtent> Next();

 private:
  explicit FileMapReader(int fd);
  Status Fill();

  std::shared_ptr<void> fd_;
  int raw_fd_;
  std::uint64_t position_ = 0;
  bool last_ = false;
  std::vector<MappedExtent> buffer_;
  std::size_t next_ = 0;
};

// Bytes that no other file has.
Result<std::uint64_t> CountExclusive(FileMapReader file);
Status CollectWritten(FileMapReader file, block::ExtentSpool& into);
// What may differ between two files of which one began as a clone of the other, or both of a third.
Status CollectDifferent(FileMapReader base, FileMapReader target, block::ExtentSpool& into);

}  // namespace thinsnap::reflink
