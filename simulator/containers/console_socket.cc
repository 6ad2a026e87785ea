#include "simulator/containers/console_socket.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace thinsnap::containers {

Result<ConsoleSocket> ConsoleSocket::Listen(const std::string& folder) {
  // The address has room for a hundred bytes; the path to a container may be longer.
  const UniqueFd place(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!place) return ErrnoError(errno, "open " + folder);
  const std::string path = "/proc/self/fd/" + std::to_string(place.get()) + "/" + kName;
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ASSERT(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  ConsoleSocket made;
  made.listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.listener_) return ErrnoError(errno, "socket");
  if (bind(made.listener_.get(), reinterpret_cast<const struct sockaddr*>(&address),
           sizeof address) != 0 ||
      listen(made.listener_.get(), 1) != 0) {
    return ErrnoError(errno, "listen in " + folder);
  }
  return made;
}

Result<UniqueFd> ConsoleSocket::Receive() const {
  const UniqueFd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) return ErrnoError(errno, "wait for the container's terminal");
  std::array<char, 256> name;
  struct iovec bytes = {name.data(), name.size()};
  alignas(struct cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  struct msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC) < 0)
    return ErrnoError(errno, "take the container's terminal");
  const struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS)
    return Error(Code::kInternal, "runc sent no terminal");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace thinsnap::containers
