// SPDX-License-Identifier: Apache-2.0
//
// PassiveSource: what others publish (tt_metal_counters.hpp) joins a snapshot, where no better source speaks.
//
// For a process that has a ledger, the ledger speaks of every kind that it has; kinds that it does not have are added,
// and differences between the two are listed, in bytes that were asked for.  What the memory lost is not published:
// reserved bytes are at least those asked for.  A process without a ledger appears with totals only, marked inexact.  A
// row whose process is gone is a dead process that is said to have held that much.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "collect/account_claim.hpp"
#include "collect/snapshot.hpp"

namespace memtally::collect {

class PassiveSource {
 public:
  // "": says nothing.
  explicit PassiveSource(std::string directory) : directory_(std::move(directory)) {}

  // Appends processes to `snapshot`, adds to those that are there, and notes problems.
  // REQUIRES: the processes of other sources are in, devices are not built.
  void AddTo(Snapshot* snapshot);

  // What the sources of the snapshot say differently.  Appends to its disagreements.
  // REQUIRES: AddTo and BuildDevices were called for it, and its processes are in their final order.
  void Compare(Snapshot* snapshot) const;

 private:
  struct DeviceClaim {
    ProcessKey process{};  // some process that knows the device
    uint32_t device = 0;   // of that process
    uint32_t kind = 0;
    uint64_t bytes_rows = 0;
    uint64_t bytes = 0;
  };

  std::string directory_;
  UserNames users_;
  std::vector<AccountClaim> claims_;  // about kinds of which a ledger speaks
  std::vector<DeviceClaim> device_claims_;
};

}  // namespace memtally::collect
