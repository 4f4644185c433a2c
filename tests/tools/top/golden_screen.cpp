// SPDX-License-Identifier: Apache-2.0
#include "golden_screen.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace memtally::tools::top {
namespace {

// By enum Role: text dim title heading sorted key warning critical gone track history kinds.
constexpr char kRoleLetters[kRoles + 1] = " dTHSKWCGth012345";

std::string StyleLine(const CellGrid& grid, int y) {
  std::string line;
  bool selected = false;
  for (int x = 0; x < grid.width(); ++x) {
    const Style& style = grid.at(x, y).style;
    line += kRoleLetters[static_cast<size_t>(style.role)];
    selected = selected || style.selected;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return (selected ? ">" : "|") + line;
}

}  // namespace

std::string PictureOf(const CellGrid& grid) {
  std::string picture = grid.Text() + "--- styles\n";
  for (int y = 0; y < grid.height(); ++y) picture += StyleLine(grid, y) + "\n";
  return picture;
}

void ExpectGolden(const std::string& name, const CellGrid& grid) {
  const std::string path = std::string(MEMTALLY_TOP_GOLDEN) + "/" + name + ".txt";
  const std::string picture = PictureOf(grid);
  const char* update = std::getenv("MEMTALLY_UPDATE_GOLDEN");
  if (update != nullptr && *update != '\0') {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << picture;
    ASSERT_TRUE(file.good()) << path;
    return;
  }
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file.good()) << path << " is not there; MEMTALLY_UPDATE_GOLDEN=1 makes it";
  std::stringstream wanted;
  wanted << file.rdbuf();
  EXPECT_EQ(picture, wanted.str()) << name;
}

}  // namespace memtally::tools::top
