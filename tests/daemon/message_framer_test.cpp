// SPDX-License-Identifier: Apache-2.0
//
// Bytes become messages: every generation, every cut, and what is no message.
#include "daemon/legacy/message_framer.hpp"

#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace memtally::daemon {
namespace {

constexpr uint32_t kGenerations[] = {72, 112, 128, 144};

memtally_legacy_head Head(uint8_t type, uint64_t id) {
  memtally_legacy_head head{};
  head.type = type;
  head.device_id = static_cast<int32_t>(id % 8);
  head.size = id * 100;
  head.buffer_type = type == MEMTALLY_LEGACY_ALLOC ? static_cast<uint8_t>(id % 5) : 0;
  head.process_id = 4711;
  head.buffer_id = id;
  head.timestamp = id;
  return head;
}

std::vector<uint8_t> Stream(uint32_t generation, size_t count, uint8_t tail = 0) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < count; ++i) {
    const memtally_legacy_head head = Head(i % 3 == 2 ? MEMTALLY_LEGACY_FREE : MEMTALLY_LEGACY_ALLOC, i + 1);
    std::vector<uint8_t> one(generation, tail);
    memcpy(one.data(), &head, MEMTALLY_LEGACY_REQUEST_BYTES);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

struct Framed {
  explicit Framed(MessageFramer* the_framer) : framer(the_framer) {}
  bool Feed(std::span<const uint8_t> bytes, uint32_t sender = 1) {
    return framer->Feed(bytes, sender, [&](const FramedMessage& message) { messages.push_back(message); });
  }
  void Settle(bool at_end) {
    framer->Settle(at_end, [&](const FramedMessage& message) { messages.push_back(message); });
  }
  // Whether these are the messages of Stream, in order.
  void ExpectStream(uint32_t generation, size_t count) const {
    ASSERT_EQ(messages.size(), count);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(messages[i].head.buffer_id, i + 1);
      EXPECT_EQ(messages[i].head.size, (i + 1) * 100);
    }
    EXPECT_EQ(framer->generation(), generation);
    EXPECT_EQ(framer->pending_bytes(), 0u);
    EXPECT_EQ(framer->damage().messages, 0u);
  }

  MessageFramer* framer;
  std::vector<FramedMessage> messages;
};

TEST(MessageFramer, EveryGenerationAtEveryPairOfCuts) {
  constexpr size_t kCount = 5;
  for (const uint32_t generation : kGenerations) {
    const std::vector<uint8_t> bytes = Stream(generation, kCount);
    for (size_t first = 0; first <= bytes.size(); ++first) {
      for (size_t second = first; second <= bytes.size(); second += 1 + second % 7) {
        MessageFramer framer;
        Framed framed(&framer);
        const std::span<const uint8_t> all(bytes);
        ASSERT_TRUE(framed.Feed(all.first(first)));
        ASSERT_TRUE(framed.Feed(all.subspan(first, second - first)));
        ASSERT_TRUE(framed.Feed(all.subspan(second)));
        framed.ExpectStream(generation, kCount);
        if (HasFailure()) FAIL() << generation << " bytes, cut at " << first << " and " << second;
      }
    }
  }
}

TEST(MessageFramer, SettlingAtEveryCutChangesNothing) {
  for (const uint32_t generation : kGenerations) {
    const std::vector<uint8_t> bytes = Stream(generation, 4);
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      MessageFramer framer;
      Framed framed(&framer);
      ASSERT_TRUE(framed.Feed(std::span(bytes).first(cut)));
      framed.Settle(false);
      const size_t early = framed.messages.size();
      framed.Settle(false);
      EXPECT_EQ(framed.messages.size(), early);
      ASSERT_TRUE(framed.Feed(std::span(bytes).subspan(cut)));
      framed.ExpectStream(generation, 4);
      if (HasFailure()) FAIL() << generation << " bytes, settled at " << cut;
    }
  }
}

