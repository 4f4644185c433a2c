// SPDX-License-Identifier: Apache-2.0
#include "collect/device_table.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include <memtally/abi/ledger_format.h>

namespace memtally::collect {
namespace {

bool IsGone(const Process& process) { return process.facts.liveness != Liveness::kAlive; }

// What two processes' devices have in common if they are one; for a device without an id, what only itself has.
std::string KeyOf(const Process& process, const LedgerDevice& device) {
  const bool has_id = device.id_scheme != MEMTALLY_ID_NONE && device.id != std::array<uint8_t, 16>{};
  std::string key = has_id ? std::to_string(device.id_scheme) + ":" : "unknown:";
  if (has_id) return key.append(device.id.begin(), device.id.end());
  return key.append(process.key().begin(), process.key().end()) + std::to_string(device.index);
}

// Whether bytes of the kind take up bytes of its memory.
bool AddsUp(const LedgerKind* kind) { return kind == nullptr || (!kind->overlaps && !kind->inside); }

void Sum(const Amount& amount, Amount* sum) {
  sum->count += amount.count;
  sum->bytes_requested += amount.bytes_requested;
  sum->bytes_reserved += amount.bytes_reserved;
}

template <typename Named>
Named* Find(std::vector<Named>* all, const std::string& name) {
  const auto found = std::find_if(all->begin(), all->end(), [&](const Named& one) { return one.name == name; });
  return found == all->end() ? nullptr : &*found;
}

class Builder {
 public:
  explicit Builder(Snapshot* snapshot) : snapshot_(snapshot) {}

  void Add(Process* process) {
    process->machine_device.clear();
    for (const LedgerDevice& device : process->facts.devices) {
      process->machine_device.push_back(DeviceOf(*process, device));
    }
    for (size_t i = 0; i < process->facts.devices.size(); ++i) {
      const std::optional<uint32_t> parent = process->facts.devices[i].parent;
      if (!parent || *parent >= process->machine_device.size()) continue;
      const uint32_t child = process->machine_device[i];
      if (process->machine_device[*parent] == child) continue;
      snapshot_->devices[child].parent = process->machine_device[*parent];
    }
    parts_.clear();
    for (const LedgerAccount& account : process->facts.accounts) AddAccount(*process, account);
    for (const Part& part : parts_) AddCapacity(*process, part);
  }

  // Puts devices into the order that readers see, and lets peaks go on.
  void Finish(PeakMemory* peaks) {
    std::vector<Device>& devices = snapshot_->devices;
    std::vector<uint32_t> order(devices.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return std::tie(devices[a].local_index, devices[a].id) < std::tie(devices[b].local_index, devices[b].id);
    });
    std::vector<uint32_t> place(order.size());
    std::vector<Device> sorted;
    sorted.reserve(order.size());
    for (uint32_t i = 0; i < order.size(); ++i) {
      place[order[i]] = i;
      sorted.push_back(std::move(devices[order[i]]));
    }
    devices = std::move(sorted);
    for (Device& device : devices) {
      if (device.parent) device.parent = place[*device.parent];
    }
    for (Process& process : snapshot_->processes) {
      for (uint32_t& device : process.machine_device) device = place[device];
    }
    PeakMemory now;
    for (const auto& [key, index] : by_key_) UpdatePeaks(key, &devices[place[index]], *peaks, &now);
    *peaks = std::move(now);
  }

 private:
  // What one process has of a memory: the parts of all kinds in it.
  struct Part {
    uint32_t device = 0;
    std::string memory;
    uint64_t bytes = 0;
    uint64_t bytes_per_bank = 0;
    uint32_t banks = 0;
  };

  uint32_t DeviceOf(const Process& process, const LedgerDevice& from) {
    std::vector<Device>& devices = snapshot_->devices;
    const auto [entry, is_new] = by_key_.try_emplace(KeyOf(process, from), static_cast<uint32_t>(devices.size()));
    if (is_new) {
      Device& device = devices.emplace_back();
      device.id = from.id;
      device.id_scheme = from.id_scheme;
      device.local_index = from.local_index;
      device.source = process.source;
    }
    Device& device = devices[entry->second];
    device.local_index = std::min(device.local_index, from.local_index);
    if (!device.pci_address) device.pci_address = from.pci_address;
    device.physical_bytes = std::max(device.physical_bytes, from.physical_bytes);
    if (device.vendor.empty()) device.vendor = from.vendor;
    if (device.architecture.empty()) device.architecture = from.architecture;
    device.source = std::min(device.source, process.source);
    if (IsGone(process)) {
      ++device.gone_processes;
    } else if (!from.closed_at_ns) {
      ++device.processes;
    }
    return entry->second;
  }

