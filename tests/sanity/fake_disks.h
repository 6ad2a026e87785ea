// FakeDisks: CommandRunner whose mkfs, blkid, e2fsck and growing tools remember which device has
// which filesystem.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/command.h"

namespace thinsnap::driver {

class FakeDisks final : public CommandRunner {
 public:
  Result<CommandOutput> Run(const Command& command) override {
    const std::lock_guard lock(mutex_);
    const std::string& program = command.argv.front();
    const std::string& last = command.argv.back();
    log_.push_back(program + " " + last);
    CommandOutput output;
    if (program == "blkid") {
      const auto found = types_.find(last);
      output.exit_code = found == types_.end() ? 2 : 0;
      if (found != types_.end()) output.out = "DEVNAME=" + last + "\nTYPE=" + found->second + "\n";
    } else if (program == "mkfs.ext4" || program == "mkfs.xfs") {
      types_[last] = program.substr(5);
    }
    return output;
  }

  void SetType(const std::string& device, const std::string& type) {
    const std::lock_guard lock(mutex_);
    types_[device] = type;
  }
  // "mkfs.ext4 /dev/x"
  std::vector<std::string> log() const {
    const std::lock_guard lock(mutex_);
    return log_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> types_;
  std::vector<std::string> log_;
};

}  // namespace thinsnap::driver
