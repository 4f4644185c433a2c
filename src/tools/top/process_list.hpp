// SPDX-License-Identifier: Apache-2.0
//
// ProcessList: the processes of a snapshot as lines of a table: grouped into living, detached and dead, filtered,
// sorted or as trees.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"
#include "tools/top/row_filter.hpp"
#include "tools/top/style.hpp"

namespace memtally::tools::top {

enum class Column : uint8_t {
  kPid,
  kUser,
  kPlace,
  kState,
  kDevices,
  kReserved,
  kMemory,  // reserved in one memory
  kRequested,
  kPeak,
  kPercent,
  kBuffers,
  kAnomalies,
  kFailed,
  kCommand,
};

struct SortOrder {
  Column column = Column::kReserved;
  std::string memory;  // for kMemory
  bool descending = true;
  bool operator==(const SortOrder&) const = default;
};

struct ListRequest {
  SortOrder sort;
  bool tree = false;
  bool all_dead = false;      // also those that left nothing which should be looked at
  bool show_path = false;     // the executable instead of the command's name
  std::set<int32_t> devices;  // by the programs' own numbers; empty: all
  const RowFilter* filter = nullptr;
};

// What stands before a command in a tree, a step for each level.
enum class TreeStep : uint8_t {
  kNothing,
  kTrunk,       // another child of that level comes below
  kBranch,      // to this process; another one comes below
  kLastBranch,  // to this process
};

// Bytes are of device memory, without kinds that nest, overlap or lie on the host.  Texts are safe for a terminal.
struct ProcessRow {
  const collect::Process* process = nullptr;  // of the snapshot
  std::string user, place, devices, command;
  std::vector<TreeStep> steps;
  uint64_t reserved = 0;
  uint64_t requested = 0;
  uint64_t peak = 0;
  bool peak_is_bound = false;     // the sum of several peaks, which need not have been at once
  std::optional<double> percent;  // of the memory that it fills most
  uint64_t buffers = 0;           // of all kinds
  uint64_t anomalies = 0;         // failed allocations left out
  uint64_t failed = 0;
  std::vector<uint64_t> by_memory;  // reserved, by place in ProcessList::memories
};

struct ListLine {
  std::optional<size_t> row;  // none: a heading between groups, `text`
  std::string text;
  Role role = Role::kText;
};

struct ProcessList {
  std::vector<std::string> memories;  // that processes hold something in, as the processes name them
  std::vector<ProcessRow> rows;       // those that are shown
  std::vector<ListLine> lines;        // as they stand below each other
  size_t filtered_out = 0;
  size_t hidden_dead = 0;

  // The line of a process, if it is shown.
  std::optional<size_t> LineOf(const collect::ProcessKey& key) const;
};

ProcessList ListProcesses(const collect::Snapshot& snapshot, const ListRequest& request);

// The sum of everything that went wrong in a process, failed allocations left out.
uint64_t Anomalies(const LedgerView& facts);
uint64_t FailedAllocations(const LedgerView& facts);

}  // namespace memtally::tools::top
