// SPDX-License-Identifier: Apache-2.0
//
// The table of a process's buffers, against a plain map; and what a process makes of messages, against a plain model.
#include "daemon/legacy/buffer_table.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <tuple>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>

#include "daemon/legacy/client_process.hpp"

namespace memtally::daemon {
namespace {

TEST(BufferTable, IsAMap) {
  std::mt19937_64 random(1);
  BufferTable table;
  std::map<std::tuple<Sort, uint16_t, uint8_t, uint64_t>, uint64_t> model;
  for (int step = 0; step < 200'000; ++step) {
    const auto sort = static_cast<Sort>(random() % 3);
    const auto device = static_cast<uint16_t>(random() % 4);
    const auto kind = static_cast<uint8_t>(random() % 2);
    const uint64_t id = (random() % (step < 100'000 ? 4000 : 50)) << 12;
    const auto key = std::make_tuple(sort, device, kind, id);
    BufferEntry* found = table.Find(sort, device, kind, id);
    ASSERT_EQ(found != nullptr, model.contains(key));
    if (found == nullptr) {
      table.Add(sort, {.id = id, .size = static_cast<uint64_t>(step), .device = device, .kind = kind});
      model[key] = static_cast<uint64_t>(step);
    } else {
      ASSERT_EQ(found->size, model[key]);
      table.Erase(found);
      model.erase(key);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  size_t visited = 0;
  table.ForEach([&](const BufferEntry& entry) {
    ++visited;
    EXPECT_EQ(model.at({static_cast<Sort>(entry.sort - 1), entry.device, entry.kind, entry.id}), entry.size);
  });
  EXPECT_EQ(visited, model.size());
}

TEST(BufferTable, AtMost64BytesABuffer) {
  BufferTable table;
  for (uint64_t id = 0; id < 300'000; ++id) {
    table.Add(Sort::kBuffer, {.id = id << 10});
    ASSERT_LE(table.bytes(), std::max<size_t>(table.size(), 1000) * 64);
  }
  for (uint64_t id = 0; id < 300'000; ++id) {
    table.Erase(table.Find(Sort::kBuffer, 0, 0, id << 10));
    ASSERT_LE(table.bytes(), std::max<size_t>(table.size() + 1, 1000) * 64);
  }
}

TEST(ClientProcess, AgainstAModel) {
  std::mt19937_64 random(2);
  ClientProcess process({}, 0);
  struct Held {
    uint64_t size = 0;
    uint64_t references = 0;
    uint64_t order = 0;
  };
  // By device, id and type.
  std::map<std::tuple<int32_t, uint64_t, uint8_t>, Held> model;
  uint64_t unknown = 0;
  uint64_t repeated = 0;
  uint64_t ambiguous = 0;
  for (uint64_t step = 1; step < 100'000; ++step) {
    memtally_legacy_head head{};
    head.device_id = static_cast<int32_t>(random() % 3);
    head.buffer_id = random() % 200;
    head.size = random() % 1000;
    head.buffer_type = static_cast<uint8_t>(random() % 5);
    head.type = random() % 2 == 0 ? MEMTALLY_LEGACY_ALLOC : MEMTALLY_LEGACY_FREE;
    process.Apply(head, 5, 0);
    if (head.type == MEMTALLY_LEGACY_ALLOC) {
      Held& held = model[{head.device_id, head.buffer_id, head.buffer_type}];
      if (held.references++ == 0) {
        held.size = head.size;
        held.order = step;
      } else {
        ++repeated;
      }
      continue;
    }
    auto newest = model.end();
    int matches = 0;
    for (auto at = model.lower_bound({head.device_id, head.buffer_id, 0});
         at != model.end() && std::get<0>(at->first) == head.device_id && std::get<1>(at->first) == head.buffer_id;
         ++at) {
      ++matches;
      if (newest == model.end() || newest->second.order < at->second.order) newest = at;
    }
    unknown += matches == 0 ? 1 : 0;
    ambiguous += matches > 1 ? 1 : 0;
    if (newest != model.end() && --newest->second.references == 0) model.erase(newest);
  }
  EXPECT_EQ(process.counters().unknown_frees, unknown);
  EXPECT_EQ(process.counters().repeated_allocations, repeated);
  EXPECT_EQ(process.counters().ambiguous_frees, ambiguous);
  EXPECT_EQ(process.buffers().size(), model.size());
  uint64_t bytes = 0;
  uint64_t bytes_of_model = 0;
  for (const LegacyAccount& account : process.accounts()) {
    EXPECT_EQ(account.live_bytes, account.allocated_bytes - account.freed_bytes);
    EXPECT_EQ(account.live_count, account.allocated_count - account.freed_count);
    EXPECT_GE(account.peak_bytes, account.live_bytes);
    bytes += account.live_bytes;
  }
  for (const auto& [key, held] : model) bytes_of_model += held.size;
  EXPECT_EQ(bytes, bytes_of_model);
}

}  // namespace
}  // namespace memtally::daemon
