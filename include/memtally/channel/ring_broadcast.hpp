// SPDX-License-Identifier: Apache-2.0
//
// The ring for one producer and many consumers that each see every message.  Frames are those of ring_spsc.hpp.
//
//         cursor of B      cursor of A                tail
//          v                v                          v
//   -------+-------+--------+-------+---------+--------+------+--------
//    free  | B has not A has read it | nobody has yet   | 0    | free
//   -------+-------+--------+-------+---------+--------+------+--------
//
// A cursor is a word of its consumer: everything before it was released.  kNoCursor: nobody.  The room ends one ring
// behind the slowest cursor; without consumers nothing ever fills up.
//
// Joining.  The consumer writes cursor = tail, fence, reads tail again and starts there.  The producer, when its cached
// limit is used up: fence, reads all cursors.  If it misses the new cursor, then the consumer's second look sees a tail
// at least as far as the limit that the producer came to; so nothing that a consumer starts at is overwritten.
//
// Overrun.  Bit 0 of a cursor, kReading, says that its consumer is looking at messages.  A producer without room moves
// the slowest cursor on, over as few messages as it takes, by an exchange that succeeds only if the bit is not set; it
// counts what it skipped in `missed`, a word beside the cursor.  The consumer sets the bit by an exchange too, and so
// finds out where it is now.  Nothing is ever read while it is overwritten, and nothing has to be copied to be safe;
// a consumer that keeps a view keeps the producer waiting, in this mode as well.
//
// Memory order.  As in ring_spsc.hpp: the word of a frame is published with release, a cursor is stored with release
// and read with acquire before anything behind it is overwritten.
#pragma once

#include <cstdint>

#include <memtally/channel/ring_spsc.hpp>

namespace memtally::channel {

inline constexpr uint64_t kNoCursor = ~0ull;
inline constexpr uint64_t kReading = 1;

struct BroadcastMemory {
  SpscMemory ring;             // head and taken are not used
  uint64_t* tail = nullptr;    // in the producer's line
  uint8_t* cursors = nullptr;  // the first consumer's words: cursor, missed
  uint64_t cursor_stride = 0;  // bytes from one consumer's to the next
  uint32_t cursor_count = 0;
  bool overrun = false;

  uint64_t* Cursor(uint32_t consumer) const { return reinterpret_cast<uint64_t*>(cursors + consumer * cursor_stride); }
};

template <typename Access = HardwareAccess>
class BroadcastProducer : SpscSide<Access> {
  using Side = SpscSide<Access>;

 public:
  explicit BroadcastProducer(const BroadcastMemory& memory) : Side(memory.ring), shared_(memory) {
    // A predecessor may have died between the publication of a frame and that of the tail.
    tail_ = limit_ = Access::Load(shared_.tail, std::memory_order_acquire) & ~(Side::memory_.alignment - 1);
    uint64_t payload;
    for (uint64_t word; ((word = Access::Load(Side::Word(tail_), std::memory_order_acquire)) & kCommitted) != 0;) {
      const uint64_t end = Side::FrameEnd(tail_, word, &payload);
      if (end == 0 || end - limit_ > Side::memory_.capacity) break;
      tail_ = end;
    }
    Access::Store(shared_.tail, tail_, std::memory_order_release);
    limit_ = tail_ - Side::memory_.capacity;  // unknown: the first claim looks
  }

  RawLoan Claim(uint64_t bytes) {
    const uint64_t size = FrameSize(bytes, Side::memory_.alignment);
    const uint64_t left = Side::LeftBeforeEnd(tail_);
    const uint64_t start = size > left ? tail_ + left : tail_;
    if (start + size + kFrameWord - limit_ > Side::memory_.capacity && !MakeRoom(start + size + kFrameWord)) return {};
    return {Side::first_ + (start & Side::mask_) + kFrameWord, start, start + size};
  }
  void Commit(const RawLoan& loan, uint64_t bytes, bool batch = false) {
    const uint64_t end = loan.position + FrameSize(bytes, Side::memory_.alignment);
    const uint64_t word = bytes | kCommitted | (loan.position != tail_ ? kWrapped : 0) | (batch ? kBatch : 0);
    Access::Store(Side::Word(end), 0, std::memory_order_relaxed);
    Publish<Access>(Side::Word(tail_), word, Side::memory_.sleepers_possible);
    tail_ = end;
    Access::Store(shared_.tail, tail_, std::memory_order_release);
  }
  uint64_t Used() const { return tail_ - limit_; }

