// SPDX-License-Identifier: Apache-2.0
//
// Processes whose numbers and file systems are not ours: other pid and mount namespaces, and a pid that is used again.
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include <gtest/gtest.h>

#include "host_process.hpp"

namespace memtally::testing {
namespace {

constexpr uint32_t kDram = MEMTALLY_KIND_DRAM;
constexpr int kNotAllowed = 77;

Liveness LivenessOf(const std::string& path, Liveness awaited) {
  Liveness now = Liveness::kAlive;
  for (int i = 0; i < 2000; ++i) {
    now = ReadLedger(path).liveness;
    if (now == awaited) break;
    usleep(1000);
  }
  return now;
}

// Whether there is a ledger with a buffer in it; it may be in the making.
bool HoldsABuffer(const Place& place) {
  LedgerError error;
  LedgerView view;
  const std::vector<std::string> ledgers = place.Ledgers();
  const auto reader = ledgers.empty() ? nullptr : LedgerReader::Open(ledgers[0], &error);
  return reader != nullptr && reader->Read(ReadLevel::kAll, &view, &error) && LiveOf(view).count != 0;
}

// As fork, with a number of our choice.
pid_t ForkAs(pid_t pid) {
  clone_args arguments{};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<uintptr_t>(&pid);
  arguments.set_tid_size = 1;
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof(arguments)));
}

TEST(PidReuse, TheDeadStaysDead) {
  const Place place;
  pid_t pid = 0;
  {
    Host host(place, [] {
      memtally_alloc(OpenDram(), kDram, 1, 0, 8, 8);
      Rest();
      return 0;
    });
    ASSERT_TRUE(host.AwaitRest());
    pid = host.pid();
  }
  const std::string old_ledger = place.Ledgers().at(0);
  EXPECT_EQ(ReadLedger(old_ledger).liveness, Liveness::kDead);
  usleep(50'000);  // the kernel tells start times in hundredths of a second
  for (const bool with_tracker : {false, true}) {
    SCOPED_TRACE(with_tracker);
    const pid_t again = ForkAs(pid);
    if (again < 0) GTEST_SKIP() << "cannot choose the number of a process: " << strerror(errno);
    if (again == 0) {
      if (with_tracker) {
        setenv("MEMTALLY_DIR", place.path().c_str(), 1);
        LoadTracker();
        memtally_alloc(OpenDram(), kDram, 2, 0, 8, 8);
      }
      Rest();
      _exit(0);
    }
    ASSERT_EQ(again, pid);
    int status = 0;
    ASSERT_EQ(waitpid(again, &status, WUNTRACED), again);
    ASSERT_TRUE(WIFSTOPPED(status));
    EXPECT_EQ(ReadLedger(old_ledger).liveness, Liveness::kDead);
    ASSERT_EQ(place.Ledgers().size(), with_tracker ? 2u : 1u);
    for (const std::string& path : place.Ledgers()) {
      if (path == old_ledger) continue;
      const LedgerView view = ReadLedger(path);
      EXPECT_EQ(view.liveness, Liveness::kAlive);
      EXPECT_EQ(view.identity.pid, static_cast<uint32_t>(pid));
      EXPECT_EQ(view.visible_pid, static_cast<uint32_t>(pid));
    }
    kill(again, SIGKILL);
    waitpid(again, nullptr, 0);
  }
}

// Number 1 in its namespace, something else in ours.
TEST(PidNamespace, AliveAndVisibleUnderItsOuterNumber) {
  const Place place;
  Host host(place, [] {
    if (unshare(CLONE_NEWPID) != 0) return kNotAllowed;
    const pid_t first = fork();
    if (first == 0) {
      REQUIRE(getpid() == 1);
      memtally_alloc(OpenDram(), kDram, 1, 0, 8, 8);
      for (;;) pause();
    }
    _exit(WaitForChild(first) == 200 + SIGKILL ? 0 : 1);  // no leak checker starts where pids are not its own
  });
  while (!HoldsABuffer(place)) {
    siginfo_t ended{};
    if (waitid(P_PID, static_cast<id_t>(host.pid()), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid != 0)
      break;
    usleep(1000);
  }
  if (place.Ledgers().empty()) {
    const Outcome outcome = host.Wait();
    ASSERT_TRUE(outcome.Exited(kNotAllowed)) << outcome.Describe();
    GTEST_SKIP() << "cannot make a pid namespace";
  }
  std::ifstream children("/proc/" + std::to_string(host.pid()) + "/task/" + std::to_string(host.pid()) + "/children");
  uint32_t outer = 0;
  children >> outer;
  const std::string path = place.Ledgers()[0];
  const LedgerView view = ReadLedger(path);
  ExpectExact(view);
  EXPECT_EQ(view.identity.pid, 1u);
  EXPECT_EQ(view.liveness, Liveness::kAlive);
  EXPECT_EQ(view.visible_pid, outer);
  EXPECT_NE(outer, 1u);
  ASSERT_GT(outer, 1u);
  kill(static_cast<pid_t>(outer), SIGKILL);
  EXPECT_TRUE(host.Wait().Exited(0));
  EXPECT_EQ(LivenessOf(path, Liveness::kDead), Liveness::kDead);
}

TEST(MountNamespace, RootFindsLedgersInOtherShm) {
  const Place place;
  HostOptions options;
  options.load_tracker = false;
  options.directory = "/dev/shm";
  Host host(
      place,
      [] {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("memtally-test", "/dev/shm", "tmpfs", 0, "mode=1777") != 0) {
          Rest();
          return kNotAllowed;
        }
        LoadTracker();
        memtally_alloc(OpenDram(), kDram, 1, 0, 8, 8);
        Rest();
        return 0;
      },
      options);
  ASSERT_TRUE(host.AwaitRest());
  unsetenv("MEMTALLY_DIR");
  int found = 0;
  for (const LedgerPlace& ledger : FindLedgers()) {
    if (!ledger.other_namespace) continue;
    LedgerError error;
    const auto reader = LedgerReader::Open(ledger.path, &error);
    LedgerView view;
    if (reader == nullptr || !reader->Read(ReadLevel::kAll, &view, &error)) continue;
    if (view.identity.pid != static_cast<uint32_t>(host.pid())) continue;
    ++found;
    ExpectExact(view);
    EXPECT_EQ(view.liveness, Liveness::kAlive);
    EXPECT_EQ(view.visible_pid, static_cast<uint32_t>(host.pid()));
    EXPECT_EQ(LiveOf(view).count, 1u);
  }
  // Who names a directory means no other.
  setenv("MEMTALLY_DIR", place.path().c_str(), 1);
  for (const LedgerPlace& ledger : FindLedgers()) EXPECT_FALSE(ledger.other_namespace) << ledger.path;
  unsetenv("MEMTALLY_DIR");
  host.Continue();
  const Outcome outcome = host.Wait();
  if (outcome.Exited(kNotAllowed)) GTEST_SKIP() << "cannot make a mount namespace";
  EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
  if (geteuid() != 0) GTEST_SKIP() << "only root looks into other mount namespaces";
  EXPECT_EQ(found, 1);
}

}  // namespace
}  // namespace memtally::testing
