// SPDX-License-Identifier: Apache-2.0
#include "ledger/writer/lane.hpp"

#include <new>

namespace memtally::writer {

namespace {

constexpr size_t kRingStepBytes = 64 << 10;

uint64_t MoreSumsOffset(uint32_t account) {
  return MEMTALLY_LANE_MORE_SUMS_OFFSET + sizeof(memtally_more_sums) * account;
}

}  // namespace

Lane* Lane::Make(LedgerFile& file, const AccountFacts* accounts, const LedgerClock& clock, uint32_t number,
                 uint32_t ring_capacity) {
  void* memory = MapPages(sizeof(Lane));
  void* bounds = MapPages(sizeof(Bound) * MEMTALLY_MAX_ACCOUNTS);
  uint64_t offset = 0;
  const size_t bytes = MEMTALLY_LANE_RING_OFFSET + sizeof(memtally_event) * ring_capacity;
  uint8_t* extent = memory != nullptr && bounds != nullptr ? file.AddExtent(bytes, &offset) : nullptr;
  if (extent == nullptr || !file.Reserve(offset, MEMTALLY_PAGE_BYTES)) {
    UnmapPages(memory, sizeof(Lane));
    UnmapPages(bounds, sizeof(Bound) * MEMTALLY_MAX_ACCOUNTS);
    return nullptr;
  }
  Lane* lane = new (memory) Lane;
  lane->lane_ = reinterpret_cast<memtally_lane*>(extent);
  lane->sums_ = reinterpret_cast<memtally_sums*>(extent + MEMTALLY_LANE_SUMS_OFFSET);
  lane->ring_ = reinterpret_cast<memtally_event*>(extent + MEMTALLY_LANE_RING_OFFSET);
  lane->accounts_ = accounts;
  lane->bounds_ = static_cast<Bound*>(bounds);
  lane->clock_ = &clock;
  lane->file_ = &file;
  lane->offset_ = offset;
  lane->number_ = number;
  lane->ring_capacity_ = ring_capacity;
  lane->lane_->ring_offset = offset + MEMTALLY_LANE_RING_OFFSET;
  lane->lane_->ring_capacity = ring_capacity;
  lane->table_.Init(lane->lane_);
  return lane;
}

uint64_t Lane::HashOfSlot(const void* lane, uint32_t slot) {
  const Lane* self = static_cast<const Lane*>(lane);
  const memtally_record* record = self->table_.At(slot);
  if ((record->size_account_flags & kLive) == 0) return 0;
  return HashKey(self->accounts_[AccountOf(*record)].device, record->id);
}

bool Lane::MatchesAnyKind(uint32_t slot, uint64_t id, uint32_t device, uint8_t reporter) const {
  const memtally_record* record = table_.At(slot);
  if (record->id != id || (record->size_account_flags & kLive) == 0) return false;
  const AccountFacts& account = accounts_[AccountOf(*record)];
  return account.device == device && account.reporter == reporter;
}

bool Lane::Knows(uint64_t hash, uint32_t device, uint64_t id) const {
  return static_cast<bool>(index_.Find(hash, [&](uint32_t slot) {
    if (slot >= table_.slots_used()) return false;
    // The fingerprint matched.  The parent may have freed the buffer, or even used its slot again, since the fork.
    const memtally_record* record = table_.At(slot);
    return record->id != id || accounts_[AccountOf(*record)].device == device;
  }));
}

IdIndex::Place Lane::FindKey(uint64_t hash, uint64_t id, uint32_t account) const {
  return index_.Find(hash, [&](uint32_t slot) { return MatchesKey(slot, id, account); });
}

bool Lane::InsertInIndex(uint64_t hash, uint32_t slot) {
  return index_.Prepare(slot + 1, table_.slots_used(), &HashOfSlot, this) && index_.Insert(hash, slot);
}

FreeOutcome Lane::Free(const LaneEntry&, uint64_t hash, uint32_t device, uint32_t account, uint8_t reporter,
                       uint64_t id, uint32_t thread, uint32_t tag) {
  uint32_t newest = IdIndex::kNoSlot;
  uint32_t matches = 0;
  index_.Find(hash, [&](uint32_t slot) {
    const bool match =
        account == kNoAccount ? MatchesAnyKind(slot, id, device, reporter) : MatchesKey(slot, id, account);
    if (match) {
      ++matches;
      if (newest == IdIndex::kNoSlot || TimeOf(*table_.At(slot)) >= TimeOf(*table_.At(newest))) newest = slot;
    }
    return false;
  });
  if (matches == 0) return FreeOutcome::kUnknown;
  FreeSlot(hash, newest, matches, thread, tag);
  return FreeOutcome::kDone;
}

memtally_more_sums& Lane::MoreSums(uint32_t account) {
  return *reinterpret_cast<memtally_more_sums*>(reinterpret_cast<uint8_t*>(lane_) + MoreSumsOffset(account));
}

bool Lane::ReserveMoreSums(uint32_t account) {
  const uint64_t at = MoreSumsOffset(account);
  const uint32_t page = static_cast<uint32_t>(at / MEMTALLY_PAGE_BYTES);
  static_assert(MEMTALLY_LANE_RING_OFFSET / MEMTALLY_PAGE_BYTES < 64);
  const uint64_t bit = uint64_t{1} << page;
  if ((more_sums_reserved_ & bit) != 0) return true;
  if (!file_->Reserve(offset_ + at, sizeof(memtally_more_sums))) return false;
  more_sums_reserved_ |= bit;
  return true;
}

bool Lane::FirstUse(uint32_t account) {
  if (bounds_[account].requested != 0) return true;
  if (!file_->Reserve(offset_ + MEMTALLY_LANE_SUMS_OFFSET + sizeof(memtally_sums) * account, sizeof(memtally_sums))) {
    return false;
  }
  bounds_[account].reserved = kNoBound;
  __atomic_store_n(&bounds_[account].requested, kNoBound, __ATOMIC_RELAXED);
  after_ |= After::kFirstUse;
  return true;
}

memtally_event Lane::PutEvent(memtally_operation operation, uint64_t flags, uint32_t account, const BufferFacts& facts,
                              uint64_t slot_group) {
  const uint64_t time = clock_->Units();
  const memtally_event event = {
      {facts.id, facts.address, SizeWord(facts.bytes_requested, account, OperationFlags(operation, flags)),
       BankWord(facts.bytes_per_bank, facts.thread, time), TimeWord(time, facts.tag)},
      slot_group};
  PutEvent(event.record.id, event.record.address, event.record.size_account_flags, event.record.bank_thread_time,
           event.record.time_tag, event.slot_group);
  return event;
}

Lane::Held Lane::HeldIn(uint32_t slot) const {
  const memtally_record* record = table_.At(slot);
  Held held;
  held.flags = record->size_account_flags & (kImported | kExtended);
  held.facts.id = record->id;
  held.facts.address = record->address;
  held.facts.bytes_requested = RequestedOf(*record);
  held.facts.bytes_per_bank = PerBankOf(*record);
  if ((held.flags & kExtended) == 0) return held;
  held.extension_slot = static_cast<uint32_t>(record->address);
  const auto* rest = reinterpret_cast<const memtally_record_extension*>(table_.At(held.extension_slot));
  held.facts.address = rest->address;
  held.facts.bytes_requested = rest->bytes_requested;
  held.facts.bytes_per_bank = rest->bytes_per_bank;
  held.facts.group = rest->group;
  return held;
}

void Lane::TakeFromSums(uint32_t account, const Held& held) {
  if ((held.flags & kImported) != 0) {
    memtally_more_sums& more = MoreSums(account);
    SetInLane(&more.imported, more.imported - 1);
    SetInLane(&more.imported_requested, more.imported_requested - held.facts.bytes_requested);
    return;
  }
  memtally_sums& sums = sums_[account];
  ++sums.frees;
  sums.freed_requested += held.facts.bytes_requested;
  sums.freed_reserved += held.facts.bytes_per_bank * Banks(account);
}

void Lane::DropSlots(uint64_t hash, uint32_t slot, uint32_t extension_slot) {
  index_.Erase(hash, slot);
  table_.GiveBack(slot);
  if (extension_slot != IdIndex::kNoSlot) table_.GiveBack(extension_slot);
}

void Lane::CountAnomaly(memtally_anomaly anomaly, uint64_t bytes, const memtally_event& event) {
  memtally_anomaly_block& block = lane_->anomaly[anomaly];
  memtally_event& sample = block.samples[block.count % MEMTALLY_ANOMALY_SAMPLES];
  SetInLane(&sample.record.id, event.record.id);
  SetInLane(&sample.record.address, event.record.address);
  SetInLane(&sample.record.size_account_flags, event.record.size_account_flags);
  SetInLane(&sample.record.bank_thread_time, event.record.bank_thread_time);
  SetInLane(&sample.record.time_tag, event.record.time_tag);
  SetInLane(&sample.slot_group, event.slot_group);
  SetInLane(&block.count, block.count + 1);
  SetInLane(&block.bytes_requested, block.bytes_requested + bytes);
}

AllocOutcome Lane::Alloc(const LaneEntry&, uint64_t hash, uint32_t account, const BufferFacts& facts) {
  // Inside the lock: while a device is opened again, lanes that were swept must not get buffers before all are.
  if (!IsOpen(account)) return AllocOutcome::kClosed;
  const uint32_t replaced = FindKey(hash, facts.id, account).slot;
  const bool extended = NeedsExtension(facts);
  if (!FirstUse(account) || ((facts.imported || replaced != IdIndex::kNoSlot) && !ReserveMoreSums(account))) {
    return AllocOutcome::kNoRoom;
  }
  uint32_t slot = 0;
  uint32_t extension_slot = 0;
  if (extended) {
    if (!table_.Offer(*file_, &extension_slot)) return AllocOutcome::kNoRoom;
    table_.Take();
  }
  if (!table_.Offer(*file_, &slot) || !InsertInIndex(hash, slot)) {
    if (extended) table_.GiveBack(extension_slot);
    return AllocOutcome::kNoRoom;
  }
  table_.Take();

  uint64_t flags = facts.imported ? kImported : 0;
  if (extended) {
    flags |= kExtended;
    *reinterpret_cast<memtally_record_extension*>(table_.At(extension_slot)) = {
        facts.address, facts.group, facts.stack | kExtension, facts.bytes_requested, facts.bytes_per_bank};
  }
  memtally_record* record = table_.At(slot);
  const bool replaces = replaced != IdIndex::kNoSlot;
  const Held old = replaces ? HeldIn(replaced) : Held{};

  Begin(account, slot, record->size_account_flags);
  const memtally_event event = PutEvent(replaces ? MEMTALLY_OP_REPLACE : MEMTALLY_OP_ALLOC, flags, account, facts,
                                        slot | ((replaces ? uint64_t{replaced} : facts.group) << 32));
  if (replaces) {
    TakeFromSums(account, old);
    CountAnomaly(MEMTALLY_ANOMALY_REPLACED, old.facts.bytes_requested, event);
    memtally_record* old_record = table_.At(replaced);
    Set(&old_record->size_account_flags, table_.OffsetOf(replaced) + offsetof(memtally_record, size_account_flags),
        old_record->size_account_flags & ~kLive);
  }
  record->id = facts.id;
  record->address = extended ? extension_slot : facts.address;
  record->bank_thread_time = event.record.bank_thread_time;
  record->time_tag = event.record.time_tag;
  __atomic_store_n(&record->size_account_flags, SizeWord(facts.bytes_requested, account, flags | kLive),
                   __ATOMIC_RELAXED);
  if (facts.imported) {
    memtally_more_sums& more = MoreSums(account);
    SetInLane(&more.imported, more.imported + 1);
    SetInLane(&more.imported_requested, more.imported_requested + facts.bytes_requested);
  } else if (!AddToSums(account, facts.bytes_requested, facts.bytes_per_bank * Banks(account))) {
    after_ |= kBoundExceeded;
  }
  End();
  if (replaces) DropSlots(hash, replaced, old.extension_slot);
  return AllocOutcome::kDone;
}

void Lane::FreeSlot(uint64_t hash, uint32_t slot, uint32_t matches, uint32_t thread, uint32_t tag) {
  memtally_record* record = table_.At(slot);
  const uint32_t account = AccountOf(*record);
  const uint64_t old_word = record->size_account_flags;
  const bool released = !IsOpen(account);
  Held held = HeldIn(slot);
  held.facts.thread = thread;
  held.facts.tag = tag;
  const memtally_operation operation = released      ? MEMTALLY_OP_AFTER_CLOSE
                                       : matches > 1 ? MEMTALLY_OP_AMBIGUOUS_FREE
                                                     : MEMTALLY_OP_FREE;
  Begin(account, slot, old_word);
  const memtally_event event = PutEvent(operation, held.flags, account, held.facts, slot | (held.facts.group << 32));
  if (released) {
    CountAnomaly(MEMTALLY_ANOMALY_AFTER_CLOSE, held.facts.bytes_requested, event);
  } else if (matches > 1) {
    CountAnomaly(MEMTALLY_ANOMALY_AMBIGUOUS, held.facts.bytes_requested, event);
  }
  // What a close released stays in the difference of the sums until the device is opened again.
  if (!released || (held.flags & kImported) != 0) TakeFromSums(account, held);
  __atomic_store_n(&record->size_account_flags, old_word & ~kLive, __ATOMIC_RELAXED);
  End();
  DropSlots(hash, slot, held.extension_slot);
}

void Lane::Note(const LaneEntry&, memtally_operation operation, memtally_anomaly anomaly, uint32_t account,
                const BufferFacts& facts) {
  const bool is_failure = operation == MEMTALLY_OP_ALLOC_FAILED && account != kNoAccount && ReserveMoreSums(account);
  Begin(MEMTALLY_NONE, MEMTALLY_NONE, 0);
  const memtally_event event = PutEvent(operation, 0, account, facts, MEMTALLY_NONE | (facts.group << 32));
  if (anomaly != MEMTALLY_ANOMALIES) CountAnomaly(anomaly, facts.bytes_requested, event);
  if (is_failure) {
    memtally_more_sums& more = MoreSums(account);
    SetInLane(&more.failed_allocations, more.failed_allocations + 1);
    SetInLane(&more.failed_requested, more.failed_requested + facts.bytes_requested);
  }
  End();
}

void Lane::NoteClose(const LaneEntry&, memtally_catalog_device* device, uint64_t device_offset, BufferFacts facts) {
  facts.id = device->index;
  Begin(MEMTALLY_NONE, MEMTALLY_NONE, 0);
  const memtally_event event = PutEvent(MEMTALLY_OP_CLOSE, 0, kNoAccount, facts, MEMTALLY_NONE);
  Set(&device->closed_at, device_offset + offsetof(memtally_catalog_device, closed_at), TimeOf(event.record) + 1);
  // `closes` shares its word with a reserved field that is zero.
  auto* closes = reinterpret_cast<uint64_t*>(&device->closes);
  Set(closes, device_offset + offsetof(memtally_catalog_device, closes), uint64_t{device->closes} + 1);
  End();
}

void Lane::DropReleased(const LaneEntry&, uint32_t device) {
  const uint32_t slots = table_.slots_used();
  for (uint32_t slot = 0; slot < slots; ++slot) {
    memtally_record* record = table_.At(slot);
    if ((record->size_account_flags & kLive) == 0) continue;
    const uint32_t account = AccountOf(*record);
    if (accounts_[account].device != device) continue;
    // A released buffer is in no sum: taking it out of the table is one store.
    const uint32_t extension_slot = HeldIn(slot).extension_slot;
    __atomic_store_n(&record->size_account_flags, record->size_account_flags & ~kLive, __ATOMIC_RELAXED);
    DropSlots(HashKey(device, record->id), slot, extension_slot);
  }
}

void Lane::SettleReleased(const LaneEntry&, uint32_t account) {
  memtally_sums& sums = sums_[account];
  const bool has_more = ReserveMoreSums(account);
  memtally_more_sums& more = MoreSums(account);
  Begin(account, MEMTALLY_NONE, 0);
  PutEvent(MEMTALLY_OP_BOOKKEEPING, 0, account, BufferFacts{}, MEMTALLY_NONE);
  if (has_more) {
    SetInLane(&more.released, more.released + (sums.allocations - sums.frees));
    SetInLane(&more.released_requested, more.released_requested + (sums.allocated_requested - sums.freed_requested));
    SetInLane(&more.released_reserved, more.released_reserved + (sums.allocated_reserved - sums.freed_reserved));
    if (more.imported != 0) {
      SetInLane(&more.imported, 0);
      SetInLane(&more.imported_requested, 0);
    }
  }
  sums.frees = sums.allocations;
  sums.freed_requested = sums.allocated_requested;
  sums.freed_reserved = sums.allocated_reserved;
  End();
}

void Lane::BeginEpoch(const LaneEntry&, uint32_t account, uint64_t bound_requested, uint64_t bound_reserved) {
  memtally_sums& sums = sums_[account];
  Begin(account, MEMTALLY_NONE, 0);
  PutEvent(MEMTALLY_OP_BOOKKEEPING, 0, account, BufferFacts{}, MEMTALLY_NONE);
  sums.peak_requested = sums.allocated_requested - sums.freed_requested;
  sums.peak_reserved = sums.allocated_reserved - sums.freed_reserved;
  End();
  bounds_[account].reserved = bound_reserved;
  __atomic_store_n(&bounds_[account].requested, bound_requested != 0 ? bound_requested : 1, __ATOMIC_RELAXED);
}

bool Lane::HasEvidence(uint32_t account_count) const {
  if (lane_->dropped_events != 0) return true;
  for (const memtally_anomaly_block& block : lane_->anomaly) {
    if (block.count != 0) return true;
  }
  for (uint32_t account = 0; account < account_count; ++account) {
    if (bounds_[account].requested != 0 && sums_[account].allocations != sums_[account].frees) return true;
  }
  return false;
}

void Lane::AddUnread(const LaneEntry&, uint64_t events) {
  __atomic_store_n(&lane_->unread_events, lane_->unread_events + events, __ATOMIC_RELAXED);
}

bool Lane::ReserveRing(size_t step_bytes) {
  const size_t done = sizeof(memtally_event) * ring_reserved_;
  const size_t all = sizeof(memtally_event) * ring_capacity_;
  size_t until = RoundUpToPages(done + sizeof(memtally_event)) + step_bytes - MEMTALLY_PAGE_BYTES;
  if (until > all) until = all;
  if (!file_->Reserve(lane_->ring_offset + done, until - done)) return false;
  ring_reserved_ = until == all ? ring_capacity_ : until / sizeof(memtally_event);
  return true;
}

void Lane::Attend(const LaneEntry&, uint64_t next_event) {
  const uint64_t next = events();
  const uint64_t place = next % ring_capacity_;
  if (place >= ring_reserved_) {
    // The first step is small: many processes report little.
    const bool big = ring_reserved_ != 0 && ReserveRing(kRingStepBytes);
    if (!big && !ReserveRing(MEMTALLY_PAGE_BYTES)) {
      // No room for this event: it is counted, its place stays zero, and the next one tries again.
      ring_next_ = ring_begin_ = &dropped_event_;
      ring_end_ = ring_begin_ + 1;
      __atomic_store_n(&lane_->dropped_events, lane_->dropped_events + 1, __ATOMIC_RELAXED);
      attention_sequence_ = lane_->sequence + 2;
      return;
    }
  }
  ring_begin_ = ring_;
  ring_end_ = ring_ + ring_capacity_;
  ring_next_ = ring_ + place;
  // What follows may come to pages that are not reserved yet, or to the end of those that could be had.
  const uint64_t last_reserved = next + (ring_reserved_ - place);
  if (ring_reserved_ < ring_capacity_ && next_event > last_reserved) next_event = last_reserved;
  attention_sequence_ = 2 * next_event;
}

}  // namespace memtally::writer
