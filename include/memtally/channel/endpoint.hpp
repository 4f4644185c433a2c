// SPDX-License-Identifier: Apache-2.0
//
// Producer and Consumer: a side of a channel, for one thread at a time.  What a message costs is in this file and in
// the rings; waiting, joining and leaving are not.
#pragma once

#include <atomic>
#include <chrono>
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
#include <memtally/channel/event.hpp>
#include <memtally/channel/options.hpp>
#include <memtally/channel/ring_broadcast.hpp>
#include <memtally/channel/ring_mpmc.hpp>
#include <memtally/channel/ring_mpsc.hpp>
#include <memtally/channel/ring_spsc.hpp>

namespace memtally {

class Producer;
class Consumer;
class Channel;

namespace channel {
class Segment;

enum class RingKind : uint8_t { kSpsc, kMpsc, kSlots, kBroadcast };

// Deadlines are on CLOCK_MONOTONIC.
inline constexpr uint64_t kForever = ~0ull;
uint64_t DeadlineAfter(std::chrono::nanoseconds timeout);

inline void Add(uint64_t* counter, uint64_t more) {
  const std::atomic_ref<uint64_t> word(*counter);
  word.store(word.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}
}  // namespace channel

// Room in the ring for one message, which the caller fills.  Committed, it can be received; dropped, it never was.
class Loan {
 public:
  Loan() = default;
  Loan(Loan&& other) noexcept { *this = std::move(other); }
  inline Loan& operator=(Loan&& other) noexcept;
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  [[gnu::always_inline]] ~Loan() { abort(); }

  explicit operator bool() const { return raw_.data != nullptr; }
  // Why there is no room; Ok if there is.
  Status status() const { return status_; }
  std::byte* data() const { return reinterpret_cast<std::byte*>(raw_.data); }
  size_t size() const { return bytes_; }
  std::span<std::byte> bytes() const { return {data(), bytes_}; }

  // Publishes the message; with fewer bytes than were claimed, if so asked.  The loan is over then.
  Status commit() { return commit(bytes_); }
  inline Status commit(size_t bytes);
  inline void abort();

 private:
  friend class Producer;
  friend class Channel;
  channel::RawLoan raw_;
  size_t bytes_ = 0;
  Producer* producer_ = nullptr;
  Status status_ = Status::Full;
};

// Room in the ring for several messages of one size, which the caller fills.  Committed, they can be received, as if
// they had been sent one by one; dropped, they never were.
class BatchLoan {
 public:
  BatchLoan() = default;
  BatchLoan(BatchLoan&& other) noexcept { *this = std::move(other); }
  inline BatchLoan& operator=(BatchLoan&& other) noexcept;
  BatchLoan(const BatchLoan&) = delete;
  BatchLoan& operator=(const BatchLoan&) = delete;
  ~BatchLoan() { abort(); }

  explicit operator bool() const { return raw_.data != nullptr; }
  // Why there is no room; Ok if there is.
  Status status() const { return status_; }
  // How many messages there is room for, and of how many bytes each.
  size_t size() const { return raw_.data == nullptr ? 0 : shape_.count; }
  size_t message_bytes() const { return shape_.message_bytes; }
  // REQUIRES: i < size().
  inline std::byte* operator[](size_t i) const;

  // Publishes them; with fewer than were claimed, the first ones.  The loan is over then.
  Status commit() { return commit(size()); }
  inline Status commit(size_t count);
  inline void abort();

 private:
  friend class Producer;
  channel::RawLoan raw_;
  channel::BatchShape shape_;
  Producer* producer_ = nullptr;
  Status status_ = Status::Full;
};

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

// Both sides lie on lines of their own (and those that a processor fetches in pairs), so that two threads may have two
// of them that were made one after the other.
class alignas(128) Producer {
 public:
  ~Producer();
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // Room for a message.  Where there is none: waits as the channel's WhenFull says.
  Loan claim(size_t bytes) { return Lend(bytes, false); }
  // Never waits.
  Loan try_claim(size_t bytes) { return Lend(bytes, true); }

