// SPDX-License-Identifier: Apache-2.0
//
// Every instruction of a tracker's call is a moment at which another thread may fork.  The processor traps after each
// one of the calls in which tables grow, move and go away, and there the process forks: the child, whose copies of the
// parent's tables are of that very moment, frees what it inherited, and must recognise all of it.
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#include <cstdio>
#include <cstring>

#include <gtest/gtest.h>

#include "host_process.hpp"

namespace memtally::testing {
namespace {

constexpr uint32_t kDram = MEMTALLY_KIND_DRAM;
constexpr uint64_t kCalls = 1700;  // the tables of the first lane grow several times on the way

// What the handler of the trap works with; the children of a host share none of it, but for `maps`.
struct Stepping {
  uintptr_t library_begin = 0;
  uintptr_t library_end = 0;
  bool* maps = nullptr;  // for each call: it maps or unmaps memory
  uint64_t call = 0;
  bool forks = false;
  memtally_device device = 0;
  uint64_t steps = 0;
  uint64_t first_failure = 0;  // where in the library
  int failure = 0;
} g_stepping;

// The tracker's code in memory.
void FindLibrary() {
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) {
        if (strstr(info->dlpi_name, "libmemtally") == nullptr) return 0;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& part = info->dlpi_phdr[i];
          if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
          g_stepping.library_begin = info->dlpi_addr + part.p_vaddr;
          g_stepping.library_end = g_stepping.library_begin + part.p_memsz;
        }
        return 1;
      },
      nullptr);
  REQUIRE(g_stepping.library_begin != 0);
}

// In the child: frees buffers that were allocated before the call that the fork interrupted, another sixteenth of them
// at each fork.
void FreeWhatWasInherited() {
  uint64_t frees = 0;
  for (uint64_t id = g_stepping.steps % 16; id < g_stepping.call; id += 16, ++frees) {
    memtally_free(g_stepping.device, kDram, id);
  }
  const LedgerView view = ReadLedger(memtally_ledger_path());
  REQUIRE(view.counters.lost_events == 0);
  REQUIRE(AnomalyCount(view, MEMTALLY_ANOMALY_UNKNOWN_FREE) == 0);
  REQUIRE(AnomalyCount(view, MEMTALLY_ANOMALY_INHERITED) == frees);
  RemoveLedger(memtally_ledger_path());
}

void OnTrap(int, siginfo_t*, void* context) {
  const greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto next = static_cast<uintptr_t>(registers[REG_RIP]);
  Stepping& stepping = g_stepping;
  if (!stepping.forks) {
    constexpr uint8_t kSystemCall[] = {0x0f, 0x05};
    const long number = static_cast<long>(registers[REG_RAX]);
    if (memcmp(reinterpret_cast<const void*>(next), kSystemCall, sizeof(kSystemCall)) == 0 &&
        (number == SYS_mmap || number == SYS_munmap || number == SYS_mremap)) {
      stepping.maps[stepping.call] = true;
    }
    return;
  }
  if (next < stepping.library_begin || next >= stepping.library_end || stepping.failure != 0) return;
  ++stepping.steps;
  const pid_t child = fork();
  if (child == 0) {
    FreeWhatWasInherited();
    _exit(0);
  }
  stepping.failure = WaitForChild(child);
  if (stepping.failure != 0) stepping.first_failure = next - stepping.library_begin;
}

// From the next instruction but one on, or no longer, the processor traps after each.
void Trap(bool on) {
  constexpr auto kTrapFlag = 0x100ull;
  const auto flags = __readeflags();
  __writeeflags(on ? flags | kTrapFlag : flags & ~kTrapFlag);
}

void Allocate(memtally_device device, uint64_t id, bool stepped) {
  g_stepping.call = id;
  g_stepping.device = device;
  if (stepped) Trap(true);
  memtally_alloc(device, kDram, id, id * 4096, 64, 64);
  if (stepped) Trap(false);
}

TEST(ForkStep, AtEveryInstructionOfCallsThatMoveTables) {
  const Place place;
  Host host(place, [] {
    FindLibrary();
    void* shared = mmap(nullptr, kCalls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    g_stepping.maps = static_cast<bool*>(shared);
    struct sigaction action {};
    action.sa_sigaction = OnTrap;
    action.sa_flags = SA_SIGINFO;
    REQUIRE(sigaction(SIGTRAP, &action, nullptr) == 0);

    // Once to see which calls are worth it, in a child, since the same calls must come again.
    const pid_t scout = fork();
    if (scout == 0) {
      const memtally_device device = OpenDram();
      for (uint64_t id = 0; id < kCalls; ++id) Allocate(device, id, true);
      RemoveLedger(memtally_ledger_path());
      _exit(0);
    }
    REQUIRE(WaitForChild(scout) == 0);

    g_stepping.forks = true;
    const memtally_device device = OpenDram();
    uint64_t calls = 0;
    for (uint64_t id = 0; id < kCalls; ++id) {
      // The first makes the lane: nothing is inherited yet.
      const bool stepped = id != 0 && g_stepping.maps[id];
      calls += stepped;
      Allocate(device, id, stepped);
      if (g_stepping.failure == 0) continue;
      fprintf(stderr, "in allocation %lu, at libmemtally's code + %#lx: the child ended with %d\n", id,
              g_stepping.first_failure, g_stepping.failure);
      return 1;
    }
    printf("%lu instructions of %lu calls, a fork at each\n", g_stepping.steps, calls);
    REQUIRE(calls >= 4 && g_stepping.steps > 100 * calls);
    return 0;
  });
  const Outcome outcome = host.Wait(std::chrono::seconds(240));
  EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
  fputs(outcome.out.c_str(), stdout);
}

}  // namespace
}  // namespace memtally::testing
