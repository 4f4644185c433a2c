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
  std::atomic<bool> open{false};
};

// Hash of a key without its kind, so that all kinds of an id are found at once.  Never 0.
inline uint64_t HashKey(uint32_t device, uint64_t id) {
  uint64_t h = (id + 0x9e3779b97f4a7c15u * (device + 1)) * 0xd6e8feb86659fd93u;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93u;
  h ^= h >> 29;
  return h != 0 ? h : 1;
}

enum class AllocOutcome : uint8_t { kDone, kNoRoom };
enum class FreeOutcome : uint8_t { kDone, kUnknown };

class Lane {
 public:
  // Makes a lane in the file.  Null if the file or the memory does not suffice.
  static Lane* Make(LedgerFile& file, const AccountFacts* accounts, const LedgerClock& clock,
                    memtally_ledger_header* header, uint32_t number, uint32_t ring_capacity);

  LaneLock& lock() { return lock_; }
  void Prefetch(uint64_t hash) const { index_.Prefetch(hash); }
  uint64_t offset() const { return offset_; }
  uint32_t number() const { return number_; }

  // A buffer was allocated.
  AllocOutcome Alloc(const LaneEntry& entry, uint64_t hash, uint32_t account, const BufferFacts& facts);

  // A buffer is given back.  `account` kNoAccount: of any kind of this device that `reporter` owns.  kUnknown: no such
  // buffer; nothing was written.
  FreeOutcome Free(const LaneEntry& entry, uint64_t hash, uint32_t device, uint32_t account, uint8_t reporter,
                   uint64_t id, uint32_t thread, uint32_t tag);

  // An event that changes no buffer: an anomaly (if `anomaly` is one), a mark, an opening.  `counts_bytes`: into the
  // anomaly.
  void Note(const LaneEntry& entry, memtally_operation operation, memtally_anomaly anomaly, uint32_t account,
            const BufferFacts& facts);

  // An allocation failed: an anomaly, and sums of the account.
  void NoteFailure(const LaneEntry& entry, uint32_t account, const BufferFacts& facts);

  // The device was closed: the event and the device's words in the catalog, at once.
  void NoteClose(const LaneEntry& entry, memtally_catalog_device* device, uint64_t device_offset,
                 const BufferFacts& facts);

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
  // Events so far, from which on a recorder may be behind; see recorder_gate.hpp.
  uint64_t events() const { return sequence_ / 2; }
  bool NeedsAttention() const { return sequence_ >= attention_sequence_; }
  // Reserves ring pages and looks after the clock; the next attention comes at `next_event` at the latest.
  void Attend(const LaneEntry& entry, uint64_t next_event);
  void AddUnread(const LaneEntry& entry, uint64_t events);
  uint32_t ring_capacity() const { return ring_capacity_; }

  size_t private_bytes() const;

 private:
  struct Bound {
    uint64_t requested;  // 0: this lane does not use the account yet
    uint64_t reserved;
  };

  Lane() = default;

