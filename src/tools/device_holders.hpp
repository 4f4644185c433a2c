// SPDX-License-Identifier: Apache-2.0
//
// Who holds a device's memory, and why more may be held than there is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"

namespace memtally::tools {

struct DeviceHolder {
  const collect::Process* process = nullptr;
  Amount held;
  uint64_t capacity_bytes = 0;  // what the process says that it has of the memory, 0 unknown
};

// The living processes that hold some of it, the one with most first.  Together they hold what Memory::held says.
std::vector<DeviceHolder> HoldersOf(const collect::Snapshot& snapshot, uint32_t device, const collect::Memory& memory);

// Why a memory is said to hold more than its capacity, in words that are safe for a terminal; "" if it does not.
std::string OverfullCause(const collect::Memory& memory, const std::vector<DeviceHolder>& holders);

}  // namespace memtally::tools
