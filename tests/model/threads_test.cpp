// SPDX-License-Identifier: Apache-2.0
//
// Many threads: at rest the ledger says what the models of all threads say together; while they run, every exact view
// adds up.
#include <sched.h>

#include <barrier>
#include <thread>

#include <gtest/gtest.h>

#include "child_process.hpp"

namespace memtally::model {
namespace {

// Reads the ledger again and again while the threads run.
class Watcher {
 public:
  explicit Watcher(const std::string& path) : thread_([this, path] { Watch(path); }) {}
  ~Watcher() { Stop(); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Returns what was wrong.
  std::string Stop() {
    stop_.store(true);
    if (thread_.joinable()) thread_.join();
    return wrong_;
  }
  uint64_t exact() const { return exact_; }

 private:
  void Watch(const std::string& path) {
    LedgerError error;
    const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(path, &error);
    if (reader == nullptr) {
      wrong_ = error.what;
      return;
    }
    LedgerView view;
    std::map<uint32_t, std::pair<uint64_t, uint64_t>> reached;
    for (uint64_t i = 0; !stop_.load() && wrong_.empty(); ++i) {
      if (!reader->Read(i % 2 == 0 ? ReadLevel::kTotals : ReadLevel::kAll, &view, &error)) {
        wrong_ = error.what;
        return;
      }
      if (i % 2 == 0) view.buffers_exact = false;  // there are none to look at
      if (view.totals_exact) {
        ++exact_;
        wrong_ = Join(BrokenInvariants(view));
        for (const LedgerAccount& account : view.accounts) {
          // What was once reached stays within the bound.  A peak itself may fall back by less than its slack, since
          // not every sum is remembered, and so may the bound: a lane whose first use of an account comes during a
          // collection adds its highest to those of the epoch that ends.
          auto& [reached_requested, reached_reserved] = reached[account.index];
          reached_requested = std::max(reached_requested, account.peak_requested);
          reached_reserved = std::max(reached_reserved, account.peak_reserved);
          if (account.peak_requested + account.peak_requested_slack < reached_requested ||
              account.peak_reserved + account.peak_reserved_slack < reached_reserved) {
            wrong_ += "a peak that was reached is beyond the bound\n";
          }
        }
      }
      std::this_thread::yield();
    }
  }

  std::atomic<bool> stop_{false};
  std::string wrong_;
  uint64_t exact_ = 0;
  std::thread thread_;
};

std::string CompareAtRest(const std::vector<Model>& models) {
  Model merged = World::MakeModel();
  for (const Model& model : models) merged.MergeFrom(model);
  LedgerView view;
  const std::string error = ReadLedger(memtally_ledger_path(), &view);
  if (!error.empty()) return error;
  std::string text = Join(BrokenInvariants(view));
  return text + Join(Differences(merged, view, {.peaks = Wanted::Peaks::kIgnore, .events = Wanted::Events::kIgnore}));
}

// Threads with ids of their own, in `rounds` between which all rest.
std::string OwnIds(uint32_t count, Ids ids, uint64_t operations, int rounds) {
  World world;
  world.Register();
  std::vector<Model> models(count, World::MakeModel());
  std::vector<OperationStream> streams;
  for (uint32_t t = 0; t < count; ++t) {
    streams.emplace_back(100 + t, StreamOptions{.ids = ids, .thread = t + 1, .most_live = 500, .close_in = 0});
  }
  std::string text;
  std::barrier rest(count + 1);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < count; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < rounds; ++round) {
        for (uint64_t i = 0; i < operations; ++i) {
          const Operation operation = streams[t].Next();
          world.Perform(operation);
          models[t].Apply(operation);
        }
        rest.arrive_and_wait();
        rest.arrive_and_wait();
      }
    });
  }
  {
    Watcher watcher(memtally_ledger_path());
    for (int round = 0; round < rounds; ++round) {
      rest.arrive_and_wait();
      if (text.empty()) text = CompareAtRest(models);
      rest.arrive_and_wait();
    }
    for (std::thread& thread : threads) thread.join();
    text += watcher.Stop();
  }
  return text;
}

