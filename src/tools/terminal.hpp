// SPDX-License-Identifier: Apache-2.0
//
// What standard output is: a terminal or not, how large, and whether it shows colours.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tools/text_style.hpp"

namespace memtally::tools {

enum class ColorWhen : uint8_t { kAuto, kAlways, kNever };

// What the user asked for by --color and --no-pager.
struct OutputSettings {
  ColorWhen color = ColorWhen::kAuto;
  bool pager = true;
};

// Of this process; main() sets them before a subcommand runs.
OutputSettings& GlobalOutputSettings();

struct Terminal {
  bool is_terminal = false;
  bool can_move = false;  // the cursor, by escape sequences
  size_t columns = 0;     // 0: no limit
  size_t lines = 0;       // 0: no limit
};

// Of standard output, now.  COLUMNS and LINES go before what the terminal says; where there is no terminal, there are
// no limits.
Terminal StandardOutput();

// How a screen on standard output is to be made.  --color goes before NO_COLOR and TERM=dumb.
ScreenFormat StandardFormat();

}  // namespace memtally::tools
