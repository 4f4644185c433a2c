// SPDX-License-Identifier: Apache-2.0
//
// Lane: one lane of a ledger that is being written: its buffers, sums, anomalies, flight recorder.
//
// Each operation is one transaction.  It makes the lane's sequence odd, notes how to take it back, writes, and makes
// the sequence even.  If the process dies at any instruction of that, a reader takes the transaction back; if a reader
// looks meanwhile, it sees that the sequence is odd or has moved.  What can fail (memory, file growth) happens before
// the sequence becomes odd.
//
// Every public function but the constructors demands the lane's lock, as a LaneEntry.  Every event demands that the
// lane was attended to (see recorder_gate.hpp) if it NeedsAttention: there may be no page for the event otherwise.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <memtally/abi/ledger_format.h>

#include "ledger/writer/buffer_table.hpp"
#include "ledger/writer/id_index.hpp"
#include "ledger/writer/lane_lock.hpp"
#include "ledger/writer/ledger_clock.hpp"
#include "ledger/writer/ledger_file.hpp"
#include "ledger/writer/pages.hpp"
#include "ledger/writer/record_words.hpp"

namespace memtally::writer {

class Lane;

// Proof that the calling thread is inside a lane's lock.
class LaneEntry {
 public:
  explicit LaneEntry(LaneLock::Entry entry) : entry_(entry) {}
  explicit operator bool() const { return entry_ != LaneLock::Entry::kRefused; }
  LaneLock::Entry entry() const { return entry_; }

 private:
  LaneLock::Entry entry_;
};

// What the lanes must know of an account.  Written under the registry lock, read by all.
struct AccountFacts {
  std::atomic<uint32_t> banks{1};
  uint16_t device = 0;
  uint16_t kind = 0;
  uint8_t reporter = 0;  // who owns it
  uint16_t number = 0;
  std::atomic<bool> open{false};
};

// Hash of a key without its kind, so that all kinds of an id are found at once.  Never 0.
inline uint64_t HashKey(uint32_t device, uint64_t id) {
  // One wide multiplication, its halves folded together.
  const unsigned __int128 product =
      static_cast<unsigned __int128>(id ^ (uint64_t{device + 1} << 56)) * 0x9e3779b97f4a7c15u;
  const uint64_t hash = static_cast<uint64_t>(product >> 64) ^ static_cast<uint64_t>(product);
  return hash | 1;
}

enum class AllocOutcome : uint8_t {
  kDone,
  kNoRoom,
  kClosed  // its device is closed; nothing was changed
};
enum class FreeOutcome : uint8_t { kDone, kUnknown };

class Lane {
 public:
  // Makes a lane in the file.  Null if the file or the memory does not suffice.
  static Lane* Make(LedgerFile& file, const AccountFacts* accounts, const LedgerClock& clock, uint32_t number,
                    uint32_t ring_capacity);

  LaneLock& lock() { return lock_; }
  uint64_t offset() const { return offset_; }
  uint32_t number() const { return number_; }

  // The frequent case of Alloc: nothing is replaced, nothing grows, everything fits into a record.  kMiss: it is not
  // that case, and nothing was changed.  kDoneBound: done, and TakeAfter has something to tell.
  enum class Fast : uint8_t { kDone, kDoneBound, kMiss };
  Fast TryAlloc(const LaneEntry& entry, uint64_t hash, const AccountFacts& account, uint64_t id, uint64_t address,
                uint64_t bytes_requested, uint64_t bytes_per_bank, uint32_t thread, uint32_t tag);

  // The frequent case of Free: a plain buffer of an open device.
  Fast TryFree(const LaneEntry& entry, uint64_t hash, const AccountFacts& account, uint64_t id, uint32_t thread,
               uint32_t tag);

  // A buffer was allocated.
  AllocOutcome Alloc(const LaneEntry& entry, uint64_t hash, uint32_t account, const BufferFacts& facts);

  // A buffer is given back.  `account` kNoAccount: of any kind of this device that `reporter` owns.  kUnknown: no such
  // buffer; nothing was written.
  FreeOutcome Free(const LaneEntry& entry, uint64_t hash, uint32_t device, uint32_t account, uint8_t reporter,
                   uint64_t id, uint32_t thread, uint32_t tag);

  // An event that changes no buffer: an anomaly (unless `anomaly` is MEMTALLY_ANOMALIES), a mark.  A failed allocation
  // also enters the sums of its account.
  void Note(const LaneEntry& entry, memtally_operation operation, memtally_anomaly anomaly, uint32_t account,
            const BufferFacts& facts);

