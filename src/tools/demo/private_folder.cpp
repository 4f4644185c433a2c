// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/private_folder.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools::demo {
namespace {

// Until it is gone: programs that are just ending may still make a file in it.
void Remove(const std::string& path) {
  for (int tries = 0; tries < 200; ++tries) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (!std::filesystem::exists(path, error)) return;
    usleep(50'000);
  }
}

// The life of the process that watches over the folder: waits until nobody has the other end of `watched`.
[[noreturn]] void Keep(int watched, const std::string& path) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGPIPE}) std::signal(signal, SIG_IGN);
  // Nobody is to wait for this process because it has his terminal or his pipe.
  if (dup2(watched, STDIN_FILENO) >= 0) close_range(STDIN_FILENO + 1, ~0u, 0);
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
  }
  Remove(path);
  _exit(0);
}

}  // namespace

std::unique_ptr<PrivateFolder> PrivateFolder::Make(std::string* error) {
  const char* directory = std::getenv("MEMTALLY_DIR");  // NOLINT(concurrency-mt-unsafe): before any thread
  std::unique_ptr<PrivateFolder> folder(new PrivateFolder);
  folder->had_directory_ = directory != nullptr;
  if (directory != nullptr) folder->directory_before_ = directory;
  const std::string parent = directory != nullptr && *directory != 0 ? directory : "/dev/shm";
  std::string path = parent + "/memtally-demo.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    *error = fmt::format("{}: no folder can be made here: {}; set MEMTALLY_DIR to a place where one can",
                         TerminalText(parent), ErrorText(errno));
    return nullptr;
  }
  folder->path_ = path;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    *error = fmt::format("cannot make a pipe: {}", ErrorText(errno));
    return nullptr;
  }
  base::Fd watched(ends[0]);
  folder->alive_ = ends[1];
  (void)std::fflush(nullptr);  // or the child would write it again
  folder->keeper_ = fork();
  if (folder->keeper_ < 0) {
    *error = fmt::format("cannot start a process: {}", ErrorText(errno));
    return nullptr;
  }
  if (folder->keeper_ == 0) Keep(watched.get(), path);
  setenv("MEMTALLY_DIR", path.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): before any thread
  return folder;
}

PrivateFolder::~PrivateFolder() {
  if (alive_ >= 0) close(alive_);
  if (keeper_ > 0) {
    while (waitpid(keeper_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (!path_.empty()) Remove(path_);
  // NOLINTBEGIN(concurrency-mt-unsafe): after all threads
  if (had_directory_) {
    setenv("MEMTALLY_DIR", directory_before_.c_str(), 1);
  } else {
    unsetenv("MEMTALLY_DIR");
  }
  // NOLINTEND(concurrency-mt-unsafe)
}

}  // namespace memtally::tools::demo
