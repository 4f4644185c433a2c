// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/program.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/proc.hpp"
#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools::demo {
namespace {

// Starts this very command.  With `log`: in a group of its own, which dies with this process, and with its output in
// that file.
pid_t Start(const std::vector<std::string>& arguments, const std::string* log) {
  std::vector<std::string> words{"memtally"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  (void)std::fflush(nullptr);  // what was said so far comes first
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error(fmt::format("cannot start a process: {}", ErrorText(errno)));
  if (pid != 0) {
    if (log != nullptr) setpgid(pid, pid);  // here, too: whoever comes first
    return pid;
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);  // whatever this process has blocked for itself
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  setenv("MEMTALLY_PAGER", "", 1);  // NOLINT(concurrency-mt-unsafe): the only thread
  if (log != nullptr) {
    setpgid(0, 0);
    const int input = open("/dev/null", O_RDONLY);
    const int output = open(log->c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (input < 0 || output < 0) _exit(1);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0u, 0);
  }
  execv("/proc/self/exe", pointers.data());
  _exit(1);
}

}  // namespace

Program::Program(ProgramPlan plan, const std::string& folder)
    : plan_(std::move(plan)), log_(folder + "/" + plan_.name + ".log") {
  // Ids of the demonstration's own cards.
  constexpr uint32_t kFirstDeviceId = 1001;
  pid_ = Start({"replay", plan_.recording, "--name", plan_.name, "--speed", fmt::format("{:.6f}", plan_.speed),
                "--device-id", std::to_string(kFirstDeviceId + plan_.device), "--device-index",
                std::to_string(plan_.device), plan_.loop ? "--loop" : "--hold"},
               &log_);
}

Program::~Program() {
  kill(-pid_, SIGKILL);
  // Its replaying process has become a child of this one.
  pid_t done = 0;
  do {
    done = waitpid(-pid_, nullptr, 0);
  } while (done > 0 || (done < 0 && errno == EINTR));
}

bool Program::IsRunning() {
  if (!ended_) ended_ = waitpid(pid_, nullptr, WNOHANG) == pid_;
  return !ended_;
}

std::string Program::Said() const {
  constexpr size_t kMost = 500;
  std::string text(kMost, '\0');
  text.resize(base::ReadSmallFile(log_.c_str(), text.data(), text.size()));
  return TerminalText(text.substr(0, text.find('\n')));
}

void Program::SetStopped(bool stopped) const { kill(-pid_, stopped ? SIGSTOP : SIGCONT); }

int RunOwnCommand(const std::vector<std::string>& arguments) {
  const pid_t pid = Start(arguments, nullptr);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  constexpr int kSignalled = 128;
  return WIFSIGNALED(status) ? kSignalled + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace memtally::tools::demo
