// SPDX-License-Identifier: Apache-2.0
#include <readerwriterqueue/readerwriterqueue.h>

#include "tools/channel_bench/queue_driver.hpp"

namespace memtally::tools {

namespace {

template <size_t N>
struct Side {
  moodycamel::ReaderWriterQueue<Blob<N>>* queue;
  size_t Push(const Blob<N>* blobs, size_t) { return queue->try_enqueue(*blobs) ? 1 : 0; }
  template <typename Each>
  size_t Pop(size_t, Each&& each) {
    const Blob<N>* blob = queue->peek();
    if (blob == nullptr) return 0;
    each(*blob);
    queue->pop();
    return 1;
  }
};

}  // namespace

double RunReaderWriterQueue(const QueueCase& wanted) {
  if (wanted.mode != ChannelMode::SPSC || wanted.batch != 1 || wanted.processes) return 0;
  return ForSize(wanted.bytes, [&]<size_t N>() {
    moodycamel::ReaderWriterQueue<Blob<N>> queue(QueueLength(N));
    const auto side = [&](int) { return Side<N>{&queue}; };
    return DriveQueue<N>(wanted, side, side);
  });
}

}  // namespace memtally::tools
