// SPDX-License-Identifier: Apache-2.0
//
// LaunchObserver: looks at the ledgers of a launch while it runs, and once more when it has ended.
//
// Sums, peaks and counts it need not catch: they are exact in each ledger, which outlives its process.  What it has to
// be there for is who held the memory at a peak or at a failed allocation, before a flight recorder has forgotten the
// way back there.  So it looks at totals often, and reads everything only when a sum is higher than any of which it
// knows the parts.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "tools/run/ledger_watch.hpp"
#include "tools/run/run_facts.hpp"
#include "tools/run/run_places.hpp"
#include "tools/run/watched_process.hpp"

namespace memtally::tools {

class LaunchObserver {
 public:
  LaunchObserver(std::string ledger_directory, const LaunchId& launch);
  ~LaunchObserver();
  LaunchObserver(const LaunchObserver&) = delete;
  LaunchObserver& operator=(const LaunchObserver&) = delete;

  // Before the command is started: from here on no ledger is overlooked.
  void Prepare();

  // After it was started.  A thread looks from now on.
  void Start();

  // The command has ended: the last look, and everything that was found out goes into *facts.  Ledgers of the dead that
  // show nothing are removed.
  void Finish(RunFacts* facts);

 private:
  // What is known of the sum of a place.
  struct PlaceState {
    uint64_t wanted = 0;                                   // the highest that is known to have been
    uint64_t tried = 0;                                    // there was a search when it was that
    uint64_t best = 0;                                     // at `moment`
    bool by_requested = false;                             // the program names no reserved bytes
    uint64_t sampled_reserved = 0, sampled_requested = 0;  // the highest that was seen at one look
    uint64_t not_before_ns = 0;                            // a process that was in it had not ended before
    std::optional<Moment> moment;
  };

  void Loop();
  void Look();
  void AddNew();
  void SampleSums();
  void ReadWhatIsBehind();
  // Reads these processes and those that share places with them, and looks for moments.
  void ReadAndSearch(std::vector<WatchedProcess*> processes);
  void Search(const std::vector<WatchedProcess*>& processes);
  std::vector<WatchedProcess*> ReadOtherHolders(const std::vector<WatchedProcess*>& processes);
  void End(WatchedProcess* process);
  size_t HolderOf(const LedgerView& view, bool of_launch);
  size_t IndexOf(const WatchedProcess* process) const;
  void StopLooking();

  std::string directory_;
  LedgerWatch watch_;
  RunPlaces places_;
  std::vector<PlaceState> place_state_;
  std::vector<std::unique_ptr<WatchedProcess>> processes_;
  std::vector<RunProcess> results_;                      // by place as processes_
  std::vector<std::unique_ptr<WatchedProcess>> others_;  // outside the launch, on the same devices
  std::vector<Holder> holders_;
  std::map<std::array<uint8_t, 16>, size_t> holder_of_;
  std::vector<FailedAllocation> failures_;
  uint64_t next_search_ns_ = 0;
  uint64_t next_scan_ns_ = 0;
  uint64_t last_event_ns_ = 0;  // when a look last found that something had happened
  uint64_t look_cost_ns_ = 0;
  ObserverCost cost_;

  base::Fd stop_event_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace memtally::tools
