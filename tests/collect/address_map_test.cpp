// SPDX-License-Identifier: Apache-2.0
#include "collect/address_map.hpp"

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace memtally::collect {
namespace {

// A process with one account, number 4.
class Facts {
 public:
  explicit Facts(uint64_t capacity) {
    account_.index = 4;
    account_.capacity_bytes_per_bank = capacity;
    view_.tags = {{0, "", false}, {0, "(other)", false}, {0, "model", false}, {2, "layer 1", false}};
  }
  LedgerBuffer& Add(uint64_t address, uint64_t bytes, uint32_t tag = 0) {
    LedgerBuffer& buffer = view_.buffers.emplace_back();
    buffer.id = view_.buffers.size();
    buffer.account = 4;
    buffer.address = address;
    buffer.bytes_per_bank = bytes;
    buffer.tag = tag;
    return buffer;
  }
  AddressMap Map() const { return {view_, account_}; }

 private:
  LedgerView view_;
  LedgerAccount account_;
};

TEST(AddressMap, Empty) {
  const AddressMap map = Facts(100).Map();
  EXPECT_EQ(map.capacity(), 100U);
  EXPECT_EQ(map.free(), 100U);
  EXPECT_EQ(map.largest_free(), 100U);
  EXPECT_TRUE(map.Tags().empty());
  EXPECT_TRUE(map.CheapestRoomFor(100).buffers.empty());
  EXPECT_EQ(map.CheapestRoomFor(100).bytes_per_bank, 0U);
  EXPECT_EQ(map.CheapestRoomFor(101).bytes_per_bank, std::numeric_limits<uint64_t>::max());
}

TEST(AddressMap, FromTheBottom) {
  Facts facts(1000);
  facts.Add(400, 100);
  facts.Add(600, 50);
  facts.Add(900, 10).imported = true;
  facts.Add(910, 10).released = true;
  facts.Add(920, 10).account = 3;
  const AddressMap map = facts.Map();
  EXPECT_EQ(map.begin(), 400U);
  EXPECT_EQ(map.end(), 1400U);
  EXPECT_EQ(map.held(), 150U);
  EXPECT_EQ(map.free(), 850U);
  ASSERT_EQ(map.free_blocks().size(), 2U);
  EXPECT_EQ(map.free_blocks()[0].begin, 500U);
  EXPECT_EQ(map.free_blocks()[0].bytes, 100U);
  EXPECT_EQ(map.largest_free(), 750U);
}

TEST(AddressMap, FromTheTop) {
  Facts facts(1000);
  facts.Add(1500, 100);
  facts.Add(700, 50);
  facts.Add(1700, 200);
  const AddressMap map = facts.Map();
  EXPECT_EQ(map.end(), 1900U);
  EXPECT_EQ(map.begin(), 900U);
  EXPECT_EQ(map.largest_free(), 600U);
}

TEST(AddressMap, WhatWouldHaveToGo) {
  Facts facts(1000);
  facts.Add(0, 100, 2);
  facts.Add(150, 100, 3);
  facts.Add(300, 300, 3);
  facts.Add(700, 20);
  facts.Add(800, 200, 2);
  const AddressMap map = facts.Map();
  EXPECT_TRUE(map.CheapestRoomFor(100).buffers.empty());
  EXPECT_EQ(map.CheapestRoomFor(100).bytes_per_bank, 0U);
  const Clearing clearing = map.CheapestRoomFor(101);
  EXPECT_EQ(clearing.bytes_per_bank, 20U);
  ASSERT_EQ(clearing.buffers.size(), 1U);
  EXPECT_EQ(clearing.buffers[0]->address, 700U);
  const std::vector<TagShare> tags = map.Tags();
  ASSERT_EQ(tags.size(), 3U);
  EXPECT_EQ(tags[0].tag, "model / layer 1");
  EXPECT_EQ(tags[0].count, 2U);
  EXPECT_EQ(tags[0].bytes_per_bank, 400U);
  EXPECT_EQ(tags[0].largest_free_without, 600U);
  EXPECT_EQ(tags[2].tag, "");
  EXPECT_EQ(tags[2].largest_free_without, 200U);
}

TEST(AddressMap, UnknownCapacityAndNonsense) {
  Facts unknown(0);
  unknown.Add(100, 50);
  EXPECT_EQ(unknown.Map().free(), 0U);
  EXPECT_EQ(unknown.Map().CheapestRoomFor(10).bytes_per_bank, std::numeric_limits<uint64_t>::max());
  Facts hostile(std::numeric_limits<uint64_t>::max());
  hostile.Add(std::numeric_limits<uint64_t>::max() - 5, 1000);
  hostile.Add(3, std::numeric_limits<uint64_t>::max());
  hostile.Add(3, std::numeric_limits<uint64_t>::max());
  const AddressMap map = hostile.Map();
  EXPECT_EQ(map.free(), 0U);
  map.Tags();
  map.CheapestRoomFor(1);
  map.CheapestRoomFor(std::numeric_limits<uint64_t>::max());
}

// Against every place there is, tried one by one.
TEST(AddressMap, TheCheapestRoomIsTheCheapest) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same cases each time
  for (int round = 0; round < 300; ++round) {
    constexpr uint64_t kCapacity = 120;
    Facts facts(kCapacity);
    std::vector<uint64_t> bytes{0};          // of buffers; 0: of none
    std::vector<uint64_t> owner(kCapacity);  // of each byte
    for (uint64_t at = 0; at < kCapacity;) {
      const uint64_t size = 1 + random() % 12;
      if (at + size > kCapacity) break;
      // The first buffer and the last byte pin the space down.
      if (at == 0 || random() % 3 != 0) {
        facts.Add(at, size);
        bytes.push_back(size);
        for (uint64_t k = at; k < at + size; ++k) owner[k] = bytes.size() - 1;
      }
      at += size;
    }
    const AddressMap map = facts.Map();
    ASSERT_EQ(map.begin(), 0U);
    const uint64_t wanted = 1 + random() % kCapacity;
    uint64_t best = std::numeric_limits<uint64_t>::max();
    for (uint64_t begin = 0; begin + wanted <= kCapacity; ++begin) {
      std::vector<bool> seen(bytes.size());
      uint64_t sum = 0;
      for (uint64_t k = begin; k < begin + wanted; ++k) {
        if (!seen[owner[k]]) sum += bytes[owner[k]];
        seen[owner[k]] = true;
      }
      best = std::min(best, sum);
    }
    const Clearing clearing = map.CheapestRoomFor(wanted);
    ASSERT_EQ(clearing.bytes_per_bank, best) << "round " << round << ", " << wanted << " bytes";
    uint64_t going = 0;
    for (const LedgerBuffer* buffer : clearing.buffers) going += buffer->bytes_per_bank;
    ASSERT_EQ(going, best);
    for (const LedgerBuffer* buffer : clearing.buffers) {
      EXPECT_LT(buffer->address, clearing.begin + wanted);
      EXPECT_GT(buffer->address + buffer->bytes_per_bank, clearing.begin);
    }
  }
}

}  // namespace
}  // namespace memtally::collect
