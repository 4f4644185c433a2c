// SPDX-License-Identifier: Apache-2.0
//
// The rings alone, in memory of the test: every size at every place, and full speed between threads.
#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/channel/ring_broadcast.hpp>
#include <memtally/channel/ring_mpmc.hpp>
#include <memtally/channel/ring_mpsc.hpp>
#include <memtally/channel/ring_spsc.hpp>

namespace memtally::channel {
namespace {

#ifdef MEMTALLY_CHANNEL_SLOW
constexpr uint64_t kMessages = 10'000;
#else
constexpr uint64_t kMessages = 60'000;
#endif

// MEMTALLY_CHANNEL_MESSAGES=100000000: the long run.
uint64_t Messages() {
  const char* asked = getenv("MEMTALLY_CHANNEL_MESSAGES");
  return asked != nullptr ? strtoull(asked, nullptr, 10) : kMessages;
}

// Message number `number` of producer `producer`: its size, and bytes that follow from both.
struct Pattern {
  static uint32_t Size(uint64_t number, uint64_t most) {
    uint64_t x = number * 0x9e3779b97f4a7c15ull;
    x ^= x >> 29;
    return static_cast<uint32_t>(16 + x % (most - 15));
  }
  static void Fill(uint8_t* data, uint32_t bytes, uint64_t producer, uint64_t number) {
    const uint64_t head[2] = {producer, number};
    memcpy(data, head, sizeof(head));
    memset(data + sizeof(head), static_cast<int>((producer * 31 + number) & 255), bytes - sizeof(head));
  }
  // Returns the producer; the number must be the next one of it.
  static uint64_t Check(const uint8_t* data, uint32_t bytes, uint64_t most, std::vector<uint64_t>* next) {
    uint64_t head[2] = {};
    memcpy(head, data, sizeof(head));
    if (head[0] >= next->size()) return ADD_FAILURE() << "producer " << head[0], 0;
    if (head[1] != (*next)[head[0]]) ADD_FAILURE() << "producer " << head[0] << " sent " << head[1] << " out of turn";
    (*next)[head[0]] = head[1] + 1;
    if (bytes != Size(head[1], most)) ADD_FAILURE() << "message " << head[1] << " has " << bytes << " bytes";
    const auto wanted = static_cast<uint8_t>((head[0] * 31 + head[1]) & 255);
    for (uint32_t i = sizeof(head); i < bytes; ++i) {
      if (data[i] != wanted) return ADD_FAILURE() << "byte " << i << " of message " << head[1], head[0];
    }
    return head[0];
  }
};

struct Words {
  alignas(64) uint64_t head = 0;
  uint64_t taken = 0;
  alignas(64) uint64_t tail = 0;
  alignas(64) uint64_t dequeue = 0;
};

struct SpscRingMemory {
  explicit SpscRingMemory(uint64_t capacity, uint64_t alignment = 8) : bytes(capacity / 64 + 2) {
    memory = {.bytes = bytes[0].data(),
              .capacity = capacity,
              .alignment = alignment,
              .head = &words.head,
              .taken = &words.taken};
  }
  struct alignas(64) Line : std::array<uint8_t, 64> {};
  std::vector<Line> bytes;
  Words words;
  SpscMemory memory;
};

struct MpscRingMemory {
  explicit MpscRingMemory(uint64_t capacity, uint32_t unit = 8, uint32_t count = 0)
      : bytes(capacity / 8), descriptors(2 * (count != 0 ? count : capacity / 64)) {
    memory = {.bytes = reinterpret_cast<uint8_t*>(bytes.data()),
              .descriptors = descriptors.data(),
              .units = static_cast<uint32_t>(capacity / unit),
              .unit_bytes = unit,
              .descriptor_count = static_cast<uint32_t>(descriptors.size() / 2),
              .tail = &words.tail,
              .head = &words.head,
              .taken = &words.taken};
  }
  // As if the ring had been used for long: the 32 bits of positions and numbers are about to wrap.
  void StartAt(MpscPlace place) {
    words.tail = words.head = words.taken = place.Word();
    for (uint32_t i = 0; i < memory.descriptor_count; ++i) {
      const uint32_t index = place.index - memory.descriptor_count + i;
      descriptors[2 * (index & (memory.descriptor_count - 1))] = uint64_t{index + 1} << 32;
    }
  }
  std::vector<uint64_t> bytes;
  std::vector<uint64_t> descriptors;
  Words words;
  MpscMemory memory;
};

// ---- one thread, against a deque

template <typename Producer, typename Consumer>
void AgainstDeque(Producer& producer, Consumer& consumer, uint64_t most, uint32_t seed) {
  std::mt19937 random(seed);
  std::deque<std::vector<uint8_t>> model;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      std::vector<uint8_t> message(random() % (most + 1));
      for (uint8_t& byte : message) byte = static_cast<uint8_t>(random());
      const RawLoan loan = producer.Claim(message.size());
      if (loan.data == nullptr) {
        ASSERT_FALSE(model.empty()) << "an empty ring is full for " << message.size() << " bytes";
        continue;
      }
      if (!message.empty()) memcpy(loan.data, message.data(), message.size());
      producer.Commit(loan, message.size());
      model.push_back(std::move(message));
    } else {
      RawView view;
      const ReadResult result = consumer.Read(&view);
      ASSERT_EQ(result, model.empty() ? ReadResult::kEmpty : ReadResult::kMessage) << "step " << step;
      if (model.empty()) continue;
      ASSERT_EQ(std::vector<uint8_t>(view.data, view.data + view.bytes), model.front()) << "step " << step;
      model.pop_front();
      consumer.Release(view);
    }
  }
}

