// SPDX-License-Identifier: Apache-2.0
//
// One thread, very many operations: the ledger says at any moment what the model says.
#include <gtest/gtest.h>

#include "child_process.hpp"

namespace memtally::model {
namespace {

struct Scenario {
  const char* name;
  StreamOptions options;
  uint64_t operations;
};

std::string RunScenario(const Scenario& scenario, uint64_t seed) {
  World world;
  world.Register();
  Model model = World::MakeModel();
  OperationStream stream(seed, scenario.options);
  Random random(seed + 1);
  const std::string path = memtally_ledger_path();
  if (path.empty()) return "no ledger\n";
  LedgerError error;
  const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(path, &error);
  if (reader == nullptr) return error.what;
  const uint64_t operations = Scaled(scenario.operations);
  const uint64_t between = 1 + operations / 60;
  uint64_t compare_at = 1;
  for (uint64_t i = 1; i <= operations; ++i) {
    const Operation operation = stream.Next();
    world.Perform(operation);
    model.Apply(operation);
    if (i != compare_at && i != operations) continue;
    // Often at the beginning, and then at random moments.
    compare_at += i < 40 ? 1 : 1 + random.Below(2 * between);
    LedgerView view;
    if (!reader->Read(ReadLevel::kAll, &view, &error)) return error.what;
    std::vector<std::string> differences = Differences(model, view);
    const std::vector<std::string> broken = BrokenInvariants(view);
    differences.insert(differences.end(), broken.begin(), broken.end());
    if (view.liveness != Liveness::kAlive) differences.push_back("not alive");
    if (!differences.empty()) {
      return "after operation " + std::to_string(i) + " (" + Describe(operation) + "), seed " + std::to_string(seed) +
             ":\n" + Join(differences);
    }
  }
  return "";
}

class SingleThread : public testing::TestWithParam<Scenario> {};

TEST_P(SingleThread, SaysWhatTheModelSays) {
  const uint64_t seed = FromEnvironment("MEMTALLY_SEED", 20260001);
  for (uint64_t i = 0; i < 3; ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed + i));
    EXPECT_EQ(RunInChild([&] { return RunScenario(GetParam(), seed + i); }), "");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Model, SingleThread,
    testing::Values(
        Scenario{"SequentialIds", {.ids = Ids::kSequential}, 100'000},
        Scenario{"AddressLikeIds", {.ids = Ids::kAddresses}, 100'000},
        Scenario{"RandomIds", {.ids = Ids::kRandom}, 100'000},
        Scenario{"FewIds", {.ids = Ids::kTiny, .most_live = 40, .close_in = 400}, 100'000},
        Scenario{"ManyLive", {.ids = Ids::kAddresses, .most_live = 60'000, .close_in = 0}, 150'000},
        Scenario{"ManyCloses", {.ids = Ids::kSequential, .most_live = 200, .close_in = 20}, 30'000},
        Scenario{"PlainRandom", {.ids = Ids::kRandom, .most_live = 20'000, .close_in = 0, .plain = true}, 150'000}),
    [](const testing::TestParamInfo<Scenario>& scenario) { return std::string(scenario.param.name); });

// A tracker whose first event is a close has no lane, no ring and no buffer yet.
TEST(FirstEvent, IsAClose) {
  EXPECT_EQ(RunInChild([] {
              World world;
              world.Register();
              Model model = World::MakeModel();
              for (const Action action : {Action::kClose, Action::kReopen, Action::kClose}) {
                Operation operation;
                operation.action = action;
                world.Perform(operation);
                model.Apply(operation);
              }
              LedgerView view;
              const std::string error = ReadLedger(memtally_ledger_path(), &view);
              return error.empty() ? Join(Differences(model, view)) : error;
            }),
            "");
}

}  // namespace
}  // namespace memtally::model
