// SPDX-License-Identifier: Apache-2.0
//
// What both sides of a channel share.
//
// Producer and Consumer are each for one thread at a time.  What a message costs is in their headers and in the rings;
// waiting, joining and leaving are not.  A processor keeps a few hundred instructions and a few dozen stores in flight
// while the ring's lines travel; so every instruction and store of a message more means fewer messages on their way.
// Hence, in both:
//   - The short way, of a channel for one producer and one consumer with nothing open, is inlined and asks one question
//     for all that is rare.
//   - What is rare is out of line, and is given words and no objects: a loan that lives in memory for one way through a
//     function lives there for all, and copying it there waits for every store before it.
//   - Both objects lie on lines of their own (and those that a processor fetches in pairs), so that two threads may
//   have
//     two of them that were made one after the other.
#pragma once

#include <chrono>
#include <cstdint>

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

}  // namespace channel
}  // namespace memtally