  // The device was closed: the event and the device's words in the catalog, at once.
  void NoteClose(const LaneEntry& entry, memtally_catalog_device* device, uint64_t device_offset, BufferFacts facts);

  // The device is about to be opened again: what its closing released leaves the table; and then, for each of its
  // accounts that this lane uses, is freed in the sums as well.
  void DropReleased(const LaneEntry& entry, uint32_t device);
  void SettleReleased(const LaneEntry& entry, uint32_t account);

  // Whether a buffer of this key is here, live or released.  Safe in a forked child without the lock, on the parent's
  // lane.
  bool Knows(uint64_t hash, uint32_t device, uint64_t id) const;

  // Present and highest sums of an account since the epoch began; and the beginning of a new epoch.
  const memtally_sums& sums(const LaneEntry&, uint32_t account) const { return sums_[account]; }
  // Without the lock, too.
  bool UsesAccount(uint32_t account) const {
    return __atomic_load_n(&bounds_[account].requested, __ATOMIC_RELAXED) != 0;
  }
  void BeginEpoch(const LaneEntry& entry, uint32_t account, uint64_t bound_requested, uint64_t bound_reserved);
  void SetBound(const LaneEntry&, uint32_t account, uint64_t requested, uint64_t reserved) {
    bounds_[account].reserved = reserved;
    __atomic_store_n(&bounds_[account].requested, requested, __ATOMIC_RELAXED);
  }
  static constexpr uint64_t kNoBound = ~uint64_t{0};

  // What an allocation leaves to be done outside the lock: see PeakCollector.
  enum After : uint8_t { kNothing = 0, kFirstUse = 1, kBoundExceeded = 2 };
  uint8_t TakeAfter(const LaneEntry&) {
    const uint8_t after = after_;
    after_ = kNothing;
    return after;
  }

  // Whether anything here is worth keeping after a normal exit.
  bool HasEvidence(uint32_t account_count) const;

  void SetOwnerThread(uint32_t thread) { __atomic_store_n(&lane_->owner_thread, thread, __ATOMIC_RELAXED); }
  // Events so far.
  uint64_t events() const { return lane_->sequence / 2; }
  bool NeedsAttention() const { return lane_->sequence >= attention_sequence_; }
  // Reserves ring pages and looks after the clock; the next attention comes at `next_event` at the latest.
  void Attend(const LaneEntry& entry, uint64_t next_event);
  void AddUnread(const LaneEntry& entry, uint64_t events);
  uint32_t ring_capacity() const { return ring_capacity_; }

 private:
  struct Bound {
    uint64_t requested;  // 0: this lane does not use the account yet
    uint64_t reserved;
  };

  // A live buffer, with what its extension says.
  struct Held {
    BufferFacts facts;
    uint64_t flags = 0;  // kImported, kExtended
    uint32_t extension_slot = IdIndex::kNoSlot;
  };

  Lane() = default;

  // --- transactions; the sequence is even before Begin and after End
  [[gnu::always_inline]] void Begin(uint32_t account, uint64_t slot, uint64_t old_size_account_flags) {
    memtally_undo& undo = lane_->undo;
    const uint64_t odd = lane_->sequence + 1;
    __atomic_store_n(&lane_->sequence, odd, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    undo.account = account;
    undo.words = 0;
    undo.slot = slot;
    undo.old_size_account_flags = old_size_account_flags;
    if (account != MEMTALLY_NONE) undo.old_sums = sums_[account];
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&undo.sequence, odd, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
  }
  // Changes any word of the file within the transaction.
  void Set(uint64_t* word, uint64_t file_offset, uint64_t value) {
    memtally_undo& undo = lane_->undo;
    undo.word[undo.words] = {file_offset, *word};
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&undo.words, undo.words + 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
  }
  void SetInLane(uint64_t* word, uint64_t value) {
    Set(word, offset_ + static_cast<uint64_t>(reinterpret_cast<uint8_t*>(word) - reinterpret_cast<uint8_t*>(lane_)),
        value);
  }
  [[gnu::always_inline]] void End() {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&lane_->sequence, lane_->sequence + 1, __ATOMIC_RELEASE);
  }
  [[gnu::always_inline]] void PutEvent(uint64_t id, uint64_t address, uint64_t size_word, uint64_t bank_word,
                                       uint64_t time_word, uint64_t slot_group) {
    memtally_event* event = ring_next_;
    event->record.id = id;
    event->record.address = address;
    event->record.size_account_flags = size_word;
    event->record.bank_thread_time = bank_word;
    event->record.time_tag = time_word;
    event->slot_group = slot_group;
    ++event;
    ring_next_ = event == ring_end_ ? ring_begin_ : event;
  }

