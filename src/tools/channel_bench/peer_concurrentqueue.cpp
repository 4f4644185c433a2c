// SPDX-License-Identifier: Apache-2.0
#include <concurrentqueue/concurrentqueue.h>

#include "tools/channel_bench/queue_driver.hpp"

namespace memtally::tools {

namespace {

// With tokens, and never growing: a try that would need memory fails.
template <size_t N>
struct Side {
  explicit Side(moodycamel::ConcurrentQueue<Blob<N>>* the_queue)
      : queue(the_queue), producer(*queue), consumer(*queue) {}
  moodycamel::ConcurrentQueue<Blob<N>>* queue;
  moodycamel::ProducerToken producer;
  moodycamel::ConsumerToken consumer;
  std::vector<Blob<N>> out;
  size_t Push(const Blob<N>* blobs, size_t count) {
    if (count == 1) return queue->try_enqueue(producer, *blobs) ? 1 : 0;
    return queue->try_enqueue_bulk(producer, blobs, count) ? count : 0;
  }
  template <typename Each>
  size_t Pop(size_t most, Each&& each) {
    out.resize(most);
    const size_t got = queue->try_dequeue_bulk(consumer, out.data(), most);
    for (size_t i = 0; i < got; ++i) each(out[i]);
    return got;
  }
};

}  // namespace

double RunConcurrentQueue(const QueueCase& wanted) {
  if (wanted.processes) return 0;
  return ForSize(wanted.bytes, [&]<size_t N>() {
    const size_t producers = static_cast<size_t>(wanted.producers) + static_cast<size_t>(wanted.consumers);
    moodycamel::ConcurrentQueue<Blob<N>> queue(QueueLength(N) + 64, producers, 0);
    const auto side = [&](int) { return Side<N>(&queue); };
    return DriveQueue<N>(wanted, side, side);
  });
}

}  // namespace memtally::tools
