// SPDX-License-Identifier: Apache-2.0
//
// SPMC and MPMC: work for several workers; each message goes to one of them.
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include <memtally/channel.hpp>

using namespace memtally;

struct Work {
  int number;
};

static long Distribute(ChannelMode mode, int producers) {
  ChannelOptions options;
  options.mode = mode;
  options.message_bytes = sizeof(Work);  // the largest message of these modes
  const auto channel = create_channel(mode == ChannelMode::SPMC ? "memory://work-1" : "memory://work-n", options);
  constexpr int kAll = 3000;
  std::atomic<long> sum{0};
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int w = 0; w < 3; ++w) {
    threads.emplace_back([&] {
      while (const auto work = channel->receive<Work>()) {
        sum += work->number;
        if (++done == kAll) channel->stop();  // all others return from receive()
      }
    });
  }
  for (int p = 0; p < producers; ++p) {
    threads.emplace_back([&, p] {
      for (int i = p; i < kAll; i += producers) channel->send(Work{i});
    });
  }
  for (std::thread& thread : threads) thread.join();
  return sum;
}

int main() {
  std::printf("SPMC: %ld\n", Distribute(ChannelMode::SPMC, 1));
  std::printf("MPMC: %ld\n", Distribute(ChannelMode::MPMC, 2));
  return 0;
}