  // --- parts of operations
  uint64_t Banks(uint32_t account) const { return accounts_[account].banks.load(std::memory_order_relaxed); }
  bool IsOpen(uint32_t account) const { return accounts_[account].open.load(std::memory_order_relaxed); }
  bool InsertInIndex(uint64_t hash, uint32_t slot);
  // The place of a live key, wherever it is.
  [[gnu::noinline]] IdIndex::Place FindKey(uint64_t hash, uint64_t id, uint32_t account) const;
  void FreeSlot(uint64_t hash, uint32_t slot, uint32_t matches, uint32_t thread, uint32_t tag);
  bool FirstUse(uint32_t account);
  bool ReserveMoreSums(uint32_t account);
  bool ReserveRing(size_t step_bytes);
  void CountAnomaly(memtally_anomaly anomaly, uint64_t bytes, const memtally_event& event);
  // False if the sums rose above the lane's bound.
  bool AddToSums(uint32_t account, uint64_t requested, uint64_t reserved);
  // Writes an event with the present time; returns it.
  memtally_event PutEvent(memtally_operation operation, uint64_t flags, uint32_t account, const BufferFacts& facts,
                          uint64_t slot_group);
  Held HeldIn(uint32_t slot) const;
  void TakeFromSums(uint32_t account, const Held& held);
  memtally_more_sums& MoreSums(uint32_t account);
  // Gives a buffer's slots back; `extension_slot` may be kNoSlot.
  void DropSlots(uint64_t hash, uint32_t slot, uint32_t extension_slot);
  [[gnu::always_inline]] bool MatchesKey(uint32_t slot, uint64_t id, uint32_t account) const {
    const memtally_record* record = table_.At(slot);
    // The account and the flag LIVE, in one comparison.
    constexpr uint64_t kMask = (uint64_t{MEMTALLY_MAX_ACCOUNTS - 1} << MEMTALLY_ACCOUNT_SHIFT) | kLive;
    return record->id == id &&
           (record->size_account_flags & kMask) == ((uint64_t{account} << MEMTALLY_ACCOUNT_SHIFT) | kLive);
  }
  bool MatchesAnyKind(uint32_t slot, uint64_t id, uint32_t device, uint8_t reporter) const;
  static uint64_t HashOfSlot(const void* lane, uint32_t slot);

  LaneLock lock_;
  memtally_lane* lane_ = nullptr;
  memtally_sums* sums_ = nullptr;
  uint64_t attention_sequence_ = 0;  // from this sequence on NeedsAttention
  memtally_event* ring_next_ = nullptr;
  memtally_event* ring_begin_ = nullptr;
  memtally_event* ring_end_ = nullptr;
  const AccountFacts* accounts_ = nullptr;
  Bound* bounds_ = nullptr;  // for each account
  const LedgerClock* clock_ = nullptr;
  BufferTable table_;
  IdIndex index_;
  uint8_t after_ = kNothing;

