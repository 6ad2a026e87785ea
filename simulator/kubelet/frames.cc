#include "simulator/kubelet/frames.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/core/bytes.h"

namespace thinsnap::kubelet {
namespace {

constexpr std::size_t kHeaderBytes = 5;
constexpr std::uint32_t kLargest = 4 * kMiB;

Status SendAll(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error(Code::kUnavailable, "the other end of the socket is gone");
    bytes += n;
    size -= static_cast<std::size_t>(n);
  }
  return {};
}

// Returns how much came before the end of the stream.
Result<std::size_t> ReceiveAll(int fd, char* bytes, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = recv(fd, bytes + done, size - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error(Code::kUnavailable, "the other end of the socket is gone");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

struct Address {
  UniqueFd folder;
  struct sockaddr_un un = {};
};

Result<Address> AddressOf(const std::string& path) {
  const std::filesystem::path as_path(path);
  const std::string parent = as_path.parent_path().empty() ? "." : as_path.parent_path().string();
  Address address;
  address.folder.Reset(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!address.folder) return ErrnoError(errno, "open " + parent);
  const std::string short_path =
      "/proc/self/fd/" + std::to_string(address.folder.get()) + "/" + as_path.filename().string();
  if (short_path.size() >= sizeof address.un.sun_path) {
    return Error(Code::kInvalidArgument,
                 "socket name " + as_path.filename().string() + " is too long");
  }
  address.un.sun_family = AF_UNIX;
  std::memcpy(address.un.sun_path, short_path.c_str(), short_path.size() + 1);
  return address;
}

}  // namespace

Status WriteFrame(int fd, FrameType type, std::string_view payload) {
  ASSERT(payload.size() <= kLargest);
  std::string bytes(kHeaderBytes, '\0');
  bytes[0] = static_cast<char>(type);
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::memcpy(bytes.data() + 1, &size, sizeof size);
  bytes += payload;
  return SendAll(fd, bytes.data(), bytes.size());
}

Result<Frame> ReadFrame(int fd) {
  std::array<char, kHeaderBytes> header;
  const std::size_t got = TRY(ReceiveAll(fd, header.data(), header.size()));
  if (got == 0) return Error(Code::kOutOfRange, "the stream has ended");
  if (got < header.size()) return Error(Code::kUnavailable, "the stream broke off");
  std::uint32_t size = 0;
  std::memcpy(&size, header.data() + 1, sizeof size);
  if (size > kLargest)
    return Error(Code::kInvalidArgument, "a frame of " + std::to_string(size) + " bytes");
  Frame frame;
  frame.type = static_cast<FrameType>(header[0]);
  frame.payload.resize(size);
  const std::size_t body = TRY(ReceiveAll(fd, frame.payload.data(), size));
  if (body < size) return Error(Code::kUnavailable, "the stream broke off");
  return frame;
}

Result<UniqueFd> ListenUnix(const std::string& path) {
  const Address address = TRY(AddressOf(path));
  unlink(path.c_str());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "socket");
  if (bind(fd.get(), reinterpret_cast<const struct sockaddr*>(&address.un), sizeof address.un) !=
      0) {
    return ErrnoError(errno, "bind " + path);
  }
  chmod(path.c_str(), 0600);
  if (listen(fd.get(), 64) != 0) return ErrnoError(errno, "listen on " + path);
  return fd;
}

Result<UniqueFd> ConnectUnix(const std::string& path) {
  const Address address = TRY(AddressOf(path));
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "socket");
  if (connect(fd.get(), reinterpret_cast<const struct sockaddr*>(&address.un), sizeof address.un) !=
      0) {
    return Error(Code::kUnavailable, "nobody listens on " + path);
  }
  return fd;
}

}  // namespace thinsnap::kubelet
