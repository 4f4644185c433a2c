// SPDX-License-Identifier: Apache-2.0
//
// What must be seen of a process besides what it holds.
#pragma once

#include <string>
#include <vector>

#include "collect/snapshot.hpp"
#include "tools/text_style.hpp"

namespace memtally::tools {

struct ProcessNote {
  std::string text;  // one line, safe for a terminal
  Style style = Style::kPlain;
};

// How it ended and what it held then, anomalies, losses, gaps.
std::vector<ProcessNote> ProcessNotes(const collect::Process& process);

}  // namespace memtally::tools
