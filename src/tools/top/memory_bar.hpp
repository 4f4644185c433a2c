// SPDX-License-Identifier: Apache-2.0
//
// The lines that show one memory: its bar with numbers, its kinds, and how far kinds that share addresses reach.
#pragma once

#include <string>

#include "collect/snapshot.hpp"
#include "tools/top/pane.hpp"

namespace memtally::tools::top {

// How the columns behind a label are shared.
struct BarColumns {
  int bar = 0;  // with its ends
  bool held = false;
  bool capacity = false;
  bool wide_mark = false;
  bool peak = false;
  int history = 0;
};
BarColumns ShareBarColumns(int width);

// `history`: a character for each past value, the latest at the end; as many as ShareBarColumns says.
void DrawMemoryBar(const Pane& pane, int y, const collect::Memory& memory, const std::string& history);
// Its kinds and their sizes; what the dead held; failures.
bool HasLegend(const collect::Memory& memory);
void DrawLegend(const Pane& pane, int y, const collect::Memory& memory);
// REQUIRES: kind.extent.
void DrawExtent(const Pane& pane, int y, const collect::Memory& memory, const collect::MemoryKind& kind);

}  // namespace memtally::tools::top
