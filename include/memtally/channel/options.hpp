// SPDX-License-Identifier: Apache-2.0
//
// What a channel can be asked for, and what its calls answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace memtally {

// Who sends and who receives.  A mode is kept: one producer (consumer) too many gets Status::Busy.
enum class ChannelMode : uint32_t {
  SPSC = 1,
  MPSC = 2,
  SPMC = 3,  // each message goes to one consumer; one process only
  MPMC = 4,  // one process only
};

// Taken from the interface that this one follows.  A channel carries bytes either way; the receiver names the type, and
// its size is checked.
enum class ChannelType : uint32_t { SingleType, MultiType };

// Queue: each message goes to one consumer.  Broadcast: one producer, and every consumer sees every message that was
// sent after it joined.
enum class Pattern : uint32_t { Queue, Broadcast };

// How a side waits.  Chosen by whoever creates the channel, and then the same for everybody: where nobody can sleep, no
// message costs a look for sleepers.
enum class WaitStrategy : uint32_t { Spin, SpinThenPark, Park };

// What a producer does when there is no room.
enum class WhenFull : uint32_t {
  Block,       // wait: until there is room, the channel is stopped, or the consumer died
  TimeOut,     // wait for ChannelOptions::full_timeout, then Status::Timeout
  Fail,        // Status::Full
  DropNewest,  // Status::Dropped, and counted
};

// Broadcast: what happens when a consumer is slow.
enum class WhenSlow : uint32_t { Block, Overrun };

// What a call did.  No call on the way of a message throws.
enum class Status : uint32_t {
  Ok,
  Empty,      // try_receive: no message
  Full,       // no room
  Timeout,    // nothing in the given time
  Dropped,    // WhenFull::DropNewest: counted
  Stopped,    // stop() was called
  PeerGone,   // the other side died, and left nothing more to receive (or nobody to make room); said once a death
  Busy,       // the mode allows no further producer (consumer), and there is one
  TooLarge,   // larger than max_message_bytes()
  LoanOpen,   // one claim of a producer at a time
  WrongSize,  // the message is there, but is not of the type that was asked for; it is gone
  Corrupt,    // the shared memory holds what no participant of this version writes
  Forked,     // this process inherited the channel by fork; it has to open its own
  Failed,     // the system refused something; see Channel::last_error()
};
const char* ToString(Status status);

namespace compression {
enum class CompressionType : uint32_t { None, LZ4, Zstd, Snappy };
// Only None is there yet; others are refused by name.
struct CompressionConfig {
  CompressionType type = CompressionType::None;
  int level = 1;
  size_t min_size_threshold = 0;
};
}  // namespace compression

struct ChannelOptions {
  size_t bytes = 1024 * 1024;  // of the ring; made a power of two; 0: whatever there is, 1 MiB if there is nothing
  ChannelMode mode = ChannelMode::SPSC;
  ChannelType type = ChannelType::MultiType;
  bool metrics = false;
  compression::CompressionConfig compression = {};
  Pattern pattern = Pattern::Queue;
  WaitStrategy wait = WaitStrategy::SpinThenPark;
  uint32_t spins = 2000;  // pauses before a side parks
  WhenFull when_full = WhenFull::Block;
  std::chrono::nanoseconds full_timeout = std::chrono::seconds(1);
  WhenSlow when_slow = WhenSlow::Block;
  uint32_t alignment = 8;      // of payloads: 8 or 64
  size_t message_bytes = 256;  // SPMC and MPMC: the largest message; elsewhere what a typed message has at first
  bool huge_pages = false;     // asked for; Channel::placement() says what was obtained
  bool prefault = false;
};

// What create_channel() throws: what was wrong and what to do, in words.
class ChannelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ChannelMetrics {
  uint64_t messages_sent = 0;
  uint64_t bytes_sent = 0;
  uint64_t messages_received = 0;
  uint64_t bytes_received = 0;
  uint64_t full_waits = 0;   // claims that found no room
  uint64_t empty_waits = 0;  // receives that found no message
  uint64_t drops = 0;        // by WhenFull::DropNewest
  uint64_t overruns = 0;     // broadcast: messages that slow consumers missed
  uint64_t high_water_bytes = 0;
  uint64_t producer_deaths = 0;
  uint64_t consumer_deaths = 0;
  uint64_t abandoned = 0;  // messages that the dead had claimed or taken
  uint32_t last_dead_pid = 0;
  uint64_t last_sent_ns = 0;      // CLOCK_MONOTONIC, coarse; 0 never
  uint64_t last_received_ns = 0;  // CLOCK_MONOTONIC, coarse; 0 never
};

// Where the ring really lies.
struct Placement {
  size_t bytes = 0;               // of the mapping
  size_t huge_page_bytes = 0;     // in huge pages, as the kernel says
  size_t resident_bytes = 0;      // in memory
  std::string huge_page_refusal;  // why none, if they were asked for
};

// Pins the calling thread to a CPU.  Returns the CPU that it runs on afterwards, or -1 with errno if it could not be
// pinned.
int pin_thread(int cpu);

}  // namespace memtally
