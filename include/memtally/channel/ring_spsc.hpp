// SPDX-License-Identifier: Apache-2.0
//
// The ring for one producer and one consumer: messages of any size in a ring of bytes.
//
//        head                 next                       tail
//         v                    v                          v
//   ------+------+-------------+------+---------+---------+------+-----------------
//    free | read, not released | committed messages       | 0    | free
//   ------+------+-------------+------+---------+---------+------+-----------------
//         |head|payload|       |head|payload    |         terminator
//
// A frame is a word and the payload behind it, rounded up to the alignment.  The word of a frame is 0 until the message
// is committed.  A frame that does not fit before the ring's end is marked kWrapped: its word is where it should begin,
// its payload lies one word behind the ring's start.  So a message never straddles the end, and is never refused
// because of where it would lie: largest frame = half the ring less one alignment (MaxPayload).
//
// States of the word at `tail`: 0 -> length | kCommitted [| kWrapped] [| kBatch] -> (| kReleased: read and given back
// before an older one was).  Positions only grow; position & mask is the place.  A frame has to leave room for the
// terminator behind it, so tail == head means empty and nothing else.
//
// Memory order.  The producer writes payload and the 0 behind it, then publishes the word (release).  The consumer
// reads the word (acquire); if it is not 0, payload and next terminator happened before.  It reads no other word of the
// producer's, so a message costs one transfer of one cache line.  Stores become visible in order, so the terminator's
// line must be the producer's before the word can be: after each publication the producer touches the line where the
// next terminator will be, if the next message has the size of this one.  (Measured: a round trip of 120 instead of 210
// ns.  An instruction that prefetches for writing does nothing of the kind.)  The consumer stores `head` (release)
// after its last read of the payload; the producer, which overwrites only what lies before a `head` that it read
// (acquire), therefore overwrites nothing that is still being read.  `head` is read only when the cached one says full.
//
// Death.  A producer that dies leaves the word 0: nothing was taken, and Attach() of the next one walks the words from
// `head` to the end.  A consumer says in `taken` what it is about to hand out, so its successor delivers nothing twice.
#pragma once

#include <cstdint>
#include <utility>

#include <memtally/channel/access.hpp>
#include <memtally/channel/batch.hpp>

namespace memtally::channel {

struct SpscMemory {
  uint8_t* bytes = nullptr;   // capacity + slack behind it for the shift of an alignment of 64
  uint64_t capacity = 0;      // a power of two
  uint64_t alignment = 8;     // 8 or 64: of payloads
  uint64_t* head = nullptr;   // in the consumer's line
  uint64_t* taken = nullptr;  // in the consumer's line
  bool sleepers_possible = false;
};

inline constexpr uint64_t kFrameWord = 8;
inline constexpr uint64_t kCommitted = 1ull << 32;
inline constexpr uint64_t kWrapped = 1ull << 33;
inline constexpr uint64_t kReleased = 1ull << 34;
inline constexpr uint64_t kBatch = 1ull << 35;

inline uint64_t FrameSize(uint64_t bytes, uint64_t alignment) {
  return (bytes + kFrameWord + alignment - 1) & ~(alignment - 1);
}
// The largest message of a byte ring.
inline constexpr uint64_t MaxPayload(uint64_t capacity, uint64_t alignment) {
  return capacity / 2 - alignment - kFrameWord;
}

template <typename Access>
class SpscSide {
 protected:
  explicit SpscSide(const SpscMemory& memory)
      : memory_(memory),
        mask_(memory.capacity - 1),
        first_(memory.bytes + (memory.alignment == 64 ? 64 - kFrameWord : 0)) {}

  uint64_t* Word(uint64_t position) const { return reinterpret_cast<uint64_t*>(first_ + (position & mask_)); }
  // Of the frame at `position`.  Never null, and compilers may know it.
  uint8_t* Payload(uint64_t position) const {
    uint8_t* const payload = first_ + (position & mask_) + kFrameWord;
    if (payload == nullptr) __builtin_unreachable();
    return payload;
  }
  uint64_t LeftBeforeEnd(uint64_t position) const { return memory_.capacity - (position & mask_); }
  // Where the frame at `position` ends; 0 if its word makes no sense.  *payload: position of the frame with the
  // payload.
  uint64_t FrameEnd(uint64_t position, uint64_t word, uint64_t* payload) const {
    const uint64_t bytes = static_cast<uint32_t>(word);
    *payload = position;
    if (bytes > MaxPayload(memory_.capacity, memory_.alignment)) return 0;
    if ((word & kWrapped) != 0) {
      *payload = position + LeftBeforeEnd(position);
    } else if (FrameSize(bytes, memory_.alignment) > LeftBeforeEnd(position)) {
      return 0;
    }
    return *payload + FrameSize(bytes, memory_.alignment);
  }

