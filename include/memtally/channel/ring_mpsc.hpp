// SPDX-License-Identifier: Apache-2.0
//
// The ring for many producers and one consumer: messages of any size in a ring of bytes, and a ring of descriptors.
//
//   tail: (position, index) in one word          descriptors:  index % count
//                                                 +-----------------------------+
//   bytes:  | message i | pad | message i+1 | ..  | tag = i+1 | flags | length  |  written last: "message i is there"
//           ^start of i       ^start of i+1       | start     | units           |
//                                                 +-----------------------------+
//
// A producer reads `tail`, and takes message number `index` at `position` by exchanging it for (position + units,
// index + 1).  Units are the alignment; both halves have 32 bits and wrap.  A message that does not fit before the
// ring's end takes the rest of the ring as well and lies at its start.  Payloads have no header, so 64-byte messages
// fill lines.
//
// States of descriptor i: tag != i+1 (free, or claimed) -> tag == i+1: committed, or kAborted (skipped by the reader)
// -> kReleased too, if it was given back before an older one was.
//
// Memory order.  Descriptor: filled with release, read with acquire, hence payload before use.  `head` is stored by the
// consumer with release after its last read, and read by producers with acquire before they overwrite.  A `tail` older
// than `head` makes a distance that wraps and looks full; so "full" is believed only if `tail` did not change since.
//
// Death.  Before it takes anything, a producer stores the value of `tail` that it is going to exchange into a word of
// its own, its claim (release), and leaves it there until the descriptor is filled or the next try.  So message i,
// taken and not filled, was claimed by somebody whose claim says i: whoever sees the new `tail` sees that claim,
// because the exchange releases.  If only the dead claim i, one of them took it.  (A living one with that claim has it,
// or is about to find out that it has not: ask again.)  Where i ends needs no word of the dead: it is where i+1 starts,
// which `tail` says, or descriptor i+1, or any claim of i+1, since all who try for i+1 read the same `tail`.  The
// consumer fills such a hole as aborted: FillHole().  It looks at the descriptor after the claims: a claim that is gone
// was filled before.
#pragma once

#include <cstdint>

#include <memtally/channel/access.hpp>
#include <memtally/channel/batch.hpp>

namespace memtally::channel {

// `tail` looks so at one position of one index in 2^32; a death right there leaves a hole until the channel is closed.
inline constexpr uint64_t kNoClaim = ~0ull;
// The length of a message has 29 bits.
inline constexpr uint64_t kMostMpscPayload = (1u << 29) - 1;

struct MpscMemory {
  uint8_t* bytes = nullptr;
  uint64_t* descriptors = nullptr;  // two words each
  uint32_t units = 0;               // of the ring, a power of two
  uint32_t unit_bytes = 8;          // 8 or 64
  uint32_t descriptor_count = 0;    // a power of two
  uint64_t* tail = nullptr;
  uint64_t* head = nullptr;   // in the consumer's line
  uint64_t* taken = nullptr;  // in the consumer's line
  bool sleepers_possible = false;
};

struct MpscPlace {
  uint32_t position = 0;  // in units
  uint32_t index = 0;
  static MpscPlace Of(uint64_t word) { return {static_cast<uint32_t>(word), static_cast<uint32_t>(word >> 32)}; }
  uint64_t Word() const { return uint64_t{index} << 32 | position; }
};

class MpscGeometry {
 protected:
  static constexpr uint32_t kAborted = 1u << 31;
  static constexpr uint32_t kReleasedEarly = 1u << 30;
  static constexpr uint32_t kBatchOfMessages = 1u << 29;
  static constexpr uint32_t kLengthMask = kBatchOfMessages - 1;

  explicit MpscGeometry(const MpscMemory& memory) : memory_(memory) {}

  uint32_t UnitsFor(uint64_t bytes) const {
    const uint64_t units = (bytes + memory_.unit_bytes - 1) / memory_.unit_bytes;
    return units == 0 ? 1 : static_cast<uint32_t>(units);
  }
  uint32_t LeftBeforeEnd(uint32_t position) const { return memory_.units - (position & (memory_.units - 1)); }
  uint8_t* Payload(uint32_t start, uint32_t units) const {
    const uint32_t place = units > LeftBeforeEnd(start) ? 0 : start & (memory_.units - 1);
    return memory_.bytes + uint64_t{place} * memory_.unit_bytes;
  }
  uint64_t* Descriptor(uint32_t index) const {
    return memory_.descriptors + 2 * (index & (memory_.descriptor_count - 1));
  }
  template <typename Access>
  bool Filled(uint32_t index, uint64_t* word) const {
    *word = Access::Load(Descriptor(index), std::memory_order_acquire);
    return static_cast<uint32_t>(*word >> 32) == index + 1;
  }
  template <typename Access>
  void Fill(MpscPlace start, uint32_t units, uint32_t length_and_flags) const {
    uint64_t* descriptor = Descriptor(start.index);
    Access::Store(descriptor + 1, uint64_t{start.position} << 32 | units, std::memory_order_relaxed);
    Publish<Access>(descriptor, uint64_t{start.index + 1} << 32 | length_and_flags, memory_.sleepers_possible);
  }

