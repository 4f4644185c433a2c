// SPDX-License-Identifier: Apache-2.0
//
// Snapshots made by hand, for tests of views.  The same call always makes the same one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"

namespace memtally::tools::top {

inline constexpr uint64_t kSecondNs = 1'000'000'000;

// A process of its own run id, made from `number`, with one device of known id (`device`), DRAM (12 GiB), TRACE in it,
// L1 (64 MiB) and circular buffers in it.  It holds nothing.
collect::Process MakeProcess(uint32_t number, const std::string& command, int32_t device = 0);

// The account of a kind (enum memtally_kind), which the process must have.
LedgerAccount& AccountOf(collect::Process* process, uint32_t kind);

// A live buffer: in the account's sums and in the list.
void AddBuffer(collect::Process* process, uint32_t kind, uint64_t bytes, uint32_t tag = 0,
               uint64_t time_ns = kSecondNs);

// Returns the tag's index.
uint32_t AddTag(collect::Process* process, const std::string& name, uint32_t parent = 0);

// Sums `left` and `held`, devices and peaks as the collector does, from the processes.  Taken at 100 s.
std::shared_ptr<collect::Snapshot> MakeSnapshot(std::vector<collect::Process> processes);

// Several living processes on two devices, one detached, two dead; anomalies, failures, a tree, extents.
std::shared_ptr<collect::Snapshot> BusyMachine();

// A process with tags, buffers, events, anomalies and failures, has_buffers set; alone on its machine.
std::shared_ptr<collect::Snapshot> OneProcess();

// Processes whose texts try to break screens.
std::shared_ptr<collect::Snapshot> HostileMachine();

}  // namespace memtally::tools::top
