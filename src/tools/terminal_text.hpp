// SPDX-License-Identifier: Apache-2.0
//
// Text from strangers, made safe for a terminal.
//
// Names of processes, tags and files come from programs that may be broken or hostile.  Printed as they are, they could
// move the cursor, hide lines, or read from right to left.  What this returns is printable UTF-8 without any of that;
// what was replaced can be told from what was there, because a backslash is doubled.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace memtally::tools {

enum class Cut {
  kEnd,    // keep the beginning
  kBegin,  // keep the end
};

// `text` with every control character, invisible or direction-changing character, and invalid UTF-8 byte escaped (\n,
// \x1b, \u{202e}).  At most `max_columns` wide if that is not 0; what is cut leaves "..." behind.
std::string TerminalText(std::string_view text, size_t max_columns = 0, Cut cut = Cut::kEnd);

// Text from TerminalText, cut to at most `columns`; what is cut leaves "..." behind where there is room for it.
std::string CutToWidth(std::string_view text, size_t columns, Cut cut = Cut::kEnd);

// Columns that text from TerminalText takes on a terminal: 2 for wide characters, 0 for combining ones.
size_t TerminalWidth(std::string_view text);

// A character with what combines onto it.
struct Grapheme {
  std::string_view text;  // "?" for a byte that is not valid UTF-8
  size_t bytes = 0;       // that it takes of the text, at least 1
  size_t columns = 0;     // 0: something to combine with, where nothing comes before
};
// REQUIRES: `text` is not empty.
Grapheme FirstGrapheme(std::string_view text);

}  // namespace memtally::tools