  SpscMemory memory_;
  uint64_t mask_;
  uint8_t* first_;
};

// Whether there is a message at `taken`, for somebody who is neither side.
template <typename Access = HardwareAccess>
bool SpscHoldsMessage(const SpscMemory& memory, uint64_t taken) {
  const uint8_t* first = memory.bytes + (memory.alignment == 64 ? 64 - kFrameWord : 0);
  const auto* word = reinterpret_cast<const uint64_t*>(first + (taken & (memory.capacity - 1) & ~(kFrameWord - 1)));
  return (Access::Load(word, std::memory_order_acquire) & kCommitted) != 0;
}

template <typename Access = HardwareAccess>
class SpscProducer : SpscSide<Access> {
  using Side = SpscSide<Access>;
  using Side::memory_;

 public:
  // Of no ring: there is no room, and Put() says so.  Nothing else may be called.
  SpscProducer() : Side(SpscMemory()) {}
  explicit SpscProducer(const SpscMemory& memory) : Side(memory) { Attach(); }

  // Room for `bytes`, REQUIRES: at most MaxPayload.  A claim that is not committed is forgotten by the next.
  [[gnu::always_inline]] RawLoan Claim(uint64_t bytes) {
    const uint64_t end = tail_ + FrameSize(bytes, memory_.alignment);
    if (end <= straight_end_) [[likely]]
      return {Side::Payload(tail_), tail_, end};
    const RawLoan slow = ClaimSlowly(bytes);
    return {slow.data, slow.position, slow.end};
  }

  // Publishes the claim with its first `bytes` bytes.  `batch`: they are several messages.
  [[gnu::always_inline]] void Commit(const RawLoan& loan, uint64_t bytes, bool batch = false) {
    const uint64_t end = loan.position + FrameSize(bytes, memory_.alignment);
    if (loan.position == tail_ && end <= straight_end_ && first_word_ == 0) [[likely]]
      return PublishStraight(loan.position, end, bytes | kCommitted | (batch ? kBatch : 0));
    CommitSlowly(loan.position, bytes, batch);
  }

  // Claim(), fill(payload) and Commit() in one, where the message lies in one piece and there is room as far as is
  // known.  False: nothing was done.  REQUIRES: as Claim(), and that no series is open.
  template <typename Fill>
  [[gnu::always_inline]] bool Put(uint64_t bytes, Fill&& fill, bool batch = false) {
    const uint64_t start = tail_;
    const uint64_t end = start + FrameSize(bytes, memory_.alignment);
    if (end > straight_end_) [[unlikely]]
      return false;
    fill(Side::Payload(start));
    PublishStraight(start, end, bytes | kCommitted | (batch ? kBatch : 0));
    return true;
  }

  // Appends the claim to a series, which Flush() publishes as a whole.
  void Append(const RawLoan& loan, uint64_t bytes, bool batch = false) {
    const uint64_t word = WordOf(loan.position, bytes, batch);
    if (first_word_ == 0) {
      first_word_ = word;
      series_ = tail_;
    } else {
      Access::Store(Side::Word(tail_), word, std::memory_order_relaxed);
    }
    tail_ = loan.position + FrameSize(bytes, memory_.alignment);
  }
  void Flush() {
    if (first_word_ != 0) PublishFrom(series_, std::exchange(first_word_, 0));
  }
  // Forgets the series.
  void Rollback() {
    if (std::exchange(first_word_, 0) == 0) return;
    tail_ = series_;
    straight_end_ = 0;
  }

  // Bytes that are in the ring, as far as is known: no more than that.
  uint64_t Used() const { return tail_ - cached_head_; }
  uint64_t position() const { return tail_; }

