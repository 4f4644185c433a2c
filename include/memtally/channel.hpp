// SPDX-License-Identifier: Apache-2.0
//
// Zero-copy message channels, between threads and between processes of one machine.
//
//   auto channel = memtally::create_channel("ipc://frames", 1 << 20, memtally::ChannelMode::SPSC);
//
//   auto loan = channel->claim(100);          // in the one process: room in the ring
//   if (loan) { fill(loan.data()); loan.commit(); }
//
//   auto view = channel->receive();           // in the other: the same bytes
//   if (view) use(view.data(), view.size());  // given back when `view` goes
//
// memory://NAME is one process's own; ipc://NAME is the machine's (a file in /dev/shm, mode 0600).  Whoever comes first
// creates it, and it goes when the last one leaves.  docs/channel.md has the whole story.
//
// A Channel may be used by many threads.  A thread that sends (receives) becomes a producer (consumer) of the channel,
// until it ends or the channel goes; a mode that has no place for it answers Status::Busy.  Loans and views stay with
// their thread.  make_producer() and make_consumer() do the same by hand, and save the look-up of the thread.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <memtally/channel/consumer.hpp>
#include <memtally/channel/options.hpp>
#include <memtally/channel/producer.hpp>

namespace memtally {

using ChannelPtr = std::shared_ptr<Channel>;

// Opens a channel, or creates it.  Throws ChannelError: an unknown scheme, an option that it cannot keep, a channel of
// that name with another mode, alignment or less room, a file that is not a channel.
ChannelPtr create_channel(std::string_view uri, const ChannelOptions& options);
ChannelPtr create_channel(std::string_view uri, size_t bytes = 1024 * 1024, ChannelMode mode = ChannelMode::SPSC,
                          ChannelType type = ChannelType::MultiType, bool metrics = false,
                          const compression::CompressionConfig& compression = {});

// What typed messages (messages.hpp) are made of: a loan to be sent, or a view that was received.
template <typename T>
concept ChannelMessage = requires(T message) {
  { T::FromView(View()) } -> std::same_as<std::optional<T>>;
  { message.commit() } -> std::same_as<Status>;
};

class Channel : public std::enable_shared_from_this<Channel> {
 public:
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // See Producer and Consumer: these are the calling thread's.
  Loan claim(size_t bytes);
  Loan try_claim(size_t bytes);
  Status send(const void* data, size_t bytes);
  Status try_send(const void* data, size_t bytes);
  View receive();
  View receive(std::chrono::nanoseconds timeout);
  View try_receive();

  // A typed message, which was claimed from this channel.
  template <ChannelMessage T>
  Status send(T& message) {
    return message.commit();
  }
  template <typename T>
  requires(std::is_trivially_copyable_v<T> && !ChannelMessage<T>) Status send(const T& value) {
    return send(&value, sizeof(T));
  }
  // The next message as a T: a typed message is looked at where it lies, anything else is copied out.  Nothing: see
  // last_status().
  template <typename T>
  std::optional<T> receive() {
    return As<T>(receive());
  }
  template <typename T>
  std::optional<T> receive(std::chrono::nanoseconds timeout) {
    return As<T>(receive(timeout));
  }
  template <typename T>
  std::optional<T> try_receive() {
    return As<T>(try_receive());
  }
  // What the calling thread's last receive<T>() came to.
  static Status last_status();

  // Null if the mode has no place for another one (Busy), or there is another reason.
  std::unique_ptr<Producer> make_producer(Status* status = nullptr);
  std::unique_ptr<Consumer> make_consumer(Status* status = nullptr);

  // For everybody on this channel: waiting sends and receives return Status::Stopped; what is in the ring can still be
  // received.
  void stop();
  bool is_stopped() const;

  // All producers and consumers since the channel was made; counters are 0 unless it was made with metrics.
  ChannelMetrics get_metrics() const;
  // From here on this handle's get_metrics() counts from 0.
  void reset_metrics();

  // A descriptor that polls readable when there may be something to receive, by a thread of the channel's own that
  // waits for messages.  After a wake-up: read it, then try_receive() until Empty.  -1 with errno; EINVAL: nobody can
  // sleep on this channel, since it was made with WaitStrategy::Spin.
  int event_fd();

  const std::string& uri() const;
  ChannelMode mode() const;
  Pattern pattern() const;
  size_t capacity() const;  // bytes of the ring
  // Half the ring less the alignment and 8 bytes; SPMC and MPMC: ChannelOptions::message_bytes, rounded up.
  size_t max_message_bytes() const;
  // What a typed message has without being asked.
  size_t default_message_bytes() const;
  Placement placement() const;

 private:
  friend ChannelPtr create_channel(std::string_view uri, const ChannelOptions& options);
  struct Parts;
  explicit Channel(std::unique_ptr<Parts> parts);

  static void SetLastStatus(Status status);
  template <typename T>
  static std::optional<T> As(View view) {
    SetLastStatus(view.status());
    if (!view) return std::nullopt;
    if constexpr (ChannelMessage<T>) {
      std::optional<T> message = T::FromView(std::move(view));
      if (!message) SetLastStatus(Status::WrongSize);
      return message;
    } else {
      static_assert(std::is_trivially_copyable_v<T>, "a message is a typed message, or trivially copyable");
      if (view.size() != sizeof(T)) {
        SetLastStatus(Status::WrongSize);
        return std::nullopt;
      }
      std::optional<T> value(std::in_place);
      memcpy(static_cast<void*>(&*value), view.data(), sizeof(T));
      return value;
    }
  }
  Producer* OwnProducer(Status* status);
  Consumer* OwnConsumer(Status* status);

  std::unique_ptr<Parts> parts_;
};

}  // namespace memtally

#include <memtally/channel/messages.hpp>
