// SPDX-License-Identifier: Apache-2.0
#include "track/registry.hpp"

#include <cstring>

#include "ledger/writer/text.hpp"
#include "track/lane_entry.hpp"
#include "track/process_state.hpp"
#include "track/recorder_gate.hpp"

namespace memtally::track {

namespace {

using writer::Lane;
using writer::LaneEntry;
using writer::RegistryGuard;

constexpr char kDefaultReporter[] = "application";

uint32_t ReporterNumber(Session* session, const char* name) {
  char wanted[sizeof(session->reporters[0])];
  writer::CopyField(wanted, name != nullptr && *name != 0 ? name : kDefaultReporter);
  for (uint32_t i = 0; i < session->reporter_count; ++i) {
    if (strcmp(session->reporters[i], wanted) == 0) return i;
  }
  if (session->reporter_count == Session::kReporters) return Session::kReporters - 1;
  memcpy(session->reporters[session->reporter_count], wanted, sizeof(wanted));
  return session->reporter_count++;
}

bool IsSameDevice(const memtally_catalog_device& known, const memtally_device_info& info) {
  if (known.id_scheme != MEMTALLY_ID_NONE && info.id_scheme != MEMTALLY_ID_NONE) {
    return known.id_scheme == info.id_scheme && memcmp(known.id, info.id, sizeof(known.id)) == 0;
  }
  return known.local_index == info.local_index;
}

uint32_t FindOrAddDevice(Session* session, const RegistryGuard& guard, const memtally_device_info& info) {
  for (uint32_t i = 0; i < session->ledger.device_count(); ++i) {
    if (IsSameDevice(*session->ledger.Device(i), info)) return i;
  }
  memtally_catalog_device device{};
  memcpy(device.id, info.id, sizeof(device.id));
  device.id_scheme = info.id_scheme;
  device.local_index = info.local_index;
  device.pci_address = info.pci_known != 0 ? info.pci_address : MEMTALLY_NONE;
  const uint32_t parent_row = info.parent - 1;
  device.parent = parent_row < session->row_count.load(std::memory_order_relaxed)
                      ? uint32_t{session->rows[parent_row].device}
                      : MEMTALLY_NONE;
  device.physical_bytes = info.physical_bytes;
  memtally_catalog_device_more more{};
  writer::CopyField(more.vendor, info.vendor);
  writer::CopyField(more.architecture, info.architecture);
  return session->ledger.AddDevice(guard, device, more);
}

// The handle of a (device, reporter); 0 if there is no room.
memtally_device FindOrAddRow(Session* session, uint32_t device, uint32_t reporter) {
  const uint32_t count = session->row_count.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < count; ++i) {
    if (session->rows[i].device == device && session->rows[i].reporter == reporter) return i + 1;
  }
  if (count == Session::kRows) {
    session->ledger.Count(&memtally_ledger_header::lost_registrations);
    return 0;
  }
  session->rows[count].device = static_cast<uint16_t>(device);
  session->rows[count].reporter = static_cast<uint8_t>(reporter);
  session->row_count.store(count + 1, std::memory_order_release);
  return count + 1;
}

uint32_t FindAccount(const Session* session, uint32_t device, uint32_t kind) {
  for (uint32_t i = 0; i < session->ledger.account_count(); ++i) {
    if (session->accounts[i].device == device && session->accounts[i].kind == kind) return i;
  }
  return MEMTALLY_NONE;
}

// Finds or makes the account of a row and kind, and remembers the answer in the row.
uint32_t ResolveAccount(Session* session, const RegistryGuard& guard, DeviceRow& row, uint32_t kind,
                        uint64_t capacity_bytes, uint32_t banks, uint64_t capacity_bytes_per_bank) {
  uint32_t account = FindAccount(session, row.device, kind);
  if (account == MEMTALLY_NONE) {
    if (!session->ledger.HasKind(kind)) {
      session->ledger.Count(&memtally_ledger_header::lost_registrations);
      return DeviceRow::kFull;
    }
    memtally_catalog_account entry{};
    entry.device = row.device;
    entry.kind = static_cast<uint16_t>(kind);
    entry.banks = banks;
    entry.capacity_bytes = capacity_bytes;
    entry.capacity_bytes_per_bank = capacity_bytes_per_bank;
    // The facts first: who finds the account must find them too.
    writer::AccountFacts& facts = session->accounts[session->ledger.account_count()];
    facts.banks.store(banks, std::memory_order_relaxed);
    facts.number = static_cast<uint16_t>(session->ledger.account_count());
    facts.device = row.device;
    facts.kind = static_cast<uint16_t>(kind);
    facts.reporter = row.reporter;
    facts.open.store(session->IsOpen(row.device), std::memory_order_relaxed);
    account = session->ledger.AddAccount(guard, entry);
    if (account == MEMTALLY_NONE) {
      row.account[kind].store(DeviceRow::kFull, std::memory_order_release);
      return DeviceRow::kFull;
    }
  }
  if (session->accounts[account].reporter != row.reporter) account = DeviceRow::kDuplicate;
  row.account[kind].store(static_cast<uint16_t>(account), std::memory_order_release);
  return account;
}

// Whether any lane has live buffers of the account.  The lanes may go on meanwhile.
bool HasLive(Session* session, const ThreadBlock* block, uint32_t account) {
  for (uint32_t i = 0; i < session->lanes_made(); ++i) {
    Lane* lane = session->lane(i);
    if (lane == nullptr || !lane->UsesAccount(account)) continue;
    const LaneEntry entry = EnterLane(block, lane);
    if (!entry) return true;
    const memtally_sums& sums = lane->sums(entry, account);
    const bool live = sums.allocations != sums.frees;
    lane->lock().Leave(entry.entry());
    if (live) return true;
  }
  return false;
}

// Under the registry lock.
bool ReopenLocked(ThreadBlock* block, const RegistryGuard&, uint32_t device_index) {
  Session* session = block->session;
  memtally_catalog_device* device = session->ledger.Device(device_index);
  if (device->closed_at == 0) return false;
  const uint32_t accounts = session->ledger.account_count();
  for (uint32_t i = 0; i < session->lanes_made(); ++i) {
    Lane* lane = session->lane(i);
    const LaneEntry entry = EnterLane(block, lane);
    if (!entry) continue;
    lane->DropReleased(entry, device_index);
    for (uint32_t account = 0; account < accounts; ++account) {
      if (session->accounts[account].device != device_index || !lane->UsesAccount(account)) continue;
      RecorderGate::AttendWithoutWaiting(session, *lane, entry);
      lane->SettleReleased(entry, account);
    }
    lane->lock().Leave(entry.entry());
  }
  __atomic_store_n(&device->closed_at, uint64_t{0}, __ATOMIC_RELEASE);
  for (uint32_t i = 0; i < accounts; ++i) {
    if (session->accounts[i].device == device_index) session->accounts[i].open.store(true, std::memory_order_release);
  }
  return true;
}

}  // namespace

