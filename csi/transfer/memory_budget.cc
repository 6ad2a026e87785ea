#include "csi/transfer/memory_budget.h"

namespace thinsnap::transfer {

MemoryBudget::Share::~Share() {
  {
    const std::lock_guard lock(budget_.mutex_);
    --budget_.taken_;
  }
  budget_.changed_->Notify();
}

Result<std::unique_ptr<MemoryBudget::Share>> MemoryBudget::Take() {
  std::uint64_t ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    ticket = ++tickets_;
    waiting_.insert(ticket);
  }
  for (;;) {
    const auto seen = changed_->Seen();
    bool mine = false;
    {
      const std::lock_guard lock(mutex_);
      if (taken_ < shares_ && *waiting_.begin() == ticket) {
        waiting_.erase(ticket);
        ++taken_;
        mine = true;
      }
    }
    if (mine) {
      // There may be one for the next, too.
      changed_->Notify();
      return std::unique_ptr<Share>(new Share(*this));
    }
    if (Status waited = changed_->Wait(seen); !waited.ok()) {
      {
        const std::lock_guard lock(mutex_);
        waiting_.erase(ticket);
      }
      changed_->Notify();
      return std::move(waited).error();
    }
  }
}

}  // namespace thinsnap::transfer
