// SPDX-License-Identifier: Apache-2.0
//
// What one source says of an account that is in the snapshot by another source: never counted twice, but compared.
#pragma once

#include <cstdint>
#include <vector>

#include "collect/snapshot.hpp"

namespace memtally::collect {

struct AccountClaim {
  ProcessKey process{};
  uint32_t device = 0;  // of the process
  uint32_t kind = 0;
  uint64_t bytes = 0;
};

// Null if there is none.
const LedgerAccount* FindAccount(const LedgerView& facts, uint32_t device, uint32_t kind);

// The machine's number of a process's device; 0 if it has none.
uint32_t MachineDeviceOf(const Process& process, uint32_t device);

// Appends to the snapshot's disagreements where an account's live bytes are not what `source` claims.
void CompareClaims(const std::vector<AccountClaim>& claims, Source source, Snapshot* snapshot);

}  // namespace memtally::collect
