// SPDX-License-Identifier: Apache-2.0
//
// A process that forks, in every way there is: each process keeps its own ledger, and only its own.
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host_process.hpp"

extern char** environ;

namespace memtally::testing {
namespace {

constexpr uint32_t kDram = MEMTALLY_KIND_DRAM;

void Alloc(memtally_device device, uint64_t id, uint64_t bytes = 64) {
  memtally_alloc(device, kDram, id, id * 4096, bytes, bytes);
}

// Whether the kernel empties pages for a child that it was asked to.  An emulated one (qemu-user) says so and does not;
// there children of raw clone calls cannot be told from their parents, and /proc tells no start times.
bool KernelWipesOnFork() {
  auto* page =
      static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (page == MAP_FAILED || madvise(page, 4096, MADV_WIPEONFORK) != 0) return false;
  *page = 1;
  const pid_t child = fork();
  if (child == 0) _exit(*page);
  const bool wiped = WaitForChild(child) == 0;
  munmap(page, 4096);
  return wiped;
}

TEST(Fork, ChildGetsItsOwnLedgerAtItsFirstEvent) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 1; id <= 10; ++id) Alloc(device, id);
    const std::string parents_path = memtally_ledger_path();
    const pid_t child = fork();
    if (child == 0) {
      REQUIRE(*memtally_ledger_path() == 0);
      for (uint64_t id = 100; id < 103; ++id) Alloc(device, id, 1000);
      REQUIRE(*memtally_ledger_path() != 0 && parents_path != memtally_ledger_path());
      _exit(0);
    }
    REQUIRE(WaitForChild(child) == 0);
    REQUIRE(parents_path == memtally_ledger_path());
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  const std::vector<std::string> paths = place.Ledgers();
  ASSERT_EQ(paths.size(), 2u);
  for (const std::string& path : paths) {
    const LedgerView view = ReadLedger(path);
    ExpectExact(view);
    const bool is_parent = view.identity.pid == static_cast<uint32_t>(host.pid());
    EXPECT_EQ(LiveOf(view).count, is_parent ? 10u : 3u);
    EXPECT_EQ(LiveOf(view).bytes_requested, is_parent ? 640u : 3000u);
    EXPECT_EQ(view.liveness, is_parent ? Liveness::kAlive : Liveness::kDead);
    EXPECT_FALSE(view.exited_normally);
    if (!is_parent) {
      EXPECT_EQ(view.identity.parent_pid, static_cast<uint32_t>(host.pid()));
    }
    ASSERT_EQ(view.devices.size(), 1u);
    ASSERT_EQ(view.accounts.size(), 1u);
    EXPECT_EQ(view.accounts[0].capacity_bytes, uint64_t{1} << 40);
  }
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

TEST(Fork, ChildWithoutEventsLeavesNoFile) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    Alloc(device, 1);
    for (int i = 0; i < 50; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        if (i % 2 == 0) exit(0);
        _exit(0);
      }
      REQUIRE(WaitForChild(child) == 0);
    }
    Rest();
    memtally_free(device, kDram, 1);
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  EXPECT_EQ(place.Files().size(), 2u);
  const LedgerView view = ReadOnlyLedger(place);
  EXPECT_EQ(view.liveness, Liveness::kAlive);
  EXPECT_EQ(LiveOf(view).count, 1u);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
  EXPECT_TRUE(place.Files().empty());
}

