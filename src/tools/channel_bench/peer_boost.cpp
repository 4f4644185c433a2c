// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include "tools/channel_bench/queue_driver.hpp"

namespace memtally::tools {

namespace {

template <typename Queue, size_t N>
struct SpscSide {
  Queue* queue;
  std::vector<Blob<N>> out;
  size_t Push(const Blob<N>* blobs, size_t count) { return queue->push(blobs, count); }
  template <typename Each>
  size_t Pop(size_t most, Each&& each) {
    out.resize(most);
    const size_t got = queue->pop(out.data(), most);
    for (size_t i = 0; i < got; ++i) each(out[i]);
    return got;
  }
};

template <size_t N>
struct QueueSide {
  boost::lockfree::queue<Blob<N>>* queue;
  size_t Push(const Blob<N>* blobs, size_t) { return queue->bounded_push(*blobs) ? 1 : 0; }
  template <typename Each>
  size_t Pop(size_t, Each&& each) {
    Blob<N> blob;
    if (!queue->pop(blob)) return 0;
    each(blob);
    return 1;
  }
};

}  // namespace

double RunBoostSpsc(const QueueCase& wanted) {
  if (wanted.mode != ChannelMode::SPSC) return 0;
  return ForSize(wanted.bytes, [&]<size_t N>() -> double {
    if (wanted.processes) {
      using Queue = boost::lockfree::spsc_queue<Blob<N>, boost::lockfree::capacity<QueueLength(N)>>;
      const InSharedMemory<Queue> memory;
      if (memory.get() == nullptr) return 0;
      const auto side = [&](auto...) { return SpscSide<Queue, N>{memory.get(), {}}; };
      return DriveProcesses<N>(
          wanted, [] {}, side, side);
    }
    using Queue = boost::lockfree::spsc_queue<Blob<N>>;
    Queue queue(QueueLength(N));
    const auto side = [&](int) { return SpscSide<Queue, N>{&queue, {}}; };
    return DriveQueue<N>(wanted, side, side);
  });
}

double RunBoostQueue(const QueueCase& wanted) {
  if (wanted.mode == ChannelMode::SPSC || wanted.batch != 1 || wanted.bytes > 1024 || wanted.processes) return 0;
  return ForSize(wanted.bytes, [&]<size_t N>() -> double {
    if constexpr (N > 1024) {
      return 0;
    } else {
      boost::lockfree::queue<Blob<N>> queue(QueueLength(N));
      const auto side = [&](int) { return QueueSide<N>{&queue}; };
      return DriveQueue<N>(wanted, side, side);
    }
  });
}

}  // namespace memtally::tools
