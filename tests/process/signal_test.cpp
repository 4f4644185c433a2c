// SPDX-License-Identifier: Apache-2.0
//
// Signal handlers that report while the thread they interrupt is inside a call.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host_process.hpp"

namespace memtally::testing {
namespace {

constexpr uint32_t kDram = MEMTALLY_KIND_DRAM;

void Alloc(memtally_device device, uint64_t id, uint64_t bytes = 64) {
  memtally_alloc(device, kDram, id, id * 4096, bytes, bytes);
}

void Handle(int signal, void (*handler)(int), int flags, std::initializer_list<int> masked = {}) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  for (const int other : masked) sigaddset(&action.sa_mask, other);
  REQUIRE(sigaction(signal, &action, nullptr) == 0);
}

// What handlers did, over all threads.
memtally_device g_device;
std::atomic<uint64_t> g_next_id{uint64_t{1} << 50};
std::atomic<uint64_t> g_handler_allocs{0};
std::atomic<uint64_t> g_handler_frees{0};
std::atomic<uint64_t> g_handlers{0};
std::atomic<bool> g_errno_changed{false};

// Three allocations, two of them given back: 3 + 2 events.
void OnSignal(int) {
  const int before = errno;
  errno = 1234;
  const uint64_t id = g_next_id.fetch_add(3, std::memory_order_relaxed);
  for (uint64_t i = 0; i < 3; ++i) memtally_alloc(g_device, kDram, id + i, 0, 16, 16);
  for (uint64_t i = 0; i < 2; ++i) memtally_free(g_device, kDram, id + i);
  g_handler_allocs.fetch_add(3, std::memory_order_relaxed);
  g_handler_frees.fetch_add(2, std::memory_order_relaxed);
  g_handlers.fetch_add(1, std::memory_order_relaxed);
  if (errno != 1234) g_errno_changed = true;
  errno = before;
}

struct Told {
  unsigned long long allocated = 0, freed = 0, handlers = 0;
};

// Some threads at work, signals from timers and from a thread that aims at them.  Prints what was reported.
int WorkUnderSignals(int thread_count, int milliseconds, int flags) {
  g_device = OpenDram();
  Handle(SIGALRM, OnSignal, flags | SA_RESTART);
  Handle(SIGUSR1, OnSignal, flags | SA_RESTART);
  Handle(SIGUSR2, OnSignal, flags | SA_RESTART);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  std::vector<std::atomic<pid_t>> ids(static_cast<size_t>(thread_count));
  std::atomic<uint64_t> allocated{0};
  std::atomic<uint64_t> freed{0};
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      std::vector<uint8_t> stack(size_t{1} << 16);
      const stack_t alternate{stack.data(), 0, stack.size()};
      REQUIRE(sigaltstack(&alternate, nullptr) == 0);
      ids[static_cast<size_t>(t)] = static_cast<pid_t>(syscall(SYS_gettid));
      const uint64_t first = static_cast<uint64_t>(t) << 32;
      uint64_t own_allocated = 0;
      uint64_t own_freed = 0;
      for (uint64_t round = 0; !stop.load(std::memory_order_relaxed); ++round) {
        for (uint64_t i = 0; i < 64; ++i) Alloc(g_device, first + i);
        memtally_push_tag("work");
        for (uint64_t i = 0; i < 64; ++i) memtally_free(g_device, kDram, first + i);
        memtally_pop_tag();
        if (round % 16 == 0) memtally_mark("round");
        own_allocated += 64;
        own_freed += 64;
      }
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      const stack_t none{nullptr, SS_DISABLE, 0};
      sigaltstack(&none, nullptr);
      allocated += own_allocated;
      freed += own_freed;
      ids[static_cast<size_t>(t)] = 0;
    });
  }
  const itimerval often{{0, 200}, {0, 200}};
  setitimer(ITIMER_REAL, &often, nullptr);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  const pid_t process = getpid();
  while (std::chrono::steady_clock::now() < until) {
    for (const std::atomic<pid_t>& id : ids) {
      if (id == 0) continue;
      syscall(SYS_tgkill, process, id.load(), SIGUSR1);
      syscall(SYS_tgkill, process, id.load(), SIGUSR2);  // interrupts the handler of the other
    }
    usleep(20);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  REQUIRE(!g_errno_changed);
  printf("%llu %llu %llu\n", static_cast<unsigned long long>(allocated + g_handler_allocs),
         static_cast<unsigned long long>(freed + g_handler_frees), static_cast<unsigned long long>(g_handlers));
  fflush(stdout);
  Rest();
  _exit(0);
}

