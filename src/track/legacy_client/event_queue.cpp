// SPDX-License-Identifier: Apache-2.0
#include "track/legacy_client/event_queue.hpp"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

namespace memtally::legacy_client {
namespace {

timespec In(uint32_t ms) {
  timespec until{};
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += static_cast<long>(ms % 1000) * 1'000'000;
  if (until.tv_nsec >= 1'000'000'000) {
    until.tv_nsec -= 1'000'000'000;
    ++until.tv_sec;
  }
  return until;
}

}  // namespace

bool EventQueue::Make(const ClientSettings& settings) {
  uint64_t capacity = 1;
  while (capacity < settings.queue_events) capacity *= 2;
  void* memory =
      mmap(nullptr, capacity * sizeof(LegacyEvent), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  events_ = static_cast<LegacyEvent*>(memory);
  mask_ = capacity - 1;
  room_ = settings.queue_events;
  settings_ = &settings;
  wake_at_ = settings.transport == Transport::kBatch ? settings.batch_events : 1;
  if (wake_at_ > room_) wake_at_ = room_;
  MakeLocks();
  return true;
}

void EventQueue::MakeLocks() {
  pthread_mutex_init(&lock_, nullptr);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&filled_, &attributes);
  pthread_cond_init(&emptied_, &attributes);
  pthread_condattr_destroy(&attributes);
}

void EventQueue::Abandon() {
  MakeLocks();
  put_ = taken_ = delivered_ = dropped_ = 0;
  waiters_ = 0;
  sleeps_ = draining_ = false;
}

// With the lock held.
bool EventQueue::WaitForRoom() {
  if (settings_->drop_when_full) return false;
  const timespec until = In(settings_->wait_ms);
  ++waiters_;
  int result = 0;
  while (put_ - taken_ >= room_ && result != ETIMEDOUT) result = pthread_cond_timedwait(&emptied_, &lock_, &until);
  --waiters_;
  return put_ - taken_ < room_;
}

bool EventQueue::Put(const LegacyEvent& event) {
  pthread_mutex_lock(&lock_);
  if (put_ - taken_ >= room_ && !WaitForRoom()) {
    __atomic_store_n(&dropped_, dropped_ + 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock_);
    return false;
  }
  events_[put_++ & mask_] = event;
  const bool wake = sleeps_ && put_ - taken_ >= wake_at_;
  if (wake) sleeps_ = false;
  pthread_mutex_unlock(&lock_);
  if (wake) pthread_cond_signal(&filled_);
  return true;
}

size_t EventQueue::Take(LegacyEvent* events, size_t most, uint32_t patience_ms) {
  pthread_mutex_lock(&lock_);
  if (put_ - taken_ < wake_at_ && !draining_) {
    const timespec until = In(patience_ms);
    sleeps_ = true;
    int result = 0;
    while (sleeps_ && !draining_ && result != ETIMEDOUT) result = pthread_cond_timedwait(&filled_, &lock_, &until);
    sleeps_ = false;
  }
  size_t count = 0;
  for (; count < most && taken_ != put_; ++count) events[count] = events_[taken_++ & mask_];
  if (waiters_ != 0 && count != 0) pthread_cond_broadcast(&emptied_);
  pthread_mutex_unlock(&lock_);
  return count;
}

void EventQueue::Delivered() {
  pthread_mutex_lock(&lock_);
  delivered_ = taken_;
  if (draining_ && delivered_ == put_) pthread_cond_broadcast(&emptied_);
  pthread_mutex_unlock(&lock_);
}

bool EventQueue::Drain(uint32_t patience_ms) {
  pthread_mutex_lock(&lock_);
  const timespec until = In(patience_ms);
  draining_ = true;
  ++waiters_;
  pthread_cond_signal(&filled_);
  int result = 0;
  while (delivered_ != put_ && result != ETIMEDOUT) result = pthread_cond_timedwait(&emptied_, &lock_, &until);
  --waiters_;
  draining_ = false;
  const bool drained = delivered_ == put_;
  pthread_mutex_unlock(&lock_);
  return drained;
}

}  // namespace memtally::legacy_client
