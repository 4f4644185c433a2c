// SPDX-License-Identifier: Apache-2.0
//
// The ring of slots, for many producers and many consumers, or one producer and many consumers (Vyukov's bounded
// queue). Each message goes to one consumer.  One process only: a slot whose owner died could not be told from a slow
// one.
//
//   slot i % count:   | sequence | length | payload ... |        each on lines of its own
//
//   sequence == i           free for message i      -> a producer that moves `enqueue` from i to i+1 owns the slot
//   sequence == i + 1       message i is there      -> a consumer that moves `dequeue` from i to i+1 owns the slot
//   sequence == i + count   released                =  free for message i + count
//
// Memory order.  The owner writes sequence with release when it is done with the slot, and the next owner reads it with
// acquire: the payload passes with it in both directions.  Several at once: whoever found n sequences in a row right
// and then moves the counter by n owns them all, because a slot that is right for i stays so until i is handed out.
// `enqueue` and `dequeue` only hand out numbers: their order with anything else does not matter.  A sequence that is
// neither i nor ahead of it means full (or empty) only if the number is still the current one; it is, because it is
// read before the sequence, and both only grow.
#pragma once

#include <cstdint>

#include <memtally/channel/access.hpp>

namespace memtally::channel {

struct SlotsMemory {
  uint8_t* slots = nullptr;
  uint64_t count = 0;   // a power of two
  uint64_t stride = 0;  // a multiple of 64: kSlotHeader and the payload
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
      Access::Store(reinterpret_cast<uint64_t*>(memory.slots + i * memory.stride), i, std::memory_order_relaxed);
    }
  }

  uint64_t max_payload() const { return memory_.stride - kSlotHeader; }

  // A loan of up to `most` slots, numbers position to end - 1.
  RawLoan Claim(uint64_t most = 1) {
    const uint64_t number = Take(memory_.enqueue, 0, memory_.one_producer, &most);
    if (number == kNone) return {};
    return {Slot(number) + kSlotHeader, number, number + most};
  }
  // The same for each slot of the loan; they are filled in order.
  void Commit(const RawLoan& loan, uint64_t bytes) { Fill(loan, bytes); }
  void Abort(const RawLoan& loan) { Fill(loan, kAborted); }
  uint8_t* Payload(uint64_t number) const { return Slot(number) + kSlotHeader; }

  ReadResult Read(RawView* view) {
    for (;;) {
      uint64_t one = 1;
      const uint64_t number = Take(memory_.dequeue, 1, false, &one);
      if (number == kNone) return ReadResult::kEmpty;
      if (ViewOf(number, view)) return ReadResult::kMessage;
    }
  }
  // Takes up to `most` messages and calls each(data, bytes) for those that were not aborted.  Returns how many it took.
  template <typename Each>
  uint64_t ReadBatch(uint64_t most, Each&& each) {
    const uint64_t first = Take(memory_.dequeue, 1, false, &most);
    if (first == kNone) return 0;
    RawView view;
    for (uint64_t i = 0; i < most; ++i) {
      if (!ViewOf(first + i, &view)) continue;
      each(view.data, view.bytes);
      Release(view);
    }
    return most;
  }
  void Release(const RawView& view) { Publish<Access>(Sequence(view.position), view.end, memory_.sleepers_possible); }

  bool Empty() const { return !Ready(memory_.dequeue, 1); }
  bool Full() const { return !Ready(memory_.enqueue, 0); }
  uint64_t Used() const {
    return Access::Load(memory_.enqueue, std::memory_order_relaxed) -
           Access::Load(memory_.dequeue, std::memory_order_relaxed);
  }

 private:
  static constexpr uint64_t kNone = ~0ull;
  static constexpr uint64_t kAborted = ~0ull;

  uint8_t* Slot(uint64_t number) const { return memory_.slots + (number & (memory_.count - 1)) * memory_.stride; }
  uint64_t* Sequence(uint64_t number) const { return reinterpret_cast<uint64_t*>(Slot(number)); }
  bool Ready(const uint64_t* counter, uint64_t ahead) const {
    const uint64_t number = Access::Load(counter, std::memory_order_relaxed);
    return static_cast<int64_t>(Access::Load(Sequence(number), std::memory_order_acquire) - (number + ahead)) >= 0;
  }
  // The next numbers of `counter` whose slots' sequences are number + ahead: the first of *most at most, which becomes
  // how many; kNone if not even the first slot is that far.
  uint64_t Take(uint64_t* counter, uint64_t ahead, bool alone, uint64_t* most) {
    uint64_t number = Access::Load(counter, std::memory_order_relaxed);
    for (;;) {
      const uint64_t sequence = Access::Load(Sequence(number), std::memory_order_acquire);
      const auto distance = static_cast<int64_t>(sequence - (number + ahead));
      if (distance < 0) return kNone;
      if (distance > 0) {
        number = Access::Load(counter, std::memory_order_relaxed);
        continue;
      }
      uint64_t count = 1;
      while (count < *most && count < memory_.count &&
             Access::Load(Sequence(number + count), std::memory_order_acquire) == number + count + ahead) {
        ++count;
      }
      if (alone) {
        Access::Store(counter, number + count, std::memory_order_relaxed);
      } else if (!Access::CompareExchange(counter, &number, number + count)) {
        continue;
      }
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
};

}  // namespace memtally::channel
