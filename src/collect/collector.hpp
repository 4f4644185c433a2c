// SPDX-License-Identifier: Apache-2.0
//
// Collector: takes snapshots of this machine, one after the other.
//
// It keeps ledgers open between snapshots, and the memory of snapshots that nobody holds any more.  It never blocks or
// slows the processes that it looks at.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "collect/snapshot.hpp"

namespace memtally::collect {

struct SnapshotRequest {
  Level level = Level::kTotals;
  std::optional<ProcessKey> process = std::nullopt;  // for Level::kProcess
  // Extents of kinds whose buffers share addresses.  Reads their buffers where they have changed, for some
  // milliseconds; what is not read in that time has the extent of an earlier snapshot, or none yet.
  bool extents = false;
};

// Not thread-safe; the snapshots are.
class Collector {
 public:
  struct Options {
    std::string only_ledger{};  // this file instead of the machine's ledgers
    // Where others publish their totals; "": not looked at.  By default where ledgers are: MEMTALLY_DIR or /dev/shm.
    std::optional<std::string> passive_directory = std::nullopt;
    bool clean_up = false;  // Discover first removes what the dead left and is not worth keeping
  };

  Collector();
  explicit Collector(Options options);
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  // Looks for ledgers that have come, and lets go of those that are gone.  Called by the first Take; callers that go on
  // looking call it now and then (it is dearer than a snapshot of totals).
  void Discover();

  // Never null.
  std::shared_ptr<const Snapshot> Take(const SnapshotRequest& request = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace memtally::collect
