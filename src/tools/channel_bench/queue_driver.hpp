// SPDX-License-Identifier: Apache-2.0
//
// Drives any queue with pinned threads and checks what arrives: the same loop, the same pauses and the same check for
// channels and for their peers.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <memtally/channel.hpp>

#include "tools/bench_clock.hpp"

namespace memtally::tools {

// What is to be measured.
struct QueueCase {
  ChannelMode mode = ChannelMode::SPSC;
  bool broadcast = false;  // each consumer gets every message
  bool processes = false;  // the one consumer is a process of its own
  size_t bytes = 64;
  size_t batch = 1;
  int producers = 1;
  int consumers = 1;
  uint64_t messages = 0;  // of each producer
};

inline constexpr size_t kQueueBytes = 256 * 1024;  // of payload that fits in a queue, whatever the message
inline constexpr size_t QueueLength(size_t bytes) {
  return bytes >= kQueueBytes / 16 ? 16 : bytes <= kQueueBytes / 4096 ? 4096 : kQueueBytes / bytes;
}

template <size_t N>
struct Blob {
  uint64_t producer = 0;
  uint64_t number = 0;
  std::byte rest[N - 16];
};
template <>
struct Blob<16> {
  uint64_t producer = 0;
  uint64_t number = 0;
};

// The pause of a side that found no room or no message.  With as many CPUs as threads it hardly ever gives way.
class Backoff {
 public:
  explicit Backoff(bool crowded) : crowded_(crowded) {}
  void Wait() {
    for (int i = 0; i < 16; ++i) channel::Pause();
    if (++failures_ % (crowded_ ? 64 : 4096) == 0) std::this_thread::yield();
  }

 private:
  bool crowded_;
  int failures_ = 0;
};

// Runs one case on a queue, and returns messages a second; 0 if something was lost, doubled or out of order.  Without
// consumers: how fast the messages went in.
//   sender(p): an object of thread p with size_t Push(const Blob<N>* blobs, size_t count): how many went in
//   receiver(c): one with size_t Pop(size_t most, each): calls each(const Blob<N>&) for what came out
template <size_t N, typename MakeSender, typename MakeReceiver>
double DriveQueue(const QueueCase& wanted, MakeSender&& sender, MakeReceiver&& receiver) {
  const int threads = wanted.producers + wanted.consumers;
  const unsigned cpus = std::thread::hardware_concurrency();
  const bool crowded = cpus < static_cast<unsigned>(threads);
  const uint64_t all = wanted.messages * static_cast<uint64_t>(wanted.producers);
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> sum{0};
  std::atomic<bool> wrong{false};
  std::vector<std::thread> running;
  running.reserve(static_cast<size_t>(threads));
  const auto start = [&](int number) {
    pin_thread(static_cast<int>(static_cast<unsigned>(number) % (cpus == 0 ? 1 : cpus)));
    ++ready;
    while (!go.load(std::memory_order_acquire)) std::this_thread::yield();
  };
  for (int p = 0; p < wanted.producers; ++p) {
    running.emplace_back([&, p] {
      auto&& mine = sender(p);
      // Batches of blobs, used in turn; numbers are written well ahead.  A copy of bytes that are still on their way
      // out of the processor's store buffer would wait for all older stores, those to the queue among them.
      const size_t ahead = N > 64 ? 1 : (64 + wanted.batch - 1) / wanted.batch;  // batches
      std::vector<Blob<N>> blobs((ahead + 1) * wanted.batch);
      for (size_t i = 0; i < blobs.size(); ++i) {
        blobs[i].producer = static_cast<uint64_t>(p);
        blobs[i].number = i;
      }
      size_t at = 0;                       // the batch to send
      size_t next = ahead * wanted.batch;  // the batch to number
      Backoff backoff(crowded);
      start(p);
      for (uint64_t number = 0; number < wanted.messages;) {
        const size_t count = wanted.messages - number < wanted.batch ? wanted.messages - number : wanted.batch;
        for (size_t i = 0; i < count; ++i) blobs[next + i].number = number + ahead * wanted.batch + i;
        for (size_t done = 0; done < count;) {
          const size_t went = mine.Push(blobs.data() + at + done, count - done);
          done += went;
          if (went == 0) backoff.Wait();
        }
        number += count;
        at = at + wanted.batch == blobs.size() ? 0 : at + wanted.batch;
        next = next + wanted.batch == blobs.size() ? 0 : next + wanted.batch;
      }
    });
  }
  for (int c = 0; c < wanted.consumers; ++c) {
    running.emplace_back([&, c] {
      auto&& mine = receiver(c);
      std::vector<uint64_t> next(static_cast<size_t>(wanted.producers), 0);
      uint64_t own_sum = 0;
      uint64_t unreported = 0;
      bool own_wrong = false;
      Backoff backoff(crowded);
      start(wanted.producers + c);
      const bool alone = wanted.consumers == 1 || wanted.broadcast;  // nobody else takes what this one misses
      for (uint64_t own = 0; alone ? own < all : received.load(std::memory_order_relaxed) < all;) {
        const size_t got = mine.Pop(wanted.batch, [&](const Blob<N>& blob) {
          uint64_t& wants = next[blob.producer < next.size() ? blob.producer : 0];
          own_wrong |= alone ? blob.number != wants : blob.number < wants;
          wants = blob.number + 1;
          own_sum += blob.number;
        });
        own += got;
        unreported += got;
        if (got == 0) backoff.Wait();
        if (!alone && (unreported >= 64 || got == 0) && unreported != 0) {
          received.fetch_add(unreported, std::memory_order_relaxed);
          unreported = 0;
        }
      }
      sum.fetch_add(own_sum);
      if (own_wrong) wrong = true;
    });
  }
  while (ready.load() < threads) std::this_thread::yield();
  const double begin = NowNs();
  go.store(true, std::memory_order_release);
  for (std::thread& thread : running) thread.join();
  const double ns = NowNs() - begin;
  const uint64_t each = wanted.messages;
  const auto copies = static_cast<uint64_t>(wanted.broadcast ? wanted.consumers : 1);
  if (wanted.consumers == 0) return static_cast<double>(all) * 1e9 / ns;
  if (wrong || sum.load() != copies * static_cast<uint64_t>(wanted.producers) * (each * (each - 1) / 2)) return 0;
  return static_cast<double>(all) * 1e9 / ns;
}

// A T in memory that forked children share; get() is null if there was none to be had.
template <typename T>
class InSharedMemory {
 public:
  InSharedMemory() {
    void* room = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (room != MAP_FAILED) object_ = new (room) T();
  }
  ~InSharedMemory() {
    if (object_ != nullptr) munmap(object_, sizeof(T));
  }
  InSharedMemory(const InSharedMemory&) = delete;
  InSharedMemory& operator=(const InSharedMemory&) = delete;
  T* get() const { return object_; }

