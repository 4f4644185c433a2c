// SPDX-License-Identifier: Apache-2.0
#include "tools/top/cell_grid.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tools/top/column_layout.hpp"
#include "tools/top/pane.hpp"

namespace memtally::tools::top {
namespace {

TEST(CellGrid, PutsText) {
  CellGrid grid(10, 2);
  EXPECT_EQ(grid.Put(2, 1, "abc", {Role::kTitle}), 3);
  EXPECT_EQ(grid.Text(), "\n  abc\n");
  EXPECT_EQ(grid.at(3, 1).text, "b");
  EXPECT_EQ(grid.at(3, 1).style.role, Role::kTitle);
  EXPECT_EQ(grid.at(1, 1).style.role, Role::kText);
}

TEST(CellGrid, CutsAtTheEdge) {
  CellGrid grid(5, 1);
  EXPECT_EQ(grid.Put(3, 0, "abc", {}), 2);
  EXPECT_EQ(grid.Put(0, 0, "xyz", {}, 2), 2);
  EXPECT_EQ(grid.Line(0), "xy ab");
  EXPECT_EQ(grid.Put(5, 0, "abc", {}), 0);
  EXPECT_EQ(grid.Put(-1, 0, "abc", {}), 0);
  EXPECT_EQ(grid.Put(0, 1, "abc", {}), 0);
  EXPECT_EQ(grid.Put(0, -1, "abc", {}), 0);
}

TEST(CellGrid, NeverHasHalfOfAWideCharacter) {
  CellGrid grid(5, 1);
  EXPECT_EQ(grid.Put(0, 0, "日本語", {}), 4);
  EXPECT_EQ(grid.Line(0), "日本");
  EXPECT_EQ(grid.at(0, 0).width, 2);
  EXPECT_EQ(grid.at(1, 0).width, 0);
  grid.Put(1, 0, "x", {});  // over the right half
  EXPECT_EQ(grid.Line(0), " x本");
  grid.Put(2, 0, "y", {});  // over the left half
  EXPECT_EQ(grid.Line(0), " xy");
  EXPECT_EQ(grid.at(3, 0).width, 1);
  grid.Put(0, 0, "日本", {});
  grid.Put(1, 0, "語", {});  // over two halves
  EXPECT_EQ(grid.Line(0), " 語");
}

TEST(CellGrid, KeepsWhatCombinesTogether) {
  CellGrid grid(4, 1);
  EXPECT_EQ(grid.Put(0, 0, "e\u0301x", {}), 2);
  EXPECT_EQ(grid.at(0, 0).text, "e\u0301");
  EXPECT_EQ(grid.at(1, 0).text, "x");
}

TEST(CellGrid, ShowsWhatCannotBeShownAsQuestionMarks) {
  CellGrid grid(12, 1);
  grid.Put(0, 0, "a\nb\x1b\xff\u0301", {});
  EXPECT_EQ(grid.Line(0), "a?b???");
  CellGrid ascii(12, 1, Charset::kAscii);
  ascii.Put(0, 0, "é日e\u0301x█", {});
  EXPECT_EQ(ascii.Line(0), "????x?");
}

TEST(CellGrid, SizesAreBounded) {
  CellGrid none(-3, -1);
  EXPECT_EQ(none.width(), 0);
  EXPECT_EQ(none.Text(), "");
  none.Put(0, 0, "x", {});
  none.Select(0, 0, 5);
  EXPECT_EQ(CellGrid(1 << 30, 1).width(), CellGrid::kMaxSide);
}

TEST(CellGrid, SelectsCells) {
  CellGrid grid(4, 1);
  grid.Put(0, 0, "abcd", {Role::kTitle});
  grid.Select(-1, 0, 3);
  EXPECT_TRUE(grid.at(1, 0).style.selected);
  EXPECT_FALSE(grid.at(2, 0).style.selected);
  EXPECT_EQ(grid.at(1, 0).style.role, Role::kTitle);
}

TEST(Pane, StaysInItsRectangle) {
  CellGrid grid(10, 4);
  const Pane pane = Pane(&grid).Sub(2, 1, 4, 2);
  pane.Put(0, 0, "abcdefgh");
  pane.Put(1, 5, "no");
  pane.Put(-1, 0, "no");
  pane.Fill(2, 1, 100, "#", {});
  EXPECT_EQ(grid.Text(), "\n  abcd\n    ##\n\n");
  const Pane below = pane.Sub(3, 1, 50, 50);
  EXPECT_EQ(below.width(), 1);
  EXPECT_EQ(below.height(), 1);
  EXPECT_EQ(pane.Sub(9, 9, 1, 1).width(), 0);
  EXPECT_EQ(pane.Sub(-3, -3, 5, 5).width(), 2);
}

TEST(Pane, PutsTextToTheRight) {
  CellGrid grid(8, 1);
  Pane(&grid).PutRight(6, 0, "12345678", {}, 4);
  EXPECT_EQ(grid.Line(0), "  5678");
  Pane(&grid).PutRight(6, 0, "日本語", {}, 5);
  EXPECT_EQ(grid.Line(0), "  本語");
}

TEST(PlaceColumns, LeavesTheLessImportantOut) {
  const std::vector<ColumnSpec> specs = {
      {"A", 5, false, 0}, {"B", 5, false, 2}, {"C", 5, false, 1}, {"D", 5, false, 0, true}};
  const auto places = [&](int width) {
    std::string text;
    for (const PlacedColumn& place : PlaceColumns(specs, width)) {
      text += specs[place.index].heading + std::to_string(place.x) + "+" + std::to_string(place.width) + " ";
    }
    return text;
  };
  EXPECT_EQ(places(40), "A0+5 B6+5 C12+5 D18+22 ");
  EXPECT_EQ(places(23), "A0+5 B6+5 C12+5 D18+5 ");
  EXPECT_EQ(places(22), "A0+5 C6+5 D12+10 ");
  EXPECT_EQ(places(11), "A0+5 D6+5 ");
  EXPECT_EQ(places(10), "A0+5 ");
  EXPECT_EQ(places(3), "A0+3 ");
  EXPECT_EQ(places(0), "A0+0 ");
}

}  // namespace
}  // namespace memtally::tools::top
