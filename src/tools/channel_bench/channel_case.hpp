// SPDX-License-Identifier: Apache-2.0
//
// The channels' side of memtally bench channels: throughput and round trips, over each transport.
#pragma once

#include <cstdint>
#include <string>

#include "tools/channel_bench/queue_driver.hpp"

namespace memtally::tools {

// Messages a second; 0 if something was wrong.
double RunChannel(const QueueCase& wanted, WaitStrategy wait);

// The same over one SPSC channel in memory with messages of 64 bytes that are claimed, filled, committed, looked at
// where they lie, and released.
double RunLoans(uint64_t messages);

// Two CPUs that push 64-byte messages into one MPSC channel, while nobody receives: messages a second.
double RunPushersOnly(uint64_t messages);

struct RoundTrip {
  double p50_ns = 0;
  double p99_ns = 0;
};
// There and back over two channels, one message at a time; each round is timed by itself.
// "memory": between threads; "ipc": between two processes.
RoundTrip MeasureRoundTrip(const std::string& transport, const ChannelOptions& options, size_t bytes, uint64_t rounds);
// The same with nothing but a cache line that both write to; with one line each way, as a channel has (what only one
// side writes cannot wander with the turn, so that is the limit of every channel); and with nothing but two futexes
// (between two processes).
RoundTrip MeasureLine(uint64_t rounds);
RoundTrip MeasureLinePair(uint64_t rounds);
RoundTrip MeasureFutex(uint64_t rounds);

// Options of a channel that holds about QueueLength(bytes) messages.
ChannelOptions OptionsFor(ChannelMode mode, bool broadcast, size_t bytes, WaitStrategy wait);
std::string FreshName(const std::string& transport);

}  // namespace memtally::tools
