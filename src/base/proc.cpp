// SPDX-License-Identifier: Apache-2.0
#include "base/proc.hpp"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace memtally::base {

namespace {

class KeepErrno {
 public:
  KeepErrno() : saved_(errno) {}
  ~KeepErrno() { errno = saved_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int saved_;
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint64_t ClockNs(clockid_t clock) {
  const KeepErrno keep;
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

size_t ReadSmallFile(const char* path, char* buffer, size_t capacity) {
  const KeepErrno keep;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return 0;
  size_t used = 0;
  while (used < capacity) {
    const ssize_t got = read(fd, buffer + used, capacity - used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    used += static_cast<size_t>(got);
  }
  close(fd);
  return used;
}

std::array<uint8_t, 16> BootId() {
  std::array<uint8_t, 16> id{};
  char text[64];
  const size_t bytes = ReadSmallFile("/proc/sys/kernel/random/boot_id", text, sizeof(text));
  size_t digits = 0;
  for (size_t i = 0; i < bytes && digits < 32; ++i) {
    const int digit = HexDigit(text[i]);
    if (digit < 0) continue;
    id[digits / 2] = static_cast<uint8_t>(id[digits / 2] << 4 | digit);
    ++digits;
  }
  if (digits != 32) id.fill(0);
  return id;
}

uint64_t OwnPidNamespace() {
  const KeepErrno keep;
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

ProcessStat StatProcess(uint32_t pid) {
  const KeepErrno keep;
  ProcessStat result;
  char path[32];
  snprintf(path, sizeof(path), "/proc/%u/stat", pid);
  char text[1024];
  const size_t bytes = ReadSmallFile(path, text, sizeof(text) - 1);
  text[bytes] = '\0';
  // The name, field 2, is in parentheses and may itself hold any character.
  const char* at = strrchr(text, ')');
  if (at == nullptr || at[1] != ' ') return result;
  result.exists = true;
  result.gone = at[2] == 'Z' || at[2] == 'X' || at[2] == 'x';
  ++at;
  for (int field = 3; field <= 22 && at != nullptr; ++field) {
    at = strchr(at, ' ');
    if (at == nullptr) break;
    ++at;
    if (field == 4) result.parent_pid = static_cast<uint32_t>(strtoul(at, nullptr, 10));
    if (field == 22) result.start_ticks = strtoull(at, nullptr, 10);
  }
  return result;
}

uint64_t MonotonicNs() { return ClockNs(CLOCK_MONOTONIC); }
uint64_t RealtimeNs() { return ClockNs(CLOCK_REALTIME); }

}  // namespace memtally::base
