// SPDX-License-Identifier: Apache-2.0
//
// The ring of slots, for many producers and many consumers, or one producer and many consumers (Vyukov's bounded
// queue). Each message goes to one consumer.  One process only: a slot whose owner died could not be told from a slow
// one.
//
//   slot  i % count:   | sequence | length | payload ... |      written by producers
//   freed[i % count]:  one word                                 written by consumers
//
//   freed[]  == i      slot is free for message i   -> a producer that moves `enqueue` from i to i+1 owns the slot
//   sequence == i + 1  message i is there           -> a consumer that moves `dequeue` from i to i+1 owns the slot
//   freed[]  == i + count                           =  free for message i + count
//
// In Vyukov's queue one sequence says all three, in the slot: then each side takes the line of a slot away from the
// other twice, and a producer waits for the line before it can write.  With two words, the line of a slot goes one way
// only, and what comes back are eight words a line, all of which are there when the producer looks a lap later.
//
// Memory order.  The owner writes its word with release when it is done with the slot, and the next owner reads it with
// acquire: the payload passes with it in both directions.  Several at once: whoever found n words in a row right and
// then moves the counter by n owns them all, because a slot that is right for i stays so until i is handed out.
// `enqueue` and `dequeue` only hand out numbers: their order with anything else does not matter.  A word that is behind
// what it has to be means full (or empty) only if the number is still the current one; it is, because it is read before
// the word, and both only grow.
#pragma once

#include <cstdint>

#include <memtally/channel/access.hpp>

namespace memtally::channel {

struct SlotsMemory {
  uint8_t* slots = nullptr;
  uint64_t* freed = nullptr;  // `count` words
  uint64_t count = 0;         // a power of two
  uint64_t stride = 0;        // a multiple of 8: kSlotHeader and the payload
  uint64_t* enqueue = nullptr;
  uint64_t* dequeue = nullptr;
  bool one_producer = false;
  bool sleepers_possible = false;
};

inline constexpr uint64_t kSlotHeader = 16;

// Both sides; a value to be copied for each thread.
template <typename Access = HardwareAccess>
class SlotRing {
 public:
  explicit SlotRing(const SlotsMemory& memory) : memory_(memory) {}

  // To be called once, before anybody uses the ring.
  static void Prepare(const SlotsMemory& memory) {
    for (uint64_t i = 0; i < memory.count; ++i) {
      Access::Store(reinterpret_cast<uint64_t*>(memory.slots + i * memory.stride), 0, std::memory_order_relaxed);
      Access::Store(memory.freed + i, i, std::memory_order_relaxed);
    }
  }

  uint64_t max_payload() const { return memory_.stride - kSlotHeader; }

  // A loan of up to `most` slots, numbers position to end - 1.
  RawLoan Claim(uint64_t most = 1) {
    uint64_t number = Access::Load(memory_.enqueue, std::memory_order_relaxed);
    for (;;) {
      if (number + most > free_end_ && !LookAhead(&number, most)) return {};
      const uint64_t end = most < free_end_ - number ? number + most : free_end_;
      if (memory_.one_producer) {
        Access::Store(memory_.enqueue, end, std::memory_order_relaxed);
      } else if (!Access::CompareExchange(memory_.enqueue, &number, end)) {
        continue;
      }
      return {Slot(number) + kSlotHeader, number, end};
    }
  }
  // The same for each slot of the loan; they are filled in order.
  void Commit(const RawLoan& loan, uint64_t bytes) { Fill(loan, bytes); }
  void Abort(const RawLoan& loan) { Fill(loan, kAborted); }
  uint8_t* Payload(uint64_t number) const { return Slot(number) + kSlotHeader; }

