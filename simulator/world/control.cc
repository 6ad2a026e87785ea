#include "simulator/world/control.h"

#include <cerrno>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

#include "base/data/json.h"
#include "simulator/containers/child_process.h"
#include "simulator/kubelet/frames.h"

namespace thinsnap::world {

using kubelet::Frame;
using kubelet::FrameType;

ControlServer::ControlServer(TaskGroup& group, Handler handler)
    : group_(group), handler_(std::move(handler)) {}

Status ControlServer::Start(const std::string& socket_path) {
  listener_ = TRY(kubelet::ListenUnix(socket_path));
  group_.Spawn("control", [this] {
    const containers::StopFd stop(group_);
    for (;;) {
      struct pollfd fds[2] = {{listener_.get(), POLLIN, 0}, {stop.fd(), POLLIN, 0}};
      if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
      if (fds[1].revents != 0) return;
      const UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (fd) Serve(fd.get());
    }
  });
  return {};
}

void ControlServer::Serve(int fd) {
  const TaskGroup::StopToken token = group_.OnStop([fd] { shutdown(fd, SHUT_RDWR); });
  const Result<Frame> frame = kubelet::ReadFrame(fd);
  if (!frame.ok()) return;
  const Result<Json> request = ParseJson(frame->payload);
  const Status done = request.ok()
                          ? handler_(StringAt(*request, "command"), StringAt(*request, "name"))
                          : Status(request.error());
  const Status answered =
      done.ok()
          ? kubelet::WriteFrame(fd, FrameType::kAccepted, "")
          : kubelet::WriteFrame(fd, FrameType::kRefused,
                                ToJson(JsonObject{{"code", static_cast<int>(done.error().code())},
                                                  {"message", done.error().message()}}));
  answered.IgnoreError();  // who has asked may have gone
}

Status SendControl(const std::string& data_folder, const std::string& command,
                   const std::string& name) {
  const Result<UniqueFd> fd = kubelet::ConnectUnix(data_folder + "/" + kControlSocket);
  if (!fd.ok())
    return Error(Code::kUnavailable, "no `thinsnap-sim up` runs on the folder " + data_folder);
  TRY(kubelet::WriteFrame(fd->get(), FrameType::kExec,
                          ToJson(JsonObject{{"command", command}, {"name", name}})));
  const Frame answer =
      TRY(kubelet::ReadFrame(fd->get()).In("wait for the running `thinsnap-sim up`"));
  if (answer.type == FrameType::kAccepted) return {};
  const Json refusal = TRY(ParseJson(answer.payload));
  return Error(static_cast<Code>(IntAt(refusal, "code", static_cast<int>(Code::kInternal))),
               StringAt(refusal, "message"));
}

}  // namespace thinsnap::world
