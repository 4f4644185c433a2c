// SPDX-License-Identifier: Apache-2.0
//
// One producer and one consumer, in two processes: run it twice, as "spsc send" and "spsc receive", in any order.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include <memtally/channel.hpp>

using namespace memtally;

int main(int argc, char** argv) {
  const auto channel = create_channel("ipc://example-spsc", 1 << 20, ChannelMode::SPSC);
  if (argc > 1 && strcmp(argv[1], "send") == 0) {
    for (int i = 0; i < 10; ++i) {
      FloatVector message(*channel, 3);  // room in the ring
      if (!message.is_valid()) return 1;
      for (size_t k = 0; k < message.size(); ++k) message[k] = static_cast<float>(i) + 0.1f * static_cast<float>(k);
      channel->send(message);
    }
    // The channel goes with the last who has it open: wait until the other side has read all, and says so.
    while (!channel->is_stopped()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return 0;
  }
  for (int i = 0; i < 10; ++i) {
    const auto message = channel->receive<FloatVector>();  // the same bytes, where the sender wrote them
    if (!message) return 1;
    std::printf("%.1f %.1f %.1f\n", (*message)[0], (*message)[1], (*message)[2]);
  }
  channel->stop();
  return 0;
}
