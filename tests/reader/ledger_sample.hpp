// SPDX-License-Identifier: Apache-2.0
//
// A ledger in which everything that the format knows is there at least once; and what must hold of any view.
#pragma once

#include <set>

#include <gtest/gtest.h>

#include <memtally/ledger_reader.hpp>

#include "ledger_builder.hpp"

namespace memtally::test {

// `interrupted`: its process died inside a call.
inline LedgerBuilder SampleLedger(bool interrupted = false) {
  LedgerBuilder b;
  b.Usual();
  b.AddAccount(1, 0, 1, 8);
  b.AddDevice(1, 500);
  b.AddAccount(2, 1, 0, 2);
  b.AddTag(0, "");
  b.AddTag(0, "(other)");
  b.AddTag(0, "decode");
  b.AddTag(2, "layer 3");
  b.AddGroup(5, "program 12");
  b.AddLane(16);
  for (uint64_t i = 0; i < 700; ++i) {
    b.Alloc(0, i % 3 == 0, i,
            {.id = i, .address = i * 64, .requested = i, .per_bank = 32, .units = i, .thread = 1, .tag = 3});
  }
  for (uint64_t i = 0; i < 700; i += 2)
    b.Free(0, i % 3 == 0, i, {.id = i, .requested = i, .per_bank = 32, .units = 700 + i});
  b.Alloc(1, 2, 0, {.id = 9, .requested = 77, .per_bank = 64});
  b.PutRecord(b.SlotAt(1, 1), 0, {.id = 10, .requested = 5, .flags = kLive | kImported});
  b.PutRecord(b.SlotAt(1, 2), 0, {.id = 11, .address = 3, .requested = 5, .flags = kLive | kExtended});
  b.PutExtension(b.SlotAt(1, 3), 0xabc, 5, 1, uint64_t{1} << 50, uint64_t{1} << 44);
  const uint64_t block = b.LaneAt(1) + kAnomaliesAt;
  b.Put<uint64_t>(block, 6);
  for (uint64_t n = 2; n < 6; ++n)
    b.PutRecord(block + 16 + 48 * (n % 4), 1023,
                {.id = n, .units = n, .thread = 1, .flags = uint64_t{kUnknownFree} << 4});
  if (interrupted) {
    const uint64_t lane = b.LaneAt(0);
    b.Put<uint64_t>(lane, b.Get<uint64_t>(lane) + 1);
    b.Put<uint64_t>(lane + kUndoAt, b.Get<uint64_t>(lane));
    b.Put<uint32_t>(lane + kUndoAt + 8, 0);
    b.Put<uint32_t>(lane + kUndoAt + 12, 3);
    b.Put<uint64_t>(lane + kUndoAt + 16, 5);
    b.Put<uint64_t>(lane + kUndoAt + 24, b.Get<uint64_t>(b.SlotAt(0, 5) + 16));
    for (uint64_t i = 0; i < 8; ++i)
      b.Put<uint64_t>(lane + kUndoAt + 32 + 8 * i, b.Get<uint64_t>(b.SumsOf(0, 0) + 8 * i));
    const uint64_t words[] = {b.SlotAt(0, 7) + 16, b.MoreSumsOf(0, 0), b.CatalogEntry(5) + 48};
    for (uint64_t i = 0; i < 3; ++i) {
      b.Put<uint64_t>(lane + kUndoAt + 96 + 16 * i, words[i]);
      b.Put<uint64_t>(lane + kUndoAt + 104 + 16 * i, b.Get<uint64_t>(words[i]));
    }
  }
  return b;
}

// True of every view, whatever was in the file.
inline void CheckView(const LedgerView& view) {
  std::set<uint32_t> accounts;
  for (const LedgerAccount& a : view.accounts) {
    EXPECT_TRUE(accounts.insert(a.index).second);
    EXPECT_NE(view.kind(a.kind), nullptr);
    bool has_device = false;
    for (const LedgerDevice& d : view.devices) has_device = has_device || d.index == a.device;
    EXPECT_TRUE(has_device);
    EXPECT_GT(a.banks, 0u);
  }
  for (const LedgerKind& k : view.kinds) {
    EXPECT_NE(view.kind(k.memory), nullptr);
    if (k.inside) {
      EXPECT_NE(view.kind(*k.inside), nullptr);
    }
  }
  for (const LedgerBuffer& b : view.buffers) {
    EXPECT_EQ(accounts.count(b.account), 1u);
    EXPECT_TRUE(b.tag == 0 || b.tag < view.tags.size());
  }
  for (size_t i = 1; i < view.tags.size(); ++i) EXPECT_LT(view.tags[i].parent, i);
  for (const LedgerAnomaly& anomaly : view.anomalies) {
    for (const LedgerEvent& event : anomaly.last) EXPECT_TRUE(!event.account || accounts.count(*event.account) == 1);
  }
  for (size_t i = 1; i < view.events.size(); ++i) {
    const LedgerEvent& a = view.events[i - 1];
    const LedgerEvent& b = view.events[i];
    EXPECT_TRUE(a.lane < b.lane || (a.lane == b.lane && a.number < b.number));
  }
  EXPECT_LE(view.gaps.size(), 500u);
}

}  // namespace memtally::test
