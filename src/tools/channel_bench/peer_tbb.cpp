// SPDX-License-Identifier: Apache-2.0
#include <tbb/concurrent_queue.h>

#include "tools/channel_bench/queue_driver.hpp"

namespace memtally::tools {

namespace {

template <size_t N>
struct Side {
  tbb::concurrent_bounded_queue<Blob<N>>* queue;
  size_t Push(const Blob<N>* blobs, size_t) { return queue->try_push(*blobs) ? 1 : 0; }
  template <typename Each>
  size_t Pop(size_t, Each&& each) {
    Blob<N> blob;
    if (!queue->try_pop(blob)) return 0;
    each(blob);
    return 1;
  }
};

}  // namespace

double RunTbbBoundedQueue(const QueueCase& wanted) {
  if (wanted.batch != 1 || wanted.processes) return 0;
  return ForSize(wanted.bytes, [&]<size_t N>() {
    tbb::concurrent_bounded_queue<Blob<N>> queue;
    queue.set_capacity(static_cast<std::ptrdiff_t>(QueueLength(N)));
    const auto side = [&](int) { return Side<N>{&queue}; };
    return DriveQueue<N>(wanted, side, side);
  });
}

}  // namespace memtally::tools