// Whatever the handlers did is in the totals, or in the counts of what overflowed the queue or was lost.
void CheckSignals(const LedgerView& view, const Told& told) {
  ExpectExact(view);
  EXPECT_GT(told.handlers, 100u);
  // Lost: events of a handler that came in the very first call of a thread.
  const uint64_t overflow = view.counters.signal_overflow + view.counters.lost_events;
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_REPLACED), 0u);
  const uint64_t unknown = AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE);
  // An allocation that overflowed makes its free an unknown one.
  const uint64_t missing_allocs = told.allocated - AllocatedOf(view).count;
  const uint64_t recorded_frees = AllocatedOf(view).count - LiveOf(view).count;
  const uint64_t missing_frees = told.freed - recorded_frees - unknown;
  EXPECT_EQ(missing_allocs + missing_frees, overflow);
  if (overflow == 0) {
    EXPECT_EQ(unknown, 0u);
    EXPECT_EQ(LiveOf(view).count, told.allocated - told.freed);
  }
}

void RunUnderSignals(int threads, int milliseconds, int flags) {
  const Place place;
  Host host(place, [=] { return WorkUnderSignals(threads, milliseconds, flags); });
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  host.Continue();
  const Outcome outcome = host.Wait();
  ASSERT_TRUE(outcome.Exited(0)) << outcome.Describe();
  Told told;
  ASSERT_EQ(sscanf(outcome.out.c_str(), "%llu %llu %llu", &told.allocated, &told.freed, &told.handlers), 3)
      << outcome.Describe();
  CheckSignals(view, told);
}

TEST(Signals, OneThread) { RunUnderSignals(1, 1500, 0); }
TEST(Signals, ManyThreads) { RunUnderSignals(6, 2500, 0); }
TEST(Signals, NestedWithinThemselves) { RunUnderSignals(2, 1500, SA_NODEFER); }
TEST(Signals, OnAnAlternateStack) { RunUnderSignals(3, 1500, SA_ONSTACK); }

// Handlers come during the first call of each of many threads, when the thread is not known yet.
TEST(Signals, DuringTheVeryFirstCallOfAThread) {
  const Place place;
  Host host(place, []() -> int {
    g_device = OpenDram();
    Handle(SIGALRM, OnSignal, SA_RESTART);
    const itimerval often{{0, 100}, {0, 100}};
    setitimer(ITIMER_REAL, &often, nullptr);
    constexpr uint64_t kThreads = 1500;
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
    for (uint64_t t = 0; t < kThreads; ++t) {
      std::thread([&, t] {
        pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
        Alloc(g_device, t);
        raise(SIGALRM);
        memtally_free(g_device, kDram, t);
      }).join();
    }
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    printf("%llu %llu %llu\n", static_cast<unsigned long long>(kThreads + g_handler_allocs),
           static_cast<unsigned long long>(kThreads + g_handler_frees), static_cast<unsigned long long>(g_handlers));
    fflush(stdout);
    Rest();
    _exit(0);
  });
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  host.Continue();
  const Outcome outcome = host.Wait();
  ASSERT_TRUE(outcome.Exited(0)) << outcome.Describe();
  Told told;
  ASSERT_EQ(sscanf(outcome.out.c_str(), "%llu %llu %llu", &told.allocated, &told.freed, &told.handlers), 3);
  ExpectExact(view);
  // Events of a handler during a thread's first call are lost, and counted.
  const uint64_t recorded_frees = AllocatedOf(view).count - LiveOf(view).count;
  const uint64_t missing = told.allocated - AllocatedOf(view).count + told.freed - recorded_frees -
                           AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE);
  EXPECT_EQ(missing, view.counters.lost_events + view.counters.signal_overflow);
}

