// SPDX-License-Identifier: Apache-2.0
#include "tools/doctor/program_output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/fd.hpp"
#include "base/proc.hpp"

namespace memtally::tools {
namespace {

constexpr size_t kMostOutput = size_t{1} << 20;

std::vector<char*> Pointers(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts->size() + 1);
  for (std::string& text : *texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

bool HasNameOf(std::string_view entry, std::string_view variable) {
  return entry.substr(0, entry.find('=')) == variable.substr(0, variable.find('='));
}

}  // namespace

bool OutputOf(const std::vector<std::string>& words, const std::vector<std::string>& variables, int patience_ms,
              std::string* output) {
  output->clear();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  const base::Fd here(ends[0]);
  base::Fd there(ends[1]);
  std::vector<std::string> arguments = words;
  std::vector<std::string> environment = variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const auto replaces = [entry](const std::string& variable) { return HasNameOf(*entry, variable); };
    if (std::none_of(variables.begin(), variables.end(), replaces)) environment.emplace_back(*entry);
  }

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, there.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, words[0].c_str(), &actions, nullptr, Pointers(&arguments).data(),
                                 Pointers(&environment).data());
  posix_spawn_file_actions_destroy(&actions);
  there.reset();
  if (failed != 0) return false;

  // It may leave the pipe to children of its own: its end is what counts, and then what is in the pipe.
  const uint64_t end_ns = base::MonotonicNs() + static_cast<uint64_t>(patience_ms) * 1'000'000;
  int status = -1;
  bool open = true;
  bool ended = false;
  while (base::MonotonicNs() < end_ns) {
    if (!ended) ended = waitpid(pid, &status, WNOHANG) == pid;
    pollfd ready{here.get(), POLLIN, 0};
    const int events = open ? poll(&ready, 1, ended ? 0 : 10) : poll(nullptr, 0, 2);
    if (events > 0) {
      char buffer[4096];
      const ssize_t got = read(here.get(), buffer, sizeof(buffer));
      if (got > 0) output->append(buffer, std::min(static_cast<size_t>(got), kMostOutput - output->size()));
      if (got == 0 || (got < 0 && errno != EINTR)) open = false;
    } else if (ended) {
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    if (ended && !open) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  if (!ended) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  return false;
}

}  // namespace memtally::tools