  MpscMemory memory_;
};

// Whether the claim of a dead producer no longer matters: nothing was taken by it, or what was is filled.
template <typename Access = HardwareAccess>
bool ClaimIsSettled(const MpscMemory& memory, uint64_t claim) {
  if (claim == kNoClaim || Access::Load(memory.tail, std::memory_order_acquire) == claim) return true;
  const uint32_t index = MpscPlace::Of(claim).index;
  const uint32_t head = MpscPlace::Of(Access::Load(memory.head, std::memory_order_acquire)).index;
  if (static_cast<int32_t>(head - index) > 0) return true;
  const uint64_t* descriptor = memory.descriptors + 2 * (index & (memory.descriptor_count - 1));
  return static_cast<uint32_t>(Access::Load(descriptor, std::memory_order_acquire) >> 32) == index + 1;
}

// Whether there is a message at `taken`, for somebody who is no side.
template <typename Access = HardwareAccess>
bool MpscHoldsMessage(const MpscMemory& memory, uint64_t taken) {
  const uint32_t index = MpscPlace::Of(taken).index;
  const uint64_t* descriptor = memory.descriptors + 2 * (index & (memory.descriptor_count - 1));
  return static_cast<uint32_t>(Access::Load(descriptor, std::memory_order_acquire) >> 32) == index + 1;
}

template <typename Access = HardwareAccess>
class MpscProducer : MpscGeometry {
 public:
  // `claim`: a word of this producer's own, kNoClaim at first; null where no producer can die alone.
  explicit MpscProducer(const MpscMemory& memory, uint64_t* claim = nullptr) : MpscGeometry(memory), claim_(claim) {
    cached_head_ = MpscPlace::Of(Access::Load(memory_.head, std::memory_order_acquire));
  }

  // Room for `bytes`, REQUIRES: at most MaxPayload of the ring's bytes and kMostMpscPayload; the claim before was
  // committed or aborted.
  RawLoan Claim(uint64_t bytes) {
    const uint32_t size = UnitsFor(bytes);
    uint64_t seen = Access::Load(memory_.tail, std::memory_order_relaxed);
    for (;;) {
      const MpscPlace start = MpscPlace::Of(seen);
      const uint32_t left = LeftBeforeEnd(start.position);
      const uint32_t units = size > left ? left + size : size;
      if (!HasRoom(start, units)) {
        const uint64_t again = Access::Load(memory_.tail, std::memory_order_relaxed);
        if (again == seen) {
          Say(kNoClaim);
          return {};
        }
        seen = again;
        continue;
      }
      Say(seen);
      const uint64_t mine = seen;
      if (Access::CompareExchange(memory_.tail, &seen, MpscPlace{start.position + units, start.index + 1}.Word())) {
        return {Payload(start.position, units), mine, units};
      }
    }
  }

  // `batch`: it is several messages.
  void Commit(const RawLoan& loan, uint64_t bytes, bool batch = false) {
    Finish(loan, static_cast<uint32_t>(bytes) | (batch ? kBatchOfMessages : 0));
  }
  void Abort(const RawLoan& loan) { Finish(loan, kAborted); }

 private:
  bool HasRoom(MpscPlace start, uint32_t units) {
    for (bool fresh = false;; fresh = true) {
      if (start.position + units - cached_head_.position <= memory_.units &&
          start.index + 1 - cached_head_.index <= memory_.descriptor_count) {
        return true;
      }
      if (fresh) return false;
      cached_head_ = MpscPlace::Of(Access::Load(memory_.head, std::memory_order_acquire));
    }
  }
  void Finish(const RawLoan& loan, uint32_t length_and_flags) {
    Fill<Access>(MpscPlace::Of(loan.position), static_cast<uint32_t>(loan.end), length_and_flags);
    Say(kNoClaim);
  }
  void Say(uint64_t claim) {
    if (claim_ != nullptr) Access::Store(claim_, claim, std::memory_order_release);
  }

  uint64_t* claim_;
  MpscPlace cached_head_;
};

template <typename Access = HardwareAccess>
class MpscConsumer : MpscGeometry {
 public:
  // *abandoned: messages that a predecessor had been given and not released.
  explicit MpscConsumer(const MpscMemory& memory, uint64_t* abandoned = nullptr) : MpscGeometry(memory) {
    head_ = next_ = MpscPlace::Of(Access::Load(memory_.head, std::memory_order_relaxed));
    const MpscPlace taken = MpscPlace::Of(Access::Load(memory_.taken, std::memory_order_relaxed));
    const uint32_t count = taken.index - head_.index;
    for (uint32_t i = 0; i < count && count <= memory_.descriptor_count; ++i) {
      uint64_t word;
      uint32_t units;
      if (!Filled<Access>(next_.index, &word) || !MakesSense(next_, word, &units)) break;
      if ((word & (kReleasedEarly | kAborted)) == 0) {
        bool rest;
        const uint64_t more = AbandonedIn<Access>(Payload(next_.position, units), Length(word), IsBatch(word), &rest);
        if (abandoned != nullptr) *abandoned += more;
        if (rest) break;
      }
      next_ = {next_.position + units, next_.index + 1};
    }
    if (next_.index != head_.index) StoreHead(next_);
  }

