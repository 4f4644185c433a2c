// SPDX-License-Identifier: Apache-2.0
//
// Broadcast: every consumer sees every message that was sent after it joined.
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <memtally/channel.hpp>

using namespace memtally;

int main() {
  ChannelOptions options;
  options.pattern = Pattern::Broadcast;
  options.when_slow = WhenSlow::Block;  // or Overrun: slow consumers miss messages, which are counted
  const auto channel = create_channel("memory://prices", options);
  std::vector<std::unique_ptr<Consumer>> listeners;
  for (int i = 0; i < 3; ++i) listeners.push_back(channel->make_consumer());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < listeners.size(); ++i) {
    threads.emplace_back([&listeners, i] {
      double sum = 0;
      for (int n = 0; n < 100; ++n) {
        double price = 0;
        const View view = listeners[i]->receive();
        if (view.size() == sizeof(price)) memcpy(&price, view.data(), sizeof(price));
        sum += price;
      }
      std::printf("listener %zu: %.1f\n", i, sum);
    });
  }
  for (int n = 0; n < 100; ++n) channel->send(0.5 * n);
  for (std::thread& thread : threads) thread.join();
  return 0;
}
