// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <memtally/channel.hpp>

#include "channel/channel_uri.hpp"
#include "channel/event_watch.hpp"
#include "channel/ipc_file.hpp"
#include "channel/ring_pages.hpp"
#include "channel/segment.hpp"

namespace memtally {

using channel::Segment;

namespace {

thread_local Status thread_status = Status::Ok;

// Numbers threads; 0 is none.
uint64_t ThreadNumber() {
  static std::atomic<uint64_t> next{1};
  thread_local const uint64_t number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

// The sides of one channel that threads have by sending and receiving.
class ThreadSides {
 public:
  struct Side {
    std::unique_ptr<Producer> producer;
    std::unique_ptr<Consumer> consumer;
  };

  Side& Of(uint64_t thread) {
    const std::lock_guard<std::mutex> guard(mutex_);
    return sides_[thread];  // stays where it is
  }
  void Forget(uint64_t thread) {
    Side gone;
    const std::lock_guard<std::mutex> guard(mutex_);
    if (const auto found = sides_.find(thread); found != sides_.end()) {
      gone = std::move(found->second);
      sides_.erase(found);
    }
  }

 private:
  std::mutex mutex_;
  std::map<uint64_t, Side> sides_;
};

// What a thread has of all channels: given back when it ends.  The channel that was used last is found without a
// search.
struct ThreadChannels {
  uint64_t channel = 0;  // serial number
  ThreadSides::Side* side = nullptr;
  std::vector<std::pair<uint64_t, std::weak_ptr<ThreadSides>>> all;

  ~ThreadChannels() {
    for (const auto& one : all) {
      if (const std::shared_ptr<ThreadSides> sides = one.second.lock()) sides->Forget(ThreadNumber());
    }
  }
};
thread_local ThreadChannels thread_channels;

ThreadSides::Side& OwnSide(uint64_t serial, const std::shared_ptr<ThreadSides>& sides) {
  ThreadChannels& mine = thread_channels;
  if (mine.channel == serial) [[likely]]
    return *mine.side;
  mine.side = &sides->Of(ThreadNumber());
  mine.channel = serial;
  std::erase_if(mine.all, [](const auto& one) { return one.second.expired(); });
  for (const auto& one : mine.all) {
    if (one.first == serial) return *mine.side;
  }
  mine.all.emplace_back(serial, sides);
  return *mine.side;
}

// The memory:// channels that somebody has.
std::mutex& NamesMutex() {
  static std::mutex* mutex = new std::mutex;
  return *mutex;
}
std::map<std::string, std::weak_ptr<Channel>>& Names() {
  static auto* names = new std::map<std::string, std::weak_ptr<Channel>>;
  return *names;
}

uint64_t Less(uint64_t now, uint64_t before) { return now >= before ? now - before : 0; }

}  // namespace

struct Channel::Parts {
  std::string uri;
  std::shared_ptr<Segment> segment;
  uint64_t serial = 0;
  std::shared_ptr<ThreadSides> sides = std::make_shared<ThreadSides>();
  mutable std::mutex mutex;  // of what follows
  ChannelMetrics baseline;
  std::unique_ptr<channel::EventWatch> watch;
};

Channel::Channel(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {
  static std::atomic<uint64_t> next{1};
  parts_->serial = next.fetch_add(1, std::memory_order_relaxed);
}

Channel::~Channel() = default;

namespace {

// A memory:// channel that is there has to do for what is asked.
void CheckAgreement(const Channel& there, const ChannelOptions& options) {
  const channel::Geometry wanted = channel::Geometry::For(options);
  const bool same_mode =
      there.pattern() == options.pattern && (options.pattern == Pattern::Broadcast || there.mode() == options.mode);
  if (!same_mode) throw ChannelError(there.uri() + ": is open in another mode");
  if (options.bytes != 0 && there.capacity() < wanted.capacity) {
    throw ChannelError(there.uri() + ": is open with a ring of " + std::to_string(there.capacity()) + " bytes, and " +
                       std::to_string(wanted.capacity) + " were asked for; ask for 0 to take what is there");
  }
}

}  // namespace

ChannelPtr create_channel(std::string_view uri, const ChannelOptions& options) {
  const channel::ChannelUri parsed = channel::ParseChannelUri(uri);
  channel::CheckOptions(parsed, options);
  auto parts = std::make_unique<Channel::Parts>();
  parts->uri = uri;
  if (parsed.scheme == channel::ChannelUri::Scheme::kIpc) {
    parts->segment = channel::OpenIpcSegment(parsed.name, options);
    return ChannelPtr(new Channel(std::move(parts)));
  }
  const std::lock_guard<std::mutex> guard(NamesMutex());
  std::erase_if(Names(), [](const auto& one) { return one.second.expired(); });
  if (const auto found = Names().find(parsed.name); found != Names().end()) {
    if (ChannelPtr there = found->second.lock()) {
      CheckAgreement(*there, options);
      return there;
    }
  }
  parts->segment = channel::MakeMemorySegment(options);
  ChannelPtr made(new Channel(std::move(parts)));
  Names()[parsed.name] = made;
  return made;
}

ChannelPtr create_channel(std::string_view uri, size_t bytes, ChannelMode mode, ChannelType type, bool metrics,
                          const compression::CompressionConfig& compression) {
  ChannelOptions options;
  options.bytes = bytes;
  options.mode = mode;
  options.type = type;
  options.metrics = metrics;
  options.compression = compression;
  return create_channel(uri, options);
}

// ---- sides

std::unique_ptr<Producer> Channel::make_producer(Status* status) {
  Status ignored;
  return Producer::Join(parts_->segment, status != nullptr ? status : &ignored);
}

std::unique_ptr<Consumer> Channel::make_consumer(Status* status) {
  Status ignored;
  return Consumer::Join(parts_->segment, status != nullptr ? status : &ignored);
}

Producer* Channel::OwnProducer(Status* status) {
  ThreadSides::Side& side = OwnSide(parts_->serial, parts_->sides);
  if (side.producer == nullptr) [[unlikely]]
    side.producer = make_producer(status);
  return side.producer.get();
}

Consumer* Channel::OwnConsumer(Status* status) {
  ThreadSides::Side& side = OwnSide(parts_->serial, parts_->sides);
  if (side.consumer == nullptr) [[unlikely]]
    side.consumer = make_consumer(status);
  return side.consumer.get();
}

Loan Channel::claim(size_t bytes) {
  Loan none;
  Producer* producer = OwnProducer(&none.status_);
  return producer != nullptr ? producer->claim(bytes) : std::move(none);
}

Loan Channel::try_claim(size_t bytes) {
  Loan none;
  Producer* producer = OwnProducer(&none.status_);
  return producer != nullptr ? producer->try_claim(bytes) : std::move(none);
}

Status Channel::send(const void* data, size_t bytes) {
  Status status = Status::Failed;
  Producer* producer = OwnProducer(&status);
  return producer != nullptr ? producer->send(data, bytes) : status;
}

Status Channel::try_send(const void* data, size_t bytes) {
  Status status = Status::Failed;
  Producer* producer = OwnProducer(&status);
  return producer != nullptr ? producer->try_send(data, bytes) : status;
}

View Channel::receive() {
  View none;
  Consumer* consumer = OwnConsumer(&none.status_);
  return consumer != nullptr ? consumer->receive() : std::move(none);
}

View Channel::receive(std::chrono::nanoseconds timeout) {
  View none;
  Consumer* consumer = OwnConsumer(&none.status_);
  return consumer != nullptr ? consumer->receive(timeout) : std::move(none);
}

View Channel::try_receive() {
  View none;
  Consumer* consumer = OwnConsumer(&none.status_);
  if (consumer == nullptr) return none;
  View view = consumer->try_receive();
  if (view.status() == Status::Empty) {
    const std::lock_guard<std::mutex> guard(parts_->mutex);
    if (parts_->watch != nullptr) parts_->watch->Rearm();
  }
  return view;
}

Status Channel::last_status() { return thread_status; }
void Channel::SetLastStatus(Status status) { thread_status = status; }

// ---- the rest

void Channel::stop() {
  std::atomic_ref<uint32_t>(parts_->segment->header()->stopped).store(1, std::memory_order_seq_cst);
  parts_->segment->DataEvent().Wake();
  parts_->segment->RoomEvent().Wake();
}

bool Channel::is_stopped() const {
  return std::atomic_ref<uint32_t>(parts_->segment->header()->stopped).load(std::memory_order_acquire) != 0;
}

ChannelMetrics Channel::get_metrics() const {
  ChannelMetrics now = channel::SumMetrics(*parts_->segment->header(), parts_->segment->participant(0));
  const std::lock_guard<std::mutex> guard(parts_->mutex);
  const ChannelMetrics& before = parts_->baseline;
  for (const auto counter :
       {&ChannelMetrics::messages_sent, &ChannelMetrics::bytes_sent, &ChannelMetrics::messages_received,
        &ChannelMetrics::bytes_received, &ChannelMetrics::full_waits, &ChannelMetrics::empty_waits,
        &ChannelMetrics::drops, &ChannelMetrics::overruns, &ChannelMetrics::producer_deaths,
        &ChannelMetrics::consumer_deaths, &ChannelMetrics::abandoned}) {
    now.*counter = Less(now.*counter, before.*counter);
  }
  return now;
}

void Channel::reset_metrics() {
  const ChannelMetrics now = channel::SumMetrics(*parts_->segment->header(), parts_->segment->participant(0));
  const std::lock_guard<std::mutex> guard(parts_->mutex);
  parts_->baseline = now;
}

int Channel::event_fd() {
  const std::lock_guard<std::mutex> guard(parts_->mutex);
  if (parts_->watch == nullptr) parts_->watch = channel::EventWatch::Start(parts_->segment);
  return parts_->watch != nullptr ? parts_->watch->fd() : -1;
}

const std::string& Channel::uri() const { return parts_->uri; }

ChannelMode Channel::mode() const {
  const uint32_t mode = parts_->segment->geometry().mode;
  return mode == MEMTALLY_CHANNEL_BROADCAST ? ChannelMode::SPMC : static_cast<ChannelMode>(mode);
}

Pattern Channel::pattern() const {
  return parts_->segment->geometry().mode == MEMTALLY_CHANNEL_BROADCAST ? Pattern::Broadcast : Pattern::Queue;
}

size_t Channel::capacity() const { return parts_->segment->geometry().capacity; }

size_t Channel::max_message_bytes() const { return parts_->segment->geometry().MaxMessageBytes(); }

size_t Channel::default_message_bytes() const {
  const size_t wanted = parts_->segment->options().message_bytes;
  return wanted < max_message_bytes() ? wanted : max_message_bytes();
}

Placement Channel::placement() const {
  return channel::PlacementOf(parts_->segment->base(), parts_->segment->options().huge_pages);
}

}  // namespace memtally
