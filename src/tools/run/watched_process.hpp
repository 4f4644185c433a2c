// SPDX-License-Identifier: Apache-2.0
//
// WatchedProcess: one process and what was read of its ledger so far.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <memtally/abi/ledger_format.h>
#include <memtally/ledger_reader.hpp>

#include "tools/run/event_undo.hpp"
#include "tools/run/moment_search.hpp"
#include "tools/run/run_facts.hpp"
#include "tools/run/run_places.hpp"

namespace memtally::tools {

class WatchedProcess {
 public:
  WatchedProcess(std::unique_ptr<LedgerReader> reader, bool of_launch)
      : reader_(std::move(reader)), of_launch_(of_launch) {}

  // Reads the totals.  False if that failed; the view is then as it was.
  bool ReadTotals(RunPlaces* places);
  // Reads everything.
  bool ReadFully(RunPlaces* places);
  // Lets go of buffers and events, keeping what the next search needs of them.
  void Forget();

  const LedgerView& view() const { return view_; }
  const std::vector<AccountPlace>& accounts() const { return accounts_; }
  bool is_dead() const { return view_.liveness == Liveness::kDead; }
  // Events since the last full reading; and whether none came between the last two readings.
  uint64_t events_behind() const { return view_.counters.events - events_at_full_; }
  bool is_settled() const { return settled_; }
  bool UsesPlace(size_t place) const;
  MomentSearch::Source AsSource() const;

  // Failed allocations that were not told yet, the oldest first, as far as the ledger still has them; told from now on.
  // REQUIRES: ReadFully.
  struct Failure {
    LedgerEvent event;
    std::optional<uint64_t> number;  // in the flight recorder
    size_t account = 0;              // by place
  };
  std::vector<Failure> TakeFailures();
  bool HasNewFailures() const { return view_.anomalies[MEMTALLY_ANOMALY_FAILED_ALLOC].count > failures_told_; }

  // What it left, by tag; `released`: what a close released and nobody freed.  REQUIRES: ReadFully.
  std::vector<TagSum> Left(bool released) const;

  const std::string& path() const { return reader_->path(); }

  size_t holder = 0;   // index into RunFacts::holders
  bool ended = false;  // it was dead, and everything was read

 private:
  void After(RunPlaces* places, uint64_t begin_ns);

  std::unique_ptr<LedgerReader> reader_;
  bool of_launch_;
  LedgerView view_;
  std::vector<AccountPlace> accounts_;
  EarlierBuffers earlier_;
  uint64_t alive_until_ns_ = 0;         // when a reading began that found it alive
  uint64_t dead_from_ns_ = UINT64_MAX;  // when a reading had found it dead
  uint64_t events_at_full_ = 0;
  uint64_t events_before_ = 0;
  bool settled_ = false;
  uint64_t failures_told_ = 0;
  std::map<uint32_t, uint64_t> told_of_lane_;  // failures of each lane
};

}  // namespace memtally::tools
