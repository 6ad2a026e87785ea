// Pins: who uses a volume or snapshot, so that nothing takes it away under him. A pin lives with
// the process, as what it stands for does: a mount is pinned anew at start, a job begins again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/result.h"

namespace thinsnap::pool {

enum class HolderKind : std::uint8_t {
  kUser,  // keeps what it holds until it lets go
  kJob,   // work that can be given up: a removal ends it
};

struct Holder {
  HolderKind kind = HolderKind::kUser;
  std::string name;  // ends the sentence "volume x is in use: "
  // Of a job: begins its end and returns at once (TaskGroup::Stop). Called while the pin is held,
  // with the table locked: it must not call the pool.
  std::function<void()> cancel = {};
};

// Held until it is destroyed.
class Pin {
 public:
  virtual ~Pin() = default;
};

// What a removal does about the jobs that hold what is to go.
enum class Jobs : std::uint8_t {
  kEnd,    // ends them, and lets no other one begin
  kSpare,  // leaves them alone
};

// Thread-safe. `what` is "volume <id>" or "snapshot <id>", as it is said in a message.
class PinTable : public std::enable_shared_from_this<PinTable> {
 public:
  // While it lives, nobody pins what it is for.
  class Retirement {
   public:
    Retirement(Retirement&& other) noexcept = default;
    Retirement& operator=(Retirement&&) = delete;
    ~Retirement();

   private:
    friend class PinTable;
    Retirement(std::shared_ptr<PinTable> table, std::string what)
        : table_(std::move(table)), what_(std::move(what)) {}
    std::shared_ptr<PinTable> table_;  // null: moved from
    std::string what_;
  };

  // kAborted: it is being removed.
  Result<std::unique_ptr<Pin>> Add(const std::string& what, Holder holder);
  // kFailedPrecondition names the user that has it; kAborted the job, or says that another removal
  // is under way.
  Result<Retirement> Retire(const std::string& what, Jobs jobs);

 private:
  class HeldPin;
  struct Entry {
    std::vector<std::pair<const Pin*, Holder>> holders;
    bool retiring = false;
    bool doomed = false;  // its jobs were ended
  };

  void Release(const std::string& what, const Pin* pin);
  void EndRetirement(const std::string& what);

  std::mutex mutex_;
  std::map<std::string, Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::pool
