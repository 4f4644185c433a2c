// SPDX-License-Identifier: Apache-2.0
#include "collect/passive_source.hpp"

#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include <memtally/abi/ledger_format.h>

#include "base/proc.hpp"
#include "collect/builtin_kind.hpp"
#include "collect/tt_metal_counters.hpp"

namespace memtally::collect {
namespace {

// A process without a ledger is known by its pid alone.
ProcessKey KeyOf(uint32_t pid) {
  ProcessKey key{'t', 't', '-', 'm', 'e', 't', 'a', 'l'};
  memcpy(key.data() + 8, &pid, sizeof(pid));
  return key;
}

// Whether a process that started then can have written the row: it may have the pid of one that is gone.
bool CanBeOf(const CounterRow& row, uint64_t start_ticks) {
  if (row.time_ns == 0 || start_ticks == 0) return true;
  timespec boot{};
  clock_gettime(CLOCK_BOOTTIME, &boot);
  const uint64_t uptime_ns = static_cast<uint64_t>(boot.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(boot.tv_nsec);
  const auto ticks_a_second = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  const uint64_t start_ns = base::RealtimeNs() - uptime_ns + start_ticks * (1'000'000'000 / ticks_a_second);
  constexpr uint64_t kClockWasSetNs = 2'000'000'000;
  return start_ns <= row.time_ns + kClockWasSetNs;
}

// Of those that can have written the row the living.  Null if there is none.
Process* FindProcessOf(std::vector<Process>* processes, const CounterRow& row) {
  Process* found = nullptr;
  for (Process& process : *processes) {
    if (process.pid != row.pid || !CanBeOf(row, process.facts.identity.process_start_ticks)) continue;
    if (found == nullptr || process.facts.liveness < found->facts.liveness) found = &process;
  }
  return found;
}

Process MakeProcess(const CounterRow& row, const TtMetalCounters& counters, const Host& host, UserNames* users) {
  Process process;
  process.source = Source::kPassive;
  process.pid = row.pid;
  LedgerView& facts = process.facts;
  facts.path = counters.path;
  facts.identity.run_id = KeyOf(row.pid);
  facts.identity.boot_id = host.boot_id;
  facts.identity.machine_id = host.machine_id;
  facts.identity.host_name = host.name;
  facts.identity.pid = row.pid;
  facts.identity.uid = counters.owner;
  facts.identity.comm = row.name;
  facts.totals_exact = facts.buffers_exact = false;
  const base::ProcessStat stat = base::StatProcess(row.pid);
  if (stat.exists && !stat.gone && CanBeOf(row, stat.start_ticks)) {
    facts.liveness = Liveness::kAlive;
    facts.visible_pid = row.pid;
    facts.identity.process_start_ticks = stat.start_ticks;
    process.parent_pid = stat.parent_pid;
    struct stat status {};
    if (::stat(("/proc/" + std::to_string(row.pid)).c_str(), &status) == 0) facts.identity.uid = status.st_uid;
  } else {
    facts.liveness = Liveness::kDead;
  }
  process.user = users->NameOf(facts.identity.uid);
  process.place = PlaceOfProcess(facts.visible_pid, facts.identity);
  return process;
}

// The process's number of the device, which it gets if it does not have it.
uint32_t DeviceIn(const TtMetalCounters& counters, LedgerView* facts) {
  std::array<uint8_t, 16> id{};
  memcpy(id.data(), &counters.asic_id, sizeof(counters.asic_id));
  const bool has_id = counters.asic_id != 0;
  for (const LedgerDevice& device : facts->devices) {
    const bool knows_id = device.id_scheme == MEMTALLY_ID_CHIP && has_id;
    if (knows_id ? device.id == id : device.local_index == counters.device_number) return device.index;
  }
  LedgerDevice& device = facts->devices.emplace_back();
  device.index = static_cast<uint32_t>(facts->devices.size()) - 1;
  device.id = id;
  device.id_scheme = has_id ? MEMTALLY_ID_CHIP : MEMTALLY_ID_NONE;
  device.local_index = counters.device_number;
  device.vendor = "tenstorrent";
  return device.index;
}

void AddAccount(uint32_t device, uint32_t kind, uint64_t bytes, Process* process) {
  LedgerView& facts = process->facts;
  if (facts.kind(kind) == nullptr) facts.kinds.push_back(BuiltinKind(kind));
  uint32_t index = 0;
  for (const LedgerAccount& account : facts.accounts) index = std::max(index, account.index + 1);
  process->account_sources.resize(facts.accounts.size(), process->source);
  process->account_sources.push_back(Source::kPassive);
  LedgerAccount& account = facts.accounts.emplace_back();
  account.index = index;
  account.device = device;
  account.kind = kind;
  account.live.bytes_requested = account.live.bytes_reserved = bytes;
  account.allocated = account.live;
  account.peak_requested = account.peak_reserved = bytes;
}

bool IsAllZero(const CounterRow& row) {
  return std::all_of(row.bytes.begin(), row.bytes.end(), [](uint64_t bytes) { return bytes == 0; });
}

}  // namespace

void PassiveSource::AddTo(Snapshot* snapshot) {
  claims_.clear();
  device_claims_.clear();
  if (directory_.empty()) return;
  std::vector<std::pair<std::string, LedgerError>> problems;
  for (const TtMetalCounters& counters : ReadCounters(directory_, &problems)) {
    std::array<uint64_t, 5> sums{};
    std::optional<std::pair<ProcessKey, uint32_t>> witness;
    for (const CounterRow& row : counters.rows) {
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += row.bytes[i];
      Process* process = FindProcessOf(&snapshot->processes, row);
      if (process == nullptr) {
        Process made = MakeProcess(row, counters, snapshot->host, &users_);
        if (made.facts.liveness == Liveness::kDead && IsAllZero(row)) continue;
        process = &snapshot->processes.emplace_back(std::move(made));
      }
      const uint32_t device = DeviceIn(counters, &process->facts);
      witness = {process->key(), device};
      for (size_t i = 0; i < kCounterKinds.size(); ++i) {
        if (FindAccount(process->facts, device, kCounterKinds[i]) != nullptr) {
          claims_.push_back({process->key(), device, kCounterKinds[i], row.bytes[i]});
        } else if (row.bytes[i] != 0 || process->source == Source::kPassive) {
          AddAccount(device, kCounterKinds[i], row.bytes[i], process);
        }
      }
    }
    for (size_t i = 0; witness && i < sums.size(); ++i) {
      device_claims_.push_back({witness->first, witness->second, kCounterKinds[i], sums[i], counters.bytes[i]});
    }
  }
  for (auto& [path, error] : problems) snapshot->problems.push_back({path, std::move(error)});
}

void PassiveSource::Compare(Snapshot* snapshot) const {
  CompareClaims(claims_, Source::kPassive, snapshot);
  for (const DeviceClaim& claim : device_claims_) {
    const Process* process = FindProcess(*snapshot, claim.process);
    if (process == nullptr || claim.bytes == claim.bytes_rows) continue;
    snapshot->disagreements.push_back({Source::kPassive, Source::kPassive, MachineDeviceOf(*process, claim.device),
                                       std::nullopt, BuiltinKind(claim.kind).name, claim.bytes_rows, claim.bytes});
  }
}

}  // namespace memtally::collect
