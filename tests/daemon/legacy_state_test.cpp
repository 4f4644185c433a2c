// SPDX-License-Identifier: Apache-2.0
//
// The server's answer to readers: what goes in comes out, and no byte of it is believed unchecked.
#include <unistd.h>

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "collect/legacy_source.hpp"
#include "daemon/legacy/client_registry.hpp"
#include "daemon/legacy/state_file.hpp"

namespace memtally::daemon {
namespace {

std::vector<uint8_t> SampleAnswer(uint32_t level) {
  const ServerSettings settings;
  ClientRegistry registry(settings);
  bool is_new = false;
  for (uint64_t connection = 1; connection <= 3; ++connection) {
    ClientProcess* process = registry.Find(0, 1000, 1000, connection, 5, &is_new);
    EXPECT_TRUE(is_new);
    registry.Attach(process);
    for (uint64_t id = 0; id < 4; ++id) {
      FramedMessage message;
      message.head.type = MEMTALLY_LEGACY_ALLOC;
      message.head.buffer_type = static_cast<uint8_t>(id);
      message.head.size = 100 * connection;
      message.head.buffer_id = id;
      registry.Apply(process, message, 7);
    }
  }
  memtally_legacy_state_request request{};
  request.level = level;
  uint64_t size = 0;
  const base::Fd file = MakeStateFile(registry, {&settings, 1, 9, 3}, request, &size);
  EXPECT_TRUE(file.valid());
  std::vector<uint8_t> bytes(size);
  EXPECT_EQ(pread(file.get(), bytes.data(), size, 0), static_cast<ssize_t>(size));
  return bytes;
}

TEST(LegacyState, ComesOutAsItWentIn) {
  collect::LegacyState state;
  std::string what;
  ASSERT_TRUE(collect::ParseLegacyState(SampleAnswer(MEMTALLY_LEGACY_STATE_EVERYTHING), &state, &what)) << what;
  EXPECT_EQ(state.processes.size(), 3u);
  EXPECT_EQ(state.accounts.size(), 12u);
  EXPECT_EQ(state.buffers.size(), 12u);
  EXPECT_EQ(state.accounts[11].live_bytes, 300u);
  ASSERT_TRUE(collect::ParseLegacyState(SampleAnswer(MEMTALLY_LEGACY_STATE_TOTALS), &state, &what)) << what;
  EXPECT_EQ(state.buffers.size(), 0u);
}

TEST(LegacyState, EveryCutIsRefused) {
  const std::vector<uint8_t> bytes = SampleAnswer(MEMTALLY_LEGACY_STATE_EVERYTHING);
  for (size_t size = 0; size < bytes.size(); ++size) {
    collect::LegacyState state;
    std::string what;
    EXPECT_FALSE(
        collect::ParseLegacyState({bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size)}, &state, &what));
    EXPECT_FALSE(what.empty());
  }
}

TEST(LegacyState, ChangedBytesNeverLeadOutside) {
  std::mt19937_64 random(3);
  const std::vector<uint8_t> bytes = SampleAnswer(MEMTALLY_LEGACY_STATE_EVERYTHING);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<uint8_t> changed = bytes;
    for (int i = 0; i < 3; ++i) changed[random() % changed.size()] = static_cast<uint8_t>(random());
    collect::LegacyState state;
    std::string what;
    if (!collect::ParseLegacyState(changed, &state, &what)) continue;
    for (const memtally_legacy_state_process& process : state.processes) {
      ASSERT_LE(process.first_account + process.account_count, state.accounts.size());
      ASSERT_LE(process.first_buffer + process.buffer_count, state.buffers.size());
    }
  }
}

}  // namespace
}  // namespace memtally::daemon
