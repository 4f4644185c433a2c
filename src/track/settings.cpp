// SPDX-License-Identifier: Apache-2.0
#include "track/settings.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "ledger/writer/syscall_scope.hpp"
#include "ledger/writer/text.hpp"

namespace memtally::track {

namespace {

bool IsZero(const char* variable) {
  const char* value = getenv(variable);
  return value != nullptr && strcmp(value, "0") == 0;
}

bool IsOne(const char* variable) {
  const char* value = getenv(variable);
  return value != nullptr && strcmp(value, "1") == 0;
}

Settings Read() {
  Settings settings;
  settings.enabled = !IsZero("MEMTALLY") && !IsZero("TT_ALLOC_TRACKING_ENABLED");
  settings.is_private = IsOne("MEMTALLY_PRIVATE");
  const char* directory = getenv("MEMTALLY_DIR");
  if (directory != nullptr && *directory == '/') {
    // The program may change its environment later.
    static char copy[256];
    writer::Text text(copy, sizeof(copy));
    text.Add(directory);
    if (!text.cut()) settings.directory = copy;
  }
  return settings;
}

}  // namespace

const Settings& GetSettings() {
  // Two first calls at once read the same environment and write the same values.
  static Settings settings;
  static std::atomic<bool> read{false};
  if (!read.load(std::memory_order_acquire)) {
    static std::atomic_flag reading = ATOMIC_FLAG_INIT;
    while (reading.test_and_set(std::memory_order_acquire)) {
      if (read.load(std::memory_order_acquire)) return settings;
    }
    if (!read.load(std::memory_order_relaxed)) {
      settings = Read();
      read.store(true, std::memory_order_release);
    }
    reading.clear(std::memory_order_release);
  }
  return settings;
}

void Log(const char* message, const char* detail) {
  const char* target = getenv("MEMTALLY_LOG");
  if (target == nullptr || *target == 0 || strcmp(target, "0") == 0) return;
  const writer::SyscallScope unnoticed;
  char line[512];
  writer::Text text(line, sizeof(line) - 1);
  text.Add("memtally[").Number(static_cast<uint64_t>(getpid())).Add("]: ").Add(message);
  if (detail != nullptr) text.Add(": ").Add(detail);
  const size_t length = strlen(line);
  line[length] = '\n';
  const bool to_stderr = strcmp(target, "1") == 0 || strcmp(target, "stderr") == 0;
  const int fd = to_stderr ? STDERR_FILENO : open(target, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = write(fd, line, length + 1);
  if (!to_stderr) close(fd);
}

}  // namespace memtally::track
