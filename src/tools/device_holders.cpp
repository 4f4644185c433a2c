// SPDX-License-Identifier: Apache-2.0
#include "tools/device_holders.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

// What one process holds of the memory on those of its devices that are this one.
DeviceHolder HolderOf(const collect::Process& process, uint32_t device, const std::string& memory) {
  const LedgerView& facts = process.facts;
  DeviceHolder holder;
  holder.process = &process;
  for (const LedgerAccount& account : facts.accounts) {
    if (account.device >= process.machine_device.size() || process.machine_device[account.device] != device) continue;
    const LedgerKind* kind = facts.kind(account.kind);
    if (kind != nullptr && (kind->overlaps || kind->inside)) continue;
    if (collect::KindName(facts, kind != nullptr ? kind->memory : account.kind) != memory) continue;
    holder.held.count += account.live.count;
    holder.held.bytes_requested += account.live.bytes_requested;
    holder.held.bytes_reserved += account.live.bytes_reserved;
    holder.capacity_bytes += account.capacity_bytes;
  }
  return holder;
}

std::string NameOf(const DeviceHolder& holder) {
  return fmt::format("{} ({})", TerminalText(holder.process->facts.identity.comm, 64), holder.process->pid);
}

}  // namespace

std::vector<DeviceHolder> HoldersOf(const collect::Snapshot& snapshot, uint32_t device, const collect::Memory& memory) {
  std::vector<DeviceHolder> holders;
  for (const collect::Process& process : snapshot.processes) {
    if (process.facts.liveness != Liveness::kAlive) continue;
    const DeviceHolder holder = HolderOf(process, device, memory.name);
    if (holder.held.count != 0 || holder.held.bytes_reserved != 0) holders.push_back(holder);
  }
  std::stable_sort(holders.begin(), holders.end(), [](const DeviceHolder& a, const DeviceHolder& b) {
    return a.held.bytes_reserved > b.held.bytes_reserved;
  });
  return holders;
}

std::string OverfullCause(const collect::Memory& memory, const std::vector<DeviceHolder>& holders) {
  if (memory.capacity_bytes == 0 || memory.held.bytes_reserved <= memory.capacity_bytes) return "";
  for (const DeviceHolder& holder : holders) {
    if (holder.capacity_bytes == 0 || holder.held.bytes_reserved <= holder.capacity_bytes) continue;
    return fmt::format(
        "{} alone says that it holds {} of the {} that it registered: it misses frees, or registered too little",
        NameOf(holder), ScreenBytes(holder.held.bytes_reserved), ScreenBytes(holder.capacity_bytes));
  }
  std::string cause = fmt::format(
      "{} processes hold it together, each no more than its own part: they use one device without knowing of each "
      "other, or report one device under the same id",
      holders.size());
  if (memory.capacity_differs) cause += "; they carved out different parts, of which the largest counts as capacity";
  return cause;
}

}  // namespace memtally::tools
