#include "simulator/containers/orphan_reaper.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/core/file.h"

namespace thinsnap::containers {
namespace {

// A child, in a PID namespace of its own if wanted, that does nothing until it is killed.
pid_t StartChild(bool own_namespace) {
  struct clone_args args = {};
  args.exit_signal = SIGCHLD;
  if (own_namespace) args.flags = CLONE_NEWPID;
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) {
    for (;;) pause();
  }
  return static_cast<pid_t>(pid);
}

// A process in the PID namespace of `init` whose parent has gone, and that has ended: what is left
// of a program whose `runc exec` was killed. Returns its number here.
pid_t LeaveOrphan(pid_t init) {
  int report[2];
  EXPECT_EQ(pipe2(report, O_CLOEXEC), 0);
  const pid_t helper = fork();
  if (helper == 0) {
    const int ns = open(("/proc/" + std::to_string(init) + "/ns/pid").c_str(), O_RDONLY);
    if (setns(ns, CLONE_NEWPID) != 0) _exit(1);
    const pid_t orphan = fork();
    if (orphan == 0) _exit(0);
    // The orphan's end is not waited for: it becomes a child of the test when this one is gone.
    [[maybe_unused]] const ssize_t n = write(report[1], &orphan, sizeof orphan);
    _exit(0);
  }
  UniqueFd in(report[0]);
  UniqueFd(report[1]).Reset();
  pid_t orphan = -1;
  EXPECT_EQ(read(in.get(), &orphan, sizeof orphan), static_cast<ssize_t>(sizeof orphan));
  int status = 0;
  EXPECT_EQ(waitpid(helper, &status, 0), helper);
  return orphan;
}

// Returns when the child is dead, and leaves it to be reaped.
void WaitUntilDead(pid_t pid) {
  siginfo_t info = {};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT | __WALL), 0);
}

class OrphanReaperTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for PID namespaces";
    prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  OrphanReaper reaper_;
};

TEST_F(OrphanReaperTest, WhatAProgramInAContainerLeftIsTakenAtOnce) {
  const pid_t init = StartChild(true);
  const pid_t orphan = LeaveOrphan(init);
  WaitUntilDead(orphan);
  reaper_.Reap({});
  EXPECT_EQ(kill(orphan, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  // Nothing holds the container's process 1 back now.
  kill(init, SIGKILL);
  int status = 0;
  EXPECT_EQ(waitpid(init, &status, 0), init);
}

TEST_F(OrphanReaperTest, AContainersOwnProcessIsLeftToItsOwner) {
  const pid_t init = StartChild(true);
  kill(init, SIGKILL);
  WaitUntilDead(init);
  for (int i = 0; i < 100; ++i) reaper_.Reap({});
  int status = 0;
  EXPECT_EQ(waitpid(init, &status, 0), init);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST_F(OrphanReaperTest, AnOrdinaryChildIsTakenOnlyWhenNobodyWaitsForIt) {
  const pid_t child = StartChild(false);
  reaper_.Reap({});  // alive: not counted
  kill(child, SIGKILL);
  WaitUntilDead(child);
  for (int i = 0; i < 9; ++i) reaper_.Reap({});
  EXPECT_EQ(kill(child, 0), 0) << "its owner may still come";
  reaper_.Reap({});
  EXPECT_EQ(kill(child, 0), -1);
}

}  // namespace
}  // namespace thinsnap::containers
