// SPDX-License-Identifier: Apache-2.0
#include "collect/account_claim.hpp"

namespace memtally::collect {

const LedgerAccount* FindAccount(const LedgerView& facts, uint32_t device, uint32_t kind) {
  for (const LedgerAccount& account : facts.accounts) {
    if (account.device == device && account.kind == kind) return &account;
  }
  return nullptr;
}

uint32_t MachineDeviceOf(const Process& process, uint32_t device) {
  return device < process.machine_device.size() ? process.machine_device[device] : 0;
}

void CompareClaims(const std::vector<AccountClaim>& claims, Source source, Snapshot* snapshot) {
  for (const AccountClaim& claim : claims) {
    const Process* process = FindProcess(*snapshot, claim.process);
    const LedgerAccount* account = process == nullptr ? nullptr : FindAccount(process->facts, claim.device, claim.kind);
    if (account == nullptr || account->live.bytes_requested == claim.bytes) continue;
    snapshot->disagreements.push_back({process->source, source, MachineDeviceOf(*process, claim.device), claim.process,
                                       KindName(process->facts, claim.kind), account->live.bytes_requested,
                                       claim.bytes});
  }
}

}  // namespace memtally::collect