  Status send(const void* data, size_t bytes) { return Copy(data, bytes, false); }
  Status try_send(const void* data, size_t bytes) { return Copy(data, bytes, true); }
  template <typename T>
  requires std::is_trivially_copyable_v<T> Status send(const T& value) { return Copy(&value, sizeof(T), false); }
  template <typename T>
  requires std::is_trivially_copyable_v<T> Status try_send(const T& value) { return Copy(&value, sizeof(T), true); }

  // Room for `count` messages of `bytes` each, for fewer if that is more than max_batch(bytes) (SPMC, MPMC: than there
  // are free slots): loan.size() says how many.  Fills up and waits as claim() does, and counts as one claim: an open
  // BatchLoan is an open loan.
  BatchLoan claim_batch(size_t bytes, size_t count) { return LendBatch(bytes, count, false); }
  BatchLoan try_claim_batch(size_t bytes, size_t count) { return LendBatch(bytes, count, true); }
  // Copies `count` messages of `bytes` each that lie one behind the other, in as few batches as it takes.  Returns how
  // many were sent; *why says why not all.
  size_t send_batch(const void* data, size_t bytes, size_t count, Status* why = nullptr) {
    return CopyBatch(data, bytes, count, false, why);
  }
  size_t try_send_batch(const void* data, size_t bytes, size_t count, Status* why = nullptr) {
    return CopyBatch(data, bytes, count, true, why);
  }
  // How many messages of `bytes` one batch can have; 0 if they are too large.
  size_t max_batch(size_t bytes) const;

  // Several messages of different sizes.  append() gives room for the next one, null if there is none (nothing waits);
  // publish() makes them all visible.  SPSC channels publish them with one store, all or nothing; others publish a
  // message when the next one is appended.
  std::byte* append(size_t bytes) {
    if (!CanClaim(bytes)) return nullptr;
    if (kind_ == channel::RingKind::kSpsc) {
      const channel::RawLoan loan = spsc_->Claim(bytes);
      if (loan.data == nullptr) return nullptr;
      spsc_->Append(loan, bytes);
      ++batch_messages_;
      batch_bytes_ += bytes;
      return reinterpret_cast<std::byte*>(loan.data);
    }
    publish();
    batch_ = Claim(bytes);
    if (batch_.data != nullptr) {
      batch_messages_ = 1;
      batch_bytes_ = bytes;
    }
    return reinterpret_cast<std::byte*>(batch_.data);
  }
  void publish() {
    if (batch_messages_ == 0) return;
    if (kind_ == channel::RingKind::kSpsc) {
      spsc_->Flush();
    } else {
      Commit(batch_, batch_bytes_);
    }
    Published(std::exchange(batch_messages_, 0), std::exchange(batch_bytes_, 0));
  }

  size_t max_message_bytes() const { return max_bytes_; }

 private:
  friend class Loan;
  friend class BatchLoan;
  friend class Channel;
  explicit Producer(std::shared_ptr<channel::Segment> segment);
  static std::unique_ptr<Producer> Join(const std::shared_ptr<channel::Segment>& segment, Status* status);