// Inherited buffers that the child gives back are counted as inherited, each of them, and nothing else is.
TEST(Fork, InheritedFreesAreCountedExactly) {
  const Place place;
  constexpr uint64_t kInherited = 5000;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < kInherited; ++id) Alloc(device, 1'000'000 + id);
    for (uint64_t id = 0; id < 100; ++id) {
      Alloc(device, 500 + id);
      memtally_free(device, kDram, 500 + id);
    }
    const pid_t child = fork();
    if (child == 0) {
      for (uint64_t id = 0; id < kInherited; ++id) memtally_free(device, kDram, 1'000'000 + id);
      for (uint64_t id = 0; id < 7; ++id) Alloc(device, id);
      for (uint64_t id = 0; id < 5; ++id) memtally_free(device, kDram, id);
      const pid_t grandchild = fork();
      if (grandchild == 0) {
        // Of the grandparent, of the parent, and its own.
        for (uint64_t id = 0; id < 10; ++id) memtally_free(device, kDram, 1'000'000 + id);
        for (uint64_t id = 5; id < 7; ++id) memtally_free(device, kDram, id);
        for (uint64_t id = 0; id < 3; ++id) Alloc(device, 1'000'000 + id);
        memtally_free(device, kDram, 1'000'002);
        _exit(0);
      }
      REQUIRE(WaitForChild(grandchild) == 0);
      _exit(0);
    }
    // Meanwhile the same ids are freed and used again here.
    for (int round = 0; round < 20; ++round) {
      for (uint64_t id = 0; id < kInherited; ++id) memtally_free(device, kDram, 1'000'000 + id);
      for (uint64_t id = 0; id < kInherited; ++id) Alloc(device, 1'000'000 + (round % 2 == 0 ? kInherited - id : id));
      if (round % 2 == 0) {
        memtally_free(device, kDram, 1'000'000 + kInherited);
        Alloc(device, 1'000'000);
      }
    }
    REQUIRE(WaitForChild(child) == 0);
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  ASSERT_EQ(place.Ledgers().size(), 3u);
  int seen = 0;
  for (const std::string& path : place.Ledgers()) {
    const LedgerView view = ReadLedger(path);
    ExpectExact(view);
    const uint64_t inherited = AnomalyCount(view, MEMTALLY_ANOMALY_INHERITED);
    const uint64_t unknown = AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE);
    if (view.identity.pid == static_cast<uint32_t>(host.pid())) {
      EXPECT_EQ(inherited, 0u);
      EXPECT_EQ(unknown, 0u);
      EXPECT_EQ(LiveOf(view).count, kInherited);
      EXPECT_EQ(view.liveness, Liveness::kAlive);
      seen |= 1;
    } else if (view.identity.parent_pid == static_cast<uint32_t>(host.pid())) {
      EXPECT_EQ(inherited, kInherited);
      EXPECT_EQ(unknown, 0u);
      EXPECT_EQ(LiveOf(view).count, 2u);
      seen |= 2;
    } else {
      EXPECT_EQ(inherited, 12u);
      EXPECT_EQ(unknown, 0u);
      EXPECT_EQ(LiveOf(view).count, 2u);
      seen |= 4;
    }
  }
  EXPECT_EQ(seen, 7);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

TEST(Fork, FreesOfWhatTheParentFreedBeforeAreUnknown) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 1000; ++id) Alloc(device, id);
    for (uint64_t id = 0; id < 1000; ++id) memtally_free(device, kDram, id);
    const pid_t child = fork();
    if (child == 0) {
      for (uint64_t id = 0; id < 1000; ++id) memtally_free(device, kDram, id);
      _exit(0);
    }
    REQUIRE(WaitForChild(child) == 0);
    return 0;
  });
  EXPECT_TRUE(host.Wait().Exited(0));
  const LedgerView view = ReadOnlyLedger(place);  // the child's: its unknown frees are worth keeping
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE), 1000u);
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_INHERITED), 0u);
}

// The parent's ledger is as it was while children come and go in all ways that close descriptors.
TEST(Fork, ParentStaysAliveWhateverTheChildDoes) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 10; ++id) Alloc(device, id);
    pid_t child = fork();
    if (child == 0) {
      close_range(3, ~0u, 0);
      _exit(0);
    }
    REQUIRE(WaitForChild(child) == 0);
    child = fork();
    if (child == 0) {
      close_range(3, ~0u, 0);
      memtally_free(device, kDram, 1);  // a ledger of its own, without evidence but an inherited free
      exit(0);
    }
    REQUIRE(WaitForChild(child) == 0);
    child = fork();
    if (child == 0) {
      execl("/bin/true", "true", nullptr);
      _exit(1);
    }
    REQUIRE(WaitForChild(child) == 0);
    child = vfork();
    if (child == 0) {
      execl("/bin/true", "true", nullptr);
      _exit(1);
    }
    REQUIRE(WaitForChild(child) == 0);
    child = vfork();
    if (child == 0) _exit(0);
    REQUIRE(WaitForChild(child) == 0);
    char name[] = "true";
    char* arguments[] = {name, nullptr};
    REQUIRE(posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environ) == 0);
    REQUIRE(WaitForChild(child) == 0);
    Rest();
    Alloc(device, 10);
    Rest();
    return 0;
  });
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(host.AwaitRest());
    const std::optional<LedgerView> view = FindLedgerOf(place, host.pid());
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->liveness, Liveness::kAlive);
    EXPECT_EQ(view->visible_pid, static_cast<uint32_t>(host.pid()));
    EXPECT_EQ(LiveOf(*view).count, 10u + i);
    ExpectExact(*view);
    host.Continue();
  }
  EXPECT_TRUE(host.Wait().Exited(0));
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)

