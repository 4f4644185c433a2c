// SPDX-License-Identifier: Apache-2.0
//
// Facts about processes and the running kernel, from /proc.  No function here allocates, throws or changes errno.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace memtally::base {

// Reads a small file; returns the number of bytes, 0 if it cannot be read.  What does not fit is left out.
size_t ReadSmallFile(const char* path, char* buffer, size_t capacity);

// The running kernel's boot id, binary; all zero if it is unknown.
std::array<uint8_t, 16> BootId();

// Inode of the calling process's pid namespace, 0 if unknown.
uint64_t OwnPidNamespace();

// What /proc/<pid>/stat says.
struct ProcessStat {
  bool exists = false;
  bool gone = false;  // a zombie: dead, only not yet waited for
  uint32_t parent_pid = 0;
  uint64_t start_ticks = 0;  // field 22, clock ticks since boot
};
ProcessStat StatProcess(uint32_t pid);

// CLOCK_MONOTONIC and CLOCK_REALTIME, nanoseconds.
uint64_t MonotonicNs();
uint64_t RealtimeNs();

}  // namespace memtally::base