  bool CanClaim(size_t bytes) const { return bytes <= max_bytes_ && !loan_open_ && !Stopped(); }
  bool Ready(size_t bytes) const { return batch_messages_ == 0 && CanClaim(bytes); }
  bool Stopped() const { return std::atomic_ref<uint32_t>(header_->stopped).load(std::memory_order_relaxed) != 0; }
  // `slots`: for SPMC and MPMC, how many at most.
  [[gnu::always_inline]] channel::RawLoan Claim(size_t bytes, size_t slots = 1) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return spsc_->Claim(bytes);
    return ClaimOther(bytes, slots);
  }
  [[gnu::always_inline]] void Commit(channel::RawLoan loan, size_t bytes) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return spsc_->Commit(loan, bytes);
    CommitOther(loan, bytes);
  }
  channel::RawLoan ClaimOther(size_t bytes, size_t slots);
  void CommitOther(channel::RawLoan loan, size_t bytes);
  void Abort(channel::RawLoan loan);
  [[gnu::always_inline]] void Published(uint64_t messages, uint64_t bytes) {
    if (counts_ != nullptr) Count(messages, bytes);
    if (sleepers_possible_) data_event_.Wake();
  }
  // Inlined, with all that is rare out of line and given words only: a message is then no store but its own and the
  // ring's.  (Every store to another line, of a register saved or of a loan that lives in memory, costs the processor
  // a message that could be on its way.)
  [[gnu::always_inline]] Loan Lend(size_t bytes, bool never_wait) {
    Loan loan;
    channel::RawLoan raw;
    if (Ready(bytes)) [[likely]]
      raw = Claim(bytes);
    if (raw.data == nullptr) [[unlikely]] {
      channel::RawLoan slow;
      loan.status_ = ClaimSlowly(bytes, never_wait, &slow);
      if (loan.status_ != Status::Ok) return loan;
      raw = slow;
    }
    loan.raw_ = raw;
    loan.status_ = Status::Ok;
    loan.bytes_ = bytes;
    loan.producer_ = this;
    loan_open_ = true;
    return loan;
  }
  Status Copy(const void* data, size_t bytes, bool never_wait) {
    if (Ready(bytes)) [[likely]] {
      const channel::RawLoan raw = Claim(bytes);
      if (raw.data != nullptr) [[likely]]
        return CopyInto(raw, data, bytes);
    }
    return CopySlowly(data, bytes, never_wait);
  }
  [[gnu::always_inline]] Status CopyInto(channel::RawLoan raw, const void* data, size_t bytes) {
    if (bytes != 0) memcpy(raw.data, data, bytes);
    Commit(raw, bytes);
    Published(1, bytes);
    return Status::Ok;
  }
  [[gnu::noinline]] Status CopySlowly(const void* data, size_t bytes, bool never_wait);
  BatchLoan LendBatch(size_t bytes, size_t count, bool never_wait);
  size_t CopyBatch(const void* data, size_t bytes, size_t count, bool never_wait, Status* why);
  void CommitBatch(const channel::RawLoan& raw, channel::BatchShape shape, size_t count);
  void Count(uint64_t messages, uint64_t bytes);
  Status WhyNot(size_t bytes) const;
  Status ClaimSlowly(size_t bytes, bool never_wait, channel::RawLoan* loan, size_t count = 1);

  channel::RingKind kind_;
  bool sleepers_possible_ = false;
  bool loan_open_ = false;
  int slot_ = -1;
  uint32_t deaths_seen_ = 0;
  uint64_t next_look_ = 0;  // when to look for the dead again
  size_t max_bytes_ = 0;
  size_t batch_messages_ = 0;
  size_t batch_bytes_ = 0;
  channel::RawLoan batch_;
  memtally_channel_header* header_;
  memtally_channel_counts* counts_ = nullptr;  // null: no metrics
  std::optional<channel::SpscProducer<>> spsc_;
  std::optional<channel::MpscProducer<>> mpsc_;
  std::optional<channel::SlotRing<>> slots_;
  std::optional<channel::BroadcastProducer<>> broadcast_;
  channel::Event data_event_;
  channel::Event room_event_;
  std::shared_ptr<channel::Segment> segment_;
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

