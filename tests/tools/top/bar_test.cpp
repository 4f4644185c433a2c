// SPDX-License-Identifier: Apache-2.0
#include "tools/top/bar.hpp"

#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace memtally::tools::top {
namespace {

using Cells = std::vector<int>;

BarShape Shape(const std::vector<uint64_t>& parts, uint64_t capacity, int width, bool eighths = true,
               uint64_t peak = 0) {
  return ShapeBar(parts, capacity, peak, width, eighths);
}

TEST(ShapeBar, ShowsAPartInEighths) {
  EXPECT_EQ(Shape({50}, 100, 10).cells, Cells{5});
  EXPECT_EQ(Shape({50}, 100, 10).last_eighths, 8);
  EXPECT_EQ(Shape({55}, 100, 10).cells, Cells{6});
  EXPECT_EQ(Shape({55}, 100, 10).last_eighths, 4);
  EXPECT_EQ(Shape({1}, 1'000'000, 10).cells, Cells{1});
  EXPECT_EQ(Shape({1}, 1'000'000, 10).last_eighths, 1);
}

TEST(ShapeBar, ShowsNothingOfNothing) {
  EXPECT_EQ(Shape({0}, 100, 10).filled, 0);
  EXPECT_EQ(Shape({}, 100, 10).filled, 0);
  EXPECT_EQ(Shape({5}, 100, 0).filled, 0);
  EXPECT_EQ(Shape({0}, 0, 10).filled, 0);
}

TEST(ShapeBar, EveryPartIsSeen) {
  EXPECT_EQ(Shape({80, 1, 1}, 100, 10).cells, (Cells{7, 1, 1}));
  EXPECT_EQ(Shape({1, 80, 0, 1}, 100, 10).cells, (Cells{1, 7, 0, 1}));
  EXPECT_EQ(Shape({1, 1, 1}, 1'000'000, 10).cells, (Cells{1, 1, 1}));
  // Three do not fit into two cells: the largest are shown.
  EXPECT_EQ(Shape({5, 1, 7}, 100, 2).cells, (Cells{1, 0, 1}));
}

TEST(ShapeBar, IsFullOnlyIfNothingIsFree) {
  EXPECT_EQ(Shape({999'999}, 1'000'000, 10).filled, 10);
  EXPECT_EQ(Shape({999'999}, 1'000'000, 10).last_eighths, 7);
  EXPECT_EQ(Shape({1'000'000}, 1'000'000, 10).last_eighths, 8);
  EXPECT_EQ(Shape({999'999}, 1'000'000, 10, false).filled, 9);
  EXPECT_EQ(Shape({1'000'000}, 1'000'000, 10, false).filled, 10);
}

TEST(ShapeBar, ShowsMoreThanAllAsSuch) {
  const BarShape shape = Shape({150, 50}, 100, 10);
  EXPECT_TRUE(shape.is_over);
  EXPECT_EQ(shape.cells, (Cells{8, 2}));
  EXPECT_FALSE(shape.warning || shape.critical);
  EXPECT_FALSE(Shape({100}, 100, 10).is_over);
  EXPECT_FALSE(Shape({150}, 0, 10).is_over);
}

TEST(ShapeBar, MarksThresholdsAndPeak) {
  const BarShape shape = Shape({50}, 100, 20, true, 80);
  EXPECT_EQ(shape.warning, 15);
  EXPECT_EQ(shape.critical, 18);
  EXPECT_EQ(shape.peak, 16);
  EXPECT_FALSE(Shape({50}, 100, 20, true, 50).peak);
  EXPECT_EQ(Shape({50}, 100, 20, true, 500).peak, 19);  // once more than all
  EXPECT_FALSE(Shape({50}, 0, 20, true, 80).warning);
}

TEST(ShapeBar, CannotOverflow) {
  const BarShape shape = Shape({UINT64_MAX, UINT64_MAX, 1}, UINT64_MAX, 40, true, UINT64_MAX);
  EXPECT_EQ(shape.filled, 40);
  EXPECT_EQ(std::accumulate(shape.cells.begin(), shape.cells.end(), 0), 40);
  EXPECT_TRUE(shape.is_over);
}

TEST(ShapeBar, RandomBarsNeverLeaveTheirCells) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint64_t> parts(random() % 8);
    for (uint64_t& part : parts) part = random() % 3 == 0 ? 0 : random() >> random() % 64;
    const uint64_t capacity = random() % 5 == 0 ? 0 : random() >> random() % 64;
    const auto width = static_cast<int>(random() % 60);
    const BarShape shape = Shape(parts, capacity, width, random() % 2 == 0, random() >> random() % 64);
    ASSERT_EQ(shape.cells.size(), parts.size());
    int sum = 0;
    int shown = 0;
    int wanted = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      ASSERT_GE(shape.cells[i], 0);
      if (parts[i] == 0) {
        ASSERT_EQ(shape.cells[i], 0);
      }
      if (parts[i] != 0) ++wanted;
      if (shape.cells[i] != 0) ++shown;
      sum += shape.cells[i];
    }
    ASSERT_EQ(sum, shape.filled);
    ASSERT_LE(sum, width);
    ASSERT_EQ(shown, std::min(wanted, width));
    ASSERT_TRUE(shape.last_eighths >= 1 && shape.last_eighths <= 8);
    for (const auto& mark : {shape.peak, shape.warning, shape.critical}) {
      if (mark) {
        ASSERT_TRUE(*mark >= 0 && *mark < width);
      }
    }
  }
}

TEST(FullnessOf, HasThresholds) {
  EXPECT_EQ(FullnessOf(74, 100), Fullness::kNormal);
  EXPECT_EQ(FullnessOf(75, 100), Fullness::kWarning);
  EXPECT_EQ(FullnessOf(89, 100), Fullness::kWarning);
  EXPECT_EQ(FullnessOf(90, 100), Fullness::kCritical);
  EXPECT_EQ(FullnessOf(100, 100), Fullness::kCritical);
  EXPECT_EQ(FullnessOf(101, 100), Fullness::kOver);
  EXPECT_EQ(FullnessOf(101, 0), Fullness::kNormal);
  EXPECT_EQ(FullnessOf(UINT64_MAX, UINT64_MAX), Fullness::kCritical);
}

TEST(CellsOf, CoversTheRange) {
  const auto cells = [](uint64_t lowest, uint64_t end, uint64_t whole, int width) {
    const CellRange range = CellsOf(lowest, end, whole, width);
    return std::pair(range.begin, range.end);
  };
  EXPECT_EQ(cells(0, 100, 100, 10), std::pair(0, 10));
  EXPECT_EQ(cells(20, 50, 100, 10), std::pair(2, 5));
  EXPECT_EQ(cells(20, 51, 100, 10), std::pair(2, 6));
  EXPECT_EQ(cells(99, 100, 100, 10), std::pair(9, 10));
  EXPECT_EQ(cells(5, 6, 100, 10), std::pair(0, 1));
  EXPECT_EQ(cells(100, 100, 100, 10), std::pair(9, 10));
  EXPECT_EQ(cells(200, 300, 100, 10), std::pair(9, 10));
  EXPECT_EQ(cells(50, 20, 100, 10), std::pair(5, 6));
  EXPECT_EQ(cells(0, 1, 0, 10), std::pair(0, 0));
}

}  // namespace
}  // namespace memtally::tools::top
