// SPDX-License-Identifier: Apache-2.0
//
// RunFacts: everything that `memtally run` found out about a launch.  Summary, report and verdict read it and nothing
// else.  Sizes are bytes, times CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "tools/run/command_inspection.hpp"

namespace memtally::tools {

using LaunchId = std::array<uint8_t, 16>;

// A process that held memory: of the launch, or another one on the same device.
struct Holder {
  std::array<uint8_t, 16> run_id{};
  uint32_t pid = 0;
  std::string command;
  bool of_launch = false;
};

// A part of what was held at a moment.
struct Share {
  size_t holder = 0;  // index into RunFacts::holders
  std::string kind;
  std::string tag;        // path; "" none
  bool tag_known = true;  // false: it was freed before anybody could see its tag
  Amount amount;
};

// What was held in one place at one moment.
struct Moment {
  uint64_t time_ns = 0;
  bool exact = false;        // every buffer that was held then is in it, and no other
  uint64_t distance_ns = 0;  // if not exact: how far from the moment that was asked for, where that is known
  Amount total;
  std::vector<Share> shares;  // the largest first
  Amount rest;                // of shares that are not listed
};

// A device of the machine, as the launch's processes know it.
struct RunDevice {
  LedgerDevice facts;  // of the first process that named it; its index and parent mean nothing here
};

// One kind of memory of one device; or one memory, with all kinds that lie in it and share its capacity.
struct RunPlace {
  size_t device = 0;
  std::string name;
  bool is_memory = false;  // all kinds of a memory together
  size_t kinds = 1;        // of a memory: how many kinds were used
  bool overlaps = false;   // buffers share addresses: no sum says anything about a capacity
  bool nested = false;
  bool on_host = false;
  uint64_t capacity_bytes = 0;  // the largest of any process, 0 unknown
  size_t processes = 0;
  Amount allocated, freed, released;
  Amount live;                                     // at the end, of processes that go on
  Amount left;                                     // live in processes that ended without giving it back
  uint64_t peak_reserved = 0, peak_requested = 0;  // of all processes together: sums that were really reached
  uint64_t peak_reserved_slack = 0, peak_requested_slack = 0;  // by how much the true ones may be higher
  uint64_t failed_allocations = 0, failed_requested = 0;
  std::optional<Moment> at_peak;
};

// Buffers of one process that have a device, kind and tag in common.
struct TagSum {
  size_t place = 0;  // index into RunFacts::places
  std::string tag;
  Amount amount;
  uint64_t oldest_ns = 0;   // when the oldest was allocated
  bool suppressed = false;  // known and wanted: no leak
};

struct RunProcess {
  LedgerView facts;  // the last that was read; without buffers, tags, groups and events
  size_t holder = 0;
  bool goes_on = false;  // it outlived the command
  std::optional<uint64_t> seen_dead_ns;
  std::vector<TagSum> left;      // by tag: live when it died, or at its normal end without a close
  std::vector<TagSum> released;  // by a close, and never freed
};

struct FailedAllocation {
  size_t process = 0;  // index into RunFacts::processes
  size_t device = 0;
  std::string kind;
  std::string memory;
  uint64_t time_ns = 0;
  uint64_t bytes_requested = 0;
  uint32_t thread_id = 0;
  std::string tag;
  uint64_t capacity_bytes = 0;
  Moment held;  // in that memory, by all processes that could be looked at
};

struct ObserverCost {
  uint64_t looks = 0;
  uint64_t full_readings = 0;
  uint64_t cpu_ns = 0;
};

struct RunFacts {
  std::string name;
  std::vector<std::string> command;
  LaunchId launch_id{};
  std::string ledger_directory;
  CommandFacts inspection;
  std::string library;             // "" none was preloaded
  std::vector<std::string> hooks;  // that were preloaded with it
  std::vector<Finding> warnings;   // what else is to be known about this launch
  int status = 0;                  // of the command, as of waitpid
  uint64_t started_ns = 0, ended_ns = 0;
  uint64_t started_realtime_ns = 0;

  std::vector<Holder> holders;
  std::vector<RunDevice> devices;
  std::vector<RunPlace> places;  // by device, then memories and kinds in the order of their numbers
  std::vector<RunProcess> processes;
  std::vector<FailedAllocation> failures;  // the first ones, in the order of time
  uint64_t failures_without_details = 0;
  uint64_t foreign_ledgers = 0;  // that name this launch, but belong to another user: left out
  ObserverCost observer;
};

}  // namespace memtally::tools
