// SPDX-License-Identifier: Apache-2.0
#include "track/hooks/ttmetal/failure_report.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "ledger/writer/syscall_scope.hpp"
#include "ledger/writer/text.hpp"

namespace memtally::track::ttmetal {

namespace {

constexpr uint32_t kMostFiles = 16;  // of each sort
constexpr size_t kStackBytes = 64 * 1024;
constexpr int kPatienceMs = 10'000;

char folder[256];  // "" standard error
bool wanted = false;
std::atomic<uint32_t> made[2];

// The command's environment: kept from the start, since the program may change its own at any time.
constexpr const char* kKept[] = {"MEMTALLY_DIR", "LD_LIBRARY_PATH", "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE"};
constexpr size_t kMostKept = sizeof(kKept) / sizeof(kKept[0]);
char off[] = "MEMTALLY=0";
char* environment[kMostKept + 2] = {off};

void KeepEnvironment() {
  size_t used = 1;
  for (const char* name : kKept) {
    const char* value = getenv(name);
    if (value == nullptr) continue;
    const size_t bytes = strlen(name) + strlen(value) + 2;
    auto* entry = static_cast<char*>(malloc(bytes));
    if (entry == nullptr) continue;
    writer::Text(entry, bytes).Add(name).Add("=").Add(value);
    environment[used++] = entry;
  }
}

bool IsCommand(const char* path) { return access(path, X_OK) == 0; }

// Where the memtally command is, seen from this library: as installed or, in the tree that it was built in, there.
bool FindCommand(char* path, size_t bytes) {
  Dl_info here{};
  if (dladdr(reinterpret_cast<const void*>(&folder), &here) == 0 || here.dli_fname == nullptr) return false;
  writer::Text text(path, bytes);
  if (strncmp(here.dli_fname, MEMTALLY_BUILD_FOLDER "/", sizeof(MEMTALLY_BUILD_FOLDER)) == 0) {
    text.Add(MEMTALLY_BUILD_FOLDER "/src/tools/memtally");
  } else {
    const char* slash = strrchr(here.dli_fname, '/');
    if (slash == nullptr) return false;
    text.Add(here.dli_fname, static_cast<size_t>(slash + 1 - here.dli_fname)).Add(MEMTALLY_INSTALLED_COMMAND);
  }
  return !text.cut() && IsCommand(path);
}

struct Start {
  char** arguments;
  int output;
  sigset_t signals;  // as they were
  char* stack;       // end of the command's
};

// In the process that becomes the command.
int Execute(void* argument) {
  const auto* start = static_cast<const Start*>(argument);
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  dup2(start->output, STDOUT_FILENO);
  dup2(start->output, STDERR_FILENO);
#ifdef SYS_close_range
  syscall(SYS_close_range, 3U, ~0U, 0U);
#endif
  sigprocmask(SIG_SETMASK, &start->signals, nullptr);
  execve(start->arguments[0], start->arguments, environment);
  _exit(127);
}

// In the process between: it starts the command and waits for it.
int Attend(void* argument) {
  const auto* start = static_cast<const Start*>(argument);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  const pid_t command = clone(Execute, start->stack, CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
  if (command <= 0) _exit(1);
  for (int waited_ms = 0; waited_ms < kPatienceMs; ++waited_ms) {
    if (waitpid(command, nullptr, WNOHANG) != 0) _exit(0);
    poll(nullptr, 0, 1);
  }
  kill(command, SIGKILL);
  waitpid(command, nullptr, 0);
  _exit(1);
}

// Runs the command and waits for it.  A process that executes something tells its parent of its end by SIGCHLD,
// whatever it was made with; so there is one between that executes nothing, and of which the program learns nothing. It
// shares this thread's memory, as after vfork, and this thread goes on when it ends.
void Run(char** arguments, int output) {
  void* stacks = mmap(nullptr, 2 * kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stacks != MAP_FAILED) {
    char* middle = static_cast<char*>(stacks) + kStackBytes;
    Start start{arguments, output, {}, middle};
    sigset_t all;
    sigfillset(&all);
    // A handler of the program must not run in a process that shares its memory.
    pthread_sigmask(SIG_SETMASK, &all, &start.signals);
    const pid_t child = clone(Attend, middle + kStackBytes, CLONE_VM | CLONE_VFORK, &start);
    pthread_sigmask(SIG_SETMASK, &start.signals, nullptr);
    while (child > 0 && waitpid(child, nullptr, __WCLONE) < 0 && errno == EINTR) {
    }
  }
  if (stacks != MAP_FAILED) munmap(stacks, 2 * kStackBytes);
}

}  // namespace

void ReadReportSettings() {
  const char* value = getenv("MEMTALLY_OOM_REPORT");
  if (value == nullptr || *value == 0 || strcmp(value, "0") == 0) return;
  if (strcmp(value, "stderr") != 0) {
    writer::Text text(folder, sizeof(folder));
    text.Add(value);
    if (*value != '/' || text.cut()) return;
  }
  KeepEnvironment();
  wanted = true;
}

void ReportFailureNow(FailureSort sort, uint64_t group) {
  if (!wanted) return;
  const uint32_t number = made[static_cast<unsigned>(sort)].fetch_add(1, std::memory_order_relaxed);
  const uint32_t most = folder[0] == 0 ? 1 : kMostFiles;
  if (number >= most) {
    made[static_cast<unsigned>(sort)].store(most, std::memory_order_relaxed);
    return;
  }
  const writer::SyscallScope scope;
  char command[4096];
  if (!FindCommand(command, sizeof(command))) return;
  char pid[24];
  writer::Text(pid, sizeof(pid)).Number(static_cast<uint64_t>(getpid()));
  char of_group[24];
  writer::Text(of_group, sizeof(of_group)).Number(group);
  char words[][16] = {"oom", "clash", "--pid", "--color=never", "--no-pager", "--group"};
  char* arguments[9] = {command, words[sort == FailureSort::kClash ? 1 : 0], words[2], pid, words[3], words[4]};
  if (sort == FailureSort::kClash && group != 0) {
    arguments[6] = words[5];
    arguments[7] = of_group;
  }
  int output = STDERR_FILENO;
  if (folder[0] != 0) {
    char path[400];
    writer::Text text(path, sizeof(path));
    text.Add(folder).Add("/memtally-").Add(arguments[1]).Add(".").Add(pid).Add(".").Number(number + 1).Add(".txt");
    output = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (output < 0) return;
  }
  Run(arguments, output);
  if (output != STDERR_FILENO) close(output);
}

}  // namespace memtally::track::ttmetal