  // The next message that was not aborted.  It stays until it is released; several may be out.
  ReadResult Read(RawView* view) {
    for (uint64_t word; Filled<Access>(next_.index, &word);) {
      uint32_t units;
      if (!MakesSense(next_, word, &units)) return ReadResult::kCorrupt;
      const MpscPlace start = next_;
      next_ = {start.position + units, start.index + 1};
      Access::Store(memory_.taken, next_.Word(), std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // said before anybody sees the message
      const RawView found{Payload(start.position, units), Length(word), IsBatch(word), start.Word(), next_.Word()};
      if ((word & kAborted) == 0) return *view = found, ReadResult::kMessage;
      Release(found);
    }
    return ReadResult::kEmpty;
  }

  // Of one message, or of several that were read one after the other: position of the first, end of the last.
  void Release(const RawView& view) {
    const MpscPlace start = MpscPlace::Of(view.position);
    if (start.index != head_.index) {
      for (uint32_t index = start.index; index != MpscPlace::Of(view.end).index; ++index) {
        uint64_t* word = Descriptor(index);
        Access::Store(word, Access::Load(word, std::memory_order_relaxed) | kReleasedEarly, std::memory_order_relaxed);
      }
      return;
    }
    MpscPlace head = MpscPlace::Of(view.end);
    while (head.index != next_.index) [[unlikely]] {
        uint64_t word;
        if (!Filled<Access>(head.index, &word) || (word & kReleasedEarly) == 0) break;
        head = EndOf(head);
      }
    StoreHead(head);
  }

  bool Empty() const {
    uint64_t word;
    return !Filled<Access>(next_.index, &word);
  }

  // Whether the next message was taken by someone who has not filled it.
  bool AtHole() const {
    return Empty() && MpscPlace::Of(Access::Load(memory_.tail, std::memory_order_acquire)).index != next_.index;
  }

  // Fills the hole as aborted if its claimer is dead.  `claims`: pointers to the words of all who may produce, kNoClaim
  // where there is none; alive(i) tells whether the owner of word i lives, and is asked only where that matters.
  // Returns the claim of the dead, or -1: the next message is there by now, or somebody living has it or may have it.
  template <typename Alive>
  int FillHole(const uint64_t* const* claims, int count, Alive&& alive) {
    if (!AtHole()) return -1;
    int dead = -1;
    for (int i = 0; i < count; ++i) {
      if (Access::Load(claims[i], std::memory_order_acquire) != next_.Word()) continue;
      if (alive(i)) return -1;  // owns it, or is about to find out
      dead = i;
    }
    uint32_t end = 0;
    if (dead < 0 || !StartOfNext(claims, count, &end) || !Empty()) return -1;
    Fill<Access>(next_, end - next_.position, kAborted);
    return dead;
  }

 private:
  static uint32_t Length(uint64_t word) { return static_cast<uint32_t>(word) & kLengthMask; }
  static bool IsBatch(uint64_t word) { return (word & kBatchOfMessages) != 0; }
  // Whether the filled descriptor of the message at `start` can be right.
  bool MakesSense(MpscPlace start, uint64_t word, uint32_t* units) const {
    const uint64_t where = Access::Load(Descriptor(start.index) + 1, std::memory_order_relaxed);
    *units = static_cast<uint32_t>(where);
    const uint32_t left = LeftBeforeEnd(start.position);
    const uint32_t room = *units > left ? *units - left : *units;
    return static_cast<uint32_t>(where >> 32) == start.position && *units <= memory_.units && *units != 0 &&
           Length(word) <= uint64_t{room} * memory_.unit_bytes;
  }
  MpscPlace EndOf(MpscPlace start) const {
    const uint64_t where = Access::Load(Descriptor(start.index) + 1, std::memory_order_relaxed);
    return {start.position + static_cast<uint32_t>(where), start.index + 1};
  }
  void StoreHead(MpscPlace head) {
    head_ = head;
    Publish<Access>(memory_.head, head.Word(), memory_.sleepers_possible);
  }
  // Where the message behind next_ starts.
  bool StartOfNext(const uint64_t* const* claims, int count, uint32_t* start) const {
    const uint32_t index = next_.index + 1;
    const MpscPlace tail = MpscPlace::Of(Access::Load(memory_.tail, std::memory_order_acquire));
    if (tail.index == index) return *start = tail.position, true;
    for (int i = 0; i < count; ++i) {
      const uint64_t word = Access::Load(claims[i], std::memory_order_acquire);
      if (word != kNoClaim && MpscPlace::Of(word).index == index) return *start = MpscPlace::Of(word).position, true;
    }
    uint64_t word;
    if (!Filled<Access>(index, &word)) return false;  // being taken just now: ask again
    *start = static_cast<uint32_t>(Access::Load(Descriptor(index) + 1, std::memory_order_relaxed) >> 32);
    return true;
  }

  MpscPlace next_;
  MpscPlace head_;
};

}  // namespace memtally::channel