void OnSignalManyCalls(int) {
  memtally_push_tag("in a handler");
  memtally_mark("handler");
  memtally_alloc_failed(g_device, kDram, 5, 5);
  memtally_name_group(77, "handler's group");
  memtally_register_kind(g_device, MEMTALLY_KIND_L1, 100, 1, 100);
  memtally_current_tag();
  memtally_pop_tag();
  g_handlers.fetch_add(1);
}

// The slower calls (tags, marks, groups, devices) take locks: a handler that makes them never waits for the thread that
// it interrupted.
TEST(Signals, SetupCallsInHandlersDoNotWaitForTheirOwnThread) {
  const Place place;
  Host host(place, []() -> int {
    g_device = OpenDram();
    Handle(SIGALRM, OnSignalManyCalls, SA_RESTART);
    const itimerval often{{0, 150}, {0, 150}};
    setitimer(ITIMER_REAL, &often, nullptr);
    const auto begin = std::chrono::steady_clock::now();
    double longest = 0;
    for (uint64_t i = 0; std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(1500); ++i) {
      const auto before = std::chrono::steady_clock::now();
      memtally_mark(("mark " + std::to_string(i % 20000)).c_str());
      memtally_push_tag(("tag " + std::to_string(i % 20000)).c_str());
      Alloc(g_device, i);
      memtally_free(g_device, kDram, i);
      memtally_pop_tag();
      memtally_name_group(i % 100, "group");
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
      if (took.count() > longest) longest = took.count();
    }
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    REQUIRE(g_handlers > 100);
    REQUIRE(longest < 1.5);  // a wait for itself would last two seconds
    Rest();
    _exit(0);
  });
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(LiveOf(view).count, 0u);
  EXPECT_EQ(view.counters.lost_events, 0u);
  EXPECT_EQ(view.counters.lost_tags, 0u) << view.tags.size() << " tags; " << view.counters.refused_pages
                                         << " refused; the last is "
                                         << view.tag_path(static_cast<uint32_t>(view.tags.size()) - 1);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)

sigjmp_buf g_back;

// A handler that jumps out of a call never lets that call end: the thread's later calls are queued, then overflow; the
// lane that it was in stays closed to others.  Nobody hangs, and everything is counted.
TEST(SignalsRaw, JumpOutOfACallHangsNobody) {
  const Place place;
  Host host(place, []() -> int {
    g_device = OpenDram();
    for (uint64_t id = 0; id < 100; ++id) Alloc(g_device, id);
    Handle(
        SIGALRM, [](int) { siglongjmp(g_back, 1); }, 0);
    for (int jump = 0; jump < 50; ++jump) {
      if (sigsetjmp(g_back, 1) == 0) {
        const itimerval once{{0, 0}, {0, 300}};
        setitimer(ITIMER_REAL, &once, nullptr);
        for (uint64_t id = 1000;; ++id) {
          Alloc(g_device, id);
          memtally_free(g_device, kDram, id);
        }
      }
    }
    std::vector<std::thread> threads;
    for (uint64_t t = 1; t <= 4; ++t) {
      threads.emplace_back([t] {
        for (uint64_t id = 0; id < 1000; ++id) Alloc(g_device, (t << 40) + id);
        for (uint64_t id = 0; id < 25; ++id) memtally_free(g_device, kDram, (t - 1) * 25 + id);  // in the lost lane
      });
    }
    for (std::thread& thread : threads) thread.join();
    memtally_free(g_device, kDram, 1);
    return 4;
  });
  const Outcome outcome = host.Wait(std::chrono::seconds(40));
  EXPECT_TRUE(outcome.Exited(4)) << outcome.Describe();
  const LedgerView view = ReadOnlyLedger(place);
  EXPECT_GE(LiveOf(view).count, 4000u);
  EXPECT_GT(view.counters.lost_events + view.counters.signal_overflow + AnomalyCount(view, MEMTALLY_ANOMALY_REPLACED) +
                (AllocatedOf(view).count - LiveOf(view).count),
            0u);
}

#endif

}  // namespace
}  // namespace memtally::testing
