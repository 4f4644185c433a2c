// SPDX-License-Identifier: Apache-2.0
#include "tools/channel_bench/channel_case.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
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
  const ChannelPtr channel = create_channel(FreshName("memory"), OptionsFor(wanted.mode, N, wait));
  return DriveQueue<N>(
      wanted, [&](int) { return Sender<N>{channel->make_producer()}; },
      [&](int) { return Receiver<N>{channel->make_consumer()}; });
}

// The producers are threads of this process, the consumer is a process of its own.
template <size_t N>
double RunIpc(const QueueCase& wanted, WaitStrategy wait) {
  const std::string name = FreshName("ipc");
  const ChannelOptions options = OptionsFor(wanted.mode, N, wait);
  struct Shared {
    std::atomic<uint32_t> ready;
    std::atomic<uint32_t> result;  // 1 good, 2 wrong
  };
  void* page = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 0;
  auto* shared = new (page) Shared{};
  const pid_t child = fork();
  if (child == 0) {
    pin_thread(wanted.producers % static_cast<int>(std::thread::hardware_concurrency()));
    Receiver<N> receiver{create_channel(name, options)->make_consumer()};
    std::vector<uint64_t> next(static_cast<size_t>(wanted.producers), 0);
    const uint64_t all = wanted.messages * next.size();
    bool wrong = receiver.consumer == nullptr;
    shared->ready = 1;
    for (uint64_t got = 0; got < all && !wrong;) {
      const size_t now = receiver.Pop(wanted.batch, [&](const Blob<N>& blob) {
        wrong |= blob.producer >= next.size() || blob.number != next[blob.producer];
        if (!wrong) ++next[blob.producer];
      });
      got += now;
      if (now == 0) Backoff(false).Wait();
    }
    shared->result = wrong ? 2 : 1;
    receiver.consumer.reset();
    _exit(0);
  }
  double rate = 0;
  if (child > 0) {
    const ChannelPtr channel = create_channel(name, options);
    while (shared->ready == 0) std::this_thread::yield();
    QueueCase sending = wanted;
    sending.consumers = 0;
    const double begin = NowNs();
    DriveQueue<N>(
        sending, [&](int) { return Sender<N>{channel->make_producer()}; },
        [&](int) { return Receiver<N>{channel->make_consumer()}; });
    while (shared->result == 0 && waitpid(child, nullptr, WNOHANG) == 0) channel::Pause();
    const double ns = NowNs() - begin;
    if (shared->result == 1) {
      rate = static_cast<double>(wanted.messages) * static_cast<double>(wanted.producers) * 1e9 / ns;
    }
    waitpid(child, nullptr, 0);
  }
  munmap(page, sizeof(Shared));
  return rate;
}

}  // namespace

std::string FreshName(const std::string& transport) {
  static int next = 0;
  return transport + "://memtally-bench-" + std::to_string(getpid()) + "-" + std::to_string(next++);
}

ChannelOptions OptionsFor(ChannelMode mode, size_t bytes, WaitStrategy wait) {
  ChannelOptions options;
  options.mode = mode;
  options.wait = wait;
  options.message_bytes = bytes;
  options.bytes = QueueLength(bytes) * (bytes + (mode == ChannelMode::SPSC ? 8 : 0));
  if (options.bytes < 4 * bytes) options.bytes = 4 * bytes;
  options.prefault = true;
  return options;
}

double RunChannel(const std::string& transport, const QueueCase& wanted, WaitStrategy wait) {
  return ForSize(wanted.bytes,
                 [&]<size_t N>() { return transport == "ipc" ? RunIpc<N>(wanted, wait) : RunMemory<N>(wanted, wait); });
}

double RunLoans(uint64_t messages) {
  const QueueCase wanted{.messages = messages};
  const ChannelPtr channel = create_channel(FreshName("memory"), OptionsFor(wanted.mode, 64, WaitStrategy::Spin));
  return DriveQueue<64>(
      wanted, [&](int) { return LoanSender<64>{channel->make_producer()}; },
      [&](int) { return ViewReceiver<64>{channel->make_consumer()}; });
}

double RunPushersOnly(uint64_t messages) {
  ChannelOptions options = OptionsFor(ChannelMode::MPSC, 64, WaitStrategy::Spin);
  options.bytes = messages * 2 * 64;
  const ChannelPtr channel = create_channel(FreshName("memory"), options);
  QueueCase wanted{
      .mode = ChannelMode::MPSC, .bytes = 64, .batch = 1, .producers = 2, .consumers = 0, .messages = messages};
  return DriveQueue<64>(
      wanted, [&](int) { return Sender<64>{channel->make_producer()}; },
      [&](int) { return Receiver<64>{channel->make_consumer()}; });
}

}  // namespace memtally::tools
