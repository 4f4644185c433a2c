// SPDX-License-Identifier: Apache-2.0
//
// Producer and Consumer: a side of a channel, for one thread at a time.  What a message costs is in this file and in
// the rings; waiting, joining and leaving are not.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include <memtally/abi/channel_format.h>
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
  ~Loan() { abort(); }

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

// A message in the ring, until it is released or destroyed: by the thread that received it, before its consumer ends.
// Several may be out at once, and go back in any order; the ring is full as long as the oldest stays.
class View {
 public:
  View() = default;
  View(View&& other) noexcept { *this = std::move(other); }
  inline View& operator=(View&& other) noexcept;
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() { release(); }

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

class Producer {
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

  // Several messages at once.  append() gives room for the next one, null if there is none (nothing waits); publish()
  // makes them all visible.  SPSC channels publish a batch with one store, all or nothing; others publish a message
  // when the next one is appended.
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
  friend class Channel;
  explicit Producer(std::shared_ptr<channel::Segment> segment);
  static std::unique_ptr<Producer> Join(const std::shared_ptr<channel::Segment>& segment, Status* status);

  bool CanClaim(size_t bytes) const { return bytes <= max_bytes_ && !loan_open_ && !Stopped(); }
  bool Stopped() const { return std::atomic_ref<uint32_t>(header_->stopped).load(std::memory_order_relaxed) != 0; }
  channel::RawLoan Claim(size_t bytes) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return spsc_->Claim(bytes);
    if (kind_ == channel::RingKind::kMpsc) return mpsc_->Claim(bytes);
    if (kind_ == channel::RingKind::kSlots) return slots_->Claim();
    return broadcast_->Claim(bytes);
  }
  void Commit(const channel::RawLoan& loan, size_t bytes) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return spsc_->Commit(loan, bytes);
    if (kind_ == channel::RingKind::kMpsc) return mpsc_->Commit(loan, bytes);
    if (kind_ == channel::RingKind::kSlots) return slots_->Commit(loan, bytes);
    broadcast_->Commit(loan, bytes);
  }
  void Abort(const channel::RawLoan& loan) {
    if (kind_ == channel::RingKind::kMpsc) mpsc_->Abort(loan);
    if (kind_ == channel::RingKind::kSlots) slots_->Abort(loan);
    if (loan_open_ && kind_ != channel::RingKind::kSpsc && sleepers_possible_) data_event_.Wake();
  }
  void Published(uint64_t messages, uint64_t bytes) {
    if (counts_ != nullptr) Count(messages, bytes);
    if (sleepers_possible_) data_event_.Wake();
  }
  Loan Lend(size_t bytes, bool never_wait) {
    Loan loan;
    if (batch_messages_ != 0) publish();
    if (!CanClaim(bytes)) [[unlikely]] {
      loan.status_ = WhyNot(bytes);
      return loan;
    }
    loan.raw_ = Claim(bytes);
    if (loan.raw_.data == nullptr) [[unlikely]] {
      loan.status_ = ClaimSlowly(bytes, never_wait, &loan.raw_);
      if (loan.status_ != Status::Ok) return loan;
    }
    loan.status_ = Status::Ok;
    loan.bytes_ = bytes;
    loan.producer_ = this;
    loan_open_ = true;
    return loan;
  }
  Status Copy(const void* data, size_t bytes, bool never_wait) {
    if (batch_messages_ != 0) publish();
    if (!CanClaim(bytes)) [[unlikely]]
      return WhyNot(bytes);
    channel::RawLoan raw = Claim(bytes);
    if (raw.data == nullptr) [[unlikely]] {
      if (const Status status = ClaimSlowly(bytes, never_wait, &raw); status != Status::Ok) return status;
    }
    if (bytes != 0) memcpy(raw.data, data, bytes);
    Commit(raw, bytes);
    Published(1, bytes);
    return Status::Ok;
  }
  void Count(uint64_t messages, uint64_t bytes);
  Status WhyNot(size_t bytes) const;
  Status ClaimSlowly(size_t bytes, bool never_wait, channel::RawLoan* loan);

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

