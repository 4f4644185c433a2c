// SPDX-License-Identifier: Apache-2.0
//
// DevicePanel: the devices of the machine and a bar for each of their memories.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"
#include "tools/top/pane.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

class DevicePanel {
 public:
  // Shows as much as fits into `height` lines: everything; or bars without what explains them; or a line for each
  // memory; or several memories in a line.
  DevicePanel(const collect::Snapshot& snapshot, const TopState& state, int width, int height);

  // That there are; if they are more than `height`, they can be scrolled.
  int lines() const { return static_cast<int>(lines_.size()); }

  // From line `first` on.
  void Draw(const Pane& pane, int first) const;

 private:
  struct Bar {
    const collect::Device* device = nullptr;
    const collect::Memory* memory = nullptr;
  };
  struct Line {
    enum class Kind : uint8_t { kDevice, kBar, kLegend, kExtent, kBars } kind = Kind::kDevice;
    Bar bar;
    const collect::MemoryKind* of_kind = nullptr;  // for kExtent
    std::vector<Bar> bars;                         // for kBars
  };
  enum class Detail : uint8_t { kFull, kBars, kOneLine, kColumns };

  std::vector<Line> Build(Detail detail) const;
  // `pane` is one line; its label is `before` and the memory's name.
  void DrawBar(const Pane& pane, const Bar& bar, const std::string& before) const;
  void DrawLine(const Pane& pane, int y, const Line& line) const;

  const collect::Snapshot& snapshot_;
  const TopState& state_;
  std::vector<Line> lines_;
  int label_columns_ = 0;  // of each bar's line
  int per_line_ = 1;       // bars in a line of several
};

}  // namespace memtally::tools::top
