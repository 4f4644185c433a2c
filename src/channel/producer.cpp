// SPDX-License-Identifier: Apache-2.0
//
// What a Producer does seldom: joining, leaving, waiting, and the ways that are not short.
#include <cstring>

#include <memtally/channel/producer.hpp>

#include "channel/counting.hpp"
#include "channel/segment.hpp"
#include "channel/waiting.hpp"

namespace memtally {

using channel::RingKind;
using channel::Segment;

namespace {

// `count` messages of `bytes` each, from one behind the other to `stride` apart.
void CopyMessages(const std::byte* from, size_t bytes, size_t count, uint8_t* to, size_t stride) {
  if (stride == bytes) {
    memcpy(to, from, count * bytes);
  } else {
    for (size_t i = 0; i < count && bytes != 0; ++i) memcpy(to + i * stride, from + i * bytes, bytes);
  }
}

// Claims, copies and publishes without leaving the function, so that the loan is words in registers.  False: no room.
template <typename Ring>
bool CopyTo(Ring& ring, const void* data, size_t bytes) {
  const channel::RawLoan loan = ring.Claim(bytes);
  if (loan.data == nullptr) return false;
  if (bytes != 0) memcpy(loan.data, data, bytes);
  ring.Commit(loan, bytes);
  return true;
}

}  // namespace

Producer::Producer(std::shared_ptr<Segment> segment)
    : kind_(segment->geometry().Kind()),
      sleepers_possible_(segment->sleepers_possible()),
      header_(segment->header()),
      data_event_(segment->DataEvent()),
      room_event_(segment->RoomEvent()),
      segment_(std::move(segment)) {
  max_bytes_ = segment_->geometry().MaxMessageBytes();
  SetOpen(false);
}

std::unique_ptr<Producer> Producer::Join(const std::shared_ptr<Segment>& segment, Status* status) {
  std::unique_ptr<Producer> producer(new Producer(segment));
  Producer* p = producer.get();
  p->slot_ = segment->Join(MEMTALLY_CHANNEL_PRODUCER, status, [&](int slot) {
    if (segment->metrics()) p->counts_ = &segment->participant(slot)->counts;
    p->watched_ = p->counts_ != nullptr || p->sleepers_possible_;
    p->deaths_seen_ = std::atomic_ref<uint32_t>(p->header_->dead_consumers).load(std::memory_order_acquire);
    if (p->kind_ == RingKind::kSpsc) p->spsc_ = channel::SpscProducer<>(segment->Spsc());
    if (p->kind_ == RingKind::kMpsc)
      p->mpsc_.emplace(segment->Mpsc(), segment->shared() ? segment->Claim(slot) : nullptr);
    if (p->kind_ == RingKind::kSlots) p->slots_.emplace(segment->Slots());
    if (p->kind_ == RingKind::kBroadcast) p->broadcast_.emplace(segment->Broadcast());
  });
  if (p->slot_ < 0) return nullptr;
  return producer;
}

Producer::~Producer() {
  if (slot_ < 0) return;
  publish();
  segment_->Leave(slot_);
}

channel::RawLoan Producer::ClaimOther(size_t bytes, size_t slots) {
  if (kind_ == RingKind::kMpsc) return mpsc_->Claim(bytes);
  if (kind_ == RingKind::kSlots) return slots_->Claim(slots);
  return broadcast_->Claim(bytes);
}

void Producer::CommitOther(uint8_t* data, uint64_t position, uint64_t end, size_t bytes) {
  const channel::RawLoan loan{data, position, end};
  if (kind_ == RingKind::kMpsc) return mpsc_->Commit(loan, bytes);
  if (kind_ == RingKind::kSlots) return slots_->Commit(loan, bytes);
  broadcast_->Commit(loan, bytes);
}

void Producer::Count(uint64_t messages, uint64_t bytes) {
  // The level is taken then, and whenever there was no room.
  if (!channel::CountMessages(counts_, messages, bytes)) return;
  uint64_t used = 0;
  if (kind_ == RingKind::kSpsc) used = spsc_.Used();
  if (kind_ == RingKind::kMpsc) {
    const auto tail = channel::MpscPlace::Of(std::atomic_ref<uint64_t>(header_->tail).load(std::memory_order_relaxed));
    const auto head = channel::MpscPlace::Of(std::atomic_ref<uint64_t>(header_->head).load(std::memory_order_relaxed));
    used = uint64_t{tail.position - head.position} * segment_->geometry().alignment;
  }
  if (kind_ == RingKind::kSlots) used = slots_->Used() * segment_->geometry().stride;
  if (kind_ == RingKind::kBroadcast) used = broadcast_->Used();
  if (used <= segment_->geometry().capacity) channel::Raise(&counts_->high_water, used);
}

Status Producer::CopySlowly(const void* data, size_t bytes, bool never_wait) {
  if (CanClaim(bytes) && ((kind_ == RingKind::kMpsc && CopyTo(*mpsc_, data, bytes)) ||
                          (kind_ == RingKind::kBroadcast && CopyTo(*broadcast_, data, bytes)))) {
    Published(1, bytes);
    return Status::Ok;
  }
  channel::RawLoan raw;
  const Status status = ClaimSlowly(bytes, never_wait, &raw);
  if (status != Status::Ok) return status;
  if (bytes != 0) memcpy(raw.data, data, bytes);
  Commit(raw, bytes);
  Published(1, bytes);
  return Status::Ok;
}

void Producer::Abort(channel::RawLoan loan) {
  SetOpen(false);
  if (kind_ == RingKind::kMpsc) mpsc_->Abort(loan);
  if (kind_ == RingKind::kSlots) slots_->Abort(loan);
  if (kind_ != RingKind::kSpsc && sleepers_possible_) data_event_.Wake();
}

BatchLoan Producer::LendBatch(size_t bytes, size_t count, bool never_wait) {
  BatchLoan loan;
  const size_t most = max_batch(bytes);
  if (most == 0 || count == 0) {
    loan.status_ = most == 0 ? Status::TooLarge : Status::Empty;
    return loan;
  }
  const size_t wanted = count < most ? count : most;
  loan.shape_ = channel::BatchShape::Of(bytes, wanted, segment_->geometry().alignment);
  const size_t room = kind_ == RingKind::kSlots ? bytes : loan.shape_.bytes();
  loan.status_ = ClaimSlowly(room, never_wait, &loan.raw_, wanted);
  if (loan.status_ != Status::Ok) return loan;
  if (kind_ == RingKind::kSlots) loan.shape_.count = static_cast<uint32_t>(loan.raw_.end - loan.raw_.position);
  loan.producer_ = this;
  SetOpen(true);
  return loan;
}

void Producer::CommitBatch(const channel::RawLoan& raw, channel::BatchShape shape, size_t count) {
  SetOpen(false);
  if (kind_ == RingKind::kSlots) {
    const uint64_t cut = raw.position + count;
    slots_->Commit({raw.data, raw.position, cut}, shape.message_bytes);
    slots_->Abort({raw.data, cut, raw.end});
  } else {
    shape.count = static_cast<uint32_t>(count);
    shape.Write(raw.data);
    if (kind_ == RingKind::kSpsc) spsc_.Commit(raw, shape.bytes(), true);
    if (kind_ == RingKind::kMpsc) mpsc_->Commit(raw, shape.bytes(), true);
    if (kind_ == RingKind::kBroadcast) broadcast_->Commit(raw, shape.bytes(), true);
  }
  Published(count, count * shape.message_bytes);
}

size_t Producer::CopyBatch(const void* data, size_t bytes, size_t count, bool never_wait, Status* why) {
  const auto* from = static_cast<const std::byte*>(data);
  // Not half the ring at once: the other side is to read while this one copies.
  const size_t most = max_batch(bytes) / 4 + 1;
  size_t sent = 0;
  Status status = Status::Ok;
  while (sent < count) {
    const size_t wanted = count - sent < most ? count - sent : most;
    const auto shape = channel::BatchShape::Of(bytes, wanted, segment_->geometry().alignment);
    const auto fill = [&](uint8_t* room) {
      shape.Write(room);
      CopyMessages(from + sent * bytes, bytes, wanted, room + shape.first, shape.stride);
    };
    if (CanClaim(shape.bytes()) && spsc_.Put(shape.bytes(), fill, true)) {
      Published(wanted, wanted * bytes);
      sent += wanted;
      continue;
    }
    BatchLoan loan = LendBatch(bytes, wanted, never_wait);
    status = loan.status();
    if (!loan) break;
    const size_t now = loan.size();
    if (kind_ == RingKind::kSlots) {
      for (size_t i = 0; i < now && bytes != 0; ++i) memcpy(loan[i], from + (sent + i) * bytes, bytes);
    } else {
      CopyMessages(from + sent * bytes, bytes, now, reinterpret_cast<uint8_t*>(loan[0]), loan.shape_.stride);
    }
    loan.commit();
    sent += now;
  }
  if (why != nullptr) *why = status;
  return sent;
}

size_t Producer::max_batch(size_t bytes) const {
  if (bytes > max_bytes_) return 0;
  if (kind_ == RingKind::kSlots) return segment_->geometry().capacity / segment_->geometry().stride;
  return channel::BatchShape::MostIn(max_bytes_, bytes, segment_->geometry().alignment);
}

Status Producer::WhyNot(size_t bytes) const {
  if (bytes > max_bytes_) return Status::TooLarge;
  if (segment_->inherited()) return Status::Forked;
  if (LoanOpen()) return Status::LoanOpen;
  return Status::Stopped;
}

Status Producer::ClaimSlowly(size_t bytes, bool never_wait, channel::RawLoan* loan, size_t count) {
  if (batch_messages_ != 0) publish();
  if (!CanClaim(bytes)) return WhyNot(bytes);
  *loan = Claim(bytes, count);
  if (loan->data != nullptr) return Status::Ok;
  const ChannelOptions& options = segment_->options();
  if (counts_ != nullptr) {
    channel::Add(&counts_->waits, 1);
    channel::Raise(&counts_->high_water, segment_->geometry().capacity);
  }
  if (options.when_full == WhenFull::DropNewest) {
    if (counts_ != nullptr) channel::Add(&counts_->drops, count);
    return Status::Dropped;
  }
  if (never_wait || options.when_full == WhenFull::Fail) return Status::Full;
  const uint64_t deadline =
      options.when_full == WhenFull::TimeOut ? channel::DeadlineAfter(options.full_timeout) : channel::kForever;
  return channel::Wait(
      *segment_, room_event_, deadline, &next_look_,
      [&] {
        *loan = Claim(bytes, count);
        return loan->data != nullptr;
      },
      [&](bool thoroughly) {
        if (Stopped()) return Status::Stopped;
        if (!thoroughly) return Status::Ok;
        segment_->BuryTheDead();
        const uint32_t deaths = std::atomic_ref<uint32_t>(header_->dead_consumers).load(std::memory_order_acquire);
        if (deaths == deaths_seen_) return Status::Ok;
        deaths_seen_ = deaths;
        return segment_->Anybody(MEMTALLY_CHANNEL_CONSUMER) || kind_ == RingKind::kBroadcast ? Status::Ok
                                                                                             : Status::PeerGone;
      });
}

}  // namespace memtally