memtally_device Registry::AddDevice(ThreadBlock* block, const memtally_device_info& info) {
  Session* session = block->session;
  const RegistryGuard guard(session->registry_lock);
  if (!guard.held()) return 0;
  const uint32_t device = FindOrAddDevice(session, guard, info);
  if (device == MEMTALLY_NONE) return 0;
  memtally_catalog_device* entry = session->ledger.Device(device);
  if (info.physical_bytes != 0) {
    __atomic_store_n(&entry->physical_bytes, uint64_t{info.physical_bytes}, __ATOMIC_RELAXED);
  }
  ReopenLocked(block, guard, device);
  return FindOrAddRow(session, device, ReporterNumber(session, info.reporter));
}

void Registry::SetKind(Session* session, memtally_device device, uint32_t kind, uint64_t capacity_bytes, uint32_t banks,
                       uint64_t capacity_bytes_per_bank) {
  const ThreadBlock* block = ProcessState::Block();
  const RegistryGuard guard(session->registry_lock);
  const uint32_t row = device - 1;
  if (!guard.held() || row >= session->row_count.load(std::memory_order_relaxed) || kind >= MEMTALLY_MAX_KINDS) {
    session->ledger.Count(&memtally_ledger_header::lost_registrations);
    return;
  }
  if (banks == 0) banks = 1;
  if (banks > kMostBanks) {
    session->ledger.Count(&memtally_ledger_header::lost_registrations);
    banks = kMostBanks;
  }
  const uint32_t account =
      ResolveAccount(session, guard, session->rows[row], kind, capacity_bytes, banks, capacity_bytes_per_bank);
  if (account >= MEMTALLY_MAX_ACCOUNTS) return;  // another reporter's, or no room
  memtally_catalog_account* entry = session->ledger.Account(account);
  __atomic_store_n(&entry->capacity_bytes, capacity_bytes, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->capacity_bytes_per_bank, capacity_bytes_per_bank, __ATOMIC_RELAXED);
  if (entry->banks == banks) return;
  if (HasLive(session, block, account)) {
    session->ledger.Count(&memtally_ledger_header::lost_registrations);
    return;
  }
  session->accounts[account].banks.store(banks, std::memory_order_relaxed);
  __atomic_store_n(&entry->banks, banks, __ATOMIC_RELAXED);
}