  ReadResult Read(RawView* view) {
    for (;;) {
      uint64_t one = 1;
      const uint64_t number = Take(&one);
      if (number == kNone) return ReadResult::kEmpty;
      if (ViewOf(number, view)) return ReadResult::kMessage;
    }
  }
  // Takes up to `most` messages and calls each(data, bytes) for those that were not aborted.  Returns how many it took.
  template <typename Each>
  uint64_t ReadBatch(uint64_t most, Each&& each) {
    const uint64_t first = Take(&most);
    if (first == kNone) return 0;
    RawView view;
    for (uint64_t i = 0; i < most; ++i) {
      if (!ViewOf(first + i, &view)) continue;
      each(view.data, view.bytes);
      Release(view);
    }
    return most;
  }
  void Release(const RawView& view) { Publish<Access>(Freed(view.position), view.end, memory_.sleepers_possible); }

  bool Empty() const {
    const uint64_t number = Access::Load(memory_.dequeue, std::memory_order_relaxed);
    return Ahead(Sequence(number), number + 1) < 0;
  }
  uint64_t Used() const {
    return Access::Load(memory_.enqueue, std::memory_order_relaxed) -
           Access::Load(memory_.dequeue, std::memory_order_relaxed);
  }

 private:
  static constexpr uint64_t kNone = ~0ull;
  static constexpr uint64_t kAborted = ~0ull;
  static constexpr uint64_t kMostLookedAt = 64;

  uint8_t* Slot(uint64_t number) const { return memory_.slots + (number & (memory_.count - 1)) * memory_.stride; }
  uint64_t* Sequence(uint64_t number) const { return reinterpret_cast<uint64_t*>(Slot(number)); }
  uint64_t* Freed(uint64_t number) const { return memory_.freed + (number & (memory_.count - 1)); }

  // How far a word is ahead of what it has to be.
  static int64_t Ahead(const uint64_t* word, uint64_t wanted) {
    return static_cast<int64_t>(Access::Load(word, std::memory_order_acquire) - wanted);
  }
  // Finds `wanted` free slots from *number on, which becomes the current one, or as many as there are; false: none.  It
  // looks at more than are wanted, so that it looks seldom: a consumer that gives one back writes to the line where the
  // next ones are looked up.
  bool LookAhead(uint64_t* number, uint64_t wanted) {
    while (*number >= free_end_) {
      const int64_t ahead = Ahead(Freed(*number), *number);
      if (ahead < 0) return false;
      if (ahead == 0) free_end_ = *number + 1;
      if (ahead > 0) *number = Access::Load(memory_.enqueue, std::memory_order_relaxed);
    }
    uint64_t most = wanted < kMostLookedAt ? kMostLookedAt : wanted;
    if (most > memory_.count) most = memory_.count;
    while (free_end_ - *number < most && Ahead(Freed(free_end_), free_end_) == 0) ++free_end_;
    return true;
  }
  // The next messages, the first of *most at most, which becomes how many; kNone if there is none.
  uint64_t Take(uint64_t* most) {
    uint64_t number = Access::Load(memory_.dequeue, std::memory_order_relaxed);
    for (;;) {
      const int64_t ahead = Ahead(Sequence(number), number + 1);
      if (ahead < 0) return kNone;
      if (ahead > 0) {
        number = Access::Load(memory_.dequeue, std::memory_order_relaxed);
        continue;
      }
      uint64_t count = 1;
      while (count < *most && count < memory_.count && Ahead(Sequence(number + count), number + count + 1) == 0)
        ++count;
      if (!Access::CompareExchange(memory_.dequeue, &number, number + count)) continue;
      *most = count;
      return number;
    }
  }
  // False if message `number` was aborted; it is released then.
  bool ViewOf(uint64_t number, RawView* view) {
    const uint64_t length = Access::Load(Sequence(number) + 1, std::memory_order_relaxed);
    *view = {Slot(number) + kSlotHeader, static_cast<uint32_t>(length), false, number, number + memory_.count};
    if (length != kAborted) return true;
    Release(*view);
    return false;
  }
  void Fill(const RawLoan& loan, uint64_t length) {
    for (uint64_t number = loan.position; number != loan.end; ++number) {
      Access::Store(Sequence(number) + 1, length, std::memory_order_relaxed);
      Publish<Access>(Sequence(number), number + 1, memory_.sleepers_possible);
    }
  }

  SlotsMemory memory_;
  uint64_t free_end_ = 0;  // all numbers before it that were not handed out yet are free
};

}  // namespace memtally::channel
