// SPDX-License-Identifier: Apache-2.0
//
// Many producers and one consumer: three threads log into one channel, messages of any size.
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <memtally/channel.hpp>

using namespace memtally;

int main() {
  const auto channel = create_channel("memory://log", 64 * 1024, ChannelMode::MPSC);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&channel, t] {
      for (int i = 0; i < 4; ++i) {
        const std::string line = "thread " + std::to_string(t) + ": line " + std::to_string(i);
        channel->send(line.data(), line.size());
      }
    });
  }
  for (int i = 0; i < 12; ++i) {
    const View line = channel->receive();
    std::printf("%.*s\n", static_cast<int>(line.size()), reinterpret_cast<const char*>(line.data()));
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}
