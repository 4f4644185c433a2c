// SPDX-License-Identifier: Apache-2.0
#include "tools/shortage.hpp"

#include <algorithm>

#include <memtally/abi/ledger_format.h>

namespace memtally::tools {
namespace {

bool ChangesWhatIsHeld(uint32_t operation) {
  switch (operation) {
    case MEMTALLY_OP_ALLOC:
    case MEMTALLY_OP_FREE:
    case MEMTALLY_OP_CLOSE:
    case MEMTALLY_OP_REPLACE:
    case MEMTALLY_OP_AMBIGUOUS_FREE:
    case MEMTALLY_OP_NO_ROOM:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<Demand> LastFailure(const collect::Process& process, std::optional<int32_t> device,
                                  const std::string& kind) {
  const LedgerView& facts = process.facts;
  std::optional<Demand> last;
  for (const LedgerEvent& event : facts.anomalies[MEMTALLY_ANOMALY_FAILED_ALLOC].last) {
    const LedgerAccount* account = event.account ? collect::AccountAt(facts, *event.account) : nullptr;
    if (account == nullptr || (last && event.time_ns < *last->time_ns)) continue;
    if (!kind.empty() && collect::KindName(facts, account->kind) != kind) continue;
    if (device && (account->device >= facts.devices.size() || facts.devices[account->device].local_index != *device)) {
      continue;
    }
    last = Demand{account->index,  event.bytes_requested, event.bytes_per_bank, facts.tag_path(event.tag),
                  event.thread_id, event.time_ns};
  }
  return last;
}

Shortage Explain(const collect::Snapshot& snapshot, const collect::Process& process, const Demand& demand) {
  const LedgerView& facts = process.facts;
  Shortage shortage;
  shortage.process = &process;
  shortage.account = collect::AccountAt(facts, demand.account);
  shortage.demand = demand;
  if (shortage.account == nullptr) return shortage;
  const LedgerAccount& account = *shortage.account;
  if (demand.time_ns) {
    shortage.events_since =
        static_cast<uint64_t>(std::count_if(facts.events.begin(), facts.events.end(), [&](const LedgerEvent& event) {
          return event.time_ns > *demand.time_ns && ChangesWhatIsHeld(event.operation);
        }));
  }
  const collect::AddressMap map(facts, account);
  shortage.capacity_per_bank = account.capacity_bytes_per_bank;
  shortage.held_per_bank = map.held();
  shortage.free_per_bank = map.free();
  shortage.largest_free_per_bank = map.largest_free();
  shortage.free_blocks = map.free_blocks().size();
  shortage.tags = map.Tags();
  shortage.clearing = map.CheapestRoomFor(demand.bytes_per_bank);

  const std::string kind = collect::KindName(facts, account.kind);
  if (account.device >= process.machine_device.size()) return shortage;
  const uint32_t device = process.machine_device[account.device];
  for (const collect::Process& other : snapshot.processes) {
    if (&other == &process || other.facts.liveness != Liveness::kAlive) continue;
    OtherHolder holder{&other, {}};
    for (const LedgerAccount& held : other.facts.accounts) {
      if (held.device >= other.machine_device.size() || other.machine_device[held.device] != device) continue;
      if (collect::KindName(other.facts, held.kind) != kind) continue;
      holder.live.count += held.live.count;
      holder.live.bytes_requested += held.live.bytes_requested;
      holder.live.bytes_reserved += held.live.bytes_reserved;
    }
    if (holder.live.bytes_reserved != 0) shortage.others.push_back(holder);
  }
  std::stable_sort(shortage.others.begin(), shortage.others.end(), [](const OtherHolder& a, const OtherHolder& b) {
    return a.live.bytes_reserved > b.live.bytes_reserved;
  });
  return shortage;
}

}  // namespace memtally::tools
