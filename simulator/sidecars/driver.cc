#include "simulator/sidecars/driver.h"

#include <algorithm>

#include "base/core/log.h"

namespace thinsnap::sidecars {

namespace {

using csi::v1::ControllerServiceCapability;
using csi::v1::PluginCapability;

constexpr Duration kAskTimeout = std::chrono::seconds(5);
constexpr Duration kAskAgain = std::chrono::milliseconds(200);

Result<DriverFacts> AskDriver(Runtime& runtime, proto::CsiService& csi) {
  DriverFacts facts;
  facts.name = TRY(csi.GetPluginInfo(CallWithin(runtime, kAskTimeout), {}))
  .name();
  const auto probe = TRY(csi.Probe(CallWithin(runtime, kAskTimeout), {}));
  if (probe.has_ready() && !probe.ready().value())
    return Error(Code::kUnavailable, "the driver is not ready yet");
  const auto plugin = TRY(csi.GetPluginCapabilities(CallWithin(runtime, kAskTimeout), {}));
  for (const auto& capability : plugin.capabilities()) {
    if (capability.service().type() == PluginCapability::Service::VOLUME_ACCESSIBILITY_CONSTRAINTS)
      facts.topology = true;
  }
  const auto controller = TRY(csi.ControllerGetCapabilities(CallWithin(runtime, kAskTimeout), {}));
  for (const auto& capability : controller.capabilities()) {
    switch (capability.rpc().type()) {
      case ControllerServiceCapability::RPC::CREATE_DELETE_VOLUME:
        facts.volumes = true;
        break;
      case ControllerServiceCapability::RPC::PUBLISH_UNPUBLISH_VOLUME:
        facts.attach = true;
        break;
      case ControllerServiceCapability::RPC::CREATE_DELETE_SNAPSHOT:
        facts.snapshots = true;
        break;
      case ControllerServiceCapability::RPC::LIST_SNAPSHOTS:
        facts.list_snapshots = true;
        break;
      case ControllerServiceCapability::RPC::CLONE_VOLUME:
        facts.clone = true;
        break;
      case ControllerServiceCapability::RPC::EXPAND_VOLUME:
        facts.expand = true;
        break;
      case ControllerServiceCapability::RPC::SINGLE_NODE_MULTI_WRITER:
        facts.single_node_multi_writer = true;
        break;
      default:
        break;
    }
  }
  return facts;
}

std::string_view GoCodeName(Code code) {
  switch (code) {
    case Code::kCancelled:
      return "Canceled";
    case Code::kInvalidArgument:
      return "InvalidArgument";
    case Code::kDeadlineExceeded:
      return "DeadlineExceeded";
    case Code::kNotFound:
      return "NotFound";
    case Code::kAlreadyExists:
      return "AlreadyExists";
    case Code::kPermissionDenied:
      return "PermissionDenied";
    case Code::kResourceExhausted:
      return "ResourceExhausted";
    case Code::kFailedPrecondition:
      return "FailedPrecondition";
    case Code::kAborted:
      return "Aborted";
    case Code::kOutOfRange:
      return "OutOfRange";
    case Code::kUnimplemented:
      return "Unimplemented";
    case Code::kInternal:
      return "Internal";
    case Code::kUnavailable:
    case Code::kUnknownOutcome:
      return "Unavailable";
    case Code::kDataLoss:
      return "DataLoss";
    case Code::kUnauthenticated:
      return "Unauthenticated";
  }
  return "Unknown";
}

}  // namespace

proto::Call CallWithin(Runtime& runtime, Duration timeout) {
  return {runtime.clock().MonoNow() + timeout};
}

Result<DriverFacts> WaitForDriver(Runtime& runtime, proto::CsiService& csi,
                                  const std::string& expected_name) {
  std::string said;
  for (;;) {
    auto facts = AskDriver(runtime, csi);
    if (facts.ok()) {
      if (facts->name == expected_name) return facts;
      return Error(Code::kFailedPrecondition, "the CSI driver calls itself " + facts->name +
                                                  ", but " + expected_name + " was expected");
    }
    if (facts.Is(Code::kCancelled)) return facts;
    if (facts.error().message() != said) {
      said = facts.error().message();
      LogInfo("sidecars", "waiting for the CSI driver: " + facts.error().ToString());
    }
    TRY(runtime.SleepFor(kAskAgain));
  }
}

bool IsSnapshotErrorFinal(Code code) {
  return IsVolumeErrorFinal(code) && code != Code::kResourceExhausted;
}

bool IsVolumeErrorFinal(Code code) {
  switch (code) {
    case Code::kCancelled:
    case Code::kDeadlineExceeded:
    case Code::kUnavailable:
    case Code::kAborted:
    case Code::kUnknownOutcome:
      return false;
    default:
      return true;
  }
}

std::string RpcError(const Error& error) {
  return "rpc error: code = " + std::string(GoCodeName(error.code())) +
         " desc = " + error.message();
}

Duration Backoffs::Next(const std::string& key, Duration longest) {
  const MonoTime now = clock_.MonoNow();
  std::lock_guard lock(mutex_);
  const auto [entry, fresh] = waits_.try_emplace(key, Wait{first_, now});
  Wait& wait = entry->second;
  if (!fresh) wait.length = std::min(wait.length * 2, longest);
  wait.due = now + wait.length;
  return wait.length;
}

Duration Backoffs::Remaining(const std::string& key) {
  const MonoTime now = clock_.MonoNow();
  std::lock_guard lock(mutex_);
  const auto entry = waits_.find(key);
  return entry == waits_.end() ? Duration::zero()
                               : std::max(Duration::zero(), Duration(entry->second.due - now));
}

void Backoffs::Forget(const std::string& key) {
  std::lock_guard lock(mutex_);
  waits_.erase(key);
}

}  // namespace thinsnap::sidecars
