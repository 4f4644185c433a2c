// SPDX-License-Identifier: Apache-2.0
//
// Whatever is typed, in windows of whatever size, over whatever snapshots: nothing breaks.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "screen_driver.hpp"
#include "snapshot_fixture.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools::top {
namespace {

Key RandomKey(std::mt19937* random) {
  static constexpr char kLetters[] = "hqsk /<>,.IMNABtmca[]g*+-12345678yGQ?x(\\";
  switch ((*random)() % 4) {
    case 0:
      return Character(static_cast<char32_t>(kLetters[(*random)() % (sizeof(kLetters) - 1)]));
    case 1:
      return Character(static_cast<char32_t>((*random)() % 0x3000));
    default: {
      Key key;
      key.code = static_cast<KeyCode>((*random)() % (static_cast<uint32_t>(KeyCode::kWheelDown) + 1));
      key.character = U'x';
      key.x = static_cast<int>((*random)() % 100) - 5;
      key.y = static_cast<int>((*random)() % 40) - 5;
      return key;
    }
  }
}

// What every screen must be.
void Check(const ScreenDriver& driver) {
  const CellGrid& grid = driver.grid;
  for (int y = 0; y < grid.height(); ++y) {
    int columns = 0;
    for (int x = 0; x < grid.width(); ++x) {
      const Cell& cell = grid.at(x, y);
      ASSERT_EQ(cell.text.empty(), cell.width == 0);
      if (cell.width == 2) {
        ASSERT_TRUE(x + 1 < grid.width() && grid.at(x + 1, y).width == 0);
      }
      if (cell.width == 0) {
        ASSERT_TRUE(x > 0 && grid.at(x - 1, y).width == 2);
      }
      if (cell.width != 0) {
        ASSERT_EQ(TerminalWidth(cell.text), cell.width);
      }
      for (const char c : cell.text) ASSERT_TRUE(static_cast<uint8_t>(c) >= 0x20 && c != 0x7f);
      ASSERT_EQ(cell.text.find("\u202e"), std::string::npos);
      columns += cell.width;
    }
    ASSERT_EQ(columns, grid.width());
  }
  for (const Target& target : driver.map.targets) {
    ASSERT_GE(target.area.x, 0);
    ASSERT_LE(target.area.x + target.area.width, grid.width());
    ASSERT_LE(target.area.y + target.area.height, grid.height());
  }
}

class RandomKeys : public testing::TestWithParam<uint32_t> {};

TEST_P(RandomKeys, NeverBreakAScreen) {
  std::mt19937 random(GetParam());
  std::vector<std::shared_ptr<const collect::Snapshot>> snapshots = {BusyMachine(), OneProcess(), HostileMachine(),
                                                                     MakeSnapshot({})};
  // The hostile ones, as if each of them was looked into.
  for (const Charset charset : {Charset::kUnicode, Charset::kAscii}) {
    ScreenDriver driver(snapshots[GetParam() % snapshots.size()], 80, 24, charset);
    for (int step = 0; step < 500; ++step) {
      if (random() % 12 == 0) driver.Resize(static_cast<int>(random() % 130), static_cast<int>(random() % 45));
      if (random() % 20 == 0) driver.Show(snapshots[random() % snapshots.size()]);
      const Effect effect = driver.Press(RandomKey(&random));
      if (effect.kind == Effect::Kind::kKill) {
        ASSERT_NE(effect.order.pid, 0u);
      }
      if (random() % 10 == 0) driver.state.history.Record(driver.model.snapshot());
      ASSERT_NO_FATAL_FAILURE(Check(driver)) << "step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Top, RandomKeys, testing::Range(0u, 6u));

TEST(EverySize, CanBeDrawn) {
  for (const auto& snapshot : {BusyMachine(), HostileMachine(), OneProcess()}) {
    ScreenDriver driver(snapshot, 0, 0);
    for (int height = 0; height <= 30; height += height < 10 ? 1 : 4) {
      for (int width = 0; width <= 130; width += 13) {
        driver.Resize(width, height);
        ASSERT_NO_FATAL_FAILURE(Check(driver)) << width << "x" << height;
      }
    }
    driver.Resize(300, 100);
    ASSERT_NO_FATAL_FAILURE(Check(driver));
  }
}

}  // namespace
}  // namespace memtally::tools::top
