// TargetFile: the image that a restore makes. It grows under a name of its own beside the target
// and takes the target's name when it is whole, so that neither a failure nor a kill leaves half an
// image, or half of an older one, under the name of a whole one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::cli {

class TargetFile {
 public:
  // `path` is canonical. What a killed restore left is used again. kFailedPrecondition while
  // another restore writes the same target.
  static Result<std::unique_ptr<TargetFile>> Make(const std::string& path,
                                                  std::uint64_t size_bytes);
  // Removes what was not finished.
  ~TargetFile();
  TargetFile(const TargetFile&) = delete;
  TargetFile& operator=(const TargetFile&) = delete;

  // Where to write.
  const std::string& working_path() const { return working_path_; }
  // Takes the target's place, with the permissions of the file that was there. kAlreadyExists if
  // the target was missing at Make and is there now.
  Status Finish();

 private:
  explicit TargetFile(std::string path);
  Status Open(std::uint64_t size_bytes);

  const std::string path_;
  const std::string working_path_;
  UniqueFd fd_;
  bool replaces_ = false;
  bool ours_ = false;
};

}  // namespace thinsnap::cli
