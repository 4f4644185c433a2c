// SPDX-License-Identifier: Apache-2.0
//
// Whole screens, compared with pictures; docs/testing.md says how to make them anew.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/abi/ledger_format.h>

#include "golden_screen.hpp"
#include "screen_driver.hpp"
#include "snapshot_fixture.hpp"

namespace memtally::tools::top {
namespace {

struct Size {
  int width;
  int height;
};

std::string Name(const std::string& view, Size size) {
  return view + "-" + std::to_string(size.width) + "x" + std::to_string(size.height);
}

constexpr Size kSizes[] = {{80, 24}, {60, 20}, {40, 12}, {120, 40}, {200, 50}, {20, 5}};

// As after some seconds of looking.
void FillHistory(ScreenDriver* driver, const collect::Snapshot& snapshot) {
  for (int i = 0; i < 6; ++i) driver->state.history.Record(snapshot);
}

class Screens : public testing::TestWithParam<Size> {};

TEST_P(Screens, Machine) {
  const auto snapshot = BusyMachine();
  ScreenDriver driver(snapshot, GetParam().width, GetParam().height);
  FillHistory(&driver, *snapshot);
  driver.Press(KeyCode::kDown);
  ExpectGolden(Name("machine", GetParam()), driver.grid);
}

TEST_P(Screens, MachineInAscii) {
  ScreenDriver driver(BusyMachine(), GetParam().width, GetParam().height, Charset::kAscii);
  driver.Type("t");
  ExpectGolden(Name("machine-ascii", GetParam()), driver.grid);
  EXPECT_EQ(driver.grid.Text().find_first_not_of(
                "\n !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"),
            std::string::npos);
}

TEST_P(Screens, Process) {
  ScreenDriver driver(OneProcess(), GetParam().width, GetParam().height);
  driver.Press(KeyCode::kEnter);
  driver.Type("*");
  ExpectGolden(Name("process-tags", GetParam()), driver.grid);
}

TEST_P(Screens, Hostile) {
  ScreenDriver driver(HostileMachine(), GetParam().width, GetParam().height);
  driver.Type("ma");
  ExpectGolden(Name("hostile", GetParam()), driver.grid);
}

INSTANTIATE_TEST_SUITE_P(Top, Screens, testing::ValuesIn(kSizes), [](const testing::TestParamInfo<Size>& size) {
  return std::to_string(size.param.width) + "x" + std::to_string(size.param.height);
});

TEST(TopScreens, EveryTabOfAProcess) {
  ScreenDriver driver(OneProcess(), 110, 22);
  driver.Press(KeyCode::kEnter);
  for (size_t tab = 0; tab < kTabs; ++tab) {
    driver.Type(std::to_string(tab + 1));
    ExpectGolden(std::string("tab-") + std::to_string(tab + 1) + "-" + kTabNames[tab], driver.grid);
  }
}

TEST(TopScreens, Help) {
  ScreenDriver driver(BusyMachine(), 80, 24);
  driver.Type("h");
  ExpectGolden("help-80x24", driver.grid);
  driver.Press(KeyCode::kEnd);
  ExpectGolden("help-end-80x24", driver.grid);
}

TEST(TopScreens, Questions) {
  ScreenDriver driver(BusyMachine(), 80, 24);
  driver.Type("/work(");
  driver.Press(KeyCode::kEnter);
  ExpectGolden("question-filter", driver.grid);
  driver.Press(KeyCode::kEscape);
  driver.Type("s");
  ExpectGolden("question-file", driver.grid);
  driver.Press(KeyCode::kEscape);
  driver.Type("k");
  ExpectGolden("question-kill", driver.grid);
}

TEST(TopScreens, Empty) {
  ScreenDriver driver(MakeSnapshot({}), 80, 24);
  ExpectGolden("empty-80x24", driver.grid);
}

TEST(TopScreens, OverFull) {
  // Two processes that carved out different parts, together more than there is.
  collect::Process one = MakeProcess(1, "one", 0);
  collect::Process two = MakeProcess(2, "two", 0);
  AddBuffer(&one, MEMTALLY_KIND_DRAM, uint64_t{9} << 30);
  AddBuffer(&two, MEMTALLY_KIND_DRAM, uint64_t{5} << 30);
  AccountOf(&two, MEMTALLY_KIND_DRAM).capacity_bytes = uint64_t{6} << 30;
  ScreenDriver driver(MakeSnapshot({one, two}), 100, 20);
  ExpectGolden("over-100x20", driver.grid);
}

TEST(TopScreens, ManyDevices) {
  std::vector<collect::Process> processes;
  for (int device = 0; device < 32; ++device) {
    collect::Process process = MakeProcess(100 + static_cast<uint32_t>(device), "mesh", device);
    AddBuffer(&process, MEMTALLY_KIND_DRAM, (uint64_t{1} << 28) * static_cast<uint64_t>(device + 1));
    processes.push_back(process);
  }
  const auto snapshot = MakeSnapshot(processes);
  for (const Size size : {Size{80, 24}, Size{120, 40}, Size{200, 50}}) {
    ScreenDriver driver(snapshot, size.width, size.height);
    ExpectGolden(Name("mesh", size), driver.grid);
  }
  ScreenDriver driver(snapshot, 80, 24);
  driver.Type("]]]");
  ExpectGolden("mesh-scrolled-80x24", driver.grid);
}

TEST(TopScreens, PlainFrame) {
  TopState state;
  Model model;
  model.Update(BusyMachine(), &state);
  ExpectGolden("plain-100", DrawPlain(model, state, 100, Charset::kUnicode));
}

}  // namespace
}  // namespace memtally::tools::top