// A child that no fork handler knows of.
TEST(ForkRaw, CloneSystemCallIsLikeFork) {
  if (!KernelWipesOnFork()) GTEST_SKIP() << "needs a kernel of its own, not qemu-user";
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 10; ++id) Alloc(device, id);
    const pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (child == 0) {
      memtally_free(device, kDram, 3);
      Alloc(device, 20);
      _exit(0);
    }
    REQUIRE(WaitForChild(child) == 0);
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  ASSERT_EQ(place.Ledgers().size(), 2u);
  for (const std::string& path : place.Ledgers()) {
    const LedgerView view = ReadLedger(path);
    ExpectExact(view);
    const bool is_parent = view.identity.pid == static_cast<uint32_t>(host.pid());
    EXPECT_EQ(LiveOf(view).count, is_parent ? 10u : 1u);
    EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_INHERITED), is_parent ? 0u : 1u);
    EXPECT_EQ(view.liveness, is_parent ? Liveness::kAlive : Liveness::kDead);
  }
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

// The child shares the descriptors: what it closes is closed here, too.  The parent finds its file again.
TEST(ForkRaw, CloneFilesMayDetachTheParentNeverKillIt) {
  if (!KernelWipesOnFork()) GTEST_SKIP() << "needs a kernel of its own, not qemu-user";
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 10; ++id) Alloc(device, id);
    const pid_t child =
        static_cast<pid_t>(syscall(SYS_clone, SIGCHLD | CLONE_FILES, nullptr, nullptr, nullptr, nullptr));
    if (child == 0) {
      for (uint64_t id = 0; id < 2000; ++id) Alloc(device, 100'000 + id);
      _exit(0);
    }
    REQUIRE(WaitForChild(child) == 0);
    for (uint64_t id = 10; id < 5000; ++id) Alloc(device, id);
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  const std::optional<LedgerView> view = FindLedgerOf(place, host.pid());
  ASSERT_TRUE(view.has_value());
  EXPECT_NE(view->liveness, Liveness::kDead);
  EXPECT_EQ(LiveOf(*view).count, 5000u);
  ExpectExact(*view);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

// A child of vfork is its parent in all but its number: what it reports is in the parent's ledger.
TEST(ForkRaw, VforkChildReportsToItsParent) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    Alloc(device, 1);
    const pid_t child = vfork();
    if (child == 0) {
      Alloc(device, 2);
      memtally_free(device, kDram, 1);
      _exit(0);
    }
    REQUIRE(WaitForChild(child) == 0);
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(view.liveness, Liveness::kAlive);
  EXPECT_EQ(LiveOf(view).count, 1u);
  EXPECT_EQ(AllocatedOf(view).count, 2u);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

#endif

TEST(Fork, DaemonLeavesItsStartersBehind) {
  const Place place;
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  Host host(place, [&] {
    const memtally_device device = OpenDram();
    Alloc(device, 1);
    const pid_t middle = fork();
    if (middle == 0) {
      setsid();
      if (fork() != 0) _exit(0);
      close(pipe_ends[0]);
      Alloc(device, 2);
      Alloc(device, 3);
      const pid_t self = getpid();
      [[maybe_unused]] const ssize_t written = write(pipe_ends[1], &self, sizeof(self));
      pause();
      _exit(0);
    }
    REQUIRE(WaitForChild(middle) == 0);
    memtally_free(device, kDram, 1);
    return 0;
  });
  close(pipe_ends[1]);
  pid_t daemon = 0;
  ASSERT_EQ(read(pipe_ends[0], &daemon, sizeof(daemon)), static_cast<ssize_t>(sizeof(daemon)));
  close(pipe_ends[0]);
  EXPECT_TRUE(host.Wait().Exited(0));
  const LedgerView view = ReadOnlyLedger(place);  // the starter had nothing to show
  EXPECT_EQ(view.identity.pid, static_cast<uint32_t>(daemon));
  EXPECT_EQ(view.liveness, Liveness::kAlive);
  EXPECT_EQ(LiveOf(view).count, 2u);
  kill(daemon, SIGKILL);
  Liveness after = Liveness::kAlive;
  for (int i = 0; i < 2000 && after != Liveness::kDead; ++i) {
    usleep(1000);
    after = ReadOnlyLedger(place).liveness;
  }
  EXPECT_EQ(after, Liveness::kDead);
}

// exec: the process goes on as another program, the ledger does not.
TEST(Fork, ExecDetachesTheLedger) {
  if (!KernelWipesOnFork()) GTEST_SKIP() << "needs a kernel of its own, not qemu-user";
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    Alloc(device, 1);
    Rest();
    execl("/bin/sleep", "sleep", "600", nullptr);
    return 1;
  });
  ASSERT_TRUE(host.AwaitRest());
  host.Continue();
  Liveness now = Liveness::kAlive;
  for (int i = 0; i < 10'000 && now == Liveness::kAlive; ++i) {
    usleep(1000);
    if (place.Ledgers().size() == 1) now = ReadOnlyLedger(place).liveness;
  }
  const LedgerView view = ReadOnlyLedger(place);
  EXPECT_EQ(view.liveness, Liveness::kDetached);
  EXPECT_EQ(view.visible_pid, static_cast<uint32_t>(host.pid()));
  EXPECT_EQ(LiveOf(view).count, 1u);
  kill(host.pid(), SIGKILL);
  EXPECT_TRUE(host.Wait().Killed(SIGKILL));
  EXPECT_EQ(ReadOnlyLedger(place).liveness, Liveness::kDead);
}