TEST(SpscRing, FollowsADeque) {
  for (const uint64_t alignment : {8, 64}) {
    for (const uint64_t capacity : {512, 1024, 4096}) {
      SpscRingMemory ring(capacity, alignment);
      SpscProducer<> producer(ring.memory);
      SpscConsumer<> consumer(ring.memory);
      AgainstDeque(producer, consumer, MaxPayload(capacity, alignment), static_cast<uint32_t>(capacity + alignment));
    }
  }
}

TEST(MpscRing, FollowsADeque) {
  for (const uint32_t unit : {8, 64}) {
    for (const uint64_t capacity : {512, 1024, 4096}) {
      MpscRingMemory ring(capacity, unit);
      ring.StartAt({0xffffff00u & ~(ring.memory.units - 1), 0xfffffff0u});
      MpscProducer<> producer(ring.memory);
      MpscConsumer<> consumer(ring.memory);
      AgainstDeque(producer, consumer, MaxPayload(capacity, unit), static_cast<uint32_t>(capacity + unit));
    }
  }
}

// Every size at every place, so every way to meet the ring's end: nothing is ever refused by an empty ring.
TEST(SpscRing, EverySizeAtEveryPlace) {
  for (const uint64_t alignment : {8, 64}) {
    const uint64_t capacity = alignment == 8 ? 256 : 1024;
    for (uint64_t place = 0; place < capacity; place += alignment) {
      for (uint64_t bytes = 0; bytes <= MaxPayload(capacity, alignment); ++bytes) {
        SpscRingMemory ring(capacity, alignment);
        ring.words.head = ring.words.taken = place;
        SpscProducer<> producer(ring.memory);
        SpscConsumer<> consumer(ring.memory);
        const RawLoan loan = producer.Claim(bytes);
        ASSERT_NE(loan.data, nullptr) << bytes << " bytes at " << place;
        ASSERT_EQ(reinterpret_cast<uintptr_t>(loan.data) % alignment, 0u);
        memset(loan.data, 7, bytes);
        producer.Commit(loan, bytes);
        RawView view;
        ASSERT_EQ(consumer.Read(&view), ReadResult::kMessage) << bytes << " bytes at " << place;
        ASSERT_EQ(view.bytes, bytes);
        ASSERT_EQ(view.data, loan.data);
        consumer.Release(view);
        ASSERT_EQ(consumer.Read(&view), ReadResult::kEmpty);
      }
    }
  }
}

TEST(SpscRing, FullIsNotEmptyAtAnyPlace) {
  constexpr uint64_t kCapacity = 256;
  for (uint64_t place = 0; place < kCapacity; place += 8) {
    SpscRingMemory ring(kCapacity);
    ring.words.head = ring.words.taken = place;
    SpscProducer<> producer(ring.memory);
    SpscConsumer<> consumer(ring.memory);
    EXPECT_TRUE(consumer.Empty());
    uint64_t sent = 0;
    for (RawLoan loan; (loan = producer.Claim(8)).data != nullptr; ++sent) {
      memcpy(loan.data, &sent, 8);
      producer.Commit(loan, 8);
    }
    EXPECT_EQ(sent, kCapacity / 16 - 1) << "a frame less than the ring has, for the terminator";
    EXPECT_FALSE(consumer.Empty());
    RawView view;
    for (uint64_t i = 0; i < sent; ++i) {
      ASSERT_EQ(consumer.Read(&view), ReadResult::kMessage);
      EXPECT_EQ(memcmp(view.data, &i, 8), 0);
      consumer.Release(view);
    }
    EXPECT_EQ(consumer.Read(&view), ReadResult::kEmpty);
  }
}

