// SPDX-License-Identifier: Apache-2.0
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "ticks.hpp"
#include "tools/channel_bench/channel_case.hpp"

namespace memtally::tools {

namespace {

// Nanoseconds of a tick of the processor's clock.
double TickNs() {
  static const double ns = [] {
    const double begin = NowNs();
    const uint64_t first = base::ReadTicks();
    while (NowNs() - begin < 20e6) continue;
    const uint64_t last = base::ReadTicks();
    return (NowNs() - begin) / static_cast<double>(last - first);
  }();
  return ns;
}

RoundTrip Percentiles(std::vector<uint32_t> ticks) {
  if (ticks.size() < 100) return {};
  ticks.erase(ticks.begin(), ticks.begin() + static_cast<std::ptrdiff_t>(ticks.size() / 10));  // warming up
  std::sort(ticks.begin(), ticks.end());
  return {TickNs() * ticks[ticks.size() / 2], TickNs() * ticks[ticks.size() * 99 / 100]};
}

// Times `rounds` calls of there_and_back.
template <typename Round>
RoundTrip TimeRounds(uint64_t rounds, Round&& there_and_back) {
  std::vector<uint32_t> ticks;
  ticks.reserve(rounds);
  TickNs();
  for (uint64_t i = 0; i < rounds; ++i) {
    const uint64_t begin = base::ReadTicks();
    there_and_back(i);
    ticks.push_back(static_cast<uint32_t>(base::ReadTicks() - begin));
  }
  return Percentiles(std::move(ticks));
}

// One side waits for a message, as the channel was made.
bool Take(Consumer& consumer, WaitStrategy wait) {
  if (wait != WaitStrategy::Spin) return static_cast<bool>(consumer.receive());
  while (consumer.receive_batch(1, [](const std::byte*, size_t) {}) == 0) {
    if (consumer.empty()) channel::Pause();
  }
  return true;
}

RoundTrip Between(const std::string& there, const std::string& back, const ChannelOptions& options, size_t bytes,
                  uint64_t rounds, bool processes) {
  const std::vector<std::byte> message(bytes);
  // A consumer of a broadcast sees what is sent after it joined.  1: the other side has, 2: it could not.
  const InSharedMemory<std::atomic<uint32_t>> memory;
  std::atomic<uint32_t>* joined = memory.get();
  if (joined == nullptr) return {};
  // Copies: what lies on this thread's stack is in lines that this thread writes to.
  const auto echo = [there, back, options, bytes, rounds, joined] {
    const std::vector<std::byte> answer(bytes);
    pin_thread(1 % static_cast<int>(std::thread::hardware_concurrency()));
    const ChannelPtr in = create_channel(there, options);
    const ChannelPtr out = create_channel(back, options);
    const auto consumer = in->make_consumer();
    const auto producer = out->make_producer();
    *joined = consumer == nullptr || producer == nullptr ? 2 : 1;
    if (*joined == 2) return;
    for (uint64_t i = 0; i < rounds; ++i) {
      if (!Take(*consumer, options.wait) || producer->send(answer.data(), bytes) != Status::Ok) return;
    }
  };
  const ChannelPtr out = create_channel(there, options);
  const ChannelPtr in = create_channel(back, options);
  std::thread thread;
  pid_t child = -1;
  if (processes) {
    child = fork();
    if (child == 0) {
      echo();
      _exit(0);
    }
    if (child < 0) return {};
  } else {
    thread = std::thread(echo);
  }
  cpu_set_t before;
  sched_getaffinity(0, sizeof(before), &before);
  pin_thread(0);
  const auto producer = out->make_producer();
  const auto consumer = in->make_consumer();
  while (*joined == 0) std::this_thread::yield();
  RoundTrip result;
  if (*joined == 1 && producer != nullptr && consumer != nullptr) {
    result = TimeRounds(rounds, [&](uint64_t) {
      producer->send(message.data(), bytes);
      Take(*consumer, options.wait);
    });
  }
  sched_setaffinity(0, sizeof(before), &before);
  if (processes) {
    waitpid(child, nullptr, 0);
  } else {
    thread.join();
  }
  return result;
}

}  // namespace

RoundTrip MeasureRoundTrip(const std::string& transport, const ChannelOptions& options, size_t bytes, uint64_t rounds) {
  return Between(FreshName(transport), FreshName(transport), options, bytes, rounds, transport == "ipc");
}

namespace {

RoundTrip BetweenWords(uint64_t rounds, std::atomic<uint64_t>* there, std::atomic<uint64_t>* back) {
  cpu_set_t before;
  sched_getaffinity(0, sizeof(before), &before);
  std::thread other([=] {
    pin_thread(1 % static_cast<int>(std::thread::hardware_concurrency()));
    for (uint64_t i = 0; i < rounds; ++i) {
      while (there->load(std::memory_order_acquire) != 2 * i + 1) channel::Pause();
      back->store(2 * i + 2, std::memory_order_release);
    }
  });
  pin_thread(0);
  const RoundTrip result = TimeRounds(rounds, [&](uint64_t i) {
    there->store(2 * i + 1, std::memory_order_release);
    while (back->load(std::memory_order_acquire) != 2 * i + 2) channel::Pause();
  });
  sched_setaffinity(0, sizeof(before), &before);
  other.join();
  return result;
}

struct alignas(128) Line {
  std::atomic<uint64_t> word{0};
};

}  // namespace

RoundTrip MeasureLine(uint64_t rounds) {
  Line line;
  return BetweenWords(rounds, &line.word, &line.word);
}

RoundTrip MeasureLinePair(uint64_t rounds) {
  Line lines[2];
  return BetweenWords(rounds, &lines[0].word, &lines[1].word);
}

RoundTrip MeasureFutex(uint64_t rounds) {
  struct Words {
    alignas(256) std::atomic<uint32_t> there{0};
    alignas(256) std::atomic<uint32_t> back{0};
  };
  const InSharedMemory<Words> memory;
  if (memory.get() == nullptr) return {};
  std::atomic<uint32_t>& there = memory.get()->there;
  std::atomic<uint32_t>& back = memory.get()->back;
  const auto wait = [](std::atomic<uint32_t>& word, uint32_t until) {
    for (uint32_t seen; (seen = word.load(std::memory_order_acquire)) != until;) {
      syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
  };
  const auto wake = [](std::atomic<uint32_t>& word, uint32_t value) {
    word.store(value, std::memory_order_release);
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  };
  cpu_set_t before;
  sched_getaffinity(0, sizeof(before), &before);
  const pid_t child = fork();
  if (child == 0) {
    pin_thread(1 % static_cast<int>(std::thread::hardware_concurrency()));
    for (uint32_t i = 1; i <= rounds; ++i) {
      wait(there, i);
      wake(back, i);
    }
    _exit(0);
  }
  RoundTrip result;
  if (child > 0) {
    pin_thread(0);
    result = TimeRounds(rounds, [&](uint64_t i) {
      wake(there, static_cast<uint32_t>(i) + 1);
      wait(back, static_cast<uint32_t>(i) + 1);
    });
    waitpid(child, nullptr, 0);
  }
  sched_setaffinity(0, sizeof(before), &before);
  return result;
}

}  // namespace memtally::tools
