// SPDX-License-Identifier: Apache-2.0
//
// A trace in memory: what one process did to its devices, in order.  docs/formats/trace.md is the text format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace memtally::tools {

enum class TraceOperation : uint8_t {
  kDevice,  // item: of devices.  The first for a chip makes it known; a later one opens it again
  kKind,    // item: of kinds
  kAlloc,
  kFree,
  kFailed,  // an allocation that did not succeed
  kClose,
  kPushTag,  // item: of tags
  kPopTag,
  kView,     // item: of views
  kAnomaly,  // item: of anomalies
};

// An event is what changes a ledger: an allocation, a free, a failed allocation, a close.
constexpr bool IsEvent(TraceOperation operation) {
  return operation == TraceOperation::kAlloc || operation == TraceOperation::kFree ||
         operation == TraceOperation::kFailed || operation == TraceOperation::kClose;
}

// A claim about the state at this point, which a check verifies.
constexpr bool IsClaim(TraceOperation operation) {
  return operation == TraceOperation::kView || operation == TraceOperation::kAnomaly;
}

// One line.  Fields that an operation does not have are 0.
struct TraceRecord {
  uint64_t time_ns = 0;  // since the start; for lines without a time, that of the line before
  uint64_t id = 0;
  uint64_t address = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
  uint32_t line = 0;  // of the file, from 1
  uint32_t item = 0;
  uint16_t thread = 0;  // index of Trace::threads; for lines without a thread, that of the line before
  uint16_t chip = 0;    // index of Trace::chips
  uint16_t kind = 0;    // index of Trace::kind_names
  TraceOperation operation = TraceOperation::kAlloc;
};

struct TraceDevice {
  std::string vendor;
  std::string architecture;
  uint64_t unique_id = 0;  // 0 unknown
};

struct TraceKind {
  uint64_t capacity_bytes = 0;  // all banks
  uint64_t capacity_bytes_per_bank = 0;
  uint32_t banks = 1;
  bool implied = false;  // no line said so: the banks are those of the memory that the kind lies in
};

// What the framework's allocator said about chip 0.
struct TraceView {
  struct Entry {
    uint64_t bytes_per_bank = 0;  // allocated
    uint32_t banks = 0;
    uint16_t kind = 0;
  };
  std::string name;
  std::vector<Entry> entries;
};

// How often an anomaly must have been counted by now.
struct TraceAnomaly {
  uint64_t count = 0;
  uint32_t anomaly = 0;  // enum memtally_anomaly
};

struct Trace {
  std::string name;                     // of the file, without folder and endings
  std::vector<TraceRecord> records;     // in the order in which they took effect
  std::vector<uint64_t> threads;        // as the trace numbers them
  std::vector<int32_t> chips;           // as the trace numbers them
  std::vector<std::string> kind_names;  // in lower case, as ledgers have them
  std::vector<TraceDevice> devices;
  std::vector<TraceKind> kinds;
  std::vector<std::string> tags;
  std::vector<TraceView> views;
  std::vector<TraceAnomaly> anomalies;
  uint64_t events = 0;  // records for which IsEvent
};

}  // namespace memtally::tools
