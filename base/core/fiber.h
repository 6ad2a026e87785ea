// Fiber: a function with a stack of its own that can pause in the middle and be resumed, all on one
// thread. Stacks end at a guard page and are used again. Address and thread sanitizer are told of
// each switch.
#pragma once

#include <boost/context/fiber.hpp>
#include <boost/context/stack_context.hpp>
#include <cstddef>
#include <functional>
#include <vector>

namespace thinsnap {

// Keeps every stack that it ever made. Outlives its fibers.
class StackPool {
 public:
  StackPool() = default;
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // The lowest byte that may be used.
  std::byte* Take();
  void Put(std::byte* stack);

  // Pages that are never touched cost nothing.
  static constexpr std::size_t kStackBytes = std::size_t{1} << 20;

 private:
  std::vector<std::byte*> free_;
};

class Fiber {
 public:
  Fiber(StackPool& stacks, std::function<void()> body);
  // Its body has returned.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the body until it pauses (true) or has returned (false). Not from a fiber.
  bool Resume();
  // From the body: back to whoever resumed it.
  void Pause();

 private:
  boost::context::fiber Main(boost::context::fiber caller, const std::function<void()>& body);

  boost::context::fiber own_, caller_;
  // What the sanitizers keep for each of the two stacks.
  std::byte* stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  std::size_t caller_stack_bytes_ = 0;
  void* own_fake_stack_ = nullptr;
  void* caller_fake_stack_ = nullptr;
  void* own_thread_ = nullptr;
  void* caller_thread_ = nullptr;
};

}  // namespace thinsnap