 private:
  bool HasRoom(uint64_t end) {
    if (end + kFrameWord - cached_head_ <= memory_.capacity) return true;
    cached_head_ = Access::Load(memory_.head, std::memory_order_acquire);
    return end + kFrameWord - cached_head_ <= memory_.capacity;
  }
  uint64_t WordOf(uint64_t position, uint64_t bytes, bool batch) const {
    return bytes | kCommitted | (position != tail_ ? kWrapped : 0) | (batch ? kBatch : 0);
  }
  [[gnu::noinline]] RawLoan ClaimSlowly(uint64_t bytes) {
    const uint64_t size = FrameSize(bytes, memory_.alignment);
    const uint64_t left = Side::LeftBeforeEnd(tail_);
    const uint64_t start = size > left ? tail_ + left : tail_;
    straight_end_ = 0;
    if (!HasRoom(start + size)) return {};
    if (start == tail_) {
      const uint64_t room = cached_head_ + memory_.capacity - kFrameWord - tail_;
      straight_end_ = tail_ + (room < left ? room : left);
    }
    return {Side::Payload(start), start, start + size};
  }
  [[gnu::noinline]] void CommitSlowly(uint64_t position, uint64_t bytes, bool batch) {
    if (first_word_ != 0) {
      Append({nullptr, position, 0}, bytes, batch);
      return Flush();
    }
    const uint64_t start = tail_;
    const uint64_t word = WordOf(position, bytes, batch);
    tail_ = position + FrameSize(bytes, memory_.alignment);
    PublishFrom(start, word);
  }
  // PublishFrom() for one frame before straight_end_.  What it needs is read before it writes: for all that a compiler
  // knows, the ring's words are this object's.
  [[gnu::always_inline]] void PublishStraight(uint64_t start, uint64_t end, uint64_t word) {
    uint8_t* const first = Side::first_;
    const uint64_t mask = Side::mask_;
    const bool sleepers_possible = memory_.sleepers_possible;
    const uint64_t next = end + (end - start);
    const bool touch = next <= straight_end_;
    const auto at = [=](uint64_t position) { return reinterpret_cast<uint64_t*>(first + (position & mask)); };
    tail_ = end;
    Access::Store(at(end), 0, std::memory_order_relaxed);
    Publish<Access>(at(start), word, sleepers_possible);
    if (touch) Access::Store(at(next), 0, std::memory_order_relaxed);
  }
  // Makes what lies from `start` to the tail visible.
  void PublishFrom(uint64_t start, uint64_t word) {
    Access::Store(Side::Word(tail_), 0, std::memory_order_relaxed);
    Publish<Access>(Side::Word(start), word, memory_.sleepers_possible);
    // In free room only, and only if there is no need to ask for it.
    const uint64_t next = tail_ + (tail_ - start);
    if (next + kFrameWord - cached_head_ <= memory_.capacity) {
      Access::Store(Side::Word(next), 0, std::memory_order_relaxed);
    }
  }
  // Finds the end of what a predecessor committed.
  void Attach() {
    tail_ = cached_head_ = Access::Load(memory_.head, std::memory_order_acquire) & ~(memory_.alignment - 1);
    for (uint64_t payload; tail_ - cached_head_ < memory_.capacity;) {
      const uint64_t word = Access::Load(Side::Word(tail_), std::memory_order_acquire);
      const uint64_t end = (word & kCommitted) == 0 ? 0 : Side::FrameEnd(tail_, word, &payload);
      if (end == 0) break;
      tail_ = end;
    }
  }

  uint64_t tail_ = 0;          // behind the last message, of the series as well
  uint64_t cached_head_ = 0;   // not before the consumer's
  uint64_t straight_end_ = 0;  // frames from the tail to here lie in one piece, and there is room for them; 0: ask
  uint64_t first_word_ = 0;    // of the series; 0: there is none
  uint64_t series_ = 0;        // its start
};

template <typename Access = HardwareAccess>
class SpscConsumer : SpscSide<Access> {
  using Side = SpscSide<Access>;
  using Side::memory_;

 public:
  // *abandoned: messages that a predecessor had been given and not released.
  explicit SpscConsumer(const SpscMemory& memory, uint64_t* abandoned = nullptr) : Side(memory) {
    head_ = next_ = Access::Load(memory_.head, std::memory_order_relaxed) & ~(memory_.alignment - 1);
    const uint64_t taken = Access::Load(memory_.taken, std::memory_order_relaxed);
    for (uint64_t payload; next_ < taken && next_ - head_ < memory_.capacity;) {
      const uint64_t word = Access::Load(Side::Word(next_), std::memory_order_acquire);
      const uint64_t end = (word & kCommitted) == 0 ? 0 : Side::FrameEnd(next_, word, &payload);
      if (end == 0) break;
      if ((word & kReleased) == 0) {
        bool rest;
        const uint64_t more =
            AbandonedIn<Access>(Side::Payload(payload), static_cast<uint32_t>(word), (word & kBatch) != 0, &rest);
        if (abandoned != nullptr) *abandoned += more;
        if (rest) break;
      }
      next_ = end;
    }
    if (next_ != head_) Publish<Access>(memory_.head, head_ = next_, memory_.sleepers_possible);
  }

