// SPDX-License-Identifier: Apache-2.0
#include "child_process.hpp"

#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#ifndef MEMTALLY_MODEL_SCALE
#define MEMTALLY_MODEL_SCALE 100
#endif

namespace memtally::model {

namespace {

constexpr char kOwnDirectory[] = "MEMTALLY_MODEL_DIR";

// Calls visit(path) for each file of a process in the directory of ledgers.
template <typename Visit>
void VisitFilesOf(pid_t process, Visit&& visit) {
  const std::string directory = LedgerDirectory();
  DIR* entries = opendir(directory.c_str());
  if (entries == nullptr) return;
  const std::string start = "memtally-" + std::to_string(geteuid()) + "-" + std::to_string(process) + "-";
  while (const dirent* entry = readdir(entries)) {
    if (strncmp(entry->d_name, start.c_str(), start.size()) == 0) visit(directory + "/" + entry->d_name);
  }
  closedir(entries);
}

}  // namespace

void EnterOwnDirectory(char** arguments) {
  if (getenv(kOwnDirectory) != nullptr) return;
  for (char** argument = arguments; *argument != nullptr; ++argument) {
    if (strcmp(*argument, "--gtest_list_tests") == 0) return;
  }
  std::string directory = LedgerDirectory() + "/memtally-model-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return;
  setenv(kOwnDirectory, directory.c_str(), 1);
  const char* before = getenv("MEMTALLY_DIR");
  const std::string saved = before != nullptr ? before : "";
  setenv("MEMTALLY_DIR", directory.c_str(), 1);
  execv("/proc/self/exe", arguments);
  // An emulator may be unable to.
  rmdir(directory.c_str());
  unsetenv(kOwnDirectory);
  if (before != nullptr) {
    setenv("MEMTALLY_DIR", saved.c_str(), 1);
  } else {
    unsetenv("MEMTALLY_DIR");
  }
}

void LeaveOwnDirectory() {
  if (const char* directory = getenv(kOwnDirectory)) rmdir(directory);
}

std::string LedgerDirectory() {
  const char* directory = getenv("MEMTALLY_DIR");
  return directory != nullptr && *directory == '/' ? directory : "/dev/shm";
}

std::string RunInChild(const std::function<std::string()>& run) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe failed";
  const pid_t child = fork();
  if (child < 0) return "fork failed";
  if (child == 0) {
    close(ends[0]);
    const std::string text = run();
    for (size_t done = 0; done < text.size();) {
      const ssize_t written = write(ends[1], text.data() + done, text.size() - done);
      if (written <= 0) break;
      done += static_cast<size_t>(written);
    }
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char chunk[4096];
  for (ssize_t got; (got = read(ends[0], chunk, sizeof(chunk))) != 0;) {
    if (got > 0) text.append(chunk, static_cast<size_t>(got));
    if (got < 0 && errno != EINTR) break;
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) text += "the child died of signal " + std::to_string(WTERMSIG(status)) + "\n";
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
    text += "the child ended with status " + std::to_string(WEXITSTATUS(status)) + "\n";
  }
  RemoveFilesOf(child);
  return text;
}

std::string LedgerOf(pid_t child) {
  std::string found;
  VisitFilesOf(child, [&](const std::string& path) {
    if (path.ends_with(".ledger")) found = path;
  });
  return found;
}

void RemoveFilesOf(pid_t child) {
  std::vector<std::string> paths;
  VisitFilesOf(child, [&](const std::string& path) { paths.push_back(path); });
  for (const std::string& path : paths) unlink(path.c_str());
}

std::string ReadLedger(const std::string& path, LedgerView* view) {
  LedgerError error;
  const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(path, &error);
  if (reader == nullptr || !reader->Read(ReadLevel::kAll, view, &error)) return error.what;
  return "";
}

uint64_t FromEnvironment(const char* name, uint64_t usual) {
  const char* value = getenv(name);
  return value != nullptr && *value != 0 ? strtoull(value, nullptr, 10) : usual;
}

uint64_t Scaled(uint64_t usual) {
  const uint64_t scaled = usual * FromEnvironment("MEMTALLY_SCALE", MEMTALLY_MODEL_SCALE) / 100;
  return scaled != 0 ? scaled : 1;
}

Progress* Progress::Make() {
  void* memory = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) abort();
  return new (memory) Progress{};
}

void Progress::Reset() {
  for (Thread& t : thread) {
    t.begun.store(0);
    t.completed.store(0);
    t.id.store(0);
  }
  ready.store(0);
  turn.store(0);
}

}  // namespace memtally::model
