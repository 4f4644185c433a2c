// SPDX-License-Identifier: Apache-2.0
//
// Waiting: one side waits for the other, as the channel's options say, and looks now and then who still lives.
#pragma once

#include <sched.h>

#include <cstdint>

#include "base/proc.hpp"
#include "channel/segment.hpp"

namespace memtally::channel {

inline constexpr uint64_t kLookNs = 50'000'000;    // how often a waiting side looks for the dead
inline constexpr uint64_t kSleepNs = 100'000'000;  // how long it sleeps at most

// Calls `done` until it says so or the deadline passes.  look(thoroughly) may end the waiting with a status other than
// Ok: it is called before every sleep, and thoroughly when *next_look has come, which it then moves on.
// Returns Ok when done, Timeout at the deadline.
template <typename Done, typename Look>
Status Wait(const Segment& segment, Event event, uint64_t deadline, uint64_t* next_look, Done&& done, Look&& look) {
  const ChannelOptions& options = segment.options();
  const bool may_sleep = segment.sleepers_possible() && options.wait != WaitStrategy::Spin;
  const uint32_t spins = !may_sleep ? 1000 : options.wait == WaitStrategy::Park ? 0 : options.spins;
  for (;;) {
    for (uint32_t i = 0; i < spins; ++i) {
      if (done()) return Status::Ok;
      Pause();
    }
    const uint64_t now = base::MonotonicNs();
    const bool thoroughly = now >= *next_look;
    if (thoroughly) *next_look = now + kLookNs;
    const uint32_t seen = may_sleep ? event.PrepareToSleep() : 0;
    if (done()) return Status::Ok;
    if (const Status status = look(thoroughly); status != Status::Ok) return done() ? Status::Ok : status;
    if (now >= deadline) return done() ? Status::Ok : Status::Timeout;
    if (!may_sleep) {
      sched_yield();  // the processor is offered to others
      continue;
    }
    event.Sleep(seen, deadline - now < kSleepNs ? deadline - now : kSleepNs);
  }
}

}  // namespace memtally::channel