class Consumer {
 public:
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  // The next message; false, with a status, if there is none.  Never waits.
  View try_receive() {
    View view;
    view.status_ = Read(&view.raw_);
    if (view.status_ == Status::Ok) view.consumer_ = this;
    return view;
  }
  // Waits for a message: until the channel is stopped, or the last producer died and nothing is left.
  View receive() { return ReceiveUntil(channel::kForever); }
  View receive(std::chrono::nanoseconds timeout) {
    View view = try_receive();
    if (view.status_ != Status::Empty) [[likely]]
      return view;
    return ReceiveUntil(channel::DeadlineAfter(timeout));
  }

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
  // at once.  Returns how many there were.
  template <typename Each>
  size_t receive_batch(size_t most, Each&& each) {
    channel::RawView all;
    size_t count = 0;
    for (channel::RawView view; count < most && Read(&view) == Status::Ok; ++count) {
      each(reinterpret_cast<const std::byte*>(view.data), size_t{view.bytes});
      if (kind_ == channel::RingKind::kSlots) {
        Release(view);
      } else if (count == 0) {
        all = view;
      } else {
        all.end = view.end;
      }
    }
    if (count == 0 || kind_ == channel::RingKind::kSlots) return count;
    if (kind_ == channel::RingKind::kBroadcast) {
      broadcast_->Release(all, static_cast<uint32_t>(count));
      if (sleepers_possible_) room_event_.Wake();
    } else {
      Release(all);
    }
    return count;
  }

  bool empty() const {
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

  Status Read(channel::RawView* raw) {
    channel::ReadResult result;
    if (kind_ == channel::RingKind::kSpsc) [[likely]] {
      result = spsc_->Read(raw);
    } else if (kind_ == channel::RingKind::kMpsc) {
      result = mpsc_->Read(raw);
    } else if (kind_ == channel::RingKind::kSlots) {
      result = slots_->Read(raw);
    } else {
      result = broadcast_->Read(raw);
    }
    if (result == channel::ReadResult::kMessage) [[likely]] {
      if (counts_ != nullptr) Count(raw->bytes);
      return Status::Ok;
    }
    return result == channel::ReadResult::kEmpty ? Status::Empty : Status::Corrupt;
  }
  void Release(const channel::RawView& raw) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]] {
      spsc_->Release(raw);
    } else if (kind_ == channel::RingKind::kMpsc) {
      mpsc_->Release(raw);
    } else if (kind_ == channel::RingKind::kSlots) {
      slots_->Release(raw);
    } else {
      broadcast_->Release(raw);
    }
    if (sleepers_possible_) room_event_.Wake();
  }
  View ReceiveUntil(uint64_t deadline);
  void Count(uint64_t bytes);

  channel::RingKind kind_;
  bool sleepers_possible_ = false;
  int slot_ = -1;
  uint32_t deaths_seen_ = 0;
  uint64_t next_look_ = 0;  // when to look for the dead again
  memtally_channel_header* header_;
  memtally_channel_counts* counts_ = nullptr;  // null: no metrics
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

inline Status Loan::commit(size_t bytes) {
  if (raw_.data == nullptr) return status_;
  if (bytes > bytes_) return Status::TooLarge;
  producer_->loan_open_ = false;
  producer_->Commit(raw_, bytes);
  producer_->Published(1, bytes);
  raw_ = {};
  return Status::Ok;
}

inline void Loan::abort() {
  if (raw_.data == nullptr) return;
  producer_->Abort(raw_);
  producer_->loan_open_ = false;
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

inline void View::release() {
  if (raw_.data == nullptr) return;
  consumer_->Release(raw_);
  raw_ = {};
}

}  // namespace memtally