  // The next message.  It stays until it is released; several may be out, and come back in any order.
  [[gnu::always_inline]] ReadResult Read(RawView* view) {
    const uint64_t start = next_;
    const Plain frame = PlainAt(start);
    if (frame.size == 0) [[unlikely]] {
      if ((frame.word & kCommitted) == 0) return ReadResult::kEmpty;
      RawView slow;
      const ReadResult result = ReadSlowly(frame.word, &slow);
      *view = {slow.data, slow.bytes, slow.batch, slow.position, slow.end};
      return result;
    }
    HandOut(start + frame.size);
    *view = {frame.payload, static_cast<uint32_t>(frame.word), false, start, start + frame.size};
    return ReadResult::kMessage;
  }

  // Read(), each(data, bytes) and Release() in one, for a message that lies in one piece and is no batch, where nothing
  // else is out.  False: nothing was done; it may be that there is nothing.
  template <typename Each>
  [[gnu::always_inline]] bool Take(Each&& each) {
    const uint64_t start = next_;
    const Plain frame = PlainAt(start);
    if (frame.size == 0 || start != head_) [[unlikely]]
      return false;
    const uint64_t end = start + frame.size;
    uint64_t* const head = memory_.head;
    const bool sleepers_possible = memory_.sleepers_possible;
    HandOut(end);
    head_ = end;
    each(frame.payload, uint64_t{static_cast<uint32_t>(frame.word)});
    Publish<Access>(head, end, sleepers_possible);
    return true;
  }

  // Of one message, or of several that were read one after the other: position of the first, end of the last.
  [[gnu::always_inline]] void Release(const RawView& view) {
    if (view.position == head_ && view.end == next_) [[likely]] {
      head_ = view.end;
      return Publish<Access>(memory_.head, view.end, memory_.sleepers_possible);
    }
    ReleaseSlowly(view.position, view.end);
  }

  bool Empty() const { return (Access::Load(Side::Word(next_), std::memory_order_acquire) & kCommitted) == 0; }
  uint64_t position() const { return next_; }

 private:
  // A message that lies in one piece and is no batch; size 0: there is none at that position, look at the word.
  struct Plain {
    uint64_t word;
    uint64_t size;  // of the frame
    const uint8_t* payload;
  };
  [[gnu::always_inline]] Plain PlainAt(uint64_t position) const {
    const uint64_t word = Access::Load(Side::Word(position), std::memory_order_acquire);
    const uint64_t bytes = word ^ kCommitted;
    const uint64_t size = FrameSize(bytes, memory_.alignment);
    const bool plain = bytes <= UINT32_MAX && size <= Side::LeftBeforeEnd(position);
    return {word, plain ? size : 0, Side::Payload(position)};
  }
  [[gnu::always_inline]] void HandOut(uint64_t end) {
    Access::Store(memory_.taken, end, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // said before anybody sees the message
    next_ = end;
  }
  [[gnu::noinline]] ReadResult ReadSlowly(uint64_t word, RawView* view) {
    const uint64_t start = next_;
    uint64_t payload;
    const uint64_t end = Side::FrameEnd(start, word, &payload);
    if (end == 0) return ReadResult::kCorrupt;
    HandOut(end);
    *view = {Side::Payload(payload), static_cast<uint32_t>(word), (word & kBatch) != 0, start, end};
    return ReadResult::kMessage;
  }
  [[gnu::noinline]] void ReleaseSlowly(uint64_t position, uint64_t end) {
    if (position != head_) {
      while (position < end) {
        uint64_t* const place = Side::Word(position);
        const uint64_t word = Access::Load(place, std::memory_order_relaxed);
        uint64_t payload;
        const uint64_t behind = Side::FrameEnd(position, word, &payload);
        if (behind == 0) return;  // somebody wrote over it: the ring stays full, nobody reads astray
        Access::Store(place, word | kReleased, std::memory_order_relaxed);
        position = behind;
      }
      return;
    }
    head_ = end;
    while (head_ != next_) {
      const uint64_t word = Access::Load(Side::Word(head_), std::memory_order_relaxed);
      if ((word & kReleased) == 0) break;
      uint64_t payload;
      const uint64_t behind = Side::FrameEnd(head_, word, &payload);
      if (behind == 0) break;  // as above
      head_ = behind;
    }
    Publish<Access>(memory_.head, head_, memory_.sleepers_possible);
  }

  uint64_t next_ = 0;
  uint64_t head_ = 0;
};

}  // namespace memtally::channel
