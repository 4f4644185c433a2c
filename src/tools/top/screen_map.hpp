// SPDX-License-Identifier: Apache-2.0
//
// ScreenMap: what lies where on the screen that was drawn last, so that keys and the mouse mean what people see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/top/pane.hpp"
#include "tools/top/process_list.hpp"

namespace memtally::tools::top {

struct Target {
  enum class Kind : uint8_t {
    kHeading,      // of column `index` of ScreenMap::columns
    kProcessLine,  // line `index` of the ProcessList
    kTab,          // number `index`
    kDetailLine,   // line `index` of the DetailTable
    kDevices,
  };
  Kind kind = Kind::kDevices;
  Area area;
  size_t index = 0;
};

struct ShownColumn {
  Column column = Column::kPid;
  std::string memory;    // for kMemory
  bool is_text = false;  // sorted upwards at first
};

struct ScreenMap {
  std::vector<Target> targets;
  std::vector<ShownColumn> columns;  // that rows can be sorted by, shown or not, in their order
  size_t page_lines = 1;             // of the list that keys scroll
  size_t first_line = 0;             // of it, that is shown
  size_t list_lines = 0;             // that there are
  size_t device_lines = 0;           // of the panel of devices, that there are; more than are shown: it scrolls
  size_t device_page = 0;

  // What is at a cell, the last drawn first.
  const Target* At(int x, int y) const {
    for (auto target = targets.rbegin(); target != targets.rend(); ++target) {
      if (target->area.Contains(x, y)) return &*target;
    }
    return nullptr;
  }
};

// The first line to show so that the cursor (if it is on a line) is seen, nothing is empty that need not be, and no
// more moves than has to.
inline size_t FirstLine(size_t first, size_t cursor, size_t count, size_t page) {
  if (page == 0 || count <= page) return 0;
  if (cursor >= count) cursor = first;
  if (cursor < first) first = cursor;
  if (cursor >= first + page) first = cursor - page + 1;
  return first > count - page ? count - page : first;
}

}  // namespace memtally::tools::top
