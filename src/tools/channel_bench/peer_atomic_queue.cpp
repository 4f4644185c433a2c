// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include <atomic_queue/atomic_queue.h>

#include "tools/channel_bench/queue_driver.hpp"

namespace memtally::tools {

namespace {

template <typename Queue, size_t N>
struct Side {
  Queue* queue;
  size_t Push(const Blob<N>* blobs, size_t) { return queue->try_push(*blobs) ? 1 : 0; }
  template <typename Each>
  size_t Pop(size_t, Each&& each) {
    Blob<N> blob;
    if (!queue->try_pop(blob)) return 0;
    each(blob);
    return 1;
  }
};

template <bool kSpsc, size_t N>
double Run(const QueueCase& wanted) {
  using Queue = atomic_queue::AtomicQueue2<Blob<N>, QueueLength(N), true, true, false, kSpsc>;
  if (wanted.processes) {
    const InSharedMemory<Queue> memory;
    if (memory.get() == nullptr) return 0;
    const auto shared_side = [&](auto...) { return Side<Queue, N>{memory.get()}; };
    return DriveProcesses<N>(
        wanted, [] {}, shared_side, shared_side);
  }
  const auto queue = std::make_unique<Queue>();
  const auto side = [&](int) { return Side<Queue, N>{queue.get()}; };
  return DriveQueue<N>(wanted, side, side);
}

}  // namespace

double RunAtomicQueue(const QueueCase& wanted) {
  if (wanted.batch != 1) return 0;
  return ForSize(wanted.bytes, [&]<size_t N>() {
    return wanted.mode == ChannelMode::SPSC ? Run<true, N>(wanted) : Run<false, N>(wanted);
  });
}

}  // namespace memtally::tools
