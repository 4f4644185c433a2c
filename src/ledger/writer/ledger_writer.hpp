// SPDX-License-Identifier: Apache-2.0
//
// LedgerWriter: the parts of a ledger that all threads share: header, catalog, threads, tags, groups, and the making of
// lanes.
//
// Functions that change these parts demand the registry lock, as a RegistryGuard.  An entry is complete before its
// area's count covers it, so that a reader, and a death, see it whole or not at all.
#pragma once

#include <atomic>
#include <cstdint>

#include "ledger/writer/lane.hpp"
#include "ledger/writer/ledger_clock.hpp"
#include "ledger/writer/ledger_file.hpp"

namespace memtally::writer {

using RegistryGuard = FutexGuard;

class LedgerWriter {
 public:
  // Makes the ledger in `directory` and writes its header and the builtin kinds.  `launch_id`: zero if nobody launched
  // the process.
  MakeResult Make(const char* directory, bool is_private, const uint8_t (&launch_id)[16]);

  memtally_ledger_header* header() { return header_; }
  const memtally_ledger_header* header() const { return header_; }
  LedgerFile& file() { return file_; }
  const LedgerClock& clock() const { return clock_; }

  // Each returns the new entry's index, or MEMTALLY_NONE if the table or the file system is full (counted in the
  // header).
  uint32_t AddDevice(const RegistryGuard&, const memtally_catalog_device& device,
                     const memtally_catalog_device_more& more);
  uint32_t AddKind(const RegistryGuard&, const memtally_catalog_kind& kind);
  uint32_t AddAccount(const RegistryGuard&, const memtally_catalog_account& account);
  uint32_t AddThread(const RegistryGuard&, uint32_t thread_id);  // 0 if full
  uint32_t AddTag(const RegistryGuard&, uint32_t parent, uint32_t hash, const char* name, size_t name_bytes);

  // Names a group; an earlier name of it is replaced.  Forgetting frees the entry.
  void NameGroup(const RegistryGuard&, uint64_t group, const char* name);
  void ForgetGroup(const RegistryGuard&, uint64_t group);

  // Copies devices, kinds and accounts of another ledger, in a forked child.
  void CopyCatalog(const RegistryGuard&, const LedgerWriter& parent);

  // Null if there is no room for another lane.
  Lane* AddLane(const RegistryGuard&, const AccountFacts* accounts);

  memtally_catalog_entry* Entry(uint32_t catalog_index) const { return catalog_ + catalog_index; }
  uint32_t catalog_count() const { return header_->catalog.count; }
  uint64_t OffsetOf(const memtally_catalog_entry* entry) const {
    return header_->catalog.offset + sizeof(*entry) * static_cast<uint64_t>(entry - catalog_);
  }
  memtally_catalog_device* Device(uint32_t index) const {
    return reinterpret_cast<memtally_catalog_device*>(Entry(device_entry_[index]));
  }
  memtally_catalog_account* Account(uint32_t index) const {
    return reinterpret_cast<memtally_catalog_account*>(Entry(account_entry_[index]));
  }
  // Without the lock: once full, always full.
  bool ThreadsAreFull() const {
    return __atomic_load_n(&header_->threads.count, __ATOMIC_RELAXED) == MEMTALLY_MAX_THREADS;
  }
  const memtally_catalog_kind* FindKind(const char* name) const;
  bool HasKind(uint32_t number) const { return number < MEMTALLY_MAX_KINDS && kind_known_[number]; }
  const memtally_tag* Tag(uint32_t index) const { return tags_ + index; }
  uint32_t device_count() const { return device_count_; }
  uint32_t account_count() const { return account_count_; }
  uint32_t next_program_kind() const { return next_kind_; }

  // Adds to a counter of the header.  Any thread.
  void Count(uint64_t memtally_ledger_header::*counter, uint64_t by = 1) {
    __atomic_fetch_add(&(header_->*counter), by, __ATOMIC_RELAXED);
  }

  // Writes a later pair of clock readings, now and then.  One thread at a time.
  void RefreshClockPair() { clock_.RefreshPair(header_); }

  // Marks the normal end of the process.
  void MarkExited();

 private:
  // Makes sure that entry `index` of an area lies on reserved pages.
  bool ReserveEntry(const memtally_area& area, uint32_t index, size_t entry_bytes, uint64_t* reserved_until);
  memtally_catalog_entry* NextEntries(uint32_t count);
  void Publish(memtally_area* area, uint32_t count) { __atomic_store_n(&area->count, count, __ATOMIC_RELEASE); }

  LedgerFile file_;
  LedgerClock clock_;
  memtally_ledger_header* header_ = nullptr;
  memtally_catalog_entry* catalog_ = nullptr;
  uint32_t* threads_ = nullptr;
  memtally_tag* tags_ = nullptr;
  memtally_group* groups_ = nullptr;
  uint64_t* lane_directory_ = nullptr;
  uint64_t catalog_reserved_ = 0;
  uint64_t threads_reserved_ = 0;
  uint64_t tags_reserved_ = 0;
  uint64_t groups_reserved_ = 0;
  uint32_t device_count_ = 0;
  uint32_t account_count_ = 0;
  uint32_t next_kind_ = MEMTALLY_FIRST_PROGRAM_KIND;
  uint16_t device_entry_[MEMTALLY_MAX_DEVICES] = {};
  uint16_t account_entry_[MEMTALLY_MAX_ACCOUNTS] = {};
  bool kind_known_[MEMTALLY_MAX_KINDS] = {};
};

}  // namespace memtally::writer