 private:
  bool MakeRoom(uint64_t end) {
    for (;;) {
      std::atomic_thread_fence(std::memory_order_seq_cst);
      uint64_t* slowest = nullptr;
      uint64_t lowest = tail_;
      uint64_t found = 0;
      for (uint32_t i = 0; i < shared_.cursor_count; ++i) {
        const uint64_t cursor = Access::Load(shared_.Cursor(i), std::memory_order_acquire);
        if (cursor == kNoCursor || tail_ - (cursor & ~kReading) > Side::memory_.capacity)
          continue;  // nonsense counts as nobody
        if (slowest != nullptr && (cursor & ~kReading) >= lowest) continue;
        slowest = shared_.Cursor(i);
        lowest = cursor & ~kReading;
        found = cursor;
      }
      limit_ = lowest;
      if (end - limit_ <= Side::memory_.capacity) return true;
      if (!shared_.overrun || slowest == nullptr || (found & kReading) != 0) return false;
      uint64_t missed = 0;
      uint64_t to = found;
      for (uint64_t payload; end - to > Side::memory_.capacity && to != tail_;) {
        const uint64_t word = Access::Load(Side::Word(to), std::memory_order_relaxed);
        const uint64_t next = Side::FrameEnd(to, word, &payload);
        missed += next == 0 ? 1
                            : MessagesIn<Access>(Side::first_ + (payload & Side::mask_) + kFrameWord,
                                                 static_cast<uint32_t>(word), (word & kBatch) != 0);
        to = next == 0 ? tail_ : next;
      }
      if (Access::CompareExchange(slowest, &found, to)) {
        Access::Store(slowest + 1, Access::Load(slowest + 1, std::memory_order_relaxed) + missed,
                      std::memory_order_relaxed);
      }
    }
  }

  BroadcastMemory shared_;
  uint64_t tail_ = 0;
  uint64_t limit_ = 0;  // no cursor is before this
};

template <typename Access = HardwareAccess>
class BroadcastConsumer : SpscSide<Access> {
  using Side = SpscSide<Access>;

 public:
  // `number`: which cursor is this consumer's.
  BroadcastConsumer(const BroadcastMemory& memory, uint32_t number)
      : Side(memory.ring), shared_(memory), cursor_(memory.Cursor(number)) {
    Access::Store(cursor_ + 1, 0, std::memory_order_relaxed);
    // Not to be moved while it finds out where to start.
    Access::Store(cursor_, Access::Load(shared_.tail, std::memory_order_acquire) | kReading, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    next_ = head_ = Access::Load(shared_.tail, std::memory_order_acquire) & ~kReading;
    Access::Store(cursor_, next_, std::memory_order_release);
  }
  void Leave() { Publish<Access>(cursor_, kNoCursor, Side::memory_.sleepers_possible); }

  ReadResult Read(RawView* view) {
    if (shared_.overrun && out_ == 0) {
      uint64_t expected = next_;
      while (!Access::CompareExchange(cursor_, &expected, expected | kReading)) {
        if (expected == kNoCursor) return ReadResult::kCorrupt;
      }
      next_ = head_ = expected;
    }
    const uint64_t word = Access::Load(Side::Word(next_), std::memory_order_acquire);
    uint64_t payload = 0;
    const bool there = (word & kCommitted) != 0;
    const uint64_t end = there ? Side::FrameEnd(next_, word, &payload) : 0;
    if (end == 0) {
      if (shared_.overrun && out_ == 0) Publish<Access>(cursor_, next_, Side::memory_.sleepers_possible);
      return there ? ReadResult::kCorrupt : ReadResult::kEmpty;
    }
    *view = {Side::first_ + (payload & Side::mask_) + kFrameWord, static_cast<uint32_t>(word), (word & kBatch) != 0,
             next_, end};
    next_ = end;
    ++out_;
    return ReadResult::kMessage;
  }
  // `view` may span `count` messages that were read one after the other.
  void Release(const RawView& view, uint32_t count = 1) {
    out_ -= count;
    if (view.position == head_) head_ = view.end;
    if (out_ == 0) head_ = next_;
    const uint64_t reading = shared_.overrun && out_ != 0 ? kReading : 0;
    Publish<Access>(cursor_, head_ | reading, Side::memory_.sleepers_possible);
  }

  bool Empty() const {
    for (;;) {
      const uint64_t at = out_ != 0 || !shared_.overrun ? next_ : Access::Load(cursor_, std::memory_order_acquire);
      const bool empty = (Access::Load(Side::Word(at), std::memory_order_acquire) & kCommitted) == 0;
      if (!shared_.overrun || out_ != 0 || Access::Load(cursor_, std::memory_order_acquire) == at) return empty;
    }
  }
  uint64_t Missed() const { return Access::Load(cursor_ + 1, std::memory_order_relaxed); }

 private:
  BroadcastMemory shared_;
  uint64_t* cursor_;
  uint64_t next_ = 0;
  uint64_t head_ = 0;  // everything before was released
  uint32_t out_ = 0;   // views
};

}  // namespace memtally::channel
