// SPDX-License-Identifier: Apache-2.0
//
// Starts a process under the tracker, and reads its ledger: whether tracking works, by trying it.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <memtally/ledger_reader.hpp>
#include <memtally/track.h>

#include "base/fd.hpp"
#include "base/proc.hpp"
#include "tools/doctor/check.hpp"
#include "tools/output.hpp"
#include "tools/run/tracking_setup.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr uint64_t kPatienceNs = 10'000'000'000;
constexpr uint64_t kBuffers = 3;
constexpr uint64_t kBufferBytes = 4096;

std::string Shown(const std::string& text) { return TerminalText(text, 200, Cut::kBegin); }

// A copy of this command that reports some buffers, says where its ledger is, and stays until its input ends.
class Tracked {
 public:
  explicit Tracked(const TrackingSetup& setup) : setup_(setup) {}
  ~Tracked() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;

  bool Start(std::string* error) {
    int input[2];
    int output[2];
    if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) {
      *error = ErrorText(errno);
      return false;
    }
    const base::Fd input_there(input[0]);
    input_ = base::Fd(input[1]);
    output_ = base::Fd(output[0]);
    const base::Fd output_there(output[1]);
    std::vector<std::string> environment;
    for (const std::string& entry : LaunchEnvironment(setup_, {}, {})) {
      const std::string name = entry.substr(0, entry.find('='));
      // As if nothing was turned off; and what the tracker has to say goes where we read it.
      if (name == "MEMTALLY" || name == "TT_ALLOC_TRACKING_ENABLED" || name == "MEMTALLY_LOG" ||
          name == "MEMTALLY_LAUNCH") {
        continue;
      }
      environment.push_back(entry);
    }
    environment.emplace_back("MEMTALLY_LOG=stderr");
    std::vector<char*> variables;
    variables.reserve(environment.size() + 1);
    for (std::string& entry : environment) variables.push_back(entry.data());
    variables.push_back(nullptr);
    std::string words[] = {"memtally", "doctor", "--be-tracked"};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input_there.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output_there.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output_there.get(), STDERR_FILENO);
    const int failed = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments, variables.data());
    posix_spawn_file_actions_destroy(&actions);
    if (failed == 0) return true;
    pid_ = -1;
    *error = ErrorText(failed);
    return false;
  }

  // What it has said, up to a line that begins so, or to its end.
  std::string ReadUntil(const std::string& prefix) {
    std::string text;
    const uint64_t end_ns = base::MonotonicNs() + kPatienceNs;
    while (text.find("\n" + prefix) == std::string::npos && !text.starts_with(prefix) && base::MonotonicNs() < end_ns) {
      pollfd ready{output_.get(), POLLIN, 0};
      if (poll(&ready, 1, 100) <= 0) continue;
      char buffer[4096];
      const ssize_t got = read(output_.get(), buffer, sizeof(buffer));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      text.append(buffer, static_cast<size_t>(got));
    }
    return text;
  }

  // Lets it end; its status as of waitpid.
  int End() {
    input_.reset();
    const uint64_t end_ns = base::MonotonicNs() + kPatienceNs;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (base::MonotonicNs() > end_ns) return -1;
      poll(nullptr, 0, 2);
    }
    pid_ = -1;
    return status;
  }

 private:
  const TrackingSetup& setup_;
  pid_t pid_ = -1;
  base::Fd input_;
  base::Fd output_;
};

// The rest of the line that begins so; "" if there is none.
std::string LineOf(const std::string& text, const std::string& prefix) {
  size_t at = text.starts_with(prefix) ? 0 : text.find("\n" + prefix);
  if (at == std::string::npos) return "";
  at = text.find(prefix, at) + prefix.size();
  return text.substr(at, text.find('\n', at) - at);
}

