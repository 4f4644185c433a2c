// SPDX-License-Identifier: Apache-2.0
//
// What Producer and Consumer do seldom: joining, leaving, waiting.
#include <time.h>

#include <memtally/channel/endpoint.hpp>

#include "base/proc.hpp"
#include "channel/segment.hpp"
#include "channel/waiting.hpp"

namespace memtally {

namespace {

using channel::RingKind;
using channel::Segment;

RingKind KindOf(const channel::Geometry& geometry) {
  switch (geometry.mode) {
    case MEMTALLY_CHANNEL_SPSC:
      return RingKind::kSpsc;
    case MEMTALLY_CHANNEL_MPSC:
      return RingKind::kMpsc;
    case MEMTALLY_CHANNEL_BROADCAST:
      return RingKind::kBroadcast;
    default:
      return RingKind::kSlots;
  }
}

uint64_t CoarseNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

void Raise(uint64_t* word, uint64_t value) {
  const std::atomic_ref<uint64_t> reference(*word);
  if (reference.load(std::memory_order_relaxed) < value) reference.store(value, std::memory_order_relaxed);
}

uint32_t Load(uint32_t* word) { return std::atomic_ref<uint32_t>(*word).load(std::memory_order_acquire); }

}  // namespace

namespace channel {

uint64_t DeadlineAfter(std::chrono::nanoseconds timeout) {
  const uint64_t now = base::MonotonicNs();
  if (timeout.count() <= 0) return now;
  const uint64_t deadline = now + static_cast<uint64_t>(timeout.count());
  return deadline < now ? kForever : deadline;
}

}  // namespace channel

const char* ToString(Status status) {
  switch (status) {
    case Status::Ok:
      return "ok";
    case Status::Empty:
      return "no message";
    case Status::Full:
      return "no room";
    case Status::Timeout:
      return "timed out";
    case Status::Dropped:
      return "dropped, since there was no room";
    case Status::Stopped:
      return "the channel was stopped";
    case Status::PeerGone:
      return "the other side died";
    case Status::Busy:
      return "the channel's mode has no place for another one";
    case Status::TooLarge:
      return "larger than the channel's largest message";
    case Status::LoanOpen:
      return "the producer's last claim is neither committed nor dropped";
    case Status::WrongSize:
      return "the message is not of the type that was asked for";
    case Status::Corrupt:
      return "the shared memory holds what no participant writes";
    case Status::Forked:
      return "inherited by fork: this process has to open the channel itself";
    case Status::Failed:
      return "the system refused something";
  }
  return "unknown status";
}

// ---- Producer

Producer::Producer(std::shared_ptr<Segment> segment)
    : kind_(KindOf(segment->geometry())),
      sleepers_possible_(segment->sleepers_possible()),
      header_(segment->header()),
      data_event_(segment->DataEvent()),
      room_event_(segment->RoomEvent()),
      segment_(std::move(segment)) {
  max_bytes_ = segment_->geometry().MaxMessageBytes();
}

std::unique_ptr<Producer> Producer::Join(const std::shared_ptr<Segment>& segment, Status* status) {
  std::unique_ptr<Producer> producer(new Producer(segment));
  Producer* p = producer.get();
  p->slot_ = segment->Join(MEMTALLY_CHANNEL_PRODUCER, status, [&](int slot) {
    if (segment->metrics()) p->counts_ = &segment->participant(slot)->counts;
    p->deaths_seen_ = Load(&p->header_->dead_consumers);
    if (p->kind_ == RingKind::kSpsc) p->spsc_.emplace(segment->Spsc());
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

void Producer::CommitOther(channel::RawLoan loan, size_t bytes) {
  if (kind_ == RingKind::kMpsc) return mpsc_->Commit(loan, bytes);
  if (kind_ == RingKind::kSlots) return slots_->Commit(loan, bytes);
  broadcast_->Commit(loan, bytes);
}

void Producer::Count(uint64_t messages, uint64_t bytes) {
  const uint64_t before = std::atomic_ref<uint64_t>(counts_->messages).load(std::memory_order_relaxed);
  channel::Add(&counts_->messages, messages);
  channel::Add(&counts_->bytes, bytes);
  // The time and the level are taken at every 64th message, and whenever there was no room.
  if (before != 0 && (before ^ (before + messages)) < 64) return;
  Raise(&counts_->last_time_ns, CoarseNs());
  uint64_t used = 0;
  if (kind_ == RingKind::kSpsc) used = spsc_->Used();
  if (kind_ == RingKind::kMpsc) {
    const auto tail = channel::MpscPlace::Of(std::atomic_ref<uint64_t>(header_->tail).load(std::memory_order_relaxed));
    const auto head = channel::MpscPlace::Of(std::atomic_ref<uint64_t>(header_->head).load(std::memory_order_relaxed));
    used = uint64_t{tail.position - head.position} * segment_->geometry().alignment;
  }
  if (kind_ == RingKind::kSlots) used = slots_->Used() * segment_->geometry().stride;
  if (kind_ == RingKind::kBroadcast) used = broadcast_->Used();
  if (used <= segment_->geometry().capacity) Raise(&counts_->high_water, used);
}

Status Producer::CopySlowly(const void* data, size_t bytes, bool never_wait) {
  channel::RawLoan raw;
  const Status status = ClaimSlowly(bytes, never_wait, &raw);
  return status == Status::Ok ? CopyInto(raw, data, bytes) : status;
}

void Producer::Abort(channel::RawLoan loan) {
  loan_open_ = false;
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
  loan_open_ = true;
  return loan;
}

void Producer::CommitBatch(const channel::RawLoan& raw, channel::BatchShape shape, size_t count) {
  loan_open_ = false;
  if (kind_ == RingKind::kSlots) {
    const uint64_t cut = raw.position + count;
    slots_->Commit({raw.data, raw.position, cut}, shape.message_bytes);
    slots_->Abort({raw.data, cut, raw.end});
  } else {
    shape.count = static_cast<uint32_t>(count);
    shape.Write(raw.data);
    if (kind_ == RingKind::kSpsc) spsc_->Commit(raw, shape.bytes(), true);
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
    BatchLoan loan = LendBatch(bytes, wanted, never_wait);
    status = loan.status();
    if (!loan) break;
    const size_t now = loan.size();
    if (kind_ != RingKind::kSlots && loan.shape_.stride == bytes) {
      memcpy(loan[0], from + sent * bytes, now * bytes);
    } else {
      for (size_t i = 0; i < now && bytes != 0; ++i) memcpy(loan[i], from + (sent + i) * bytes, bytes);
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
  if (loan_open_) return Status::LoanOpen;
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
    Raise(&counts_->high_water, segment_->geometry().capacity);
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
        const uint32_t deaths = Load(&header_->dead_consumers);
        if (deaths == deaths_seen_) return Status::Ok;
        deaths_seen_ = deaths;
        return segment_->Anybody(MEMTALLY_CHANNEL_CONSUMER) || kind_ == RingKind::kBroadcast ? Status::Ok
                                                                                             : Status::PeerGone;
      });
}

// ---- Consumer

Consumer::Consumer(std::shared_ptr<Segment> segment)
    : kind_(KindOf(segment->geometry())),
      sleepers_possible_(segment->sleepers_possible()),
      header_(segment->header()),
      inherited_(&segment->inherited_flag()),
      data_event_(segment->DataEvent()),
      room_event_(segment->RoomEvent()),
      segment_(std::move(segment)) {
  batches_.reserve(16);
}

std::unique_ptr<Consumer> Consumer::Join(const std::shared_ptr<Segment>& segment, Status* status) {
  std::unique_ptr<Consumer> consumer(new Consumer(segment));
  Consumer* c = consumer.get();
  c->slot_ = segment->Join(MEMTALLY_CHANNEL_CONSUMER, status, [&](int slot) {
    if (segment->metrics()) c->counts_ = &segment->participant(slot)->counts;
    c->deaths_seen_ = Load(&c->header_->dead_producers);
    uint64_t abandoned = 0;
    if (c->kind_ == RingKind::kSpsc) c->spsc_.emplace(segment->Spsc(), &abandoned);
    if (c->kind_ == RingKind::kMpsc) c->mpsc_.emplace(segment->Mpsc(), &abandoned);
    if (c->kind_ == RingKind::kSlots) c->slots_.emplace(segment->Slots());
    if (c->kind_ == RingKind::kBroadcast) c->broadcast_.emplace(segment->Broadcast(), static_cast<uint32_t>(slot));
    std::atomic_ref<uint64_t>(c->header_->abandoned).fetch_add(abandoned, std::memory_order_relaxed);
  });
  if (c->slot_ < 0) return nullptr;
  if (c->sleepers_possible_) c->room_event_.Wake();
  return consumer;
}

Consumer::~Consumer() {
  if (slot_ < 0) return;
  if (broadcast_ && !segment_->inherited()) {
    broadcast_->Leave();
    if (sleepers_possible_) room_event_.Wake();
  }
  segment_->Leave(slot_);
}

channel::ReadResult Consumer::ReadOther(channel::RawView* raw) {
  if (kind_ == RingKind::kMpsc) return mpsc_->Read(raw);
  if (kind_ == RingKind::kSlots) return slots_->Read(raw);
  return broadcast_->Read(raw);
}

void Consumer::ReleaseOther(channel::RawView raw) {
  if (kind_ == RingKind::kMpsc) return mpsc_->Release(raw);
  if (kind_ == RingKind::kSlots) return slots_->Release(raw);
  broadcast_->Release(raw);
}

void Consumer::Count(uint64_t messages, uint64_t bytes) {
  const uint64_t before = std::atomic_ref<uint64_t>(counts_->messages).load(std::memory_order_relaxed);
  channel::Add(&counts_->messages, messages);
  channel::Add(&counts_->bytes, bytes);
  if (before == 0 || (before ^ (before + messages)) >= 64) Raise(&counts_->last_time_ns, CoarseNs());
}

Status Consumer::OpenBatch(channel::RawView batch) {
  channel::BatchReader<> reader;
  if (!reader.Open(batch, segment_->geometry().alignment, kind_ != RingKind::kBroadcast)) return Status::Corrupt;
  batches_.push_back(reader);
  batch_left_ = reader.left();
  return Status::Ok;
}

void Consumer::ReleaseOfBatch(uint64_t position, uint32_t count) {
  for (size_t i = batches_.size(); i-- > 0;) {
    if (batches_[i].batch().position != position) continue;
    if (batches_[i].Release(count)) {
      const channel::RawView batch = batches_[i].batch();
      batches_.erase(batches_.begin() + static_cast<std::ptrdiff_t>(i));
      ReleaseWhole(batch);
    }
    return;
  }
}

Status Consumer::ReadOfBatch(channel::RawView found, channel::RawView* raw) {
  if (batch_left_ == 0) {
    // If it makes no sense, nobody is to give it back: the ring stays full there.
    if (const Status status = OpenBatch(found); status != Status::Ok) return status;
  }
  *raw = batches_.back().Next();
  --batch_left_;
  if (counts_ != nullptr) Count(1, raw->bytes);
  return Status::Ok;
}

Status Consumer::ReadWaiting(uint64_t deadline, channel::RawView* raw) {
  Status status = Read(raw);
  if (status != Status::Empty) return status;
  if (counts_ != nullptr) channel::Add(&counts_->waits, 1);
  const Status waited = channel::Wait(
      *segment_, data_event_, deadline, &next_look_,
      [&] {
        status = Read(raw);
        return status != Status::Empty;
      },
      [&](bool thoroughly) {
        if (Load(&header_->stopped) != 0) return Status::Stopped;
        if (!thoroughly) return Status::Ok;
        segment_->BuryTheDead();
        if (mpsc_ && segment_->FillHole(&*mpsc_)) return Status::Ok;
        const uint32_t deaths = Load(&header_->dead_producers);
        if (deaths == deaths_seen_ || (mpsc_ && mpsc_->AtHole())) return Status::Ok;
        deaths_seen_ = deaths;
        return segment_->Anybody(MEMTALLY_CHANNEL_PRODUCER) ? Status::Ok : Status::PeerGone;
      });
  return waited != Status::Ok ? waited : status;
}

}  // namespace memtally
