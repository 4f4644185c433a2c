// SPDX-License-Identifier: Apache-2.0
//
// Channels within one process, over both transports: what each call promises, and each failure of the library whose
// guide this one follows.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/channel.hpp>

#include "channel/ipc_file.hpp"

namespace memtally {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A name that no other test process has.
std::string Name(const std::string& scheme) {
  static std::atomic<int> next{0};
  return scheme + "://memtally-test-" + std::to_string(getpid()) + "-" + std::to_string(next.fetch_add(1));
}

class BothTransports : public testing::TestWithParam<const char*> {
 protected:
  std::string uri_ = Name(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Channel, BothTransports, testing::Values("memory", "ipc"),
                         [](const auto& test) { return std::string(test.param); });

std::string ErrorOf(const std::string& uri, const ChannelOptions& options) {
  try {
    create_channel(uri, options);
  } catch (const ChannelError& error) {
    return error.what();
  }
  return "";
}

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// ---- the failures of the original: it stalls for good at the first wrap; a message that straddles the end is refused

TEST_P(BothTransports, WrapsWithoutStalling) {
  for (const ChannelMode mode : {ChannelMode::SPSC, ChannelMode::MPSC}) {
    const auto channel = create_channel(uri_, 4096, mode);
    uint64_t next = 0;
    for (uint64_t i = 0; i < 10'000; ++i) {
      std::vector<uint64_t> message(1 + i % 100, i);
      ASSERT_EQ(channel->try_send(message.data(), message.size() * 8), Status::Ok) << i;
      if (i % 2 == 0) continue;
      for (; next <= i; ++next) {
        const View view = channel->try_receive();
        ASSERT_TRUE(view) << next;
        ASSERT_EQ(view.size(), (1 + next % 100) * 8);
        ASSERT_EQ(memcmp(view.data() + view.size() - 8, &next, 8), 0);
      }
    }
  }
}

// a full ring drops silently

TEST_P(BothTransports, AFullRingSaysSo) {
  ChannelOptions options;
  options.bytes = 4096;
  options.metrics = true;
  options.when_full = WhenFull::Fail;
  const auto channel = create_channel(uri_, options);
  uint64_t sent = 0;
  while (channel->send(sent) == Status::Ok) ++sent;
  EXPECT_EQ(channel->send(sent), Status::Full);
  EXPECT_EQ(channel->get_metrics().full_waits, 2u);
  EXPECT_EQ(channel->get_metrics().drops, 0u);
  for (uint64_t i = 0; i < sent; ++i) EXPECT_EQ(channel->receive<uint64_t>(seconds(10)), i);
  EXPECT_FALSE(channel->try_receive<uint64_t>());
  EXPECT_EQ(Channel::last_status(), Status::Empty);
}

TEST_P(BothTransports, DropsAreCounted) {
  ChannelOptions options;
  options.bytes = 4096;
  options.metrics = true;
  options.when_full = WhenFull::DropNewest;
  const auto channel = create_channel(uri_, options);
  uint64_t sent = 0;
  while (channel->send(sent) == Status::Ok) ++sent;
  EXPECT_EQ(channel->send(sent), Status::Dropped);
  EXPECT_EQ(channel->get_metrics().drops, 2u);
  EXPECT_EQ(channel->get_metrics().messages_sent, sent);
}

TEST_P(BothTransports, TimesOutWhenAsked) {
  ChannelOptions options;
  options.bytes = 4096;
  options.when_full = WhenFull::TimeOut;
  options.full_timeout = milliseconds(5);
  const auto channel = create_channel(uri_, options);
  Status status;
  while ((status = channel->send(uint64_t{1})) == Status::Ok) continue;
  EXPECT_EQ(status, Status::Timeout);
  while (channel->try_receive<uint64_t>()) continue;
  EXPECT_FALSE(channel->receive<uint64_t>(milliseconds(5)));
  EXPECT_EQ(Channel::last_status(), Status::Timeout);
}

TEST_P(BothTransports, BlocksUntilThereIsRoom) {
  for (const WaitStrategy wait : {WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park}) {
    ChannelOptions options;
    options.bytes = 4096;
    options.wait = wait;
    const auto channel = create_channel(uri_, options);
    std::thread sender([&] {
      for (uint64_t i = 0; i < 5000; ++i) ASSERT_EQ(channel->send(i), Status::Ok);
    });
    for (uint64_t i = 0; i < 5000; ++i) ASSERT_EQ(channel->receive<uint64_t>(), i);
    sender.join();
  }
}

// a received view is freed by the next receive; a read releases before its use

TEST_P(BothTransports, AViewStaysUntilItIsReleased) {
  ChannelOptions options;
  options.bytes = 4096;
  options.when_full = WhenFull::Fail;
  const auto channel = create_channel(uri_, options);
  ASSERT_EQ(channel->send(uint64_t{4711}), Status::Ok);
  View first = channel->receive();
  uint64_t i = 0;
  // However much is sent behind it: the ring fills up rather than overwrite it.
  for (int round = 0; round < 10; ++round) {
    while (channel->send(i) == Status::Ok) ++i;
    while (View next = channel->try_receive()) continue;
  }
  uint64_t value;
  memcpy(&value, first.data(), 8);
  EXPECT_EQ(value, 4711u);
  EXPECT_EQ(channel->send(i), Status::Full);
  first.release();
  EXPECT_EQ(channel->send(i), Status::Ok);
}

// a commit precedes the fill

TEST_P(BothTransports, NothingIsSeenBeforeTheCommit) {
  for (const ChannelMode mode : {ChannelMode::SPSC, ChannelMode::MPSC}) {
    const auto channel = create_channel(uri_, 4096, mode);
    {
      Loan loan = channel->claim(100);
      ASSERT_TRUE(loan);
      EXPECT_FALSE(channel->try_receive());
      EXPECT_EQ(channel->try_claim(8).status(), Status::LoanOpen);
      memset(loan.data(), 3, 100);
      EXPECT_EQ(loan.commit(50), Status::Ok);
    }
    EXPECT_EQ(channel->try_receive().size(), 50u);
    { const Loan dropped = channel->claim(100); }
    EXPECT_FALSE(channel->try_receive());
    EXPECT_EQ(channel->send(uint64_t{5}), Status::Ok);
    EXPECT_EQ(channel->receive<uint64_t>(), 5u);
  }
}

// `resize` beyond the capacity silently gives an empty message; matrix access is unchecked

TEST_P(BothTransports, TypedMessagesKnowTheirLimits) {
  const auto channel = create_channel(uri_, 65536);
  FloatVector vector(*channel, 10);
  ASSERT_TRUE(vector.is_valid());
  EXPECT_THROW(vector.resize(11), std::length_error);
  EXPECT_EQ(vector.size(), 10u);
  vector.resize(4);
  for (size_t i = 0; i < 4; ++i) vector[i] = static_cast<float>(i);
  EXPECT_THROW(vector.at(4), std::out_of_range);
  EXPECT_EQ(channel->send(vector), Status::Ok);
  EXPECT_FALSE(vector.is_valid());
  {
    const auto received = channel->receive<FloatVector>();
    ASSERT_TRUE(received);
    EXPECT_EQ(received->size(), 4u);
    EXPECT_EQ((*received)[3], 3.0f);
  }
  DoubleMatrix matrix(*channel, 3, 5);
  ASSERT_TRUE(matrix.is_valid());
  EXPECT_THROW(matrix.at(3, 0), std::out_of_range);
  EXPECT_THROW(matrix.at(0, 5), std::out_of_range);
  matrix.at(2, 4) = 2.5;
  EXPECT_EQ(channel->send(matrix), Status::Ok);
  const auto received = channel->receive<DoubleMatrix>();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->rows(), 3u);
  EXPECT_EQ((*received)(2, 4), 2.5);
  EXPECT_FALSE(DoubleMatrix(*channel, ~size_t{0}, ~size_t{0}).is_valid());
  EXPECT_EQ(FloatVector(*channel, 1 << 20).status(), Status::TooLarge);
}

// frame lengths are not validated

TEST_P(BothTransports, AMessageOfTheWrongSizeIsNoMessage) {
  const auto channel = create_channel(uri_, 65536);
  const uint64_t shape[3] = {1000, 1000, 0};
  ASSERT_EQ(channel->send(shape), Status::Ok);
  EXPECT_FALSE(channel->receive<DoubleMatrix>());
  EXPECT_EQ(Channel::last_status(), Status::WrongSize);
  ASSERT_EQ(channel->send("abc", 3), Status::Ok);
  EXPECT_FALSE(channel->receive<FloatVector>());
  EXPECT_EQ(Channel::last_status(), Status::WrongSize);
  ASSERT_EQ(channel->send("abc", 3), Status::Ok);
  EXPECT_FALSE(channel->receive<uint64_t>());
  EXPECT_EQ(Channel::last_status(), Status::WrongSize);
  EXPECT_EQ(channel->send(nullptr, 0), Status::Ok);
  EXPECT_EQ(channel->receive().size(), 0u);
  EXPECT_EQ(channel->send(shape, channel->max_message_bytes() + 1), Status::TooLarge);
}

// "zero copy" copies twice

TEST_P(BothTransports, AMessageIsReadWhereItWasWritten) {
  const auto channel = create_channel(uri_, 65536);
  Loan loan = channel->claim(64);
  const std::byte* const written = loan.data();
  loan.commit();
  EXPECT_EQ(channel->receive().data(), written);
}

// an unknown scheme is silently served from private memory; modes are ignored

TEST(Channel, WhatCannotBeHadIsRefusedByName) {
  EXPECT_TRUE(Contains(ErrorOf("carrier-pigeon://x", {}), "carrier-pigeon"));
  EXPECT_TRUE(Contains(ErrorOf("tcp://host:1", {}), "tcp"));
  EXPECT_TRUE(Contains(ErrorOf("x", {}), "'x'"));
  EXPECT_TRUE(Contains(ErrorOf("ipc://../etc/passwd", {}), "name"));
  EXPECT_TRUE(Contains(ErrorOf("ipc://", {}), "name"));
  EXPECT_TRUE(Contains(ErrorOf(Name("memory"), {.alignment = 32}), "32"));
  EXPECT_TRUE(Contains(ErrorOf(Name("ipc"), {.mode = ChannelMode::MPMC}), "MPMC"));
  EXPECT_TRUE(Contains(ErrorOf(Name("ipc"), {.mode = ChannelMode::SPMC}), "SPMC"));
  EXPECT_TRUE(Contains(ErrorOf(Name("memory"), {.mode = static_cast<ChannelMode>(9)}), "mode"));
  EXPECT_TRUE(Contains(ErrorOf(Name("memory"), {.bytes = size_t{1} << 50}), "large"));
  EXPECT_TRUE(
      Contains(ErrorOf(Name("memory"), {.mode = ChannelMode::MPSC, .pattern = Pattern::Broadcast}), "broadcast"));
}

TEST_P(BothTransports, AModeIsKept) {
  const auto spsc = create_channel(uri_, 4096);
  ASSERT_EQ(spsc->send(uint64_t{1}), Status::Ok);
  Status other = Status::Ok;
  std::thread([&] { other = spsc->send(uint64_t{2}); }).join();
  EXPECT_EQ(other, Status::Busy);
  EXPECT_EQ(spsc->receive<uint64_t>(), 1u);
  std::thread([&] { other = spsc->receive().status(); }).join();
  EXPECT_EQ(other, Status::Busy);
  Status status;
  EXPECT_EQ(spsc->make_producer(&status), nullptr);
  EXPECT_EQ(status, Status::Busy);
  EXPECT_TRUE(Contains(ErrorOf(uri_, {.mode = ChannelMode::MPSC}), "mode") ||
              Contains(ErrorOf(uri_, {.mode = ChannelMode::MPSC}), "SPSC"));
  EXPECT_TRUE(Contains(ErrorOf(uri_, {.bytes = 1 << 20}), "4096"));
  EXPECT_EQ(create_channel(uri_, 0)->capacity(), 4096u);
}

TEST_P(BothTransports, AThreadsPlaceIsFreeWhenItEnds) {
  const auto channel = create_channel(uri_, 65536);
  for (uint64_t i = 0; i < 200; ++i) {
    Status status = Status::Failed;
    std::thread([&] { status = channel->send(i); }).join();
    ASSERT_EQ(status, Status::Ok) << i;
  }
  for (uint64_t i = 0; i < 200; ++i) ASSERT_EQ(channel->receive<uint64_t>(), i);
}

TEST_P(BothTransports, ManyProducers) {
  const auto channel = create_channel(uri_, 8192, ChannelMode::MPSC, ChannelType::MultiType, true);
  constexpr uint64_t kEach = 3000;
  std::vector<std::thread> senders;
  for (uint64_t p = 0; p < 4; ++p) {
    senders.emplace_back([&, p] {
      for (uint64_t i = 0; i < kEach; ++i) {
        const uint64_t words[2] = {p, i};
        ASSERT_EQ(channel->send(words), Status::Ok);
      }
    });
  }
  uint64_t next[4] = {};
  for (uint64_t n = 0; n < 4 * kEach; ++n) {
    const View view = channel->receive();
    uint64_t words[2];
    ASSERT_EQ(view.size(), sizeof(words));
    memcpy(words, view.data(), sizeof(words));
    ASSERT_EQ(words[1], next[words[0]]++);
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(channel->get_metrics().messages_sent, 4 * kEach);
  EXPECT_EQ(channel->get_metrics().messages_received, 4 * kEach);
  EXPECT_EQ(channel->get_metrics().bytes_sent, 64 * kEach);
}

TEST(Channel, ManyConsumers) {
  for (const ChannelMode mode : {ChannelMode::SPMC, ChannelMode::MPMC}) {
    ChannelOptions options;
    options.bytes = 4096;
    options.mode = mode;
    options.message_bytes = 40;
    const auto channel = create_channel(Name("memory"), options);
    constexpr uint64_t kAll = 6000;
    std::atomic<uint64_t> sum{0};
    std::atomic<uint64_t> count{0};
    std::vector<std::thread> threads;
    for (int c = 0; c < 3; ++c) {
      threads.emplace_back([&] {
        while (const auto value = channel->receive<uint64_t>()) {
          sum.fetch_add(*value);
          if (count.fetch_add(1) + 1 == kAll) channel->stop();
        }
        EXPECT_EQ(Channel::last_status(), Status::Stopped);
      });
    }
    const uint64_t producers = mode == ChannelMode::SPMC ? 1 : 3;
    for (uint64_t p = 0; p < producers; ++p) {
      threads.emplace_back([&, p] {
        for (uint64_t i = p; i < kAll; i += producers) ASSERT_EQ(channel->send(i), Status::Ok);
        if (mode == ChannelMode::SPMC) std::thread([&] { EXPECT_EQ(channel->send(p), Status::Busy); }).join();
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(sum.load(), kAll * (kAll - 1) / 2);
  }
}

TEST_P(BothTransports, BroadcastReachesEverybody) {
  for (const WhenSlow slow : {WhenSlow::Block, WhenSlow::Overrun}) {
    ChannelOptions options;
    options.bytes = 4096;
    options.pattern = Pattern::Broadcast;
    options.when_slow = slow;
    options.metrics = true;
    const auto channel = create_channel(uri_, options);
    constexpr uint64_t kAll = 5000;
    ASSERT_EQ(channel->send(uint64_t{999}), Status::Ok);  // nobody is there to see it
    std::atomic<int> ready{0};
    std::atomic<uint64_t> seen{0};
    std::vector<std::thread> threads;
    for (int c = 0; c < 3; ++c) {
      threads.emplace_back([&] {
        const auto consumer = channel->make_consumer();
        ++ready;
        uint64_t next = 0;
        while (next < kAll) {
          const View view = consumer->receive();
          ASSERT_TRUE(view) << ToString(view.status());
          uint64_t value;
          memcpy(&value, view.data(), 8);
          if (slow == WhenSlow::Block) {
            ASSERT_EQ(value, next);
          }
          ASSERT_GE(value, next);
          next = value + 1;
          ++seen;
        }
      });
    }
    while (ready < 3) std::this_thread::yield();
    for (uint64_t i = 0; i < kAll; ++i) ASSERT_EQ(channel->send(i), Status::Ok);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(seen + channel->get_metrics().overruns, 3 * kAll);
    if (slow == WhenSlow::Block) {
      EXPECT_EQ(seen, 3 * kAll);
    }
  }
}

TEST_P(BothTransports, StopWakesWaiters) {
  const auto channel = create_channel(uri_, 4096);
  std::atomic<bool> waiting{false};
  Status status = Status::Ok;
  std::thread receiver([&] {
    waiting = true;
    status = channel->receive().status();
  });
  while (!waiting) std::this_thread::yield();
  channel->stop();
  receiver.join();
  EXPECT_EQ(status, Status::Stopped);
  EXPECT_TRUE(channel->is_stopped());
  EXPECT_EQ(channel->send(1), Status::Stopped);
}

// A sleeper that misses one wake-up would wait for its 100 ms; ten thousand of those would take a quarter of an hour.
TEST_P(BothTransports, NoWakeUpIsLost) {
  ChannelOptions options;
  options.bytes = 4096;
  options.wait = WaitStrategy::Park;
  const auto there = create_channel(uri_, options);
  const auto back = create_channel(uri_ + "-back", options);
  constexpr uint64_t kRounds = 3000;
  std::thread echo([&] {
    for (uint64_t i = 0; i < kRounds; ++i) ASSERT_EQ(back->send(*there->receive<uint64_t>()), Status::Ok);
  });
  for (uint64_t i = 0; i < kRounds; ++i) {
    ASSERT_EQ(there->send(i), Status::Ok);
    ASSERT_EQ(back->receive<uint64_t>(), i);
  }
  echo.join();
}

TEST_P(BothTransports, BatchesArriveWhole) {
  for (const ChannelMode mode : {ChannelMode::SPSC, ChannelMode::MPSC}) {
    const auto channel = create_channel(uri_, 8192, mode, ChannelType::MultiType, true);
    const auto producer = channel->make_producer();
    const auto consumer = channel->make_consumer();
    uint64_t sent = 0;
    uint64_t next = 0;
    for (int round = 0; round < 500; ++round) {
      for (int i = 0; i < 20; ++i) {
        std::byte* room = producer->append(16 + sent % 30);
        if (room == nullptr) break;
        memcpy(room, &sent, 8);
        ++sent;
      }
      producer->publish();
      consumer->receive_batch(15, [&](const std::byte* data, size_t bytes) {
        EXPECT_EQ(bytes, 16 + next % 30);
        EXPECT_EQ(memcmp(data, &next, 8), 0);
        ++next;
      });
    }
    while (consumer->receive_batch(100, [&](const std::byte*, size_t) { ++next; }) != 0) continue;
    EXPECT_EQ(next, sent);
    EXPECT_EQ(channel->get_metrics().messages_sent, sent);
    EXPECT_EQ(channel->get_metrics().messages_received, sent);
  }
}

// Several that are received at once behind a view that is still out come back when it does, all of them.
TEST_P(BothTransports, WhatIsReceivedBehindAViewComesBack) {
  for (const auto& [mode, pattern] : {std::pair{ChannelMode::SPSC, Pattern::Queue},
                                      {ChannelMode::MPSC, Pattern::Queue},
                                      {ChannelMode::MPMC, Pattern::Queue},
                                      {ChannelMode::SPMC, Pattern::Broadcast}}) {
    if (mode == ChannelMode::MPMC && std::string(GetParam()) == "ipc") continue;
    ChannelOptions options;
    options.bytes = 4096;
    options.mode = mode;
    options.pattern = pattern;
    const auto channel = create_channel(uri_, options);
    const auto producer = channel->make_producer();
    const auto consumer = channel->make_consumer();
    ASSERT_NE(producer, nullptr);
    ASSERT_NE(consumer, nullptr);
    uint64_t next = 0;
    const auto check = [&](const std::byte* data, size_t) {
      EXPECT_EQ(memcmp(data, &next, 8), 0) << next;
      ++next;
    };
    uint64_t sent = 0;
    for (int round = 0; round < 300; ++round) {
      for (int i = 0; i < 6; ++i, ++sent) {
        const std::array<uint64_t, 4> value{sent};
        ASSERT_EQ(producer->try_send(value.data(), 8 + sent % 20), Status::Ok) << "the ring lost room";
      }
      const View first = consumer->try_receive();
      ASSERT_TRUE(first);
      check(first.data(), first.size());
      const View second = consumer->try_receive();
      ASSERT_TRUE(second);
      check(second.data(), second.size());
      EXPECT_EQ(consumer->receive_batch(4, check), 4u);
    }
  }
}

// Batches of one size among single messages, read one by one, several at once, and given back in any order.
TEST_P(BothTransports, BatchesOfOneSizeAreMessages) {
  struct Kind {
    ChannelMode mode;
    Pattern pattern;
    uint32_t alignment;
  };
  for (const Kind& kind : {Kind{ChannelMode::SPSC, Pattern::Queue, 8}, Kind{ChannelMode::SPSC, Pattern::Queue, 64},
                           Kind{ChannelMode::MPSC, Pattern::Queue, 8}, Kind{ChannelMode::MPSC, Pattern::Queue, 64},
                           Kind{ChannelMode::SPMC, Pattern::Broadcast, 8}, Kind{ChannelMode::SPMC, Pattern::Queue, 8},
                           Kind{ChannelMode::MPMC, Pattern::Queue, 8}}) {
    const bool slots =
        kind.pattern == Pattern::Queue && kind.mode != ChannelMode::SPSC && kind.mode != ChannelMode::MPSC;
    if (slots && std::string(GetParam()) == "ipc") continue;
    ChannelOptions options;
    options.bytes = 16384;
    options.mode = kind.mode;
    options.pattern = kind.pattern;
    options.alignment = kind.alignment;
    options.message_bytes = 100;
    options.metrics = true;
    const auto channel = create_channel(uri_, options);
    const auto producer = channel->make_producer();
    const auto consumer = channel->make_consumer();
    ASSERT_NE(producer, nullptr);
    ASSERT_NE(consumer, nullptr);
    uint64_t sent = 0;
    uint64_t next = 0;
    const auto check = [&](const std::byte* data, size_t bytes) {
      ASSERT_GE(bytes, 8u);
      EXPECT_EQ(memcmp(data, &next, 8), 0) << next;
      if (kind.alignment == 64) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
      }
      ++next;
    };
    for (int round = 0; round < 1000; ++round) {
      const size_t bytes = 8 + static_cast<size_t>(round) % 90;
      BatchLoan loan = producer->try_claim_batch(bytes, 1 + static_cast<size_t>(round) % 9);
      if (loan) {
        EXPECT_EQ(producer->try_claim(8).status(), Status::LoanOpen);
        const size_t used = loan.size() - (round % 4 == 0 && loan.size() > 1 ? 1 : 0);
        for (size_t i = 0; i < used; ++i) {
          const uint64_t value = sent + i;
          memcpy(loan[i], &value, 8);
        }
        if (round % 7 == 0) {
          loan.abort();
        } else {
          EXPECT_EQ(loan.commit(loan.size() + 1), Status::TooLarge);
          EXPECT_EQ(loan.commit(used), Status::Ok);
          sent += used;
        }
        EXPECT_EQ(loan.size(), 0u);
      }
      if (producer->try_send(sent) == Status::Ok) ++sent;
      if (round % 3 == 0) {
        std::vector<View> views;
        for (View view; views.size() < 6 && (view = consumer->try_receive());) {
          check(view.data(), view.size());
          views.push_back(std::move(view));
        }
        for (size_t i = 1; i < views.size(); i += 2) views[i].release();
      } else {
        consumer->receive_batch(static_cast<size_t>(round) % 11, check);
      }
    }
    while (consumer->receive_batch(100, check) != 0) continue;
    EXPECT_EQ(next, sent);
    EXPECT_TRUE(consumer->empty());
    EXPECT_GT(sent, 3000u);
    EXPECT_EQ(channel->get_metrics().messages_sent, sent);
    EXPECT_EQ(channel->get_metrics().messages_received, sent);
    std::vector<std::array<uint64_t, 3>> values(2000);
    for (size_t i = 0; i < values.size(); ++i) values[i][0] = sent + i;
    Status why = Status::Ok;
    const size_t went = producer->try_send_batch(values.data(), 24, values.size(), &why);
    EXPECT_GT(went, 50u);
    EXPECT_LT(went, values.size());
    EXPECT_EQ(why, Status::Full);
    while (consumer->receive_batch(7, check) != 0) continue;
    EXPECT_EQ(next, sent + went);
    EXPECT_EQ(producer->try_claim_batch(channel->max_message_bytes() + 1, 2).status(), Status::TooLarge);
    EXPECT_EQ(producer->try_claim_batch(8, 0).status(), Status::Empty);
    const BatchLoan large = producer->claim_batch(8, 1'000'000);
    EXPECT_EQ(large.size(), producer->max_batch(8)) << "the ring is empty";
  }
}

TEST_P(BothTransports, EverybodySeesTheWholeBatch) {
  for (const WhenSlow slow : {WhenSlow::Block, WhenSlow::Overrun}) {
    ChannelOptions options;
    options.bytes = 8192;
    options.pattern = Pattern::Broadcast;
    options.when_slow = slow;
    const auto channel = create_channel(uri_, options);
    const auto producer = channel->make_producer();
    const auto first = channel->make_consumer();
    const auto second = channel->make_consumer();
    const std::array<uint64_t, 5> values{0, 1, 2, 3, 4};
    for (int round = 0; round < 500; ++round) {
      ASSERT_EQ(producer->send_batch(values.data(), 8, values.size()), values.size());
      for (const auto& consumer : {first.get(), second.get()}) {
        for (const uint64_t expected : values) {
          uint64_t value = 99;
          ASSERT_EQ(consumer->try_receive(&value), Status::Ok);
          ASSERT_EQ(value, expected);
        }
        ASSERT_TRUE(consumer->empty());
      }
    }
    if (slow == WhenSlow::Overrun) {
      // 40 messages in each batch: those that were skipped are counted one by one.
      std::array<uint64_t, 40> many{};
      for (int round = 0; round < 100; ++round)
        ASSERT_EQ(producer->send_batch(many.data(), 8, many.size()), many.size());
      const size_t left = first->receive_batch(10'000, [](const std::byte*, size_t) {});
      EXPECT_EQ(left % 40, 0u);
      EXPECT_GT(left, 0u);
      EXPECT_EQ(channel->get_metrics().overruns, 2 * (4000 - left)) << "both were equally slow";
    }
  }
}

TEST(Channel, LargestMessages) {
  EXPECT_EQ(create_channel(Name("memory"), 1 << 20, ChannelMode::MPSC)->max_message_bytes(), (1u << 19) - 16);
  EXPECT_EQ(create_channel(Name("memory"), 1 << 20, ChannelMode::SPSC)->max_message_bytes(), (1u << 19) - 16);
  // The length of an MPSC message has 29 bits.
  EXPECT_EQ(create_channel(Name("memory"), size_t{2} << 30, ChannelMode::MPSC)->max_message_bytes(), (1u << 29) - 1);
}

// A consumer that leaves in the middle of a batch leaves the rest to the next one.
TEST_P(BothTransports, TheRestOfABatchIsNotLost) {
  for (const ChannelMode mode : {ChannelMode::SPSC, ChannelMode::MPSC}) {
    const auto channel = create_channel(uri_, 8192, mode, ChannelType::MultiType, true);
    const auto producer = channel->make_producer();
    const std::array<uint64_t, 6> values{0, 1, 2, 3, 4, 5};
    ASSERT_EQ(producer->send_batch(values.data(), 8, values.size()), values.size());
    ASSERT_EQ(producer->send(uint64_t{6}), Status::Ok);
    for (uint64_t next = 0; next < 7;) {
      const auto consumer = channel->make_consumer();
      for (int i = 0; i < 2 && next < 7; ++i, ++next) {
        uint64_t value = 99;
        ASSERT_EQ(consumer->try_receive(&value), Status::Ok);
        EXPECT_EQ(value, next);
      }
    }
    EXPECT_TRUE(channel->make_consumer()->empty());
    EXPECT_EQ(channel->get_metrics().abandoned, 0u);
  }
}

TEST_P(BothTransports, ADescriptorForPoll) {
  const auto channel = create_channel(uri_, 4096);
  const int fd = channel->event_fd();
  ASSERT_GE(fd, 0);
  for (uint64_t i = 0; i < 20; ++i) {
    std::thread sender([&] { ASSERT_EQ(channel->send(i), Status::Ok); });
    pollfd waiting{fd, POLLIN, 0};
    ASSERT_EQ(poll(&waiting, 1, 60'000), 1);
    uint64_t count;
    ASSERT_EQ(read(fd, &count, sizeof(count)), 8);
    uint64_t received = 0;
    while (const auto value = channel->try_receive<uint64_t>()) ++received;
    EXPECT_EQ(received, 1u);
    sender.join();
  }
  ChannelOptions spinning;
  spinning.wait = WaitStrategy::Spin;
  EXPECT_EQ(create_channel(uri_ + "-spin", spinning)->event_fd(), -1);
}

TEST_P(BothTransports, PlacementSaysWhatWasObtained) {
  ChannelOptions options;
  options.bytes = 4 << 20;
  options.huge_pages = true;
  options.prefault = true;
  const auto channel = create_channel(uri_, options);
  const Placement placement = channel->placement();
  EXPECT_GE(placement.bytes, size_t{4} << 20);
  EXPECT_GE(placement.resident_bytes, size_t{4} << 20);
  EXPECT_TRUE(placement.huge_page_bytes != 0 || !placement.huge_page_refusal.empty());
  EXPECT_EQ(pin_thread(-1), -1);
  std::thread([] { EXPECT_EQ(pin_thread(0), 0); }).join();
}

// ---- names

TEST(Channel, NamesOfOneProcessAreShared) {
  const std::string uri = Name("memory");
  const auto one = create_channel(uri, 4096);
  const auto two = create_channel(uri, 4096);
  EXPECT_EQ(one->send(uint64_t{8}), Status::Ok);
  EXPECT_EQ(two->receive<uint64_t>(), 8u);
}

TEST_P(BothTransports, NameRaces) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> go{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        ++go;
        while (go < 4) std::this_thread::yield();
        for (int i = 0; i < 20; ++i) ASSERT_NE(create_channel(uri_, 4096, ChannelMode::MPSC), nullptr);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  if (uri_.starts_with("ipc")) {
    EXPECT_NE(access(channel::ChannelPath(uri_.substr(6)).c_str(), F_OK), 0);
  }
}

TEST(Channel, AnIpcFileIsPrivateAndGoesWithTheLast) {
  const std::string uri = Name("ipc");
  const std::string path = channel::ChannelPath(uri.substr(6));
  auto one = create_channel(uri, 4096);
  auto two = create_channel(uri, 4096);
  struct stat file {};
  ASSERT_EQ(stat(path.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
  ASSERT_EQ(one->send(uint64_t{3}), Status::Ok);
  EXPECT_EQ(two->receive<uint64_t>(), 3u);
  one.reset();
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  two.reset();
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

// Allocations and system calls on the way of a message: tests/channel/quiet_test.cpp.

}  // namespace
}  // namespace memtally