  // --- transactions
  void Begin(uint32_t account, uint64_t slot, uint64_t old_size_account_flags) {
    memtally_undo& undo = lane_->undo;
    __atomic_store_n(&lane_->sequence, sequence_ + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    undo.account = account;
    undo.words = 0;
    undo.slot = slot;
    undo.old_size_account_flags = old_size_account_flags;
    if (account != MEMTALLY_NONE) undo.old_sums = sums_[account];
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&undo.sequence, sequence_ + 1, __ATOMIC_RELAXED);
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
  void End() {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    sequence_ += 2;
    __atomic_store_n(&lane_->sequence, sequence_, __ATOMIC_RELEASE);
  }
  void PutEvent(uint64_t id, uint64_t address, uint64_t size_word, uint64_t bank_word, uint64_t time_word,
                uint64_t slot_group) {
    *ring_next_ = {{id, address, size_word, bank_word, time_word}, slot_group};
    ring_next_ += ring_step_;
    if (ring_next_ == ring_end_) ring_next_ = ring_begin_;
  }

  // --- parts of operations
  uint64_t Banks(uint32_t account) const { return accounts_[account].banks.load(std::memory_order_relaxed); }
  bool IsOpen(uint32_t account) const { return accounts_[account].open.load(std::memory_order_relaxed); }
  AllocOutcome AllocRarely(uint64_t hash, uint32_t account, const BufferFacts& facts, uint32_t replaced);
  FreeOutcome FreeRarely(uint64_t hash, uint32_t slot, uint32_t matches, uint32_t thread, uint32_t tag);
  bool FirstUse(uint32_t account);
  bool ReserveMoreSums(uint32_t account);
  void CountAnomaly(memtally_anomaly anomaly, uint64_t bytes, const memtally_event& event);
  void RaisePeaks(memtally_sums& sums);
  void CheckBound(uint32_t account);
  void DropSlot(uint64_t hash, uint32_t slot);
  bool MatchesKey(uint32_t slot, uint64_t id, uint32_t account) const {
    const memtally_record* record = table_.At(slot);
    return record->id == id && AccountOf(*record) == account && (record->size_account_flags & kLive) != 0;
  }
  bool MatchesAnyKind(uint32_t slot, uint64_t id, uint32_t device, uint8_t reporter) const;
  static uint64_t HashOfSlot(const void* lane, uint32_t slot);

  LaneLock lock_;
  memtally_lane* lane_ = nullptr;
  memtally_sums* sums_ = nullptr;
  uint64_t sequence_ = 0;            // the file's, even
  uint64_t attention_sequence_ = 0;  // from here on NeedsAttention
  memtally_event* ring_next_ = nullptr;
  memtally_event* ring_begin_ = nullptr;
  memtally_event* ring_end_ = nullptr;
  ptrdiff_t ring_step_ = 0;  // 0 while events are dropped: they all go to `dropped_event_`
  const AccountFacts* accounts_ = nullptr;
  Bound* bounds_ = nullptr;  // for each account
  const LedgerClock* clock_ = nullptr;
  BufferTable table_;
  IdIndex index_;
  uint8_t after_ = kNothing;

  // rarely used
  LedgerFile* file_ = nullptr;
  memtally_ledger_header* header_ = nullptr;
  uint64_t offset_ = 0;
  uint32_t number_ = 0;
  uint32_t ring_capacity_ = 0;
  uint64_t ring_reserved_ = 0;  // events
  memtally_event* ring_ = nullptr;
  uint64_t more_sums_reserved_ = 0;  // a bit for each page of the lane that has been reserved for more sums
  uint64_t lost_slots_ = 0;
  memtally_event dropped_event_ = {};
};

inline AllocOutcome Lane::Alloc(const LaneEntry&, uint64_t hash, uint32_t account, const BufferFacts& facts) {
  const uint32_t replaced = index_.Find(hash, [&](uint32_t slot) { return MatchesKey(slot, facts.id, account); });
  uint32_t slot;
  if (replaced != IdIndex::kNoSlot || bounds_[account].requested == 0 || facts.imported || NeedsExtension(facts))
      [[unlikely]] {
    return AllocRarely(hash, account, facts, replaced);
  }
  if (!table_.Offer(*file_, &slot) || !index_.Prepare(slot + 1, table_.slots_used(), &HashOfSlot, this) ||
      !index_.Insert(hash, slot)) [[unlikely]] {
    return AllocOutcome::kNoRoom;
  }
  table_.Take();
  memtally_record* record = table_.At(slot);
  memtally_sums& sums = sums_[account];
  Begin(account, slot, record->size_account_flags);
  const uint64_t time = clock_->Units();
  const uint64_t size_word = SizeWord(facts.bytes_requested, account, 0);
  const uint64_t bank_word = BankWord(facts.bytes_per_bank, facts.thread, time);
  const uint64_t time_word = TimeWord(time, facts.tag);
  PutEvent(facts.id, facts.address, size_word | OperationFlags(MEMTALLY_OP_ALLOC, 0), bank_word, time_word, slot);
  record->id = facts.id;
  record->address = facts.address;
  record->bank_thread_time = bank_word;
  record->time_tag = time_word;
  __atomic_store_n(&record->size_account_flags, size_word | kLive, __ATOMIC_RELAXED);
  ++sums.allocations;
  sums.allocated_requested += facts.bytes_requested;
  sums.allocated_reserved += facts.bytes_per_bank * Banks(account);
  RaisePeaks(sums);
  End();
  CheckBound(account);
  return AllocOutcome::kDone;
}

inline void Lane::RaisePeaks(memtally_sums& sums) {
  const uint64_t requested = sums.allocated_requested - sums.freed_requested;
  const uint64_t reserved = sums.allocated_reserved - sums.freed_reserved;
  if (requested > sums.peak_requested) sums.peak_requested = requested;
  if (reserved > sums.peak_reserved) sums.peak_reserved = reserved;
}

inline void Lane::CheckBound(uint32_t account) {
  const memtally_sums& sums = sums_[account];
  const Bound& bound = bounds_[account];
  if (sums.allocated_requested - sums.freed_requested > bound.requested ||
      sums.allocated_reserved - sums.freed_reserved > bound.reserved) [[unlikely]] {
    after_ |= kBoundExceeded;
  }
}

inline FreeOutcome Lane::Free(const LaneEntry&, uint64_t hash, uint32_t device, uint32_t account, uint8_t reporter,
                              uint64_t id, uint32_t thread, uint32_t tag) {
  uint32_t slot;
  if (account != kNoAccount) [[likely]] {
    slot = index_.Find(hash, [&](uint32_t candidate) { return MatchesKey(candidate, id, account); });
  } else {
    uint32_t newest = IdIndex::kNoSlot;
    uint32_t matches = 0;
    index_.Find(hash, [&](uint32_t candidate) {
      if (MatchesAnyKind(candidate, id, device, reporter)) {
        ++matches;
        if (newest == IdIndex::kNoSlot || TimeOf(*table_.At(candidate)) >= TimeOf(*table_.At(newest)))
          newest = candidate;
      }
      return false;
    });
    slot = newest;
    if (matches > 1) return FreeRarely(hash, slot, matches, thread, tag);
  }
  if (slot == IdIndex::kNoSlot) [[unlikely]]
    return FreeOutcome::kUnknown;
  memtally_record* record = table_.At(slot);
  const uint64_t old_word = record->size_account_flags;
  const uint32_t of_account = AccountOf(*record);
  if ((old_word & (kImported | kExtended)) != 0 || !IsOpen(of_account)) [[unlikely]] {
    return FreeRarely(hash, slot, 1, thread, tag);
  }
  const uint64_t per_bank = PerBankOf(*record);
  const uint64_t requested = RequestedOf(*record);
  memtally_sums& sums = sums_[of_account];
  Begin(of_account, slot, old_word);
  const uint64_t time = clock_->Units();
  PutEvent(id, record->address, SizeWord(requested, of_account, OperationFlags(MEMTALLY_OP_FREE, 0)),
           BankWord(per_bank, thread, time), TimeWord(time, tag), slot);
  __atomic_store_n(&record->size_account_flags, old_word & ~kLive, __ATOMIC_RELAXED);
  ++sums.frees;
  sums.freed_requested += requested;
  sums.freed_reserved += per_bank * Banks(of_account);
  End();
  DropSlot(hash, slot);
  return FreeOutcome::kDone;
}

inline void Lane::DropSlot(uint64_t hash, uint32_t slot) {
  index_.Erase(hash, slot);
  if (!table_.GiveBack(slot)) [[unlikely]]
    ++lost_slots_;
}

}  // namespace memtally::writer
