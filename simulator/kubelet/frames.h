// Frames: how the API server's side and a node's kubelet talk over the node's unix socket about
// logs, exec and attach. A frame is a type byte, a length (32 bits, little-endian) and the payload.
//
//   client: kLogs, kExec or kAttach (JSON), then for the latter two kStdin, kStdinEnd, kResize
//   (JSON) server: kAccepted or kRefused (JSON: code, message), then kStdout, kStderr, at the end
//   of an exec and of what is attached to kExit (JSON)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::kubelet {

enum class FrameType : std::uint8_t {
  kLogs = 1,
  kExec,
  kAccepted,
  kRefused,
  kStdin,
  kStdinEnd,
  kResize,
  kStdout,
  kStderr,
  kExit,
  kAttach,
};

struct Frame {
  FrameType type = FrameType::kExit;
  std::string payload;
};

// Blocking. kUnavailable when the other end is gone.
Status WriteFrame(int fd, FrameType type, std::string_view payload);
// kOutOfRange at the orderly end of the stream; kInvalidArgument for more than 4 MiB.
Result<Frame> ReadFrame(int fd);

// Paths of any length work: the kernel's limit is met through the folder's descriptor.
Result<UniqueFd> ListenUnix(const std::string& path);
Result<UniqueFd> ConnectUnix(const std::string& path);

}  // namespace thinsnap::kubelet
