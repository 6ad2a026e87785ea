#include "csi/mount/filesystem.h"

#include <charconv>
#include <map>
#include <string_view>
#include <utility>

#include "base/core/bytes.h"

namespace thinsnap::mount {
namespace {

// Large devices take their time.
constexpr Duration kProbeTimeout = std::chrono::seconds(60);
constexpr Duration kMakeTimeout = std::chrono::minutes(5);
constexpr Duration kCheckTimeout = std::chrono::minutes(30);

// KEY=value lines.
std::map<std::string, std::string> ParseExport(const std::string& text) {
  std::map<std::string, std::string> values;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    if (const auto equals = line.find('='); equals != std::string_view::npos) {
      values.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return values;
}

// What a program says about its failure, in one line; how it is used is no part of that.
std::string ReasonIn(std::string_view text) {
  constexpr std::size_t kLongest = 512;
  std::string reason;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.starts_with("Usage:") || line.starts_with("usage:")) break;
    if (line.empty()) continue;
    if (!reason.empty()) reason += "; ";
    reason += line;
  }
  if (reason.empty()) return "it does not say why";
  return reason.size() > kLongest ? reason.substr(0, kLongest) + "..." : reason;
}

// The exit code of e2fsck is a sum of 1 repaired, 2 wants a reboot for a filesystem that is
// mounted, 4 damage is left, 8 could not work, 16 misused, 32 cancelled, 128 library missing.
Status ReadCheck(const std::string& device, const CommandOutput& output) {
  if (output.exit_code >= 0 && output.exit_code <= 3) return {};
  const std::string reason = ReasonIn(output.err.empty() ? output.out : output.err);
  if ((output.exit_code & ~7) == 0) {
    return Error(Code::kFailedPrecondition,
                 "the ext4 filesystem on " + device +
                     " is damaged beyond what e2fsck repairs without asking: " +
                     ReasonIn(output.out.empty() ? output.err : output.out));
  }
  return Error(Code::kInternal, "e2fsck could not check " + device + ": exit code " +
                                    std::to_string(output.exit_code) + ", " + reason);
}

// The number behind a key of dumpe2fs, 0 if there is none.
std::uint64_t HeaderNumber(const std::string& text, const std::string& key) {
  const auto at = text.find(key);
  if (at == std::string::npos) return 0;
  auto digits = at + key.size();
  while (digits < text.size() && text[digits] == ' ') ++digits;
  std::uint64_t number = 0;
  std::from_chars(text.data() + digits, text.data() + text.size(), number);
  return number;
}

}  // namespace

Result<CommandOutput> Filesystem::Run(std::vector<std::string> argv, Duration timeout) {
  Command command;
  command.argv = std::move(argv);
  command.timeout = timeout;
  return runner_.Run(command);
}

bool IsSupportedFsType(const std::string& fs_type) { return fs_type == "ext4" || fs_type == "xfs"; }

std::uint64_t LeastBytes(const std::string& fs_type) {
  // mkfs.xfs refuses less; mkfs.ext4 leaves the journal away below 2048 blocks.
  if (fs_type == "xfs") return 300 * kMiB;
  if (fs_type == "ext4") return 8 * kMiB;
  return 0;
}

Result<std::string> Filesystem::Probe(const std::string& device) {
  const CommandOutput output =
      TRY(Run({"blkid", "--probe", "--output", "export", device}, kProbeTimeout));
  // blkid: 2 is "nothing found", 8 "several that contradict each other".
  if (output.exit_code == 2 && output.err.empty()) return std::string();
  if (output.exit_code == 8) {
    return Error(Code::kFailedPrecondition,
                 device + " has signatures of several filesystems; wipefs shows them");
  }
  if (output.exit_code != 0) {
    return Error(Code::kInternal, "blkid " + device + ": exit code " +
                                      std::to_string(output.exit_code) + ", " +
                                      ReasonIn(output.err));
  }
  const auto values = ParseExport(output.out);
  if (const auto type = values.find("TYPE"); type != values.end()) return type->second;
  if (const auto table = values.find("PTTYPE"); table != values.end()) {
    return "partition table " + table->second;
  }
  return std::string("something unknown");
}