TEST(Threads, OwnSequentialIds) {
  EXPECT_EQ(RunInChild([] { return OwnIds(4, Ids::kSequential, Scaled(15'000), 4); }), "");
}
TEST(Threads, OwnAddresses) {
  EXPECT_EQ(RunInChild([] { return OwnIds(4, Ids::kAddresses, Scaled(15'000), 4); }), "");
}
// Regions of random ids belong to whoever was first: nearly every call enters another's lane.
TEST(Threads, RandomIdsInSharedRegions) {
  EXPECT_EQ(RunInChild([] { return OwnIds(4, Ids::kRandom, Scaled(15'000), 4); }), "");
}
TEST(Threads, ManyThreads) {
  EXPECT_EQ(RunInChild([] { return OwnIds(24, Ids::kAddresses, Scaled(2'000), 2); }), "");
}
// More threads than lanes.
TEST(Threads, MoreThreadsThanLanes) {
  EXPECT_EQ(RunInChild([] { return OwnIds(140, Ids::kSequential, Scaled(200), 2); }), "");
}

// A buffer goes from the thread that allocated it to the next, which frees it.
TEST(Threads, FreedByOthers) {
  EXPECT_EQ(RunInChild([] {
              constexpr uint32_t kCount = 4;
              World world;
              world.Register();
              std::vector<Model> models(1, World::MakeModel());
              const uint64_t operations = Scaled(20'000);
              // By turns of batches: batch b of thread t is freed by thread t + 1 in the round after.
              std::vector<std::vector<Operation>> batch(kCount);
              std::barrier rest(kCount);
              std::vector<std::thread> threads;
              std::vector<uint64_t> frees(kCount);
              for (uint32_t t = 0; t < kCount; ++t) {
                threads.emplace_back([&, t] {
                  OperationStream stream(t, {.ids = Ids::kAddresses, .thread = t + 1, .close_in = 0, .plain = true});
                  for (uint64_t round = 0; round < operations / 100; ++round) {
                    std::vector<Operation> mine;
                    std::map<uint64_t, bool> ids;
                    while (mine.size() < 50) {
                      Operation operation = stream.Next();
                      if (operation.action == Action::kAlloc && ids.emplace(operation.id, true).second) {
                        operation.id |= round << 48 & 0xfff000000000000;  // no id twice
                        mine.push_back(operation);
                        world.Perform(operation);
                      }
                    }
                    batch[t] = mine;
                    rest.arrive_and_wait();
                    for (Operation operation : batch[(t + 1) % kCount]) {
                      operation.action = Action::kFree;
                      if (operation.id % 7 != 0 || round + 1 < operations / 100) world.Perform(operation);
                    }
                    rest.arrive_and_wait();
                  }
                });
              }
              Watcher watcher(memtally_ledger_path());
              for (std::thread& thread : threads) thread.join();
              const std::string text = watcher.Stop();
              LedgerView view;
              const std::string error = ReadLedger(memtally_ledger_path(), &view);
              if (!error.empty()) return text + error;
              uint64_t allocations = 0;
              uint64_t freed = 0;
              for (const LedgerAccount& account : view.accounts) {
                allocations += account.allocated.count;
                freed += account.freed.count;
              }
              uint64_t expected_live = 0;
              for (const std::vector<Operation>& operations_left : batch) {
                for (const Operation& operation : operations_left) expected_live += operation.id % 7 == 0 ? 1 : 0;
              }
              std::vector<std::string> wrong = BrokenInvariants(view);
              if (allocations != operations / 100 * 50 * kCount) wrong.push_back("allocations are missing");
              if (allocations - freed != expected_live || view.buffers.size() != expected_live) {
                wrong.push_back("live: " + std::to_string(allocations - freed) + " instead of " +
                                std::to_string(expected_live));
              }
              for (const LedgerAnomaly& anomaly : view.anomalies) {
                if (anomaly.count != 0) wrong.push_back("an anomaly");
              }
              return text + Join(wrong);
            }),
            "");
}

// Operations in one order, by threads in turn: even the peak is known.
std::string InTurns(uint32_t count, uint64_t operations, uint32_t close_in) {
  World world;
  world.Register();
  std::vector<Operation> plan =
      MakeOperations(77, {.ids = Ids::kAddresses, .most_live = 400, .close_in = close_in}, operations);
  Model model = World::MakeModel();
  Random random(5);
  uint32_t thread = 0;
  for (Operation& operation : plan) {
    if (random.OneIn(20)) thread = static_cast<uint32_t>(random.Below(count));
    operation.thread = thread;
    model.Apply(operation);
  }
  std::atomic<uint64_t> turn{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < count; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < plan.size(); ++i) {
        if (plan[i].thread != t) continue;
        while (turn.load(std::memory_order_acquire) != i) sched_yield();
        world.Perform(plan[i]);
        turn.store(i + 1, std::memory_order_release);
      }
    });
  }
  Watcher watcher(memtally_ledger_path());
  for (std::thread& each : threads) each.join();
  const std::string text = watcher.Stop();
  LedgerView view;
  const std::string error = ReadLedger(memtally_ledger_path(), &view);
  if (!error.empty()) return text + error;
  return text +
         Join(Differences(model, view, {.peaks = Wanted::Peaks::kWithinSlack, .events = Wanted::Events::kIgnore}));
}

TEST(Threads, InTurns) {
  EXPECT_EQ(RunInChild([] { return InTurns(3, Scaled(20'000), 0); }), "");
}
TEST(Threads, InTurnsWithCloses) {
  EXPECT_EQ(RunInChild([] { return InTurns(3, Scaled(10'000), 200); }), "");
}

// Short-lived threads take over the lanes of those that are gone.
TEST(Threads, ComeAndGo) {
  EXPECT_EQ(RunInChild([] {
              World world;
              world.Register();
              std::vector<Model> models;
              const uint64_t generations = Scaled(100);
              Watcher watcher(memtally_ledger_path());
              for (uint64_t generation = 0; generation < generations; ++generation) {
                constexpr uint32_t kAtOnce = 4;
                std::vector<Model> of_thread(kAtOnce, World::MakeModel());
                std::vector<std::thread> threads;
                for (uint32_t t = 0; t < kAtOnce; ++t) {
                  threads.emplace_back([&, t] {
                    const auto number = static_cast<uint32_t>(1 + generation * kAtOnce + t);
                    OperationStream stream(number,
                                           {.ids = Ids::kSequential, .thread = number, .most_live = 20, .close_in = 0});
                    for (int i = 0; i < 60; ++i) {
                      const Operation operation = stream.Next();
                      world.Perform(operation);
                      of_thread[t].Apply(operation);
                    }
                  });
                }
                for (std::thread& thread : threads) thread.join();
                for (Model& model : of_thread) models.push_back(std::move(model));
              }
              std::string text = watcher.Stop();
              text += CompareAtRest(models);
              LedgerView view;
              ReadLedger(memtally_ledger_path(), &view);
              std::map<uint32_t, bool> lanes;
              for (const LedgerEvent& event : view.events) lanes[event.lane] = true;
              if (lanes.size() > 40) text += "lanes are not taken over: " + std::to_string(lanes.size()) + "\n";
              return text;
            }),
            "");
}

// Threads of one call each, none joined before the next starts: nothing orders a thread and its successor but what the
// tracker does itself (for the thread sanitizer).
TEST(Threads, OfOneCallEachTakeOverFromEachOther) {
  EXPECT_EQ(RunInChild([] {
              World world;
              world.Register();
              std::vector<Model> models;
              std::vector<std::thread> threads;
              const uint32_t count = static_cast<uint32_t>(Scaled(400));
              for (uint32_t t = 0; t < count; ++t) {
                OperationStream stream(t + 1,
                                       {.ids = Ids::kSequential, .thread = t + 1, .most_live = 20, .close_in = 0});
                const Operation operation = stream.Next();
                models.push_back(World::MakeModel());
                models.back().Apply(operation);
                threads.emplace_back([&world, operation, t] {
                  if (t % 2 != 0) memtally_pause();
                  if (t % 2 != 0) memtally_resume();
                  world.Perform(operation);
                  memtally_current_tag();
                });
                if (t % 4 == 0) sched_yield();
              }
              for (std::thread& thread : threads) thread.join();
              return CompareAtRest(models);
            }),
            "");
}

}  // namespace
}  // namespace memtally::model
