#include "base/core/fiber.h"

#include <cstdint>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "base/core/result.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace thinsnap {
namespace {

std::size_t PageBytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

// Boost's view of the pool, with the one stack that it takes and gives back.
class OneStack {
 public:
  OneStack(StackPool& pool, std::byte* stack) : pool_(pool), stack_(stack) {}
  boost::context::stack_context allocate() {
    boost::context::stack_context context;
    context.size = StackPool::kStackBytes;
    context.sp = stack_ + StackPool::kStackBytes;
    return context;
  }
  void deallocate(boost::context::stack_context&) { pool_.Put(stack_); }

 private:
  StackPool& pool_;
  std::byte* stack_;
};

// `fake_stack` is null where the stack that is left is never entered again.
void LeaveStack([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* stack,
                [[maybe_unused]] std::size_t bytes, [[maybe_unused]] void* thread) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(thread, 0);
#endif
}

void EnterStack([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** left,
                [[maybe_unused]] std::size_t* left_bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, left, left_bytes);
#endif
}

}  // namespace

StackPool::~StackPool() {
  for (std::byte* stack : free_) munmap(stack - PageBytes(), PageBytes() + kStackBytes);
}

std::byte* StackPool::Take() {
  if (!free_.empty()) {
    std::byte* stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void* pages = mmap(nullptr, PageBytes() + kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  ASSERT(pages != MAP_FAILED);
  ASSERT(mprotect(pages, PageBytes(), PROT_NONE) == 0);
  return static_cast<std::byte*>(pages) + PageBytes();
}

void StackPool::Put(std::byte* stack) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, kStackBytes);
#endif
  free_.push_back(stack);
}

Fiber::Fiber(StackPool& stacks, std::function<void()> body) : stack_(stacks.Take()) {
#if defined(__SANITIZE_THREAD__)
  // Boost enters the new stack once to prepare it.
  own_thread_ = __tsan_create_fiber(0);
  caller_thread_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(own_thread_, 0);
#endif
  own_ = boost::context::fiber(std::allocator_arg, OneStack(stacks, stack_),
                               [this, body = std::move(body)](boost::context::fiber&& caller) {
                                 return Main(std::move(caller), body);
                               });
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(caller_thread_, 0);
#endif
}

Fiber::~Fiber() {
  ASSERT(!own_);
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(own_thread_);
#endif
}

boost::context::fiber Fiber::Main(boost::context::fiber caller, const std::function<void()>& body) {
  EnterStack(nullptr, &caller_stack_, &caller_stack_bytes_);
  caller_ = std::move(caller);
  body();
  LeaveStack(nullptr, caller_stack_, caller_stack_bytes_, caller_thread_);
  return std::move(caller_);
}

bool Fiber::Resume() {
#if defined(__SANITIZE_THREAD__)
  caller_thread_ = __tsan_get_current_fiber();
#endif
  LeaveStack(&caller_fake_stack_, stack_, StackPool::kStackBytes, own_thread_);
  own_ = std::move(own_).resume();
  EnterStack(caller_fake_stack_, nullptr, nullptr);
  return static_cast<bool>(own_);
}

void Fiber::Pause() {
  LeaveStack(&own_fake_stack_, caller_stack_, caller_stack_bytes_, caller_thread_);
  caller_ = std::move(caller_).resume();
  EnterStack(own_fake_stack_, &caller_stack_, &caller_stack_bytes_);
}

}  // namespace thinsnap