  // rarely used
  LedgerFile* file_ = nullptr;
  uint64_t offset_ = 0;
  uint32_t number_ = 0;
  uint32_t ring_capacity_ = 0;
  uint64_t ring_reserved_ = 0;  // events
  memtally_event* ring_ = nullptr;
  uint64_t more_sums_reserved_ = 0;    // a bit for each page of the lane that has been reserved for more sums
  memtally_event dropped_event_ = {};  // the whole ring while events are dropped
};

[[gnu::always_inline]] inline bool Lane::AddToSums(uint32_t account, uint64_t requested, uint64_t reserved) {
  memtally_sums& sums = sums_[account];
  const uint64_t allocated_requested = sums.allocated_requested + requested;
  const uint64_t allocated_reserved = sums.allocated_reserved + reserved;
  const uint64_t live_requested = allocated_requested - sums.freed_requested;
  const uint64_t live_reserved = allocated_reserved - sums.freed_reserved;
  ++sums.allocations;
  sums.allocated_requested = allocated_requested;
  sums.allocated_reserved = allocated_reserved;
  if (live_requested > sums.peak_requested) sums.peak_requested = live_requested;
  if (live_reserved > sums.peak_reserved) sums.peak_reserved = live_reserved;
  const Bound& bound = bounds_[account];
  return live_requested <= bound.requested && live_reserved <= bound.reserved;
}

[[gnu::always_inline]] inline Lane::Fast Lane::TryAlloc(const LaneEntry&, uint64_t hash, const AccountFacts& account,
                                                        uint64_t id, uint64_t address, uint64_t bytes_requested,
                                                        uint64_t bytes_per_bank, uint32_t thread, uint32_t tag) {
  const uint32_t number = account.number;
  uint32_t slot;
  if (!account.open.load(std::memory_order_relaxed) || !index_.IsReady() || bounds_[number].requested == 0 ||
      !table_.OfferUsed(&slot) ||
      ((bytes_requested >> MEMTALLY_REQUESTED_BITS) | (bytes_per_bank >> MEMTALLY_PER_BANK_BITS)) != 0) [[unlikely]] {
    return Fast::kMiss;
  }
  uint32_t* vacancy;
  const IdIndex::Place replaced = index_.FindReady(
      hash, &vacancy, [&](uint32_t candidate) { return MatchesKey(candidate, id, number); },
      [&] { return FindKey(hash, id, number); });
  if (vacancy == nullptr || replaced) [[unlikely]]
    return Fast::kMiss;
  index_.InsertAt(vacancy, hash, slot);
  table_.TakeUsed();
  memtally_record* record = table_.At(slot);
  Begin(number, slot, record->size_account_flags);
  const uint64_t time = clock_->Units();
  const uint64_t size_word = bytes_requested | (uint64_t{number} << MEMTALLY_ACCOUNT_SHIFT);
  const uint64_t bank_word =
      bytes_per_bank | (uint64_t{thread} << MEMTALLY_THREAD_SHIFT) | ((time >> 48) << MEMTALLY_TIME_HIGH_SHIFT);
  const uint64_t time_word = (time << MEMTALLY_TIME_LOW_SHIFT) | tag;
  PutEvent(id, address, size_word | OperationFlags(MEMTALLY_OP_ALLOC, 0), bank_word, time_word, slot);
  record->id = id;
  record->address = address;
  record->bank_thread_time = bank_word;
  record->time_tag = time_word;
  __atomic_store_n(&record->size_account_flags, size_word | kLive, __ATOMIC_RELAXED);
  const bool in_bound =
      AddToSums(number, bytes_requested, bytes_per_bank * account.banks.load(std::memory_order_relaxed));
  End();
  if (!in_bound) [[unlikely]] {
    after_ |= kBoundExceeded;
    return Fast::kDoneBound;
  }
  return Fast::kDone;
}

[[gnu::always_inline]] inline Lane::Fast Lane::TryFree(const LaneEntry&, uint64_t hash, const AccountFacts& account,
                                                       uint64_t id, uint32_t thread, uint32_t tag) {
  const uint32_t number = account.number;
  if (!index_.IsReady() || !table_.CanGiveBack()) [[unlikely]]
    return Fast::kMiss;
  const IdIndex::Place place = index_.FindReady(
      hash, [&](uint32_t candidate) { return MatchesKey(candidate, id, number); },
      [&] { return FindKey(hash, id, number); });
  if (!place) [[unlikely]]
    return Fast::kMiss;
  memtally_record* record = table_.At(place.slot);
  const uint64_t old_word = record->size_account_flags;
  if ((old_word & (kImported | kExtended)) != 0 || !account.open.load(std::memory_order_relaxed)) [[unlikely]] {
    return Fast::kMiss;
  }
  const uint64_t per_bank = PerBankOf(*record);
  Begin(number, place.slot, old_word);
  const uint64_t time = clock_->Units();
  PutEvent(id, record->address,
           (old_word & ~(uint64_t{0xff} << MEMTALLY_FLAGS_SHIFT)) | OperationFlags(MEMTALLY_OP_FREE, 0),
           per_bank | (uint64_t{thread} << MEMTALLY_THREAD_SHIFT) | ((time >> 48) << MEMTALLY_TIME_HIGH_SHIFT),
           (time << MEMTALLY_TIME_LOW_SHIFT) | tag, place.slot);
  __atomic_store_n(&record->size_account_flags, old_word & ~kLive, __ATOMIC_RELAXED);
  memtally_sums& sums = sums_[number];
  ++sums.frees;
  sums.freed_requested += RequestedOf({0, 0, old_word, 0, 0});
  sums.freed_reserved += per_bank * account.banks.load(std::memory_order_relaxed);
  End();
  index_.Erase(place);
  table_.GiveBackSurely(place.slot);
  return Fast::kDone;
}

}  // namespace memtally::writer
