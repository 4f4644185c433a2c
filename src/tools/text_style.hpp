// SPDX-License-Identifier: Apache-2.0
//
// How parts of a screen stand out, where the terminal shows colours.  Nothing is said by colour alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace memtally::tools {

enum class Style : uint8_t { kPlain, kBold, kDim, kRed, kYellow };

// What a screen is made for.
struct ScreenFormat {
  bool color = false;
  size_t columns = 0;  // 0: as wide as the text is
};

// Appends `text`, in `style` if there are colours.
void AppendStyled(std::string_view text, Style style, bool color, std::string* screen);

// Appends a line of its own, cut to format.columns.  REQUIRES: safe for a terminal.
void AppendLine(std::string_view line, Style style, const ScreenFormat& format, std::string* screen);

// Of a bar: red from 90 % on, yellow from 75 % on.  `whole` 0: unknown, plain.
Style FillStyle(uint64_t part, uint64_t whole);

}  // namespace memtally::tools
