// SPDX-License-Identifier: Apache-2.0
//
// EventQueue: reports on their way to the thread that sends them: bounded, ordered, for any number of threads.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

#include "track/legacy_client/client_settings.hpp"
#include "track/legacy_client/legacy_event.hpp"

namespace memtally::legacy_client {

class EventQueue {
 public:
  // False if there is no memory for it.
  bool Make(const ClientSettings& settings);
  // In a child of fork: empty, with locks that nobody holds.
  void Abandon();

  // Appends; waits for room as the settings say.  False: dropped, and counted.
  bool Put(const LegacyEvent& event);
  // Takes up to `most`, in order; waits for them, `patience_ms` at most.
  size_t Take(LegacyEvent* events, size_t most, uint32_t patience_ms);
  // What was taken has been delivered.
  void Delivered();
  // Waits until all that was put is delivered; false if that takes longer than `patience_ms`.
  bool Drain(uint32_t patience_ms);

  uint64_t dropped() const { return __atomic_load_n(&dropped_, __ATOMIC_RELAXED); }
  uint64_t waiting() const { return put_ - delivered_; }

 private:
  bool WaitForRoom();
  void MakeLocks();

  LegacyEvent* events_ = nullptr;
  uint64_t mask_ = 0;
  uint64_t room_ = 0;
  const ClientSettings* settings_ = nullptr;
  uint64_t wake_at_ = 1;  // events in the queue that wake a sleeping taker
  pthread_mutex_t lock_{};
  pthread_cond_t filled_{};
  pthread_cond_t emptied_{};
  uint64_t put_ = 0;
  uint64_t taken_ = 0;
  uint64_t delivered_ = 0;
  uint64_t dropped_ = 0;
  uint32_t waiters_ = 0;
  bool sleeps_ = false;    // the taker
  bool draining_ = false;  // somebody waits for the end of it
};

}  // namespace memtally::legacy_client
