// SPDX-License-Identifier: Apache-2.0
#include "tools/pager.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include "base/fd.hpp"
#include "tools/output.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"

extern char** environ;  // NOLINT: POSIX has it in no header

namespace memtally::tools {
namespace {

constexpr int kNotFound = 127;  // a shell's exit code

// Whether a folder of PATH has such a program.
bool IsInstalled(std::string_view program) {
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable != nullptr ? variable : "/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    const std::string path = std::string(rest.substr(0, end)).append("/").append(program);
    if (access(path.c_str(), X_OK) == 0) return true;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return false;
}

// The command for a shell; "" for none.
std::string ChosenPager() {
  for (const char* name : {"MEMTALLY_PAGER", "PAGER"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) return std::string_view(value) == "cat" ? "" : value;
  }
  return IsInstalled("less") ? "less" : "";
}

// Lines that the text takes on a terminal of such a width.  Lines of screens are not wider, except notes and help.
size_t LinesOf(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

// Ctrl-C and a pager that goes away are not for this process while it lives.
class IgnoredSignals {
 public:
  IgnoredSignals() {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &ignore, &old_[i]);
  }
  ~IgnoredSignals() {
    for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_[i], nullptr);
  }
  IgnoredSignals(const IgnoredSignals&) = delete;
  IgnoredSignals& operator=(const IgnoredSignals&) = delete;

  static void SetDefaults(posix_spawnattr_t* attributes) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : kSignals) sigaddset(&signals, signal);
    posix_spawnattr_setsigdefault(attributes, &signals);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF);
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGQUIT, SIGPIPE};
  struct sigaction old_[std::size(kSignals)]{};
};

// Starts the pager with the read end of the pipe as its input.  Returns 0 if it cannot.
pid_t Start(const std::string& command, int input) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  IgnoredSignals::SetDefaults(&attributes);
  const char* arguments[] = {"sh", "-c", command.c_str(), nullptr};
  pid_t pid = 0;
  if (std::getenv("LESS") == nullptr) setenv("LESS", "FRX", 1);
  const int failure = posix_spawn(&pid, "/bin/sh", &actions, &attributes, const_cast<char**>(arguments), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return failure == 0 ? pid : 0;
}

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // the pager is gone, which is the user's choice
    text.remove_prefix(static_cast<size_t>(written));
  }
}

// Returns false if the pager could not be started.
bool Page(const std::string& command, const std::string& text) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  base::Fd input(ends[0]);
  base::Fd output(ends[1]);
  const IgnoredSignals ignored;
  const pid_t pid = Start(command, input.get());
  input.reset();
  if (pid == 0) return false;
  WriteAll(output.get(), text);
  output.reset();
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return !(WIFEXITED(status) && WEXITSTATUS(status) == kNotFound);
}

}  // namespace

int ShowScreen(const std::string& text) {
  const Terminal terminal = StandardOutput();
  if (!terminal.can_move || !GlobalOutputSettings().pager || LinesOf(text) < terminal.lines) return WriteOutput(text);
  const std::string pager = ChosenPager();
  return !pager.empty() && Page(pager, text) ? kSuccess : WriteOutput(text);
}

}  // namespace memtally::tools
