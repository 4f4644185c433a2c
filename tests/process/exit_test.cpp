// SPDX-License-Identifier: Apache-2.0
//
// How threads and processes end: what is left, and that the host's own end is untouched.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
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

TEST(Exit, WithNothingToShowRemovesTheFiles) {
  const Place place;
  const Outcome outcome = RunHost(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 1000; ++id) Alloc(device, id);
    for (uint64_t id = 0; id < 1000; ++id) memtally_free(device, kDram, id);
    REQUIRE(*memtally_ledger_path() != 0);
    return 7;
  });
  EXPECT_TRUE(outcome.Exited(7)) << outcome.Describe();
  EXPECT_TRUE(outcome.out.empty() && outcome.err.empty()) << outcome.Describe();
  EXPECT_TRUE(place.Files().empty());
}

// The ledger of a launched process that ends with nothing to show waits for whoever launched it.
TEST(Exit, UnderALaunchKeepsTheLedger) {
  const Place place;
  HostOptions options;
  options.environment = {{"MEMTALLY_LAUNCH", "000102030405060708090a0b0c0d0eff"}};
  const Outcome outcome = RunHost(
      place,
      [] {
        const memtally_device device = OpenDram();
        Alloc(device, 1, 300);
        memtally_free(device, kDram, 1);
        // What the program does to its environment later changes nothing.
        unsetenv("MEMTALLY_LAUNCH");
        const pid_t child = fork();
        if (child == 0) {
          Alloc(device, 2, 500);
          memtally_free(device, kDram, 2);
          exit(0);
        }
        REQUIRE(WaitForChild(child) == 0);
        return 7;
      },
      options);
  EXPECT_TRUE(outcome.Exited(7)) << outcome.Describe();
  const std::vector<std::string> ledgers = place.Ledgers();
  ASSERT_EQ(ledgers.size(), 2u);
  uint64_t peaks = 0;
  for (const std::string& path : ledgers) {
    const LedgerView view = ReadLedger(path);
    ExpectExact(view);
    EXPECT_TRUE(view.exited_normally);
    EXPECT_EQ(view.liveness, Liveness::kDead);
    EXPECT_EQ(view.identity.launch_id,
              (std::array<uint8_t, 16>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}));
    ASSERT_EQ(view.accounts.size(), 1u);
    peaks += view.accounts[0].peak_requested;
  }
  EXPECT_EQ(peaks, 800u);

  // If nobody comes for it, the usual clean-up takes it.
  setenv("MEMTALLY_DIR", place.path().c_str(), 1);
  const CleanUpResult cleaned = CleanUpDeadLedgers();
  unsetenv("MEMTALLY_DIR");
  EXPECT_TRUE(cleaned.problems.empty());
  EXPECT_TRUE(place.Files().empty());
}

// What is no launch: another length, other characters, nothing but zeros.
TEST(Exit, UnderNoLaunchTheFilesGo) {
  for (const char* value :
       {"", "1", "000102030405060708090a0b0c0d0e0", "000102030405060708090a0b0c0d0e0f0",
        "000102030405060708090A0B0C0D0E0F", "00010203-0405-0607-0809-0a0b0c0d0", "00000000000000000000000000000000"}) {
    SCOPED_TRACE(value);
    const Place place;
    HostOptions options;
    options.environment = {{"MEMTALLY_LAUNCH", value}};
    const Outcome outcome = RunHost(
        place,
        [] {
          const memtally_device device = OpenDram();
          Alloc(device, 1);
          memtally_free(device, kDram, 1);
          return 0;
        },
        options);
    EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
    EXPECT_TRUE(place.Files().empty());
  }
}

TEST(Exit, WithALeakKeepsTheLedger) {
  const Place place;
  const Outcome outcome = RunHost(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 10; ++id) Alloc(device, id);
    for (uint64_t id = 0; id < 9; ++id) memtally_free(device, kDram, id);
    return 3;
  });
  EXPECT_TRUE(outcome.Exited(3));
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_TRUE(view.exited_normally);
  EXPECT_TRUE(view.end_time_ns.has_value());
  EXPECT_EQ(view.liveness, Liveness::kDead);
  EXPECT_EQ(LiveOf(view).count, 1u);
}

TEST(Exit, AfterACloseWithLeftoversKeepsTheLedger) {
  const Place place;
  const Outcome outcome = RunHost(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t id = 0; id < 10; ++id) Alloc(device, id, 100);
    memtally_free(device, kDram, 0);
    memtally_close_device(device);
    return 0;
  });
  EXPECT_TRUE(outcome.Exited(0));
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_TRUE(view.exited_normally);
  EXPECT_EQ(LiveOf(view).count, 0u);
  ASSERT_EQ(view.accounts.size(), 1u);
  EXPECT_EQ(view.accounts[0].released, (Amount{9, 900, 900}));
  EXPECT_EQ(view.accounts[0].freed.count, 10u);
  EXPECT_EQ(std::count_if(view.buffers.begin(), view.buffers.end(), [](const auto& b) { return b.released; }), 9);
}