TEST(MessageFramer, OneMessageAloneIsTakenWhenNothingFollows) {
  for (const uint32_t generation : kGenerations) {
    MessageFramer framer;
    Framed framed(&framer);
    ASSERT_TRUE(framed.Feed(Stream(generation, 1)));
    EXPECT_EQ(framed.messages.size(), generation == 144 ? 1u : 0u);
    EXPECT_EQ(framer.IsUnsettled(), generation != 144);
    framed.Settle(false);
    framed.ExpectStream(generation, 1);
    EXPECT_FALSE(framer.IsUnsettled());
  }
}

// What the end of a connection leaves: every whole message, and no other.
TEST(MessageFramer, AnEndAtEveryByte) {
  for (const uint32_t generation : kGenerations) {
    const std::vector<uint8_t> bytes = Stream(generation, 3);
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      MessageFramer framer;
      Framed framed(&framer);
      ASSERT_TRUE(framed.Feed(std::span(bytes).first(cut)));
      framed.Settle(true);
      // A first message of which 72 bytes came says all that a request says.
      const size_t whole = cut / generation == 0 && (cut == 72 || cut == 112 || cut == 128) ? 1 : cut / generation;
      EXPECT_EQ(framed.messages.size(), whole) << generation << " bytes, end at " << cut;
    }
  }
}

TEST(MessageFramer, TwoMessagesOf72AreNotOneOf144) {
  MessageFramer framer;
  Framed framed(&framer);
  ASSERT_TRUE(framed.Feed(Stream(72, 2)));
  framed.ExpectStream(72, 2);
}

// Where a request has no zeros, but garbage that is no type.
TEST(MessageFramer, GarbageBehindTheRequest) {
  for (const uint32_t generation : kGenerations) {
    MessageFramer framer;
    Framed framed(&framer);
    ASSERT_TRUE(framed.Feed(Stream(generation, 6, 0xee)));
    framed.ExpectStream(generation, 6);
  }
}

TEST(MessageFramer, NoMessages) {
  MessageFramer framer;
  Framed framed(&framer);
  const char text[] = "GET / HTTP/1.1\r\n\r\n";
  EXPECT_FALSE(framed.Feed({reinterpret_cast<const uint8_t*>(text), sizeof(text)}));
}

TEST(MessageFramer, HalfAMessageCostsItAndTheNextAndNoMore) {
  for (const uint32_t generation : kGenerations) {
    for (size_t kept = 1; kept < generation; ++kept) {
      std::vector<uint8_t> bytes = Stream(generation, 10);
      const auto third = bytes.begin() + 3 * static_cast<ptrdiff_t>(generation);
      bytes.erase(third + static_cast<ptrdiff_t>(kept), third + static_cast<ptrdiff_t>(generation));
      MessageFramer framer;
      Framed framed(&framer);
      ASSERT_TRUE(framed.Feed(bytes));
      ASSERT_GE(framed.messages.size(), 8u) << generation << " bytes, kept " << kept;
      EXPECT_EQ(framed.messages.back().head.buffer_id, 10u) << generation << " bytes, kept " << kept;
      EXPECT_EQ(framer.damage().messages, 1u);
      EXPECT_GT(framer.damage().bytes, 0u);
    }
  }
}

TEST(MessageFramer, SendersOfAnOpening) {
  const std::vector<uint8_t> bytes = Stream(72, 3);
  for (size_t cut = 72; cut <= 144; cut += 72) {
    MessageFramer framer;
    Framed framed(&framer);
    ASSERT_TRUE(framed.Feed(std::span(bytes).first(cut), 1));
    ASSERT_TRUE(framed.Feed(std::span(bytes).subspan(cut), 2));
    framed.ExpectStream(72, 3);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(framed.messages[i].sender, i * 72 < cut ? 1u : 2u);
  }
}

TEST(MessageFramer, RandomCutsOfLongStreams) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 200; ++round) {
    const uint32_t generation = kGenerations[random() % 4];
    const std::vector<uint8_t> bytes = Stream(generation, 300);
    MessageFramer framer;
    Framed framed(&framer);
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min<size_t>(bytes.size() - at, 1 + random() % 700);
      ASSERT_TRUE(framed.Feed(std::span(bytes).subspan(at, size)));
      if (random() % 4 == 0) framed.Settle(false);
      at += size;
    }
    framed.ExpectStream(generation, 300);
  }
}

}  // namespace
}  // namespace memtally::daemon
