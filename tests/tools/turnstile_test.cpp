// SPDX-License-Identifier: Apache-2.0
#include "tools/turnstile.hpp"

#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace memtally::tools {
namespace {

TEST(Turnstile, KeepsTheOrderOfTurns) {
  constexpr size_t kThreads = 5;
  constexpr uint32_t kTurns = 3000;
  std::mt19937 random(1);
  std::vector<size_t> owner;
  for (uint32_t turn = 0; turn < kTurns; ++turn) owner.push_back(random() % kThreads);
  std::vector<uint32_t> taken;  // unlocked: only who has the turn touches it
  Turnstile turnstile(kThreads);
  const auto run = [&](size_t thread) {
    for (uint32_t turn = 0; turn < kTurns; ++turn) {
      if (owner[turn] != thread) continue;
      turnstile.Await(thread, turn);
      taken.push_back(turn);
      if (turn + 1 < kTurns) turnstile.Pass(owner[turn + 1], turn + 1);
    }
  };
  turnstile.Pass(owner[0], 0);
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread) threads.emplace_back(run, thread);
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(taken.size(), kTurns);
  for (uint32_t turn = 0; turn < kTurns; ++turn) EXPECT_EQ(taken[turn], turn);
}

}  // namespace
}  // namespace memtally::tools
