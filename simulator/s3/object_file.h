// One stored object or part: a file of its bytes followed by a trailer that describes it, so that
// one rename makes all of it appear. Files without a whole trailer are no objects.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/core/clock.h"
#include "base/core/file.h"
#include "base/core/result.h"
#include "base/net/http.h"
#include "simulator/s3/checksum.h"

namespace thinsnap::s3 {

struct ObjectMeta {
  std::string key;
  std::string etag;  // without quotes
  std::uint64_t size = 0;
  WallTime modified;
  net::Headers headers;  // Content-Type, x-amz-meta-*, x-amz-checksum-*: given back as they came
};

// A file that is being written; removed again if it is not placed.
class DraftFile {
 public:
  static Result<std::unique_ptr<DraftFile>> Make(const std::string& path);
  ~DraftFile();

  Status Write(ByteSpan bytes);
  std::uint64_t size() const { return size_; }
  // Adds `length` bytes of another file, and shows them to the checksum.
  Status CopyFrom(int fd, std::uint64_t offset, std::uint64_t length, Checksum* checksum = nullptr);
  // Appends the trailer; durable when it returns. The file's size goes into the meta.
  Status Seal(ObjectMeta& meta);
  // Takes the final name, replacing what has it. The caller makes the folder durable.
  Status Place(const std::string& path);

 private:
  UniqueFd fd_;
  std::string path_;
  std::uint64_t size_ = 0;
};

// kDataLoss if the file has no whole trailer.
Result<ObjectMeta> ReadObjectMeta(const std::string& path);

}  // namespace thinsnap::s3
