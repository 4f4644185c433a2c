// SPDX-License-Identifier: Apache-2.0
//
// Consumer, and the views of messages that it gives.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <memtally/abi/channel_format.h>
#include <memtally/channel/batch.hpp>
#include <memtally/channel/endpoint.hpp>
#include <memtally/channel/event.hpp>
#include <memtally/channel/options.hpp>
#include <memtally/channel/ring_broadcast.hpp>
#include <memtally/channel/ring_mpmc.hpp>
#include <memtally/channel/ring_mpsc.hpp>
#include <memtally/channel/ring_spsc.hpp>

namespace memtally {

// A message in the ring, until it is released or destroyed: by the thread that received it, before its consumer ends.
// Several may be out at once, and go back in any order; the ring is full as long as the oldest stays.
class View {
 public:
  View() = default;
  View(View&& other) noexcept { *this = std::move(other); }
  inline View& operator=(View&& other) noexcept;
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  [[gnu::always_inline]] ~View() { release(); }

  explicit operator bool() const { return raw_.data != nullptr; }
  Status status() const { return status_; }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(raw_.data); }
  size_t size() const { return raw_.bytes; }
  std::span<const std::byte> bytes() const { return {data(), raw_.bytes}; }
  inline void release();

 private:
  friend class Consumer;
  friend class Channel;
  channel::RawView raw_;
  Consumer* consumer_ = nullptr;
  Status status_ = Status::Empty;
};

class alignas(128) Consumer {
 public:
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  // The next message; false, with a status, if there is none.  Never waits.
  [[gnu::always_inline]] View try_receive() {
    View view;
    channel::RawView raw;
    view.status_ = Read(&raw);
    if (view.status_ == Status::Ok) {
      view.raw_ = raw;
      view.consumer_ = this;
    }
    return view;
  }
  // Waits for a message: until the channel is stopped, or the last producer died and nothing is left.
  [[gnu::always_inline]] View receive() { return Receive(nullptr); }
  [[gnu::always_inline]] View receive(std::chrono::nanoseconds timeout) { return Receive(&timeout); }

  // Copies the next message out.  WrongSize: it was not of this size; it is gone.
  template <typename T>
  requires std::is_trivially_copyable_v<T> Status try_receive(T* value) {
    std::optional<bool> easily;
    if (Take([&](const uint8_t* data, uint64_t bytes) {
          easily = bytes == sizeof(T);
          if (*easily) memcpy(value, data, sizeof(T));
        })) {
      return *easily ? Status::Ok : Status::WrongSize;
    }
    channel::RawView raw;
    if (const Status status = Read(&raw); status != Status::Ok) return status;
    const bool fits = raw.bytes == sizeof(T);
    if (fits) memcpy(value, raw.data, sizeof(T));
    Release(raw);
    return fits ? Status::Ok : Status::WrongSize;
  }

  // Several at once: calls each(data, bytes) for up to `most` messages that are there, then gives all their room back
  // at once.  Returns how many there were.  REQUIRES: each() does not throw, and does not use this consumer.
  template <typename Each>
  size_t receive_batch(size_t most, Each&& each) {
    if (most == 1 && Take([&](const uint8_t* data, uint64_t bytes) {
          each(reinterpret_cast<const std::byte*>(data), size_t{bytes});
        })) {
      return 1;
    }
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return ReceiveFrom(*spsc_, most, each);
    if (kind_ == channel::RingKind::kMpsc) return ReceiveFrom(*mpsc_, most, each);
    if (kind_ == channel::RingKind::kSlots) return ReceiveSlots(most, each);
    return ReceiveFrom(*broadcast_, most, each);
  }

  bool empty() const {
    if (batch_left_ != 0) return false;
    if (kind_ == channel::RingKind::kSpsc) return spsc_->Empty();
    if (kind_ == channel::RingKind::kMpsc) return mpsc_->Empty();
    if (kind_ == channel::RingKind::kSlots) return slots_->Empty();
    return broadcast_->Empty();
  }

 private:
  friend class View;
  friend class Channel;
  explicit Consumer(std::shared_ptr<channel::Segment> segment);
  static std::unique_ptr<Consumer> Join(const std::shared_ptr<channel::Segment>& segment, Status* status);