uint32_t Registry::DefineKind(Session* session, const char* name, uint32_t memory, uint32_t inside, uint32_t flags) {
  const RegistryGuard guard(session->registry_lock);
  if (!guard.held()) return MEMTALLY_KIND_ANY;
  const memtally_catalog_kind* known = session->ledger.FindKind(name);
  if (known != nullptr) return known->index;
  memtally_catalog_kind kind{};
  kind.index = session->ledger.next_program_kind();
  kind.memory = memory == MEMTALLY_KIND_ANY || !session->ledger.HasKind(memory) ? kind.index : memory;
  kind.inside = inside == MEMTALLY_KIND_ANY || !session->ledger.HasKind(inside) ? MEMTALLY_NONE : inside;
  kind.flags = flags;
  writer::CopyField(kind.name, name);
  const uint32_t number = session->ledger.AddKind(guard, kind);
  return number == MEMTALLY_NONE ? uint32_t{MEMTALLY_KIND_ANY} : number;
}

uint32_t Registry::AccountOf(Session* session, memtally_device device, uint32_t kind) {
  const RegistryGuard guard(session->registry_lock);
  if (!guard.held()) return DeviceRow::kFull;
  return ResolveAccount(session, guard, session->rows[device - 1], kind, 0, 1, 0);
}

void Registry::Close(ThreadBlock* block, Lane* own, memtally_device device) {
  Session* session = block->session;
  const RegistryGuard guard(session->registry_lock);
  const uint32_t row = device - 1;
  if (!guard.held() || row >= session->row_count.load(std::memory_order_relaxed)) return;
  const uint32_t index = session->rows[row].device;
  memtally_catalog_device* entry = session->ledger.Device(index);
  if (entry->closed_at != 0) return;
  const LaneEntry inside = EnterLane(block, own);
  if (!inside) return ProcessState::CountLoss(0);
  writer::BufferFacts facts;
  facts.thread = block->thread;
  facts.tag = block->tag;
  RecorderGate::AttendWithoutWaiting(session, *own, inside);
  own->NoteClose(inside, entry, session->ledger.OffsetOf(reinterpret_cast<memtally_catalog_entry*>(entry)), facts);
  own->lock().Leave(inside.entry());
  for (uint32_t i = 0; i < session->ledger.account_count(); ++i) {
    if (session->accounts[i].device == index) session->accounts[i].open.store(false, std::memory_order_release);
  }
}

void Registry::Reopen(ThreadBlock* block, uint32_t device_index) {
  const RegistryGuard guard(block->session->registry_lock);
  if (guard.held()) ReopenLocked(block, guard, device_index);
}

}  // namespace memtally::track
