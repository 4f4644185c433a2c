// SPDX-License-Identifier: Apache-2.0
//
// Shortage: why an allocation did not fit, or would not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "collect/address_map.hpp"
#include "collect/snapshot.hpp"

namespace memtally::tools {

// What was asked for.
struct Demand {
  uint32_t account = 0;  // index, of the process
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
  std::string tag;                  // "" untagged
  uint32_t thread_id = 0;           // 0 unknown
  std::optional<uint64_t> time_ns;  // of the failure; none: only supposed
};

// The last allocation of the process that failed, of those that match.  Nothing if none did.
std::optional<Demand> LastFailure(const collect::Process& process, std::optional<int32_t> device,
                                  const std::string& kind);

// Another process that holds memory there.
struct OtherHolder {
  const collect::Process* process = nullptr;
  Amount live;
};

struct Shortage {
  const collect::Process* process = nullptr;
  const LedgerAccount* account = nullptr;
  Demand demand;
  // Allocations and releases of the process since the failure, as far as its flight recorder goes: what follows is as
  // of now.
  uint64_t events_since = 0;

  uint64_t capacity_per_bank = 0;  // 0 unknown
  uint64_t held_per_bank = 0;
  uint64_t free_per_bank = 0;
  uint64_t largest_free_per_bank = 0;
  size_t free_blocks = 0;
  std::vector<collect::TagShare> tags;  // of this process, the most first
  collect::Clearing clearing;
  std::vector<OtherHolder> others;  // on the same device and in the same kind, the most first

  bool fits() const { return demand.bytes_per_bank <= largest_free_per_bank; }
  // Enough is free, but in pieces.
  bool is_fragmentation() const { return !fits() && demand.bytes_per_bank <= free_per_bank; }
};

// REQUIRES: `process` is one of the snapshot's and has its buffers; the demand's account is one of its accounts whose
// buffers do not share addresses.  The result refers to the snapshot.
Shortage Explain(const collect::Snapshot& snapshot, const collect::Process& process, const Demand& demand);

}  // namespace memtally::tools