  // The short way: a plain message, taken and given back.  False: try the long one.
  template <typename Each>
  [[gnu::always_inline]] bool Take(Each&& each) {
    uint64_t size = 0;
    const auto sized = [&](const uint8_t* data, uint64_t bytes) {
      size = bytes;
      each(data, bytes);
    };
    if (!easy_ || !spsc_->Take(sized)) return false;
    if (watched_) {
      if (counts_ != nullptr) Count(1, size);
      if (sleepers_possible_) room_event_.Wake();
    }
    return true;
  }
  [[gnu::always_inline]] Status Read(channel::RawView* raw) {
    channel::RawView found;
    if (easy_) [[likely]] {
      const channel::ReadResult result = spsc_->Read(&found);
      if (result != channel::ReadResult::kMessage)
        return result == channel::ReadResult::kEmpty ? Status::Empty : Status::Corrupt;
    }
    if (found.data == nullptr || found.batch) [[unlikely]] {
      channel::RawView slow;
      const Status status = ReadSlowly(found, &slow);
      *raw = slow;
      return status;
    }
    if (counts_ != nullptr) Count(1, found.bytes);
    *raw = found;
    return Status::Ok;
  }
  // The same for a batch that was found, the next message of an open batch, and other rings.
  Status ReadSlowly(channel::RawView found, channel::RawView* raw);
  channel::ReadResult ReadOther(channel::RawView* raw);
  [[gnu::always_inline]] void Release(channel::RawView raw) {
    if (raw.batch) [[unlikely]]
      return ReleaseOfBatch(raw.position, 1);
    ReleaseWhole(raw);
  }
  // A message of the ring: it may be a batch.
  [[gnu::always_inline]] void ReleaseWhole(channel::RawView raw) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]] {
      spsc_->Release(raw);
    } else {
      ReleaseOther(raw.position, raw.end);
    }
    if (sleepers_possible_) room_event_.Wake();
  }
  void ReleaseOther(uint64_t position, uint64_t end);
  // `timeout`: null for ever.
  [[gnu::always_inline]] View Receive(const std::chrono::nanoseconds* timeout) {
    View view;
    channel::RawView raw;
    view.status_ = inherited_->load(std::memory_order_relaxed) ? Status::Forked : Read(&raw);
    if (view.status_ == Status::Empty) [[unlikely]] {
      channel::RawView slow;
      view.status_ = ReadWaiting(timeout == nullptr ? channel::kForever : channel::DeadlineAfter(*timeout), &slow);
      raw = slow;
    }
    if (view.status_ == Status::Ok) [[likely]] {
      view.raw_ = raw;
      view.consumer_ = this;
    }
    return view;
  }
  Status ReadWaiting(uint64_t deadline, channel::RawView* raw);
  Status OpenBatch(channel::RawView batch);
  void SetBatchLeft(uint32_t left) {
    batch_left_ = left;
    easy_ = left == 0 && kind_ == channel::RingKind::kSpsc;
  }
  void ReleaseOfBatch(uint64_t position, uint32_t count);
  template <typename Each>
  size_t ReceiveFromBatch(size_t most, Each& each) {
    channel::BatchReader<>& reader = batches_.back();
    const uint32_t count = most < batch_left_ ? static_cast<uint32_t>(most) : batch_left_;
    const uint64_t stride = reader.stride();
    const channel::RawView first = reader.Next(count);
    for (uint32_t i = 0; i < count; ++i) {
      each(reinterpret_cast<const std::byte*>(first.data + stride * i), size_t{first.bytes});
    }
    SetBatchLeft(batch_left_ - count);
    if (counts_ != nullptr) Count(count, uint64_t{count} * first.bytes);
    ReleaseOfBatch(first.position, count);
    return count;
  }
  // All of a batch, if it is not more than `most`: nothing needs to be remembered of it.  0: open it.
  template <typename Each>
  size_t ReceiveWholeBatch(channel::RawView batch, size_t most, Each& each) {
    channel::BatchReader<> reader;
    if (!reader.Open(batch, alignment_, kind_ != channel::RingKind::kBroadcast) || reader.left() > most) return 0;
    const uint32_t count = reader.left();
    const channel::RawView first = reader.Next(count);
    const uint8_t* message = first.data;
    const uint64_t stride = reader.stride();
    for (uint32_t i = 0; i < count; ++i, message += stride) {
      each(reinterpret_cast<const std::byte*>(message), size_t{first.bytes});
    }
    if (counts_ != nullptr) Count(count, uint64_t{count} * first.bytes);
    ReleaseWhole(batch);
    return count;
  }
  // Gives back `run` messages that were read one after the other.
  template <typename Ring>
  void ReleaseRun(Ring& ring, uint64_t position, uint64_t end, uint32_t run) {
    const channel::RawView all{nullptr, 0, false, position, end};
    if constexpr (std::is_same_v<Ring, channel::BroadcastConsumer<>>) {
      ring.Release(all, run);
    } else {
      ring.Release(all);
    }
    if (sleepers_possible_) room_event_.Wake();
  }
  // Words and not a RawView are kept: a copy of a struct whose parts were just stored waits for these stores, and with
  // them for all that other CPUs have to give up first.
  template <typename Ring, typename Each>
  size_t ReceiveFrom(Ring& ring, size_t most, Each& each) {
    uint64_t position = 0;
    uint64_t end = 0;
    uint32_t run = 0;
    size_t count = 0;
    while (count < most) {
      if (batch_left_ != 0) [[unlikely]] {
        if (run != 0) ReleaseRun(ring, position, end, std::exchange(run, 0));
        count += ReceiveFromBatch(most - count, each);
        continue;
      }
      channel::RawView view;
      if (ring.Read(&view) != channel::ReadResult::kMessage) break;
      if (view.batch) [[unlikely]] {
        if (run != 0) ReleaseRun(ring, position, end, std::exchange(run, 0));
        const size_t whole = ReceiveWholeBatch(view, most - count, each);
        count += whole;
        if (whole == 0 && OpenBatch(view) != Status::Ok) break;
        continue;
      }
      if (counts_ != nullptr) Count(1, view.bytes);
      each(reinterpret_cast<const std::byte*>(view.data), size_t{view.bytes});
      if (run++ == 0) position = view.position;
      end = view.end;
      ++count;
    }
    if (run != 0) ReleaseRun(ring, position, end, run);
    return count;
  }
  template <typename Each>
  size_t ReceiveSlots(size_t most, Each& each) {
    size_t count = 0;
    for (uint64_t taken = 1; count < most && taken != 0;) {
      const size_t before = count;
      uint64_t bytes = 0;
      taken = slots_->ReadBatch(most - count, [&](const uint8_t* data, uint32_t size) {
        ++count;
        bytes += size;
        each(reinterpret_cast<const std::byte*>(data), size_t{size});
      });
      if (counts_ != nullptr && count != before) Count(count - before, bytes);
      if (taken != 0 && sleepers_possible_) room_event_.Wake();
    }
    return count;
  }
  void Count(uint64_t messages, uint64_t bytes);

  channel::RingKind kind_;
  bool sleepers_possible_ = false;
  bool watched_ = false;  // somebody sleeps, perhaps, or counts
  bool easy_ = false;     // messages may go the short way: an SPSC ring, and no batch is open
  int slot_ = -1;
  uint32_t deaths_seen_ = 0;
  uint64_t next_look_ = 0;  // when to look for the dead again
  uint64_t alignment_;
  memtally_channel_header* header_;
  memtally_channel_counts* counts_ = nullptr;    // null: no metrics
  const std::atomic<bool>* inherited_;           // the segment's
  uint32_t batch_left_ = 0;                      // messages of batches_.back() that were not handed out
  std::vector<channel::BatchReader<>> batches_;  // not released yet
  std::optional<channel::SpscConsumer<>> spsc_;
  std::optional<channel::MpscConsumer<>> mpsc_;
  std::optional<channel::SlotRing<>> slots_;
  std::optional<channel::BroadcastConsumer<>> broadcast_;
  channel::Event data_event_;
  channel::Event room_event_;
  std::shared_ptr<channel::Segment> segment_;
};

inline View& View::operator=(View&& other) noexcept {
  if (this == &other) return *this;
  release();
  raw_ = std::exchange(other.raw_, {});
  consumer_ = std::exchange(other.consumer_, nullptr);
  status_ = std::exchange(other.status_, Status::Empty);
  return *this;
}

[[gnu::always_inline]] inline void View::release() {
  if (raw_.data == nullptr) return;
  consumer_->Release(raw_);
  raw_.data = nullptr;
  raw_.bytes = 0;
}

}  // namespace memtally
