// SPDX-License-Identifier: Apache-2.0
#include "collect/snapshot.hpp"

#include <algorithm>

#include <memtally/abi/ledger_format.h>

namespace memtally::collect {

const char* SourceName(Source source) {
  switch (source) {
    case Source::kLedger:
      return "ledger";
    case Source::kKernel:
      return "kernel";
    case Source::kLegacy:
      return "legacy";
    case Source::kPassive:
      break;
  }
  return "passive";
}

const char* LevelName(Level level) {
  switch (level) {
    case Level::kTotals:
      return "totals";
    case Level::kProcess:
      return "process";
    case Level::kEverything:
      break;
  }
  return "everything";
}

const char* StateName(Liveness liveness) {
  switch (liveness) {
    case Liveness::kAlive:
      return "alive";
    case Liveness::kDetached:
      return "detached";
    case Liveness::kDead:
      break;
  }
  return "dead";
}

const char* AnomalyName(uint32_t anomaly) {
  constexpr const char* kNames[MEMTALLY_ANOMALIES] = {
      "unknown_free", "replaced",           "ambiguous", "inherited",
      "after_close",  "duplicate_reporter", "no_room",   "failed_allocation",
  };
  return anomaly < MEMTALLY_ANOMALIES ? kNames[anomaly] : "unknown";
}

std::string OperationName(uint32_t operation) {
  constexpr const char* kNames[] = {
      "none",    "alloc",        "free",           "alloc_failed",   "mark",        "close",
      "replace", "unknown_free", "ambiguous_free", "inherited_free", "after_close", "duplicate_reporter",
      "no_room", "open",         "bookkeeping",
  };
  if (operation < std::size(kNames)) return kNames[operation];
  return "operation " + std::to_string(operation);
}

std::string KindName(const LedgerView& facts, uint32_t kind) {
  const LedgerKind* found = facts.kind(kind);
  return found != nullptr ? found->name : std::to_string(kind);
}

const Process* FindProcess(const Snapshot& snapshot, const ProcessKey& key) {
  for (const Process& process : snapshot.processes) {
    if (process.key() == key) return &process;
  }
  return nullptr;
}

const LedgerAccount* AccountAt(const LedgerView& facts, uint32_t index) {
  if (index < facts.accounts.size() && facts.accounts[index].index == index) return &facts.accounts[index];
  for (const LedgerAccount& account : facts.accounts) {
    if (account.index == index) return &account;
  }
  return nullptr;
}

std::string GroupName(const LedgerView& facts, uint64_t group) {
  for (const LedgerGroup& named : facts.groups) {
    if (named.id == group) return named.name;
  }
  return "";
}

uint64_t LiveBuffers(const LedgerView& facts) {
  uint64_t count = 0;
  for (const LedgerAccount& account : facts.accounts) count += account.live.count;
  return count;
}

Amount HeldOnDevices(const LedgerView& facts) {
  Amount held;
  for (const LedgerAccount& account : facts.accounts) {
    const LedgerKind* kind = facts.kind(account.kind);
    if (kind != nullptr && (kind->overlaps || kind->inside || kind->on_host)) continue;
    held.count += account.live.count;
    held.bytes_requested += account.live.bytes_requested;
    held.bytes_reserved += account.live.bytes_reserved;
  }
  return held;
}

bool WasUsed(const LedgerAccount& account) {
  return account.allocated.count != 0 || account.live.count != 0 || account.live.bytes_reserved != 0 ||
         account.failed_allocations != 0 || account.imported != 0;
}

std::optional<uint64_t> AgeNs(const Snapshot& snapshot, const LedgerView& facts, uint64_t time_ns) {
  if (facts.identity.boot_id != snapshot.host.boot_id || time_ns > snapshot.time_ns) return std::nullopt;
  return snapshot.time_ns - time_ns;
}

std::vector<NamedCount> Losses(const LedgerCounters& counters) {
  return {{"lost_events", counters.lost_events},
          {"lost_bytes", counters.lost_bytes},
          {"lost_tags", counters.lost_tags},
          {"lost_groups", counters.lost_groups},
          {"lost_registrations", counters.lost_registrations},
          {"signal_overflow", counters.signal_overflow},
          {"paused_events", counters.paused_events},
          {"refused_pages", counters.refused_pages},
          {"dropped_events", counters.dropped_events},
          {"unread_events", counters.unread_events}};
}

bool IsEvidence(const LedgerView& facts) {
  for (uint32_t i = 0; i < facts.anomalies.size(); ++i) {
    if (i != MEMTALLY_ANOMALY_AFTER_CLOSE && facts.anomalies[i].count != 0) return true;
  }
  const std::vector<NamedCount> losses = Losses(facts.counters);
  const bool lost = std::any_of(losses.begin(), losses.end(), [](const NamedCount& loss) { return loss.count != 0; });
  const bool held = std::any_of(facts.accounts.begin(), facts.accounts.end(), [](const LedgerAccount& account) {
    return account.live.count != 0 || account.live.bytes_reserved != 0;
  });
  return lost || held || !facts.gaps.empty();
}

}  // namespace memtally::collect
