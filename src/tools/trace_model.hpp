// SPDX-License-Identifier: Apache-2.0
//
// What a ledger must hold after a number of a trace's records, computed the plain way: maps and sums, nothing clever.
// The tracker is checked against it, so it shares no code with the tracker.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <memtally/abi/ledger_format.h>

#include "tools/trace.hpp"

namespace memtally::tools {

class TraceModel {
 public:
  struct Buffer {
    uint64_t address = 0;
    uint64_t bytes_requested = 0;
    uint64_t bytes_per_bank = 0;
    uint32_t tag = 0;  // for tag_path
  };
  struct Total {
    uint64_t count = 0;
    uint64_t bytes_requested = 0;
    uint64_t bytes_per_bank = 0;  // summed over buffers
  };
  // One chip and kind.
  struct Account {
    std::unordered_map<uint64_t, Buffer> live;      // by id
    std::unordered_map<uint64_t, Buffer> released;  // by the last close, and not freed since
    Total live_total, allocated;
    uint64_t banks = 1;
    uint64_t capacity_bytes = 0;
    uint64_t peak_requested = 0;
    uint64_t peak_reserved = 0;
    uint64_t failed_allocations = 0;
    uint64_t failed_requested = 0;
  };

  // `trace` must outlive the model.
  explicit TraceModel(const Trace& trace);

  // Applies records until `records` of them are.  REQUIRES: not fewer than now, not more than the trace has.
  void AdvanceTo(size_t records);
  size_t records() const { return records_; }

  const std::map<std::pair<uint16_t, uint16_t>, Account>& accounts() const { return accounts_; }  // by (chip, kind)
  uint64_t anomaly(uint32_t which) const { return anomalies_[which]; }
  // "decode / layer 3", as LedgerView::tag_path gives it for whole names.
  std::string tag_path(uint32_t tag) const;

 private:
  void Apply(const TraceRecord& record);
  void Allocate(const TraceRecord& record);
  void Free(const TraceRecord& record);
  void PushTag(const TraceRecord& record);

  const Trace* trace_;
  size_t records_ = 0;
  std::map<std::pair<uint16_t, uint16_t>, Account> accounts_;
  std::array<uint64_t, MEMTALLY_ANOMALIES> anomalies_{};
  std::vector<uint32_t> current_tag_;                     // by thread
  std::vector<std::pair<uint32_t, uint32_t>> tag_nodes_;  // node - 1 -> (parent node, item of tags)
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> node_of_tag_;
};

}  // namespace memtally::tools