 private:
  T* object_ = nullptr;
};

struct NoReceiver {
  template <typename Each>
  size_t Pop(size_t, Each&&) {
    return 0;
  }
};

// DriveQueue() with the consumer in a process of its own.  receiver() is called there; prepare() here, when the other
// process exists; sender(p) after that.
template <size_t N, typename Prepare, typename MakeSender, typename MakeReceiver>
double DriveProcesses(const QueueCase& wanted, Prepare&& prepare, MakeSender&& sender, MakeReceiver&& receiver) {
  struct State {
    std::atomic<uint32_t> ready{0};
    std::atomic<uint32_t> result{0};  // 1 good, 2 wrong
  };
  const InSharedMemory<State> memory;
  State* state = memory.get();
  if (state == nullptr) return 0;
  const pid_t child = fork();
  if (child < 0) return 0;
  if (child == 0) {
    pin_thread(wanted.producers % static_cast<int>(std::thread::hardware_concurrency()));
    bool wrong = false;
    {
      auto&& mine = receiver();
      std::vector<uint64_t> next(static_cast<size_t>(wanted.producers), 0);
      const uint64_t all = wanted.messages * next.size();
      Backoff backoff(false);
      state->ready = 1;
      for (uint64_t got = 0; got < all;) {  // all, even if one was wrong: the other side is to end, too
        const size_t now = mine.Pop(wanted.batch, [&](const Blob<N>& blob) {
          uint64_t& wants = next[blob.producer < next.size() ? blob.producer : 0];
          wrong |= blob.number != wants;
          wants = blob.number + 1;
        });
        got += now;
        if (now == 0) backoff.Wait();
      }
      state->result = wrong ? 2 : 1;
    }
    _exit(0);
  }
  prepare();
  bool died = false;
  const auto lives = [&] { return died = died || waitpid(child, nullptr, WNOHANG) != 0, !died; };
  while (state->ready == 0 && lives()) std::this_thread::yield();
  QueueCase sending = wanted;
  sending.consumers = 0;
  const double begin = NowNs();
  if (!died) DriveQueue<N>(sending, sender, [](int) { return NoReceiver(); });
  while (state->result == 0 && lives()) channel::Pause();
  const double ns = NowNs() - begin;
  if (!died) waitpid(child, nullptr, 0);
  if (state->result != 1) return 0;
  return static_cast<double>(wanted.messages) * static_cast<double>(wanted.producers) * 1e9 / ns;
}

// Calls run.operator()<N>() for the case's size; 0 for a size that nobody asks for.
template <typename Run>
double ForSize(size_t bytes, Run&& run) {
  switch (bytes) {
    case 16:
      return run.template operator()<16>();
    case 64:
      return run.template operator()<64>();
    case 1024:
      return run.template operator()<1024>();
    case 65536:
      return run.template operator()<65536>();
    default:
      return 0;
  }
}

// A queue by somebody else.
struct Peer {
  std::string name;
  // Messages a second; 0 if it cannot do that (broadcast: none can), or did it wrongly.
  double (*run)(const QueueCase& wanted);
};
// Those that were there when memtally was built.
std::vector<Peer> ChannelPeers();

}  // namespace memtally::tools
