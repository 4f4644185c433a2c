// SPDX-License-Identifier: Apache-2.0
#include "collect/legacy_source.hpp"

#include <string.h>

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "base/proc.hpp"
#include "collect/builtin_kind.hpp"

namespace memtally::collect {
namespace {

// Devices of one number are one, whichever process speaks of them.
std::array<uint8_t, 16> IdOfDevice(int32_t number) {
  std::array<uint8_t, 16> id{'t', 't', '-', 'd', 'e', 'v', 'i', 'c', 'e'};
  memcpy(id.data() + 12, &number, sizeof(number));
  return id;
}

Process* FindProcessOf(std::vector<Process>* processes, const memtally_legacy_state_process& said) {
  if (said.pid == 0) return nullptr;
  Process* found = nullptr;
  for (Process& process : *processes) {
    if (process.pid != said.pid) continue;
    const uint64_t start = process.facts.identity.process_start_ticks;
    if (start != 0 && said.start_ticks != 0 && start != said.start_ticks) continue;
    if (found == nullptr || process.facts.liveness < found->facts.liveness) found = &process;
  }
  return found;
}

uint32_t DeviceIn(int32_t number, bool has_ledger, LedgerView* facts) {
  for (const LedgerDevice& device : facts->devices) {
    if (device.local_index == number) return device.index;
  }
  LedgerDevice& device = facts->devices.emplace_back();
  device.index = static_cast<uint32_t>(facts->devices.size()) - 1;
  // In a process with a ledger, a device that the ledger does not know is not known to be the machine's.
  device.id = IdOfDevice(number);
  device.id_scheme = has_ledger ? MEMTALLY_ID_NONE : MEMTALLY_ID_UUID;
  device.local_index = number;
  device.vendor = "tenstorrent";
  return device.index;
}

Amount AmountOf(uint64_t count, uint64_t bytes) { return {count, bytes, bytes}; }

// What was odd about it, in words.
void AddGaps(const memtally_legacy_state_process& said, LedgerView* facts) {
  if (said.foreign_pids != 0) {
    facts->gaps.push_back(fmt::format("{} messages named a pid that is none of its own, the last of them {}",
                                      said.foreign_pids, said.claimed_pid));
  }
  if (said.damaged_messages != 0) {
    facts->gaps.push_back(
        fmt::format("{} messages were damaged, {} bytes passed over", said.damaged_messages, said.skipped_bytes));
  }
  if (said.refused_buffers != 0) {
    facts->gaps.push_back(fmt::format("{} buffers of {} bytes were refused", said.refused_buffers, said.refused_bytes));
  }
}

}  // namespace

void LegacySource::AddAccounts(const LegacyState& state, const memtally_legacy_state_process& said, bool with_buffers,
                               Process* process) {
  LedgerView& facts = process->facts;
  const bool has_ledger = process->source == Source::kLedger;
  std::map<std::pair<int32_t, uint32_t>, uint32_t> added;  // index of the account
  uint32_t next = 0;
  for (const LedgerAccount& account : facts.accounts) next = std::max(next, account.index + 1);
  process->account_sources.resize(facts.accounts.size(), process->source);
  for (uint64_t i = 0; i < said.account_count; ++i) {
    const memtally_legacy_state_account& says = state.accounts[said.first_account + i];
    if (says.kind >= MEMTALLY_BUILTIN_KINDS) continue;
    const uint32_t device = DeviceIn(says.device, has_ledger, &facts);
    if (FindAccount(facts, device, says.kind) != nullptr) {
      claims_.push_back({process->key(), device, says.kind, says.live_bytes});
      continue;
    }
    if (facts.kind(says.kind) == nullptr) facts.kinds.push_back(BuiltinKind(says.kind));
    process->account_sources.push_back(Source::kLegacy);
    LedgerAccount& account = facts.accounts.emplace_back();
    account.index = next++;
    account.device = device;
    account.kind = says.kind;
    account.capacity_bytes = account.capacity_bytes_per_bank = says.capacity_bytes;
    account.live = AmountOf(says.live_count, says.live_bytes);
    account.allocated = AmountOf(says.allocated_count, says.allocated_bytes);
    account.freed = AmountOf(says.freed_count, says.freed_bytes);
    account.peak_requested = account.peak_reserved = says.peak_bytes;
    added[{says.device, says.kind}] = account.index;
  }
  if (!with_buffers) return;
  for (uint64_t i = 0; i < said.buffer_count; ++i) {
    const memtally_legacy_state_buffer& says = state.buffers[said.first_buffer + i];
    const auto account = added.find({says.device, says.kind});
    if (account == added.end()) continue;
    LedgerBuffer& buffer = facts.buffers.emplace_back();
    buffer.id = buffer.address = says.id;
    buffer.bytes_requested = buffer.bytes_per_bank = says.size;
    buffer.time_ns = says.time_ns;
    buffer.account = account->second;
  }
}

void LegacySource::AddProcess(const LegacyState& state, const memtally_legacy_state_process& said, Snapshot* snapshot) {
  const bool wants_buffers = said.buffer_count == said.live_buffers && snapshot->level != Level::kTotals;
  const bool one_namespace = state.header.pid_namespace == 0 || state.header.pid_namespace == base::OwnPidNamespace();
  if (one_namespace) {
    if (Process* known = FindProcessOf(&snapshot->processes, said)) {
      AddAccounts(state, said, known->has_buffers, known);
      return;
    }
  }
  // Who only looks on, as monitors do, is not listed.
  if (said.account_count == 0 && said.unknown_frees + said.damaged_messages + said.foreign_pids == 0) return;
  Process process;
  process.source = Source::kLegacy;
  LedgerView& facts = process.facts;
  facts.path = state.header.socket_path;
  std::copy(std::begin(said.run_id), std::end(said.run_id), facts.identity.run_id.begin());
  facts.identity.boot_id = snapshot->host.boot_id;
  facts.identity.machine_id = snapshot->host.machine_id;
  facts.identity.host_name = snapshot->host.name;
  facts.identity.pid = said.pid;
  facts.identity.uid = said.uid;
  facts.identity.gid = said.gid;
  facts.identity.parent_pid = said.parent_pid;
  facts.identity.pid_namespace = state.header.pid_namespace;
  facts.identity.process_start_ticks = said.start_ticks;
  facts.identity.comm = said.comm;
  facts.identity.executable = said.executable;
  facts.start_time_ns = said.start_ns;
  facts.tags = {LedgerTag{}, LedgerTag{0, "(other)", false}};
  facts.anomalies[MEMTALLY_ANOMALY_UNKNOWN_FREE] = {said.unknown_frees, said.unknown_free_bytes, {}};
  facts.anomalies[MEMTALLY_ANOMALY_REPLACED] = {said.repeated_allocations, 0, {}};
  facts.anomalies[MEMTALLY_ANOMALY_AMBIGUOUS] = {said.ambiguous_frees, 0, {}};
  facts.counters.lost_events = said.refused_buffers;
  facts.counters.lost_bytes = said.refused_bytes;
  facts.counters.events = said.messages;
  AddGaps(said, &facts);
  process.pid = said.pid;
  switch (said.state) {
    case MEMTALLY_LEGACY_CONNECTED:
      facts.liveness = Liveness::kAlive;
      break;
    case MEMTALLY_LEGACY_DISCONNECTED:
      facts.liveness = Liveness::kDetached;
      break;
    default:
      facts.liveness = Liveness::kDead;
  }
  if (said.end_ns != 0) facts.end_time_ns = said.end_ns;
  if (facts.liveness != Liveness::kDead && one_namespace) {
    facts.visible_pid = said.pid;
    process.parent_pid = said.parent_pid;
  }
  process.user = users_.NameOf(said.uid);
  process.place = PlaceOfProcess(facts.visible_pid, facts.identity);
  process.has_buffers = wants_buffers;
  AddAccounts(state, said, wants_buffers, &process);
  snapshot->processes.push_back(std::move(process));
}

void LegacySource::AddTo(Snapshot* snapshot, const std::optional<ProcessKey>& wanted) {
  claims_.clear();
  if (socket_.empty()) return;
  memtally_legacy_state_request request{};
  request.magic = MEMTALLY_LEGACY_STATE_MAGIC;
  request.version = MEMTALLY_LEGACY_STATE_VERSION;
  // The buffers of a process with a ledger may be wanted under the ledger's key: then all are asked for.
  bool has_ledger = false;
  for (const Process& process : snapshot->processes) has_ledger = has_ledger || (wanted && process.key() == *wanted);
  if (snapshot->level == Level::kEverything || has_ledger) {
    request.level = MEMTALLY_LEGACY_STATE_EVERYTHING;
  } else if (snapshot->level == Level::kProcess && wanted) {
    request.level = MEMTALLY_LEGACY_STATE_ONE_PROCESS;
    std::copy(wanted->begin(), wanted->end(), request.run_id);
  }
  // Who did not answer delays no further snapshot for a while.
  constexpr uint64_t kSilenceNs = 10'000'000'000;
  if (base::MonotonicNs() < ask_again_ns_) {
    snapshot->problems.push_back({socket_, silence_});
    return;
  }
  LedgerError error;
  const std::optional<LegacyState> state = AskLegacyServer(socket_, request, &error);
  if (error) {
    silence_ = error;
    if (error.code == LedgerError::Code::kIo) ask_again_ns_ = base::MonotonicNs() + kSilenceNs;
    snapshot->problems.push_back({socket_, std::move(error)});
  }
  if (!state) return;
  for (const memtally_legacy_state_process& said : state->processes) AddProcess(*state, said, snapshot);
}

void LegacySource::Compare(Snapshot* snapshot) const { CompareClaims(claims_, Source::kLegacy, snapshot); }

}  // namespace memtally::collect