TEST(Exit, CloseAsTheOnlyEventOfAThread) {
  const Place place;
  const Outcome outcome = RunHost(place, [] {
    const memtally_device device = OpenDram();
    memtally_close_device(device);
    std::thread([device] { memtally_close_device(device); }).join();
    const memtally_device second = OpenDram(1);
    Alloc(second, 1);
    std::thread([second] { memtally_close_device(second); }).join();
    return 0;
  });
  EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(view.accounts[1].released.count, 1u);
}

TEST(Exit, DeathsLeaveTheLedgerAsItWas) {
  struct Way {
    const char* name;
    void (*end)();
    int exit_status;  // or -signal
  };
  const Way ways[] = {
      {"_exit", [] { _exit(5); }, 5},
      {"quick_exit", [] { quick_exit(6); }, 6},
      {"abort", [] { abort(); }, -SIGABRT},
      {"kill", [] { raise(SIGKILL); }, -SIGKILL},
      {"fault", [] { raise(SIGSEGV); }, -SIGSEGV},
  };
  for (const Way& way : ways) {
    SCOPED_TRACE(way.name);
    const Place place;
    const Outcome outcome = RunHost(place, [&] {
      signal(SIGSEGV, SIG_DFL);
      signal(SIGABRT, SIG_DFL);
      const memtally_device device = OpenDram();
      for (uint64_t id = 0; id < 10; ++id) Alloc(device, id);
      memtally_free(device, kDram, 0);
      way.end();
      return 0;
    });
    EXPECT_TRUE(way.exit_status < 0 ? outcome.Killed(-way.exit_status) : outcome.Exited(way.exit_status))
        << outcome.Describe();
    const LedgerView view = ReadOnlyLedger(place);
    ExpectExact(view);
    EXPECT_FALSE(view.exited_normally);
    EXPECT_EQ(view.liveness, Liveness::kDead);
    EXPECT_EQ(LiveOf(view).count, 9u);
  }
}

memtally_device g_device;

// A handler of the program runs before the tracker says goodbye.
TEST(Exit, AtexitHandlersMayReport) {
  const Place place;
  const Outcome outcome = RunHost(place, [] {
    g_device = OpenDram();
    for (uint64_t id = 0; id < 10; ++id) Alloc(g_device, id);
    REQUIRE(atexit([] {
              for (uint64_t id = 0; id < 10; ++id) memtally_free(g_device, kDram, id);
              Alloc(g_device, 77);
            }) == 0);
    return 0;
  });
  EXPECT_TRUE(outcome.Exited(0));
  ASSERT_LE(place.Ledgers().size(), 1u);
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(LiveOf(view).count, 1u);
  EXPECT_EQ(AllocatedOf(view).count, 11u);
}

// What is allocated after the goodbye gets a ledger of its own, which says that its process ended by itself.
TEST(Exit, WhatComesAfterTheEndIsLeftAtANormalExit) {
  const Place place;
  const Outcome outcome = RunHost(place, [] {
    g_device = OpenDram();
    Alloc(g_device, 1);
    memtally_free(g_device, kDram, 1);
    // Streams are flushed last of all.
    cookie_io_functions_t functions{};
    functions.write = [](void*, const char*, size_t bytes) {
      Alloc(g_device, 2);
      return static_cast<ssize_t>(bytes);
    };
    FILE* stream = fopencookie(nullptr, "w", functions);
    REQUIRE(stream != nullptr && fputs("late", stream) >= 0);
    return 9;
  });
  EXPECT_TRUE(outcome.Exited(9)) << outcome.Describe();
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(AllocatedOf(view).count, 1u);
  EXPECT_EQ(LiveOf(view).count, 1u);
  EXPECT_TRUE(view.exited_normally);
}

struct AtThreadEnd {
  memtally_device device = 0;
  uint64_t id = 0;
  ~AtThreadEnd() {
    memtally_free(device, kDram, id);
    Alloc(device, id + 1, 10);
  }
};
thread_local AtThreadEnd t_at_end;