  void AddAccount(const Process& process, const LedgerAccount& account) {
    if (account.device >= process.machine_device.size()) return;
    const LedgerView& facts = process.facts;
    const uint32_t at = process.machine_device[account.device];
    const LedgerKind* kind = facts.kind(account.kind);
    const std::string name = KindName(facts, account.kind);
    const std::string memory_name = kind == nullptr ? name : KindName(facts, kind->memory);

    std::vector<Memory>& memories = snapshot_->devices[at].memories;
    Memory* memory = Find(&memories, memory_name);
    if (memory == nullptr) {
      memory = &memories.emplace_back();
      memory->name = memory_name;
      memory->on_host = kind != nullptr && kind->on_host;
    }
    MemoryKind* share = Find(&memory->kinds, name);
    if (share == nullptr) {
      share = &memory->kinds.emplace_back();
      share->name = name;
      share->overlaps = kind != nullptr && kind->overlaps;
      share->nested = kind != nullptr && kind->inside;
    }
    const bool gone = IsGone(process);
    Sum(account.live, gone ? &share->left : &share->live);
    if (!gone) share->failed_allocations += account.failed_allocations;
    if (!gone) memory->exact = memory->exact && facts.totals_exact;
    if (!AddsUp(kind)) return;
    Sum(account.live, gone ? &memory->left : &memory->held);
    if (!gone) memory->peak_reserved = std::max(memory->peak_reserved, account.peak_reserved);

    const auto part = std::find_if(parts_.begin(), parts_.end(),
                                   [&](const Part& one) { return one.device == at && one.memory == memory_name; });
    Part& sum = part == parts_.end() ? parts_.emplace_back(Part{at, memory_name}) : *part;
    sum.bytes += account.capacity_bytes;
    sum.bytes_per_bank += account.capacity_bytes_per_bank;
    sum.banks = std::max(sum.banks, account.banks);
  }

  // The living come before the others.
  void AddCapacity(const Process& process, const Part& part) {
    if (part.bytes == 0) return;
    Memory* memory = Find(&snapshot_->devices[part.device].memories, part.memory);
    if (memory == nullptr) return;
    const bool gone = IsGone(process);
    if (gone && living_.contains({part.device, part.memory})) return;
    if (!gone) living_.insert({part.device, part.memory});
    if (memory->capacity_bytes != 0 && memory->capacity_bytes != part.bytes) memory->capacity_differs = true;
    if (part.bytes <= memory->capacity_bytes) return;
    memory->capacity_bytes = part.bytes;
    memory->capacity_bytes_per_bank = part.bytes_per_bank;
    memory->banks = part.banks;
  }

  static void UpdatePeaks(const std::string& key, Device* device, const PeakMemory& before, PeakMemory* now) {
    for (Memory& memory : device->memories) {
      const auto seen = before.find({key, memory.name});
      const uint64_t peak = std::max(memory.peak_reserved, memory.held.bytes_reserved);
      memory.peak_reserved = seen == before.end() ? peak : std::max(peak, seen->second);
      now->emplace(std::pair(key, memory.name), memory.peak_reserved);
    }
  }

  Snapshot* snapshot_;
  std::map<std::string, uint32_t> by_key_;             // into snapshot_->devices
  std::vector<Part> parts_;                            // of the process that is being added
  std::set<std::pair<uint32_t, std::string>> living_;  // memories whose capacity a living process told
};

}  // namespace

void BuildDevices(Snapshot* snapshot, PeakMemory* peaks) {
  snapshot->devices.clear();
  Builder builder(snapshot);
  for (Process& process : snapshot->processes) builder.Add(&process);
  builder.Finish(peaks);
}

std::optional<Extent> ExtentOf(const LedgerView& facts, uint32_t account) {
  std::optional<Extent> extent;
  for (const LedgerBuffer& buffer : facts.buffers) {
    if (buffer.account != account || buffer.imported || buffer.released) continue;
    const uint64_t room = std::numeric_limits<uint64_t>::max() - buffer.address;
    const uint64_t end = buffer.address + std::min(buffer.bytes_per_bank, room);
    if (!extent) extent = Extent{buffer.address, end};
    extent->lowest = std::min(extent->lowest, buffer.address);
    extent->end = std::max(extent->end, end);
  }
  return extent;
}

void AddExtent(Snapshot* snapshot, const Process& process, const LedgerAccount& account, const Extent& extent) {
  if (account.device >= process.machine_device.size()) return;
  const std::string name = KindName(process.facts, account.kind);
  for (Memory& memory : snapshot->devices[process.machine_device[account.device]].memories) {
    MemoryKind* kind = Find(&memory.kinds, name);
    if (kind == nullptr) continue;
    if (!kind->extent) kind->extent = extent;
    kind->extent->lowest = std::min(kind->extent->lowest, extent.lowest);
    kind->extent->end = std::max(kind->extent->end, extent.end);
  }
}

}  // namespace memtally::collect