TEST(SpscRing, ViewsGoBackInAnyOrder) {
  SpscRingMemory ring(512);
  SpscProducer<> producer(ring.memory);
  SpscConsumer<> consumer(ring.memory);
  std::mt19937 random(5);
  std::vector<RawView> out;
  uint64_t sent = 0;
  uint64_t received = 0;
  while (received < 5000) {
    for (RawLoan loan; (loan = producer.Claim(8 + sent % 40)).data != nullptr; ++sent) {
      memcpy(loan.data, &sent, 8);
      producer.Commit(loan, 8 + sent % 40);
    }
    for (RawView view; consumer.Read(&view) == ReadResult::kMessage; ++received) {
      ASSERT_EQ(memcmp(view.data, &received, 8), 0);
      out.push_back(view);
    }
    while (!out.empty() && (random() % 8 != 0 || producer.Claim(60).data == nullptr)) {
      const size_t which = random() % out.size();
      consumer.Release(out[which]);
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(which));
    }
  }
}

TEST(SpscRing, ABatchIsSeenAsAWhole) {
  SpscRingMemory ring(1024);
  SpscProducer<> producer(ring.memory);
  SpscConsumer<> consumer(ring.memory);
  for (uint64_t round = 0; round < 300; ++round) {
    for (uint64_t i = 0; i < 5; ++i) {
      const RawLoan loan = producer.Claim(24);
      ASSERT_NE(loan.data, nullptr);
      memcpy(loan.data, &i, 8);
      producer.Append(loan, 24);
      ASSERT_TRUE(consumer.Empty());
    }
    if (round % 3 == 2) {
      producer.Rollback();
      continue;
    }
    producer.Flush();
    RawView view;
    for (uint64_t i = 0; i < 5; ++i) {
      ASSERT_EQ(consumer.Read(&view), ReadResult::kMessage);
      ASSERT_EQ(memcmp(view.data, &i, 8), 0);
      consumer.Release(view);
    }
    ASSERT_EQ(consumer.Read(&view), ReadResult::kEmpty);
  }
}

TEST(SpscRing, SuccessorsGoOnWhereTheDeadStopped) {
  SpscRingMemory ring(1024);
  uint64_t sent = 0;
  uint64_t next = 0;
  for (int life = 0; life < 500; ++life) {
    SpscProducer<> producer(ring.memory);
    for (int i = 0; i < 3; ++i, ++sent) {
      const RawLoan loan = producer.Claim(16 + sent % 50);
      ASSERT_NE(loan.data, nullptr);
      memcpy(loan.data, &sent, 8);
      producer.Commit(loan, 16 + sent % 50);
    }
    const RawLoan unfinished = producer.Claim(40);  // it dies with this
    if (unfinished.data != nullptr) memset(unfinished.data, 255, 40);
    uint64_t abandoned = 0;
    SpscConsumer<> consumer(ring.memory, &abandoned);
    EXPECT_EQ(abandoned, life == 0 ? 0u : 1u);
    next += abandoned;
    RawView view;
    for (; consumer.Read(&view) == ReadResult::kMessage; ++next) {
      ASSERT_EQ(memcmp(view.data, &next, 8), 0) << "delivered twice, or never";
      if (next + 1 == sent) break;  // it dies with this one in its hands
      consumer.Release(view);
    }
  }
}

TEST(SpscRing, DamagedWordsAreNoticed) {
  for (const uint64_t word : {kCommitted | 0xffffffffu, kCommitted | 1000u, kCommitted | kWrapped | 600u}) {
    SpscRingMemory ring(1024);
    ring.words.head = ring.words.taken = 1024 - 64;
    memcpy(ring.memory.bytes + 1024 - 64, &word, 8);
    SpscConsumer<> consumer(ring.memory);
    RawView view;
    EXPECT_EQ(consumer.Read(&view), ReadResult::kCorrupt);
    SpscProducer<> producer(ring.memory);  // does not walk astray
  }
}

