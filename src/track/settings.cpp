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

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

void ReadLaunchId(const char* text, uint8_t (&id)[16]) {
  if (text == nullptr || strlen(text) != 2 * sizeof(id)) return;
  uint8_t bytes[sizeof(id)];
  for (size_t i = 0; i < sizeof(id); ++i) {
    const int high = HexDigit(text[2 * i]);
    const int low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  memcpy(id, bytes, sizeof(id));
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
  ReadLaunchId(getenv("MEMTALLY_LAUNCH"), settings.launch_id);
  return settings;
}

}  // namespace

bool Settings::is_launched() const {
  uint8_t any = 0;
  for (const uint8_t byte : launch_id) any |= byte;
  return any != 0;
}

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
