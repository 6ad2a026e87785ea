#include "csi/pool/pins.h"

#include <algorithm>

namespace thinsnap::pool {

class PinTable::HeldPin final : public Pin {
 public:
  HeldPin(std::shared_ptr<PinTable> table, std::string what)
      : table_(std::move(table)), what_(std::move(what)) {}
  ~HeldPin() override { table_->Release(what_, this); }

 private:
  const std::shared_ptr<PinTable> table_;
  const std::string what_;
};

PinTable::Retirement::~Retirement() {
  if (table_ != nullptr) table_->EndRetirement(what_);
}

Result<std::unique_ptr<Pin>> PinTable::Add(const std::string& what, Holder holder) {
  auto pin = std::make_unique<HeldPin>(shared_from_this(), what);
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[what];
    // A refused pin is destroyed below, without the lock: it releases what it never held.
    if (!entry.retiring && !entry.doomed) {
      entry.holders.emplace_back(pin.get(), std::move(holder));
      return std::unique_ptr<Pin>(std::move(pin));
    }
  }
  return Error(Code::kAborted, what + " is being removed");
}

void PinTable::Release(const std::string& what, const Pin* pin) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(what);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  std::erase_if(entry.holders, [&](const auto& held) { return held.first == pin; });
  if (entry.holders.empty() && !entry.retiring && !entry.doomed) entries_.erase(found);
}

Result<PinTable::Retirement> PinTable::Retire(const std::string& what, Jobs jobs) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[what];
  if (entry.retiring) return Error(Code::kAborted, what + " is being removed");
  if (entry.holders.empty()) {
    entry.retiring = true;
    return Retirement(shared_from_this(), what);
  }
  for (const auto& [pin, holder] : entry.holders) {
    if (holder.kind == HolderKind::kUser) {
      return Error(Code::kFailedPrecondition, what + " is in use: " + holder.name);
    }
  }
  const std::string& name = entry.holders.front().second.name;
  if (jobs == Jobs::kSpare) return Error(Code::kAborted, what + " is in use: " + name);
  entry.doomed = true;
  for (const auto& [pin, holder] : entry.holders) {
    if (holder.cancel) holder.cancel();
  }
  return Error(Code::kAborted, what + " is in use: " + name + ", which is being ended");
}

void PinTable::EndRetirement(const std::string& what) {
  const std::lock_guard lock(mutex_);
  entries_.erase(what);
}

}  // namespace thinsnap::pool
