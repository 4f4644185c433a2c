// SPDX-License-Identifier: Apache-2.0
#include "tools/channel_bench/channel_case.hpp"

#include <unistd.h>

#include <memory>

namespace memtally::tools {

namespace {

template <size_t N>
struct Sender {
  std::unique_ptr<Producer> producer;
  size_t Push(const Blob<N>* blobs, size_t count) {
    if (count == 1) return producer->try_send(blobs, N) == Status::Ok ? 1 : 0;
    return producer->try_send_batch(blobs, N, count);
  }
};

template <size_t N>
struct Receiver {
  std::unique_ptr<Consumer> consumer;
  template <typename Each>
  size_t Pop(size_t most, Each&& each) {
    return consumer->receive_batch(
        most, [&](const std::byte* data, size_t) { each(*reinterpret_cast<const Blob<N>*>(data)); });
  }
};

// One message at a time, written and looked at where it lies.
template <size_t N>
struct LoanSender {
  std::unique_ptr<Producer> producer;
  size_t Push(const Blob<N>* blobs, size_t) {
    Loan loan = producer->try_claim(N);
    if (!loan) return 0;
    memcpy(loan.data(), blobs, N);
    return loan.commit() == Status::Ok ? 1 : 0;
  }
};

template <size_t N>
struct ViewReceiver {
  std::unique_ptr<Consumer> consumer;
  template <typename Each>
  size_t Pop(size_t, Each&& each) {
    const View view = consumer->try_receive();
    if (!view) return 0;
    each(*reinterpret_cast<const Blob<N>*>(view.data()));
    return 1;
  }
};

template <size_t N>
double RunMemory(const QueueCase& wanted, WaitStrategy wait) {
  const ChannelPtr channel = create_channel(FreshName("memory"), OptionsFor(wanted.mode, wanted.broadcast, N, wait));
  return DriveQueue<N>(
      wanted, [&](int) { return Sender<N>{channel->make_producer()}; },
      [&](int) { return Receiver<N>{channel->make_consumer()}; });
}

template <size_t N>
double RunIpc(const QueueCase& wanted, WaitStrategy wait) {
  const std::string name = FreshName("ipc");
  const ChannelOptions options = OptionsFor(wanted.mode, wanted.broadcast, N, wait);
  ChannelPtr channel;
  return DriveProcesses<N>(
      wanted, [&] { channel = create_channel(name, options); },
      [&](int) { return Sender<N>{channel->make_producer()}; },
      [&] { return Receiver<N>{create_channel(name, options)->make_consumer()}; });
}

}  // namespace

std::string FreshName(const std::string& transport) {
  static int next = 0;
  return transport + "://memtally-bench-" + std::to_string(getpid()) + "-" + std::to_string(next++);
}

ChannelOptions OptionsFor(ChannelMode mode, bool broadcast, size_t bytes, WaitStrategy wait) {
  ChannelOptions options;
  options.mode = mode;
  options.pattern = broadcast ? Pattern::Broadcast : Pattern::Queue;
  options.wait = wait;
  options.message_bytes = bytes;
  options.bytes = QueueLength(bytes) * (bytes + (mode == ChannelMode::SPSC || broadcast ? 8 : 0));
  if (options.bytes < 4 * bytes) options.bytes = 4 * bytes;
  options.prefault = true;
  return options;
}

double RunChannel(const QueueCase& wanted, WaitStrategy wait) {
  return ForSize(wanted.bytes,
                 [&]<size_t N>() { return wanted.processes ? RunIpc<N>(wanted, wait) : RunMemory<N>(wanted, wait); });
}

double RunLoans(uint64_t messages) {
  const QueueCase wanted{.messages = messages};
  const ChannelPtr channel =
      create_channel(FreshName("memory"), OptionsFor(wanted.mode, false, 64, WaitStrategy::Spin));
  return DriveQueue<64>(
      wanted, [&](int) { return LoanSender<64>{channel->make_producer()}; },
      [&](int) { return ViewReceiver<64>{channel->make_consumer()}; });
}

double RunPushersOnly(uint64_t messages) {
  ChannelOptions options = OptionsFor(ChannelMode::MPSC, false, 64, WaitStrategy::Spin);
  options.bytes = messages * 2 * 64;
  const ChannelPtr channel = create_channel(FreshName("memory"), options);
  QueueCase wanted{
      .mode = ChannelMode::MPSC, .bytes = 64, .batch = 1, .producers = 2, .consumers = 0, .messages = messages};
  return DriveQueue<64>(
      wanted, [&](int) { return Sender<64>{channel->make_producer()}; },
      [&](int) { return Receiver<64>{channel->make_consumer()}; });
}

}  // namespace memtally::tools