// What is wrong with the ledger of the tracked process, "" if nothing.
std::string WrongWith(const std::string& path) {
  LedgerError error;
  const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(path, &error);
  LedgerView view;
  if (!reader || !reader->Read(ReadLevel::kAll, &view, &error)) return TerminalText(error.what, 300);
  if (view.liveness != Liveness::kAlive)
    return "its process lives, and passes for dead: locks do not work on that file system";
  if (view.counters.refused_pages + view.counters.lost_events != 0)
    return "there was no room for what the process reported";
  if (view.accounts.size() != 1 ||
      view.accounts[0].live != Amount{kBuffers, kBuffers * kBufferBytes, kBuffers * kBufferBytes} ||
      view.buffers.size() != kBuffers) {
    return "it does not show what the process reported";
  }
  return "";
}

}  // namespace

int BeTracked() {
  memtally_device_info info{};
  info.size = sizeof(info);
  info.vendor = "memtally";
  info.architecture = "self-test";
  const memtally_device device = memtally_register_device(&info);
  memtally_register_kind(device, MEMTALLY_KIND_DRAM, 0, 1, 0);
  for (uint64_t id = 1; id <= kBuffers; ++id) {
    memtally_alloc(device, MEMTALLY_KIND_DRAM, id, id * kBufferBytes, kBufferBytes, kBufferBytes);
  }
  Dl_info library{};
  void* symbol = dlsym(RTLD_DEFAULT, "memtally_get_api");
  if (symbol != nullptr) dladdr(symbol, &library);
  std::printf("\nlibrary %s\nledger %s\n", library.dli_fname != nullptr ? library.dli_fname : "",
              memtally_ledger_path());
  std::fflush(stdout);
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  for (uint64_t id = 1; id <= kBuffers; ++id) memtally_free(device, MEMTALLY_KIND_DRAM, id);
  return 0;
}

void CheckTracking(const TrackingSetup& setup, Checkup* checkup) {
  for (const Finding& warning : setup.warnings) {
    if (warning.code == "library") checkup->Problem("library", warning.what, warning.hint);
  }
  if (setup.library.empty()) return;
  Tracked tracked(setup);
  std::string error;
  if (!tracked.Start(&error)) {
    checkup->Problem("tracking", "a process to try it with cannot be started: " + error, "");
    return;
  }
  const std::string said = tracked.ReadUntil("ledger ");
  const std::string loaded = LineOf(said, "library ");
  const std::string ledger = LineOf(said, "ledger ");
  struct stat wanted {};
  struct stat found {};
  if (stat(setup.library.c_str(), &wanted) != 0 || stat(loaded.c_str(), &found) != 0 || wanted.st_ino != found.st_ino ||
      wanted.st_dev != found.st_dev) {
    checkup->Problem("library",
                     fmt::format("{} is not loaded into a process that preloads it: {}", Shown(setup.library),
                                 loaded.empty() ? TerminalText(said, 300) : "it has " + Shown(loaded)),
                     "run LD_DEBUG=libs LD_PRELOAD=<that library> true, and look why");
    return;
  }
  checkup->Ok("library", fmt::format("{} can be preloaded", Shown(setup.library)));
  if (ledger.empty()) {
    const std::string why = LineOf(said, "memtally[");
    checkup->Problem("tracking",
                     "a tracked process could make no ledger: " +
                         TerminalText(why.empty() ? said : why.substr(why.find(": ") + 2), 300),
                     "see the lines about the directory and about limits");
    return;
  }
  const std::string wrong = WrongWith(ledger);
  const int status = tracked.End();
  if (!wrong.empty()) {
    checkup->Problem("tracking", fmt::format("the ledger of a tracked process cannot be used: {}", wrong), "");
  } else if (status != 0) {
    checkup->Problem("tracking", fmt::format("a tracked process did not end as it should: status {}", status), "");
  } else if (access(ledger.c_str(), F_OK) == 0) {
    checkup->Problem(
        "tracking", fmt::format("{}: was left behind by a process that ended with nothing to show", Shown(ledger)), "");
  } else {
    checkup->Ok("tracking", "a tracked process was started, its ledger read to the byte, and it left nothing behind");
  }
}

}  // namespace memtally::tools
