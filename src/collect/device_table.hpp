// SPDX-License-Identifier: Apache-2.0
//
// DeviceTable: what many processes say of their devices becomes the devices of the machine.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "collect/snapshot.hpp"

namespace memtally::collect {

// Peaks of memories between snapshots, by device and name of the memory.
using PeakMemory = std::map<std::pair<std::string, std::string>, uint64_t>;

// Fills snapshot->devices, and machine_device of each process, from the processes' facts.  What the processes hold
// together raises *peaks, and *peaks raises the peaks in the snapshot; devices that are gone leave it.
// REQUIRES: snapshot->processes is complete and in its final order.
void BuildDevices(Snapshot* snapshot, PeakMemory* peaks);

// The range of addresses that the live buffers of an account take up, in each bank.  Nothing if there are none.
std::optional<Extent> ExtentOf(const LedgerView& facts, uint32_t account);

// Sets the extent of an overlapping kind: the union with what is there.
// REQUIRES: BuildDevices was called.
void AddExtent(Snapshot* snapshot, const Process& process, const LedgerAccount& account, const Extent& extent);

}  // namespace memtally::collect