TEST(Exit, ThreadLocalDestructorsMayReport) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    for (uint64_t round = 0; round < 50; ++round) {
      std::vector<std::thread> threads;
      for (uint64_t t = 0; t < 8; ++t) {
        threads.emplace_back([=] {
          t_at_end.device = device;
          t_at_end.id = (round * 8 + t) * 2 + ((t & 3) << 40);
          Alloc(device, t_at_end.id);
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
    Rest();
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(LiveOf(view).count, 400u);
  EXPECT_EQ(LiveOf(view).bytes_requested, 4000u);
  EXPECT_EQ(AllocatedOf(view).count, 800u);
  EXPECT_EQ(view.counters.lost_events, 0u);
  EXPECT_EQ(AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE), 0u);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
}

// A cancelled thread leaves no lock held and no call half done, wherever the cancellation met it.
TEST(Exit, CancelledThreadsLeaveNothingLocked) {
  const Place place;
  Host host(place, [] {
    const memtally_device device = OpenDram();
    struct Argument {
      memtally_device device;
      uint64_t first;
      std::atomic<uint64_t> allocated{0};
      std::atomic<uint64_t> freed{0};
    };
    uint64_t allocated = 0;
    uint64_t freed = 0;
    for (uint64_t round = 0; round < 200; ++round) {
      Argument argument{device, (round << 24) + (round << 40)};
      pthread_t thread;
      const auto run = [](void* pointer) -> void* {
        auto* own = static_cast<Argument*>(pointer);
        for (uint64_t id = 0;; ++id) {
          pthread_testcancel();
          // A cancellation that is pending here must not be taken inside the call.
          Alloc(own->device, own->first + id);
          own->allocated.store(id + 1, std::memory_order_relaxed);
          if (id % 3 == 2) {
            memtally_free(own->device, kDram, own->first + id);
            own->freed.fetch_add(1, std::memory_order_relaxed);
          }
        }
        return nullptr;
      };
      REQUIRE(pthread_create(&thread, nullptr, run, &argument) == 0);
      if (round % 2 == 1) usleep(static_cast<useconds_t>(round * 3));
      pthread_cancel(thread);
      REQUIRE(pthread_join(thread, nullptr) == 0);
      allocated += argument.allocated;
      freed += argument.freed;
    }
    printf("%llu %llu\n", static_cast<unsigned long long>(allocated), static_cast<unsigned long long>(freed));
    fflush(stdout);
    Rest();
    memtally_close_device(device);
    return 0;
  });
  ASSERT_TRUE(host.AwaitRest());
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  host.Continue();
  const Outcome outcome = host.Wait();
  EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
  unsigned long long allocated = 0;
  unsigned long long freed = 0;
  ASSERT_EQ(sscanf(outcome.out.c_str(), "%llu %llu", &allocated, &freed), 2);
  EXPECT_EQ(AllocatedOf(view).count, allocated);
  EXPECT_EQ(LiveOf(view).count, allocated - freed);
  EXPECT_EQ(view.counters.lost_events, 0u);
}

// A cancellation that is pending at a thread's very first call: the ledger itself is made then.
TEST(Exit, CancellationIsNotTakenInTheVeryFirstCall) {
  const Place place;
  const Outcome outcome = RunHost(place, [] {
    static std::atomic<bool> came_back{false};
    std::atomic<bool> waiting{true};
    pthread_t thread;
    const auto run = [](void* pointer) -> void* {
      auto* wait = static_cast<std::atomic<bool>*>(pointer);
      while (wait->load()) {
      }
      g_device = OpenDram();
      Alloc(g_device, 1);
      came_back = true;
      pthread_testcancel();
      return nullptr;
    };
    REQUIRE(pthread_create(&thread, nullptr, run, &waiting) == 0);
    pthread_cancel(thread);
    waiting = false;
    void* result = nullptr;
    REQUIRE(pthread_join(thread, &result) == 0);
    REQUIRE(result == PTHREAD_CANCELED);
    REQUIRE(came_back);
    memtally_free(g_device, kDram, 1);
    Alloc(g_device, 2);
    return 0;
  });
  EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(LiveOf(view).count, 1u);
  EXPECT_EQ(AllocatedOf(view).count, 2u);
}

#if !defined(__SANITIZE_THREAD__)  // the host itself has a race: it ends while its threads run

// Whether a process that is dead left a ledger without a header.
bool DiedInTheMaking(const std::string& path) {
  LedgerError error;
  return LedgerReader::Open(path, &error) == nullptr && error.code == LedgerError::Code::kBeingMade;
}

// Once the exit has removed a ledger with nothing in it, a thread that is still running makes another; it may not get
// to its end.
TEST(ExitRunning, WhileOtherThreadsAreInCalls) {
  for (int round = 0; round < 30; ++round) {
    const Place place;
    const Outcome outcome = RunHost(place, [&] {
      const memtally_device device = OpenDram();
      for (uint64_t t = 0; t < 4; ++t) {
        std::thread([device, t] {
          for (uint64_t id = t << 32;; ++id) {
            Alloc(device, id);
            memtally_free(device, kDram, id);
          }
        }).detach();
      }
      usleep(static_cast<useconds_t>(100 * round));
      return 11;
    });
    ASSERT_TRUE(outcome.Exited(11)) << outcome.Describe();
    for (const std::string& path : place.Ledgers()) {
      if (!DiedInTheMaking(path)) ExpectExact(ReadLedger(path));
    }
  }
}

TEST(ExitRunning, UnderscoreExitWhileOtherThreadsAreInCalls) {
  for (int round = 0; round < 30; ++round) {
    const Place place;
    const Outcome outcome = RunHost(place, [&]() -> int {
      const memtally_device device = OpenDram();
      for (uint64_t t = 0; t < 4; ++t) {
        std::thread([device, t] {
          for (uint64_t id = t << 32;; ++id) {
            Alloc(device, id);
            if (id % 2 == 0) memtally_free(device, kDram, id);
          }
        }).detach();
      }
      usleep(static_cast<useconds_t>(200 * round));
      _exit(12);
    });
    ASSERT_TRUE(outcome.Exited(12)) << outcome.Describe();
    const LedgerView view = ReadOnlyLedger(place);
    ExpectExact(view);
    EXPECT_FALSE(view.exited_normally);
  }
}

#endif

}  // namespace
}  // namespace memtally::testing
