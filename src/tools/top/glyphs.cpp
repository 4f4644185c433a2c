// SPDX-License-Identifier: Apache-2.0
#include "tools/top/glyphs.hpp"

namespace memtally::tools::top {

const Glyphs& GlyphsOf(Charset charset) {
  static constexpr Glyphs kUnicode = {
      .kinds = {"█", "▓", "▒", "░", "▚", "▤"},
      .eighths = {"▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"},
      .has_eighths = true,
      .levels = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
      .track = "·",
      .bar_begin = "[",
      .bar_end = "]",
      .warning = "╎",
      .critical = "┃",
      .peak = "◂",
      .over = "»",
      .extent_begin = "├",
      .extent_line = "─",
      .extent_end = "┤",
      .branch = "├",
      .last_branch = "└",
      .trunk = "│",
      .open = "▾",
      .folded = "▸",
      .ascending = "▲",
      .descending = "▼",
      .line = "─",
  };
  static constexpr Glyphs kAscii = {
      .kinds = {"#", "%", "=", "+", "o", "*"},
      .eighths = {"#", "#", "#", "#", "#", "#", "#", "#"},
      .has_eighths = false,
      .levels = {" ", "_", ".", ",", "-", "=", "+", "*", "#"},
      .track = ".",
      .bar_begin = "[",
      .bar_end = "]",
      .warning = ":",
      .critical = "|",
      .peak = "<",
      .over = ">",
      .extent_begin = "|",
      .extent_line = "-",
      .extent_end = "|",
      .branch = "|",
      .last_branch = "`",
      .trunk = "|",
      .open = "-",
      .folded = "+",
      .ascending = "^",
      .descending = "v",
      .line = "-",
  };
  return charset == Charset::kUnicode ? kUnicode : kAscii;
}

}  // namespace memtally::tools::top
