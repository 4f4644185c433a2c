// SPDX-License-Identifier: Apache-2.0
//
// What a Consumer does seldom: joining, leaving, waiting, batches that are not taken whole.
#include <memtally/channel/consumer.hpp>

#include "channel/counting.hpp"
#include "channel/segment.hpp"
#include "channel/waiting.hpp"

namespace memtally {

using channel::RingKind;
using channel::Segment;

Consumer::Consumer(std::shared_ptr<Segment> segment)
    : kind_(segment->geometry().Kind()),
      sleepers_possible_(segment->sleepers_possible()),
      easy_(kind_ == RingKind::kSpsc),
      alignment_(segment->geometry().alignment),
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
    c->watched_ = c->counts_ != nullptr || c->sleepers_possible_;
    c->deaths_seen_ = std::atomic_ref<uint32_t>(c->header_->dead_producers).load(std::memory_order_acquire);
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

void Consumer::ReleaseOther(uint64_t position, uint64_t end) {
  const channel::RawView raw{nullptr, 0, false, position, end};
  if (kind_ == RingKind::kMpsc) return mpsc_->Release(raw);
  if (kind_ == RingKind::kSlots) return slots_->Release(raw);
  broadcast_->Release(raw);
}

void Consumer::Count(uint64_t messages, uint64_t bytes) { channel::CountMessages(counts_, messages, bytes); }

Status Consumer::OpenBatch(channel::RawView batch) {
  channel::BatchReader<> reader;
  if (!reader.Open(batch, alignment_, kind_ != RingKind::kBroadcast)) return Status::Corrupt;
  batches_.push_back(reader);
  SetBatchLeft(reader.left());
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

Status Consumer::ReadSlowly(channel::RawView found, channel::RawView* raw) {
  if (batch_left_ == 0) {
    if (!found.batch) {
      const channel::ReadResult result = ReadOther(raw);
      if (result != channel::ReadResult::kMessage)
        return result == channel::ReadResult::kEmpty ? Status::Empty : Status::Corrupt;
      if (!raw->batch) {
        if (counts_ != nullptr) Count(1, raw->bytes);
        return Status::Ok;
      }
      found = *raw;
    }
    // If it makes no sense, nobody is to give it back: the ring stays full there.
    if (const Status status = OpenBatch(found); status != Status::Ok) return status;
  }
  *raw = batches_.back().Next();
  SetBatchLeft(batch_left_ - 1);
  if (counts_ != nullptr) Count(1, raw->bytes);
  return Status::Ok;
}

channel::ReadResult Consumer::ReadOther(channel::RawView* raw) {
  if (kind_ == RingKind::kMpsc) return mpsc_->Read(raw);
  if (kind_ == RingKind::kSlots) return slots_->Read(raw);
  return broadcast_->Read(raw);
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
        if (std::atomic_ref<uint32_t>(header_->stopped).load(std::memory_order_acquire) != 0) return Status::Stopped;
        if (!thoroughly) return Status::Ok;
        segment_->BuryTheDead();
        if (mpsc_ && segment_->FillHole(&*mpsc_)) return Status::Ok;
        const uint32_t deaths = std::atomic_ref<uint32_t>(header_->dead_producers).load(std::memory_order_acquire);
        if (deaths == deaths_seen_ || (mpsc_ && mpsc_->AtHole())) return Status::Ok;
        deaths_seen_ = deaths;
        return segment_->Anybody(MEMTALLY_CHANNEL_PRODUCER) ? Status::Ok : Status::PeerGone;
      });
  return waited != Status::Ok ? waited : status;
}

}  // namespace memtally
