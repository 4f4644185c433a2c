// SPDX-License-Identifier: Apache-2.0
#include "channel/event_watch.hpp"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "channel/waiting.hpp"

namespace memtally::channel {

std::unique_ptr<EventWatch> EventWatch::Start(const std::shared_ptr<Segment>& segment) {
  if (!segment->sleepers_possible()) {
    errno = EINVAL;
    return nullptr;
  }
  base::Fd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return nullptr;
  return std::unique_ptr<EventWatch>(new EventWatch(segment, std::move(fd)));
}

EventWatch::EventWatch(std::shared_ptr<Segment> segment, base::Fd fd)
    : segment_(std::move(segment)), fd_(std::move(fd)), thread_([this] { Run(); }) {}

EventWatch::~EventWatch() {
  ending_.store(true);
  armed_.store(1);
  armed_.notify_all();
  segment_->DataEvent().Wake();
  thread_.join();
}

void EventWatch::Rearm() {
  if (armed_.exchange(1) == 0) armed_.notify_all();
}

// A look from outside: what the consumer has taken is behind `taken`, or behind the cursors.
bool EventWatch::SomethingThere() const {
  const memtally_channel_header* header = segment_->header();
  const uint64_t taken = HardwareAccess::Load(&header->taken, std::memory_order_acquire);
  switch (segment_->geometry().mode) {
    case MEMTALLY_CHANNEL_SPSC:
      return SpscHoldsMessage<>(segment_->Spsc(), taken);
    case MEMTALLY_CHANNEL_MPSC:
      return MpscHoldsMessage<>(segment_->Mpsc(), taken);
    case MEMTALLY_CHANNEL_BROADCAST: {
      const uint64_t tail = HardwareAccess::Load(&header->tail, std::memory_order_acquire);
      for (int slot = 0; slot < MEMTALLY_CHANNEL_PARTICIPANTS; ++slot) {
        const uint64_t cursor = HardwareAccess::Load(&segment_->participant(slot)->cursor, std::memory_order_acquire);
        if (cursor != kNoCursor && (cursor & ~kReading) != tail) return true;
      }
      return false;
    }
    default:
      return !SlotRing<>(segment_->Slots()).Empty();
  }
}

void EventWatch::Run() {
  const Event event = segment_->DataEvent();
  while (!ending_.load()) {
    const uint32_t seen = event.PrepareToSleep();
    if (ending_.load()) return;
    const bool stopped = std::atomic_ref<uint32_t>(segment_->header()->stopped).load(std::memory_order_acquire) != 0;
    if (!SomethingThere() && !stopped) {
      event.Sleep(seen, kSleepNs);
      continue;
    }
    armed_.store(0);
    const uint64_t one = 1;
    if (write(fd_.get(), &one, sizeof(one)) < 0 && errno != EAGAIN) return;
    armed_.wait(0);
  }
}

}  // namespace memtally::channel