TEST(MpscRing, DamagedDescriptorsAreNoticed) {
  const uint64_t cases[][2] = {{uint64_t{1} << 32 | 100, 1},            // longer than its units
                               {uint64_t{1} << 32 | 8, 0},              // no units
                               {uint64_t{1} << 32 | 8, 0xffffffffull},  // more than the ring
                               {uint64_t{1} << 32 | 8, uint64_t{5} << 32 | 1}};
  for (const auto& words : cases) {
    MpscRingMemory ring(1024);
    ring.descriptors[0] = words[0];
    ring.descriptors[1] = words[1];
    ring.words.tail = MpscPlace{1, 1}.Word();
    MpscConsumer<> consumer(ring.memory);
    RawView view;
    EXPECT_EQ(consumer.Read(&view), ReadResult::kCorrupt);
  }
}

// ---- threads

void Backoff(uint32_t* tries) {
  if (++*tries % 64 == 0) {
    std::this_thread::yield();
  } else {
    Pause();
  }
}

template <typename Producer>
void Send(Producer& producer, uint64_t number_of_producer, uint64_t messages, uint64_t most) {
  uint32_t tries = 0;
  for (uint64_t i = 0; i < messages; ++i) {
    const uint32_t bytes = Pattern::Size(i, most);
    RawLoan loan;
    while ((loan = producer.Claim(bytes)).data == nullptr) Backoff(&tries);
    Pattern::Fill(loan.data, bytes, number_of_producer, i);
    producer.Commit(loan, bytes);
  }
}

// Both sides try the short way first, where `shortly`.
void SpscIntegrity(bool shortly) {
  for (const uint64_t alignment : {8, 64}) {
    constexpr uint64_t kCapacity = 2048;
    const uint64_t most = 200;
    SpscRingMemory ring(kCapacity, alignment);
    std::thread sender([&] {
      SpscProducer<> producer(ring.memory);
      if (!shortly) return Send(producer, 0, Messages(), most);
      uint32_t tries = 0;
      for (uint64_t i = 0; i < Messages(); ++i) {
        const uint32_t bytes = Pattern::Size(i, most);
        const auto fill = [&](uint8_t* room) { Pattern::Fill(room, bytes, 0, i); };
        while (!producer.Put(bytes, fill)) {
          if (const RawLoan loan = producer.Claim(bytes); loan.data != nullptr) {
            fill(loan.data);
            producer.Commit(loan, bytes);
            break;
          }
          Backoff(&tries);
        }
      }
    });
    SpscConsumer<> consumer(ring.memory);
    std::vector<uint64_t> next(1);
    const auto check = [&](const uint8_t* data, uint64_t bytes) {
      Pattern::Check(data, static_cast<uint32_t>(bytes), most, &next);
    };
    RawView view;
    uint32_t tries = 0;
    while (next[0] < Messages() && !::testing::Test::HasFailure()) {
      if (shortly && consumer.Take(check)) continue;
      if (consumer.Read(&view) != ReadResult::kMessage) {
        Backoff(&tries);
        continue;
      }
      check(view.data, view.bytes);
      consumer.Release(view);
    }
    sender.join();
  }
}
TEST(SpscRing, IntegrityBetweenThreads) { SpscIntegrity(false); }
TEST(SpscRing, IntegrityTheShortWay) { SpscIntegrity(true); }

TEST(MpscRing, IntegrityBetweenThreads) {
  for (const uint64_t producers : {1, 4}) {
    const uint64_t most = 200;
    MpscRingMemory ring(2048);
    ring.StartAt({0xffff0000u, 0xfffffe00u});
    std::vector<std::thread> senders;
    const uint64_t each = Messages() / producers;
    for (uint64_t p = 0; p < producers; ++p) {
      senders.emplace_back([&, p] {
        MpscProducer<> producer(ring.memory);
        Send(producer, p, each, most);
      });
    }
    MpscConsumer<> consumer(ring.memory);
    std::vector<uint64_t> next(producers);
    RawView view;
    uint32_t tries = 0;
    for (uint64_t received = 0; received < each * producers && !HasFailure();) {
      const ReadResult result = consumer.Read(&view);
      ASSERT_NE(result, ReadResult::kCorrupt);
      if (result == ReadResult::kEmpty) {
        Backoff(&tries);
        continue;
      }
      Pattern::Check(view.data, view.bytes, most, &next);
      consumer.Release(view);
      ++received;
    }
    for (std::thread& sender : senders) sender.join();
  }
}

