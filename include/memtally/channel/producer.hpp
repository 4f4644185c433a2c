// SPDX-License-Identifier: Apache-2.0
//
// Producer, and the loans that it gives.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

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
    if (bytes > max_bytes_ || LoanOpen() || Stopped()) return nullptr;
    if (kind_ == channel::RingKind::kSpsc) {
      const channel::RawLoan loan = spsc_.Claim(bytes);
      if (loan.data == nullptr) return nullptr;
      spsc_.Append(loan, bytes);
      SetOpen(true);
      ++batch_messages_;
      batch_bytes_ += bytes;
      return reinterpret_cast<std::byte*>(loan.data);
    }
    publish();
    batch_ = Claim(bytes);
    if (batch_.data != nullptr) {
      SetOpen(true);
      batch_messages_ = 1;
      batch_bytes_ = bytes;
    }
    return reinterpret_cast<std::byte*>(batch_.data);
  }
  void publish() {
    if (batch_messages_ == 0) return;
    if (kind_ == channel::RingKind::kSpsc) {
      spsc_.Flush();
    } else {
      Commit(batch_, batch_bytes_);
    }
    SetOpen(false);
    Published(std::exchange(batch_messages_, 0), std::exchange(batch_bytes_, 0));
  }

  size_t max_message_bytes() const { return max_bytes_; }

 private:
  friend class Loan;
  friend class BatchLoan;
  friend class Channel;
  explicit Producer(std::shared_ptr<channel::Segment> segment);
  static std::unique_ptr<Producer> Join(const std::shared_ptr<channel::Segment>& segment, Status* status);

  bool CanClaim(size_t bytes) const { return bytes < claimable_bytes_ && !Stopped(); }
  bool LoanOpen() const { return claimable_bytes_ == 0 && batch_messages_ == 0; }
  // A loan, or a series, is open from now on, or no longer.
  void SetOpen(bool open) { claimable_bytes_ = open ? 0 : max_bytes_ + 1; }
  bool Stopped() const { return std::atomic_ref<uint32_t>(header_->stopped).load(std::memory_order_relaxed) != 0; }
  // `slots`: for SPMC and MPMC, how many at most.
  [[gnu::always_inline]] channel::RawLoan Claim(size_t bytes, size_t slots = 1) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return spsc_.Claim(bytes);
    return ClaimOther(bytes, slots);
  }
  [[gnu::always_inline]] void Commit(channel::RawLoan loan, size_t bytes) {
    if (kind_ == channel::RingKind::kSpsc) [[likely]]
      return spsc_.Commit(loan, bytes);
    CommitOther(loan.data, loan.position, loan.end, bytes);
  }
  channel::RawLoan ClaimOther(size_t bytes, size_t slots);
  void CommitOther(uint8_t* data, uint64_t position, uint64_t end, size_t bytes);
  void Abort(channel::RawLoan loan);
  [[gnu::always_inline]] void Published(uint64_t messages, uint64_t bytes) {
    if (!watched_) return;
    if (counts_ != nullptr) Count(messages, bytes);
    if (sleepers_possible_) data_event_.Wake();
  }
  [[gnu::always_inline]] Loan Lend(size_t bytes, bool never_wait) {
    Loan loan;
    channel::RawLoan raw;
    if (CanClaim(bytes)) [[likely]]
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
    SetOpen(true);
    return loan;
  }
  [[gnu::always_inline]] Status Copy(const void* data, size_t bytes, bool never_wait) {
    const auto fill = [=](uint8_t* room) {
      if (bytes != 0) memcpy(room, data, bytes);
    };
    if (!CanClaim(bytes) || !spsc_.Put(bytes, fill)) [[unlikely]]
      return CopySlowly(data, bytes, never_wait);
    Published(1, bytes);
    return Status::Ok;
  }
  Status CopySlowly(const void* data, size_t bytes, bool never_wait);
  BatchLoan LendBatch(size_t bytes, size_t count, bool never_wait);
  size_t CopyBatch(const void* data, size_t bytes, size_t count, bool never_wait, Status* why);
  void CommitBatch(const channel::RawLoan& raw, channel::BatchShape shape, size_t count);
  void Count(uint64_t messages, uint64_t bytes);
  Status WhyNot(size_t bytes) const;
  Status ClaimSlowly(size_t bytes, bool never_wait, channel::RawLoan* loan, size_t count = 1);

  channel::RingKind kind_;
  bool sleepers_possible_ = false;
  bool watched_ = false;  // somebody sleeps, perhaps, or counts
  int slot_ = -1;
  uint32_t deaths_seen_ = 0;
  uint64_t next_look_ = 0;  // when to look for the dead again
  size_t max_bytes_ = 0;
  size_t claimable_bytes_ = 0;  // messages of fewer can be claimed: 0 while a loan or a series is open
  size_t batch_messages_ = 0;
  size_t batch_bytes_ = 0;
  channel::RawLoan batch_;
  memtally_channel_header* header_;
  memtally_channel_counts* counts_ = nullptr;  // null: no metrics
  channel::SpscProducer<> spsc_;
  std::optional<channel::MpscProducer<>> mpsc_;
  std::optional<channel::SlotRing<>> slots_;
  std::optional<channel::BroadcastProducer<>> broadcast_;
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
  producer_->SetOpen(false);
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

}  // namespace memtally
