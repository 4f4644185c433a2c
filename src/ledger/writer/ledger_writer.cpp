// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/ledger_writer.hpp"

#include <cstring>

#include "ledger/writer/process_facts.hpp"
#include "ledger/writer/syscall_scope.hpp"
#include "ledger/writer/text.hpp"

namespace memtally::writer {

namespace {

// Where this version puts the shared areas.  Readers take it from the header.
constexpr uint32_t kCatalogEntries = 2048;
constexpr uint64_t kCatalogOffset = MEMTALLY_PAGE_BYTES;
constexpr uint64_t kThreadsOffset = kCatalogOffset + sizeof(memtally_catalog_entry) * kCatalogEntries;
constexpr uint64_t kTagsOffset = kThreadsOffset + sizeof(uint32_t) * MEMTALLY_MAX_THREADS;
constexpr uint64_t kGroupsOffset = kTagsOffset + sizeof(memtally_tag) * MEMTALLY_MAX_TAGS;
constexpr uint64_t kFixedBytes = kGroupsOffset + sizeof(memtally_group) * MEMTALLY_MAX_GROUPS;

struct BuiltinKind {
  uint32_t number;
  const char* name;
  uint32_t memory;
  uint32_t flags;
};
constexpr BuiltinKind kBuiltinKinds[] = {
    {MEMTALLY_KIND_DRAM, "dram", MEMTALLY_KIND_DRAM, 0},
    {MEMTALLY_KIND_L1, "l1", MEMTALLY_KIND_L1, 0},
    {MEMTALLY_KIND_L1_SMALL, "l1_small", MEMTALLY_KIND_L1, 0},
    {MEMTALLY_KIND_TRACE, "trace", MEMTALLY_KIND_DRAM, 0},
    {MEMTALLY_KIND_SYSTEM_MEMORY, "system_memory", MEMTALLY_KIND_SYSTEM_MEMORY, MEMTALLY_KIND_ON_HOST},
    {MEMTALLY_KIND_CB, "cb", MEMTALLY_KIND_L1, MEMTALLY_KIND_OVERLAPS},
    {MEMTALLY_KIND_DFB, "dfb", MEMTALLY_KIND_L1, MEMTALLY_KIND_OVERLAPS},
    {MEMTALLY_KIND_KERNEL, "kernel", MEMTALLY_KIND_L1, 0},
    {MEMTALLY_KIND_CUDA_DEVICE, "cuda_device", MEMTALLY_KIND_CUDA_DEVICE, 0},
    {MEMTALLY_KIND_CUDA_MANAGED, "cuda_managed", MEMTALLY_KIND_CUDA_MANAGED, 0},
    {MEMTALLY_KIND_HOST_PINNED, "host_pinned", MEMTALLY_KIND_HOST_PINNED, MEMTALLY_KIND_ON_HOST},
};

// Lanes beyond the first few record less, so that a process with many threads fits into a small /dev/shm.
uint32_t RingCapacity(uint32_t lane) {
  if (lane == 0) return MEMTALLY_RING_EVENTS_FIRST;
  return lane < 8 ? MEMTALLY_RING_EVENTS_FIRST / 4 : MEMTALLY_RING_EVENTS_FIRST / 16;
}

}  // namespace

MakeResult LedgerWriter::Make(const char* directory, bool is_private, const uint8_t (&launch_id)[16]) {
  const SyscallScope unnoticed;
  memtally_ledger_header identity{};
  MakeRunId(identity.run_id);
  FillIdentity(&identity);
  memcpy(identity.launch_id, launch_id, sizeof(launch_id));
  const MakeResult made = file_.Make(directory, identity.uid, identity.pid, identity.run_id, is_private, kFixedBytes);
  if (made != MakeResult::kMade) return made;
  uint8_t* base = file_.fixed();
  header_ = reinterpret_cast<memtally_ledger_header*>(base);
  catalog_ = reinterpret_cast<memtally_catalog_entry*>(base + kCatalogOffset);
  threads_ = reinterpret_cast<uint32_t*>(base + kThreadsOffset);
  tags_ = reinterpret_cast<memtally_tag*>(base + kTagsOffset);
  groups_ = reinterpret_cast<memtally_group*>(base + kGroupsOffset);
  lane_directory_ = reinterpret_cast<uint64_t*>(base + MEMTALLY_LANE_DIRECTORY_OFFSET);

  *header_ = identity;  // its magic is still zero
  header_->version = MEMTALLY_LEDGER_VERSION;
  header_->header_bytes = sizeof(memtally_ledger_header);
  header_->catalog = {kCatalogOffset, kCatalogEntries, 0};
  header_->threads = {kThreadsOffset, MEMTALLY_MAX_THREADS, 1};
  header_->tags = {kTagsOffset, MEMTALLY_MAX_TAGS, 2};
  header_->groups = {kGroupsOffset, MEMTALLY_MAX_GROUPS, 0};
  header_->file_end = kFixedBytes;
  clock_.Start(header_);

  FutexLock nobody_else_yet;
  const RegistryGuard guard(nobody_else_yet);
  for (const BuiltinKind& builtin : kBuiltinKinds) {
    memtally_catalog_kind kind{};
    kind.index = builtin.number;
    kind.memory = builtin.memory;
    kind.inside = MEMTALLY_NONE;
    kind.flags = builtin.flags;
    CopyField(kind.name, builtin.name);
    if (AddKind(guard, kind) == MEMTALLY_NONE) {
      file_.Discard();
      return MakeResult::kNoSpace;
    }
  }
  __atomic_store_n(&header_->magic, MEMTALLY_LEDGER_MAGIC, __ATOMIC_RELEASE);
  return MakeResult::kMade;
}

bool LedgerWriter::ReserveEntry(const memtally_area& area, uint32_t index, size_t entry_bytes,
                                uint64_t* reserved_until) {
  const uint64_t begin = area.offset + entry_bytes * index;
  const uint64_t end = begin + entry_bytes;
  if (end <= *reserved_until) return true;
  if (!file_.Reserve(begin, entry_bytes)) {
    Count(&memtally_ledger_header::refused_pages);
    return false;
  }
  *reserved_until = (end + MEMTALLY_PAGE_BYTES - 1) & ~uint64_t{MEMTALLY_PAGE_BYTES - 1};
  return true;
}

memtally_catalog_entry* LedgerWriter::NextEntries(uint32_t count) {
  const uint32_t next = header_->catalog.count;
  if (next + count > header_->catalog.capacity ||
      !ReserveEntry(header_->catalog, next + count - 1, sizeof(memtally_catalog_entry), &catalog_reserved_)) {
    Count(&memtally_ledger_header::lost_registrations);
    return nullptr;
  }
  return catalog_ + next;
}

uint32_t LedgerWriter::AddDevice(const RegistryGuard&, const memtally_catalog_device& device,
                                 const memtally_catalog_device_more& more) {
  if (device_count_ == MEMTALLY_MAX_DEVICES) {
    Count(&memtally_ledger_header::lost_registrations);
    return MEMTALLY_NONE;
  }
  memtally_catalog_entry* entry = NextEntries(2);
  if (entry == nullptr) return MEMTALLY_NONE;
  const uint32_t index = device_count_++;
  auto* first = reinterpret_cast<memtally_catalog_device*>(entry);
  auto* second = reinterpret_cast<memtally_catalog_device_more*>(entry + 1);
  *first = device;
  first->type = MEMTALLY_CATALOG_DEVICE;
  first->index = index;
  *second = more;
  second->type = MEMTALLY_CATALOG_DEVICE_MORE;
  second->index = index;
  device_entry_[index] = static_cast<uint16_t>(entry - catalog_);
  Publish(&header_->catalog, header_->catalog.count + 2);
  return index;
}

uint32_t LedgerWriter::AddKind(const RegistryGuard&, const memtally_catalog_kind& kind) {
  if (kind.index >= MEMTALLY_MAX_KINDS) {
    Count(&memtally_ledger_header::lost_registrations);
    return MEMTALLY_NONE;
  }
  memtally_catalog_entry* entry = NextEntries(1);
  if (entry == nullptr) return MEMTALLY_NONE;
  auto* written = reinterpret_cast<memtally_catalog_kind*>(entry);
  *written = kind;
  written->type = MEMTALLY_CATALOG_KIND;
  kind_known_[kind.index] = true;
  if (kind.index >= next_kind_) next_kind_ = kind.index + 1;
  Publish(&header_->catalog, header_->catalog.count + 1);
  return kind.index;
}

uint32_t LedgerWriter::AddAccount(const RegistryGuard&, const memtally_catalog_account& account) {
  if (account_count_ == kNoAccount) {
    Count(&memtally_ledger_header::lost_registrations);
    return MEMTALLY_NONE;
  }
  memtally_catalog_entry* entry = NextEntries(1);
  if (entry == nullptr) return MEMTALLY_NONE;
  const uint32_t index = account_count_++;
  auto* written = reinterpret_cast<memtally_catalog_account*>(entry);
  *written = account;
  written->type = MEMTALLY_CATALOG_ACCOUNT;
  written->index = index;
  account_entry_[index] = static_cast<uint16_t>(entry - catalog_);
  Publish(&header_->catalog, header_->catalog.count + 1);
  return index;
}

uint32_t LedgerWriter::AddThread(const RegistryGuard&, uint32_t thread_id) {
  const uint32_t index = header_->threads.count;
  if (index == MEMTALLY_MAX_THREADS || !ReserveEntry(header_->threads, index, sizeof(uint32_t), &threads_reserved_)) {
    return 0;
  }
  threads_[index] = thread_id;
  Publish(&header_->threads, index + 1);
  return index;
}

uint32_t LedgerWriter::AddTag(const RegistryGuard&, uint32_t parent, uint32_t hash, const char* name,
                              size_t name_bytes) {
  const uint32_t index = header_->tags.count;
  if (index == MEMTALLY_MAX_TAGS || !ReserveEntry(header_->tags, index, sizeof(memtally_tag), &tags_reserved_)) {
    return MEMTALLY_NONE;
  }
  memtally_tag& tag = tags_[index];
  tag.parent = parent;
  tag.name_hash = hash;
  tag.name_bytes = static_cast<uint32_t>(name_bytes);
  CopyField(tag.name, name);
  Publish(&header_->tags, index + 1);
  return index;
}

void LedgerWriter::NameGroup(const RegistryGuard&, uint64_t group, const char* name) {
  if (group == 0) return;
  uint32_t place = header_->groups.count;
  for (uint32_t i = 0; i < header_->groups.count; ++i) {
    if (groups_[i].id == group) {
      place = i;
      break;
    }
    if (groups_[i].id == 0 && place == header_->groups.count) place = i;
  }
  if (place == MEMTALLY_MAX_GROUPS ||
      !ReserveEntry(header_->groups, place, sizeof(memtally_group), &groups_reserved_)) {
    Count(&memtally_ledger_header::lost_groups);
    return;
  }
  memtally_group& entry = groups_[place];
  // Unused while its name changes.
  __atomic_store_n(&entry.id, uint64_t{0}, __ATOMIC_RELEASE);
  entry.name_bytes = static_cast<uint32_t>(strlen(name));
  CopyField(entry.name, name);
  __atomic_store_n(&entry.id, group, __ATOMIC_RELEASE);
  if (place == header_->groups.count) Publish(&header_->groups, place + 1);
}

void LedgerWriter::ForgetGroup(const RegistryGuard&, uint64_t group) {
  for (uint32_t i = 0; i < header_->groups.count; ++i) {
    if (groups_[i].id == group) __atomic_store_n(&groups_[i].id, uint64_t{0}, __ATOMIC_RELEASE);
  }
}

void LedgerWriter::CopyCatalog(const RegistryGuard& guard, const LedgerWriter& parent) {
  // The parent may be writing; what it has published stays.  Devices and accounts that it added since the fork are not
  // ours: the private half of `parent`, which is of the moment of the fork, does not know them.
  const uint32_t count = __atomic_load_n(&parent.header_->catalog.count, __ATOMIC_ACQUIRE);
  for (uint32_t i = 0; i < count; ++i) {
    const memtally_catalog_entry* entry = parent.catalog_ + i;
    if (entry->type == MEMTALLY_CATALOG_DEVICE && i + 1 < count) {
      if (device_count_ == parent.device_count_) continue;
      auto device = *reinterpret_cast<const memtally_catalog_device*>(entry);
      if (device.closed_at != 0) device.closed_at = 1;  // in this ledger's time: from its beginning on
      AddDevice(guard, device, *reinterpret_cast<const memtally_catalog_device_more*>(entry + 1));
    } else if (entry->type == MEMTALLY_CATALOG_KIND) {
      const auto& kind = *reinterpret_cast<const memtally_catalog_kind*>(entry);
      if (!HasKind(kind.index)) AddKind(guard, kind);
    } else if (entry->type == MEMTALLY_CATALOG_ACCOUNT) {
      if (account_count_ == parent.account_count_) continue;
      auto account = *reinterpret_cast<const memtally_catalog_account*>(entry);
      account.peak_requested = account.peak_reserved = 0;
      account.peak_requested_bound = account.peak_reserved_bound = 0;
      AddAccount(guard, account);
    }
  }
}

Lane* LedgerWriter::AddLane(const RegistryGuard&, const AccountFacts* accounts) {
  const uint32_t number = header_->lane_count;
  if (number == MEMTALLY_MAX_LANES) return nullptr;
  Lane* lane = Lane::Make(file_, accounts, clock_, number, RingCapacity(number));
  if (lane == nullptr) {
    Count(&memtally_ledger_header::refused_pages);
    return nullptr;
  }
  lane_directory_[number] = lane->offset();
  __atomic_store_n(&header_->lane_count, number + 1, __ATOMIC_RELEASE);
  return lane;
}

const memtally_catalog_kind* LedgerWriter::FindKind(const char* name) const {
  memtally_catalog_kind wanted{};
  CopyField(wanted.name, name);
  for (uint32_t i = 0; i < header_->catalog.count; ++i) {
    const auto* kind = reinterpret_cast<const memtally_catalog_kind*>(catalog_ + i);
    if (kind->type == MEMTALLY_CATALOG_KIND && strncmp(kind->name, wanted.name, sizeof(kind->name)) == 0) return kind;
  }
  return nullptr;
}

void LedgerWriter::MarkExited() {
  __atomic_store_n(&header_->end_time, clock_.Units(), __ATOMIC_RELAXED);
  __atomic_store_n(&header_->end_state, uint32_t{MEMTALLY_EXITED}, __ATOMIC_RELEASE);
}

}  // namespace memtally::writer
