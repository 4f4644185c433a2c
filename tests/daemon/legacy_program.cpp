// SPDX-License-Identifier: Apache-2.0
//
// A program instrumented with the original interface, for tests of what carries its reports.
//
//   legacy_program THREADS DEVICES BUFFERS ROUNDS [signals] [fork]
//
// Each thread allocates BUFFERS buffers on each device and frees them again, ROUNDS times, and then holds some.  Writes
// "DEVICE TYPE BYTES" for what is live at the end, then "ready", and ends with its standard input.  `signals`: they
// interrupt it all the time.  `fork`: a child reports, too.  TT_BUFFER_DEBUG_LOG=1: every report is first written to a
// log file, as the original program did.
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include <allocation_client.hpp>

namespace {

using tt::tt_metal::AllocationClient;

struct Plan {
  int threads = 1;
  int devices = 1;
  int buffers = 1;
  int rounds = 1;
};

void LogLine(const char* what, uint64_t id) {
  static FILE* log = [] {
    const char* wanted = getenv("TT_BUFFER_DEBUG_LOG");
    return wanted != nullptr && strcmp(wanted, "1") == 0 ? tmpfile() : nullptr;
  }();
  static std::mutex lock;
  if (log == nullptr) return;
  const std::lock_guard<std::mutex> guard(lock);
  fprintf(log, "%s %llu\n", what, static_cast<unsigned long long>(id));
  fflush(log);
}

uint64_t IdOf(int thread, int buffer) {
  return (static_cast<uint64_t>(thread) << 32) + (static_cast<uint64_t>(buffer) << 10);
}
uint8_t TypeOf(int buffer) { return static_cast<uint8_t>(buffer % 5); }
uint64_t SizeOf(int thread, int buffer) { return static_cast<uint64_t>(1000 + thread * 7 + buffer); }
bool IsHeld(int buffer) { return buffer % 3 == 0; }

void Work(const Plan& plan, int thread) {
  for (int round = 0; round <= plan.rounds; ++round) {
    for (int buffer = 0; buffer < plan.buffers; ++buffer) {
      for (int device = 0; device < plan.devices; ++device) {
        LogLine("alloc", IdOf(thread, buffer));
        AllocationClient::report_allocation(device, SizeOf(thread, buffer), TypeOf(buffer), IdOf(thread, buffer));
        AllocationClient::report_cb_allocation(device, 64, IdOf(thread, buffer));
      }
    }
    for (int buffer = 0; buffer < plan.buffers; ++buffer) {
      for (int device = 0; device < plan.devices; ++device) {
        AllocationClient::report_cb_deallocation(device, 64, IdOf(thread, buffer));
        if (round == plan.rounds && IsHeld(buffer)) continue;
        LogLine("free", IdOf(thread, buffer));
        AllocationClient::report_deallocation(device, IdOf(thread, buffer));
      }
    }
  }
}

void WorkInThreads(const Plan& plan) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < plan.threads; ++thread) threads.emplace_back(Work, plan, thread);
  for (std::thread& thread : threads) thread.join();
}

void PrintExpected(const Plan& plan) {
  std::array<uint64_t, 5> bytes{};
  for (int thread = 0; thread < plan.threads; ++thread) {
    for (int buffer = 0; buffer < plan.buffers; ++buffer) {
      if (IsHeld(buffer)) bytes.at(TypeOf(buffer)) += SizeOf(thread, buffer);
    }
  }
  for (int device = 0; device < plan.devices; ++device) {
    for (size_t type = 0; type < bytes.size(); ++type) {
      printf("%d %zu %llu\n", device, type, static_cast<unsigned long long>(bytes.at(type)));
    }
  }
}

// Interrupts whatever waits.
void StormOfSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(SIGALRM, &action, nullptr);
  const itimerval every{{0, 300}, {0, 300}};
  setitimer(ITIMER_REAL, &every, nullptr);
}

void CalmDown() {
  const itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  const Plan plan{atoi(argv[1]), atoi(argv[2]), atoi(argv[3]), atoi(argv[4])};
  bool forks = false;
  for (int i = 5; i < argc; ++i) {
    if (strcmp(argv[i], "signals") == 0) StormOfSignals();
    forks = forks || strcmp(argv[i], "fork") == 0;
  }
  pid_t child = 0;
  int to_child[2] = {-1, -1};
  if (forks) {
    // A report first, so that there is a connection to inherit.
    AllocationClient::report_allocation(0, 5, 0, 1);
    AllocationClient::report_deallocation(0, 1);
    if (pipe(to_child) != 0) return 1;
    child = fork();
  }
  WorkInThreads(plan);
  CalmDown();
  if (forks && child == 0) {
    // Stays as long as its parent.
    close(to_child[1]);
    char byte = 0;
    while (read(to_child[0], &byte, 1) > 0) continue;
    return 0;
  }
  PrintExpected(plan);
  printf("ready %d\n", child);
  fflush(stdout);
  while (getchar() != EOF) continue;
  if (forks) {
    close(to_child[0]);
    close(to_child[1]);
    waitpid(child, nullptr, 0);
  }
  return 0;
}
