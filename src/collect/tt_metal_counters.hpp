// SPDX-License-Identifier: Apache-2.0
//
// What tt-metal publishes of its own accord: a file of totals for each chip, /dev/shm/tt_device_<chip>_memory.
//
//   byte    0  u32 version (2, 3, 4)          8  u64 last update, ns        24  u64 board serial
//           4  u32 active processes          16  u32 references             32  u64 asic id     40  i32 device number
//          48  5 x u64: bytes that were asked for, of dram, l1, l1_small, trace, circular buffers
//          88  16 chips x 48 bytes: u32 chip, u32 remote, 5 x u64
//         856  64 processes x 120 bytes: i32 pid, 4 unused, 5 x u64, u64 time of the last change, char name[64]
//        8536  u32 state of initialisation (version 4: 0x52454459 when ready)
//        8576  end
//
// Times are CLOCK_REALTIME nanoseconds.  Checked against ttnn 0.81.1, which writes version 3.
//
// Its limits: totals only, and not what the memory lost; several processes' updates race; rows of killed processes
// stay; what closing a device releases is not taken off the chips; pids are those of the writer's namespace; 64
// processes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

namespace memtally::collect {

// The kinds of the file, in its order, as numbers of enum memtally_kind.
extern const std::array<uint32_t, 5> kCounterKinds;

struct CounterRow {
  uint32_t pid = 0;  // in the namespace of whoever wrote it
  std::array<uint64_t, 5> bytes{};
  uint64_t time_ns = 0;  // CLOCK_REALTIME of its last change, 0 unknown
  std::string name;      // of a foreign process, up to its first zero
};

struct TtMetalCounters {
  std::string path;
  uint32_t version = 0;
  uint32_t owner = 0;  // user
  uint64_t asic_id = 0;
  int32_t device_number = 0;
  std::array<uint64_t, 5> bytes{};  // of the device
  std::vector<CounterRow> rows;     // those in use
};

inline constexpr size_t kCountersBytes = 8576;

// Takes a copy of the file apart.  False, with *error naming `path`, if it is none of these, newer, or not ready.
bool ParseCounters(std::span<const uint8_t> file, const std::string& path, TtMetalCounters* counters,
                   LedgerError* error);

// All such files of a directory; follows no symbolic link, waits for nothing.  What cannot be read is in *problems.
std::vector<TtMetalCounters> ReadCounters(const std::string& directory,
                                          std::vector<std::pair<std::string, LedgerError>>* problems);

}  // namespace memtally::collect
