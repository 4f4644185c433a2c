// SPDX-License-Identifier: Apache-2.0
#include "tools/text_style.hpp"

#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

const char* Code(Style style) {
  switch (style) {
    case Style::kBold:
      return "\x1b[1m";
    case Style::kDim:
      return "\x1b[2m";
    case Style::kRed:
      return "\x1b[31m";
    case Style::kYellow:
      return "\x1b[33m";
    case Style::kPlain:
      break;
  }
  return "";
}

}  // namespace

void AppendStyled(std::string_view text, Style style, bool color, std::string* screen) {
  if (!color || style == Style::kPlain || text.empty()) {
    *screen += text;
    return;
  }
  *screen += Code(style);
  *screen += text;
  *screen += "\x1b[0m";
}

void AppendLine(std::string_view line, Style style, const ScreenFormat& format, std::string* screen) {
  if (format.columns == 0) {
    AppendStyled(line, style, format.color, screen);
  } else {
    AppendStyled(CutToWidth(line, format.columns), style, format.color, screen);
  }
  *screen += '\n';
}

Style FillStyle(uint64_t part, uint64_t whole) {
  if (whole == 0) return Style::kPlain;
  const double fill = static_cast<double>(part) / static_cast<double>(whole);
  if (fill >= 0.9) return Style::kRed;
  return fill >= 0.75 ? Style::kYellow : Style::kPlain;
}

}  // namespace memtally::tools