  // The next message of the ring: it may be a batch.
  [[gnu::always_inline]] channel::ReadResult ReadWhole(channel::RawView* raw) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return spsc_->Read(raw);
    channel::RawView found;
    const channel::ReadResult result = ReadOther(&found);
    *raw = found;
    return result;
  }
  channel::ReadResult ReadOther(channel::RawView* raw);
  [[gnu::always_inline]] void ReleaseWhole(channel::RawView raw) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]] {
      spsc_->Release(raw);
    } else {
      ReleaseOther(raw);
    }
    if (sleepers_possible_) room_event_.Wake();
  }
  void ReleaseOther(channel::RawView raw);
  // As on the producer's side: what is rare is out of line, and is given words only.
  [[gnu::always_inline]] Status Read(channel::RawView* raw) {
    channel::RawView found;
    if (batch_left_ == 0) [[likely]] {
      const channel::ReadResult result = ReadWhole(&found);
      if (result != channel::ReadResult::kMessage)
        return result == channel::ReadResult::kEmpty ? Status::Empty : Status::Corrupt;
    }
    if (batch_left_ != 0 || found.batch) [[unlikely]] {
      channel::RawView slow;
      const Status status = ReadOfBatch(found, &slow);
      *raw = slow;
      return status;
    }
    if (counts_ != nullptr) Count(1, found.bytes);
    *raw = found;
    return Status::Ok;
  }
  // The next message of the open batch, or of `found`.
  Status ReadOfBatch(channel::RawView found, channel::RawView* raw);
  [[gnu::always_inline]] void Release(channel::RawView raw) {
    if (raw.batch) [[unlikely]]
      return ReleaseOfBatch(raw.position, 1);
    ReleaseWhole(raw);
  }
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
    batch_left_ -= count;
    if (counts_ != nullptr) Count(count, uint64_t{count} * first.bytes);
    ReleaseOfBatch(first.position, count);
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
        if (OpenBatch(view) != Status::Ok) break;
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
  int slot_ = -1;
  uint32_t deaths_seen_ = 0;
  uint64_t next_look_ = 0;  // when to look for the dead again
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

inline Loan& Loan::operator=(Loan&& other) noexcept {
  if (this == &other) return *this;
  abort();
  raw_ = std::exchange(other.raw_, {});
  bytes_ = std::exchange(other.bytes_, 0);
  producer_ = std::exchange(other.producer_, nullptr);
  status_ = std::exchange(other.status_, Status::Full);
  return *this;
}

[[gnu::always_inline]] inline Status Loan::commit(size_t bytes) {
  if (raw_.data == nullptr) return status_;
  if (bytes > bytes_) return Status::TooLarge;
  producer_->loan_open_ = false;
  producer_->Commit(raw_, bytes);
  producer_->Published(1, bytes);
  raw_.data = nullptr;
  return Status::Ok;
}

[[gnu::always_inline]] inline void Loan::abort() {
  if (raw_.data == nullptr) return;
  producer_->Abort(raw_);
  raw_.data = nullptr;
}

inline BatchLoan& BatchLoan::operator=(BatchLoan&& other) noexcept {
  if (this == &other) return *this;
  abort();
  raw_ = std::exchange(other.raw_, {});
  shape_ = std::exchange(other.shape_, {});
  producer_ = std::exchange(other.producer_, nullptr);
  status_ = std::exchange(other.status_, Status::Full);
  return *this;
}

inline std::byte* BatchLoan::operator[](size_t i) const {
  if (producer_->kind_ == channel::RingKind::kSlots) {
    return reinterpret_cast<std::byte*>(producer_->slots_->Payload(raw_.position + i));
  }
  return reinterpret_cast<std::byte*>(raw_.data + shape_.first + shape_.stride * i);
}

inline Status BatchLoan::commit(size_t count) {
  if (raw_.data == nullptr) return status_;
  if (count > shape_.count) return Status::TooLarge;
  if (count == 0) {
    abort();
    return Status::Ok;
  }
  producer_->CommitBatch(std::exchange(raw_, {}), shape_, count);
  return Status::Ok;
}

inline void BatchLoan::abort() {
  if (raw_.data == nullptr) return;
  producer_->Abort(raw_);
  raw_ = {};
}

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