TEST(SlotRing, IntegrityBetweenThreads) {
  for (const auto& sides : {std::pair{1, 3}, std::pair{3, 1}, std::pair{3, 3}}) {
    const int producers = sides.first;
    const int consumers = sides.second;
    constexpr uint64_t kStride = 128;
    std::vector<std::array<uint64_t, 16>> slots(16);
    std::array<uint64_t, 16> freed{};
    Words words;
    const SlotsMemory memory{.slots = reinterpret_cast<uint8_t*>(slots.data()),
                             .freed = freed.data(),
                             .count = 16,
                             .stride = kStride,
                             .enqueue = &words.tail,
                             .dequeue = &words.dequeue,
                             .one_producer = producers == 1};
    SlotRing<>::Prepare(memory);
    const uint64_t each = Messages() / static_cast<uint64_t>(producers);
    const uint64_t all = each * static_cast<uint64_t>(producers);
    std::atomic<uint64_t> received{0};
    std::atomic<uint64_t> sum{0};
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(producers) + static_cast<size_t>(consumers));
    for (int p = 0; p < producers; ++p) {
      threads.emplace_back([&, p] {
        SlotRing<> ring(memory);
        uint32_t tries = 0;
        for (uint64_t i = 0; i < each; ++i) {
          RawLoan loan;
          while ((loan = ring.Claim()).data == nullptr) Backoff(&tries);
          const uint32_t bytes = Pattern::Size(i, 100);
          Pattern::Fill(loan.data, bytes, static_cast<uint64_t>(p), i);
          ring.Commit(loan, bytes);
          if (i % 7 == 0 && (loan = ring.Claim()).data != nullptr) ring.Abort(loan);
        }
      });
    }
    for (int c = 0; c < consumers; ++c) {
      threads.emplace_back([&] {
        SlotRing<> ring(memory);
        std::vector<uint64_t> last(static_cast<size_t>(producers), 0);
        uint32_t tries = 0;
        while (received.load() < all) {
          RawView view;
          if (ring.Read(&view) != ReadResult::kMessage) {
            Backoff(&tries);
            continue;
          }
          uint64_t head[2];
          memcpy(head, view.data, sizeof(head));
          // A consumer sees some of each producer's messages, in order.
          if (head[1] + 1 <= last[head[0]]) ADD_FAILURE() << "out of order";
          last[head[0]] = head[1];
          std::vector<uint64_t> next(static_cast<size_t>(producers), head[1]);
          Pattern::Check(view.data, view.bytes, 100, &next);
          last[head[0]] = head[1] + 1;
          sum.fetch_add(head[1]);
          ring.Release(view);
          received.fetch_add(1);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(received.load(), all);
    EXPECT_EQ(sum.load(), static_cast<uint64_t>(producers) * (each * (each - 1) / 2));
  }
}

TEST(BroadcastRing, EveryConsumerSeesEverything) {
  for (const bool overrun : {false, true}) {
    SpscRingMemory ring(2048);
    struct alignas(64) Cursor {
      uint64_t words[8] = {kNoCursor};
    };
    std::array<Cursor, 4> cursors;
    uint64_t tail = 0;
    const BroadcastMemory memory{.ring = ring.memory,
                                 .tail = &tail,
                                 .cursors = reinterpret_cast<uint8_t*>(cursors.data()),
                                 .cursor_stride = sizeof(Cursor),
                                 .cursor_count = 4,
                                 .overrun = overrun};
    std::vector<std::unique_ptr<BroadcastConsumer<>>> consumers;
    for (uint32_t i = 0; i < 3; ++i) consumers.push_back(std::make_unique<BroadcastConsumer<>>(memory, i));
    const uint64_t messages = Messages() / 2;
    std::vector<std::thread> threads;
    threads.reserve(consumers.size());
    for (auto& consumer : consumers) {
      threads.emplace_back([&] {
        uint64_t next = 0;
        uint64_t missed = 0;
        uint32_t tries = 0;
        while (next < messages && !HasFailure()) {
          RawView view;
          if (consumer->Read(&view) != ReadResult::kMessage) {
            // The last ones may be among those that it was overrun by.
            if (overrun && next + consumer->Missed() - missed >= messages) break;
            Backoff(&tries);
            continue;
          }
          uint64_t head[2];
          memcpy(head, view.data, sizeof(head));
          if (!overrun && head[1] != next) ADD_FAILURE() << head[1] << " in place of " << next;
          if (head[1] < next) ADD_FAILURE() << "delivered twice";
          missed += head[1] - next;
          std::vector<uint64_t> expected(1, head[1]);
          Pattern::Check(view.data, view.bytes, 200, &expected);
          next = head[1] + 1;
          consumer->Release(view);
        }
        EXPECT_GE(consumer->Missed(), missed);
        consumer->Leave();
      });
    }
    BroadcastProducer<> producer(memory);
    Send(producer, 0, messages, 200);
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace memtally::channel
