// SPDX-License-Identifier: Apache-2.0
#include "track/session.hpp"

#include <cstring>
#include <new>

#include "ledger/writer/pages.hpp"

namespace memtally::track {

namespace {
constexpr uint64_t kRecorderWaitNs = 1'000'000'000;
}

Session* Session::Make(const Settings& settings, writer::MakeResult* result) {
  void* memory = writer::MapPages(sizeof(Session));
  if (memory == nullptr) {
    *result = writer::MakeResult::kNoMemory;
    return nullptr;
  }
  Session* session = new (memory) Session;
  *result = session->ledger.Make(settings.directory, settings.is_private, settings.launch_id);
  if (*result != writer::MakeResult::kMade) {
    writer::UnmapPages(memory, sizeof(Session));
    return nullptr;
  }
  for (DeviceRow& row : session->rows) {
    for (auto& account : row.account) account.store(DeviceRow::kUnset, std::memory_order_relaxed);
  }
  session->recorder_wait_left_ns = kRecorderWaitNs;
  return session;
}

void Session::Inherit(Session* parent) {
  const writer::RegistryGuard guard(registry_lock);
  inherited = parent;
  ledger.CopyCatalog(guard, parent->ledger);
  reporter_count = parent->reporter_count;
  memcpy(reporters, parent->reporters, sizeof(reporters));
  const uint32_t accounts_copied = ledger.account_count();
  for (uint32_t i = 0; i < accounts_copied; ++i) {
    accounts[i].banks.store(parent->accounts[i].banks.load(std::memory_order_relaxed), std::memory_order_relaxed);
    accounts[i].number = static_cast<uint16_t>(i);
    accounts[i].device = parent->accounts[i].device;
    accounts[i].kind = parent->accounts[i].kind;
    accounts[i].reporter = parent->accounts[i].reporter;
    accounts[i].open.store(IsOpen(accounts[i].device), std::memory_order_relaxed);
  }
  const uint32_t row_total = parent->row_count.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < row_total; ++i) {
    rows[i].device = parent->rows[i].device;
    rows[i].reporter = parent->rows[i].reporter;
    for (uint32_t kind = 0; kind < MEMTALLY_MAX_KINDS; ++kind) {
      const uint16_t account = parent->rows[i].account[kind].load(std::memory_order_relaxed);
      const bool copied = account >= MEMTALLY_MAX_ACCOUNTS || account < accounts_copied;
      rows[i].account[kind].store(copied ? account : DeviceRow::kUnset, std::memory_order_relaxed);
    }
  }
  row_count.store(row_total, std::memory_order_release);
}

}  // namespace memtally::track