Status Filesystem::Make(const std::string& device, const std::string& fs_type,
                        bool device_is_blank) {
  Command command;
  command.timeout = kMakeTimeout;
  // Nothing smaller than 4 KiB: the same bytes may come to lie on a device with larger sectors.
  if (fs_type == "ext4") {
    // No share for root: the volume belongs to one workload. Blank devices need no zeros written,
    // neither now nor by the kernel later, where they would become changed blocks of the first
    // snapshots.
    command.argv = {"mkfs.ext4",
                    "-q",
                    "-F",
                    "-b",
                    "4096",
                    "-m",
                    "0",
                    "-E",
                    device_is_blank ? "nodiscard,assume_storage_prezeroed=1"
                                    : "lazy_itable_init=1,lazy_journal_init=1",
                    device};
  } else if (fs_type == "xfs") {
    command.argv = {"mkfs.xfs", "-q", "-f", "-s", "size=4096"};
    if (device_is_blank) command.argv.push_back("-K");
    command.argv.push_back(device);
  } else {
    return Error(Code::kInvalidArgument,
                 "filesystem \"" + fs_type + "\" is not offered; ext4 and xfs are");
  }
  const CommandOutput output = TRY(runner_.Run(command));
  if (output.exit_code == 0) return {};
  return Error(Code::kInternal, "make " + fs_type + " on " + device + ": " + ReasonIn(output.err));
}

Status Filesystem::Check(const std::string& device, const std::string& fs_type) {
  // XFS replays its log by itself when it is mounted.
  if (fs_type != "ext4") return {};
  const CommandOutput output = TRY(Run({"e2fsck", "-p", device}, kCheckTimeout));
  return ReadCheck(device, output);
}

Status Filesystem::SetNewUuid(const std::string& device, const std::string& fs_type) {
  if (fs_type == "ext4") {
    // tune2fs wants a filesystem that was checked as a whole, whose checksums it writes anew.
    const CommandOutput checked = TRY(Run({"e2fsck", "-f", "-p", device}, kCheckTimeout));
    TRY(ReadCheck(device, checked).In("check before a new UUID"));
  }
  std::vector<std::string> argv = {"xfs_admin", "-U", "generate", device};
  if (fs_type == "ext4") argv = {"tune2fs", "-U", "random", device};
  const CommandOutput output = TRY(Run(argv, kMakeTimeout));
  if (output.exit_code == 0) return {};
  return Error(Code::kInternal, "give the " + fs_type + " filesystem on " + device +
                                    " a new UUID: " + ReasonIn(output.err));
}

Status Filesystem::GrowUnmounted(const std::string& device, const std::string& fs_type,
                                 std::uint64_t device_bytes) {
  if (fs_type != "ext4") return {};
  const CommandOutput header = TRY(Run({"dumpe2fs", "-h", device}, kProbeTimeout));
  const std::uint64_t blocks = HeaderNumber(header.out, "Block count:");
  const std::uint64_t block_bytes = HeaderNumber(header.out, "Block size:");
  // Less than one block is left over by every size that is no multiple of it.
  if (block_bytes == 0 || blocks == 0 || (blocks + 1) * block_bytes > device_bytes) return {};
  const CommandOutput checked = TRY(Run({"e2fsck", "-f", "-p", device}, kCheckTimeout));
  TRY(ReadCheck(device, checked).In("check before growing"));
  Command command;
  command.timeout = kMakeTimeout;
  command.argv = {"resize2fs", device};
  TRY(RunChecked(runner_, command).In("grow the filesystem on " + device));
  return {};
}

Status Filesystem::Grow(const std::string& device, const std::string& fs_type,
                        const std::string& target) {
  std::vector<std::string> argv;
  if (fs_type == "ext4") {
    argv = {"resize2fs", device};
  } else if (fs_type == "xfs") {
    argv = {"xfs_growfs", target};
  } else {
    return Error(Code::kInvalidArgument,
                 "a filesystem of type " + fs_type + " cannot be grown; ext4 and xfs can");
  }
  const CommandOutput output = TRY(Run(argv, kMakeTimeout));
  if (output.exit_code == 0) return {};
  // The kernel asks for CAP_SYS_RESOURCE to grow a mounted ext4.
  if (output.err.find("Permission denied") != std::string::npos) {
    return Error(Code::kFailedPrecondition,
                 "the filesystem on " + device +
                     " cannot grow while it is mounted, since this driver lacks CAP_SYS_RESOURCE; "
                     "it grows when the volume is staged the next time");
  }
  return Error(Code::kInternal, "grow the filesystem on " + device + ": " + ReasonIn(output.err));
}

std::vector<std::string> Filesystem::MountWords(const std::string& fs_type) {
  // A clone has its source's UUID and may be mounted beside it.
  if (fs_type == "xfs") return {"nouuid"};
  return {};
}

}  // namespace thinsnap::mount