#if !defined(__SANITIZE_THREAD__)  // it does not follow a fork of many threads

// Forks while other threads are in the middle of calls: whatever state the child finds, it records, or counts a loss.
TEST(ForkManyThreads, ThousandsOfForksInTheMiddleOfCalls) {
  const Place place;
  const int forks = KernelWipesOnFork() ? 2000 : 200;
  Host host(place, [=] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 200; ++id) Alloc(device, id);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (uint64_t t = 1; t <= 3; ++t) {
      threads.emplace_back([&, t] {
        const uint64_t first = t << 32;
        uint64_t round = 0;
        while (!stop.load(std::memory_order_relaxed)) {
          // Grows and shrinks, so that the id index is rebuilt all the time.
          const uint64_t count = 100 + 3000 * (round % 3);
          for (uint64_t i = 0; i < count; ++i) Alloc(device, first + i + (round << 20));
          for (uint64_t i = 0; i < count; ++i) memtally_free(device, kDram, first + i + (round << 20));
          ++round;
        }
      });
    }
    int failures = 0;
    for (int i = 0; i < forks; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        for (uint64_t id = 0; id < 3; ++id) Alloc(device, 5000 + id);
        for (uint64_t id = 0; id < 2; ++id) memtally_free(device, kDram, 5000 + id);
        memtally_free(device, kDram, 7);
        memtally_free(device, kDram, (1ull << 32) + 50);  // may or may not be there
        if (i % 100 == 0) _exit(0);                       // a ledger that is looked at below
        memtally_free(device, kDram, 5002);
        RemoveLedger(memtally_ledger_path());
        _exit(0);
      }
      failures += WaitForChild(child) != 0;
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    REQUIRE(failures == 0);
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  int children = 0;
  for (const std::string& path : place.Ledgers()) {
    const LedgerView view = ReadLedger(path);
    ExpectExact(view);
    EXPECT_EQ(view.counters.lost_events, 0u);
    if (view.identity.pid == static_cast<uint32_t>(host.pid())) {
      EXPECT_EQ(LiveOf(view).count, 200u);
      EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE), 0u);
      continue;
    }
    ++children;
    EXPECT_EQ(LiveOf(view).count, 1u);
    EXPECT_EQ(AllocatedOf(view).count, 3u);
    EXPECT_EQ(view.accounts.size(), 1u);
    EXPECT_GE(AnomalyCount(view, MEMTALLY_ANOMALY_INHERITED), 1u);
    EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_INHERITED) + AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE), 2u);
  }
  EXPECT_EQ(children, forks / 100);
  host.Continue();
  const Outcome outcome = host.Wait();
  EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
}

// A child born while its parent registers devices and kinds has each account once.
TEST(ForkManyThreads, ForkWhileDevicesAreRegistered) {
  const Place place;
  Host host(place, [] {
    OpenDram(0);
    std::atomic<bool> done{false};
    std::thread registers([&] {
      for (int32_t i = 1; i < 100; ++i) {
        const memtally_device device = OpenDram(i);
        memtally_register_kind(device, MEMTALLY_KIND_L1, 1 << 20, 64, 1 << 14);
        Alloc(device, static_cast<uint64_t>(i));
        usleep(200);
      }
      done = true;
    });
    while (!done) {
      const pid_t child = fork();
      if (child == 0) {
        for (int32_t i = 0; i < 100; i += 7) {
          const memtally_device device = OpenDram(i);
          Alloc(device, 7'000'000);
          memtally_alloc(device, MEMTALLY_KIND_L1, 7'000'001, 0, 10, 10);
        }
        _exit(0);
      }
      REQUIRE(WaitForChild(child) == 0);
    }
    registers.join();
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  for (const std::string& path : place.Ledgers()) {
    const LedgerView view = ReadLedger(path);
    ExpectExact(view);
    std::vector<std::pair<uint32_t, uint32_t>> seen;
    for (const LedgerAccount& account : view.accounts) {
      const std::pair<uint32_t, uint32_t> key{account.device, account.kind};
      EXPECT_EQ(std::count(seen.begin(), seen.end(), key), 0) << "device " << key.first << " kind " << key.second;
      seen.push_back(key);
    }
    if (view.identity.pid != static_cast<uint32_t>(host.pid())) {
      EXPECT_EQ(LiveOf(view).count, 30u);
    }
  }
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

#endif

}  // namespace
}  // namespace memtally::testing
