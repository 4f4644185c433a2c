// SPDX-License-Identifier: Apache-2.0
#include "tools/terminal_text.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace memtally::tools {
namespace {

struct Range {
  uint32_t first;
  uint32_t last;
};

// Characters that show nothing, change the direction of others, or begin a new line.
constexpr Range kHidden[] = {
    {0x0000, 0x001f}, {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x034f, 0x034f},    {0x061c, 0x061c}, {0x115f, 0x1160},
    {0x17b4, 0x17b5}, {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},    {0x2060, 0x206f}, {0x3164, 0x3164},
    {0xd800, 0xf8ff}, {0xfdd0, 0xfdef},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},    {0xffa0, 0xffa0}, {0xfff0, 0xfffb},
    {0xfffe, 0xffff}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff},
};

// Characters that are drawn onto the one before.
constexpr Range kCombining[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f}, {0x06d6, 0x06dc},
    {0x06df, 0x06e4}, {0x0900, 0x0902}, {0x093a, 0x093a}, {0x093c, 0x093c}, {0x0941, 0x0948}, {0x094d, 0x094d},
    {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff},
    {0x302a, 0x302d}, {0x3099, 0x309a}, {0xfe20, 0xfe2f},
};

// Characters that take two columns (East Asian wide, and pictures).
constexpr Range kWide[] = {
    {0x1100, 0x115e},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},   {0x23f0, 0x23f0},
    {0x23f3, 0x23f3},   {0x25fd, 0x25fe},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},
    {0x26aa, 0x26ab},   {0x26bd, 0x26be},   {0x26c4, 0x26c5},   {0x26ce, 0x26ce},   {0x26d4, 0x26d4},
    {0x26ea, 0x26ea},   {0x26f2, 0x26f3},   {0x26f5, 0x26f5},   {0x26fa, 0x26fa},   {0x26fd, 0x26fd},
    {0x2705, 0x2705},   {0x270a, 0x270b},   {0x2728, 0x2728},   {0x274c, 0x274c},   {0x274e, 0x274e},
    {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2795, 0x2797},   {0x27b0, 0x27b0},   {0x27bf, 0x27bf},
    {0x2b1b, 0x2b1c},   {0x2b50, 0x2b50},   {0x2b55, 0x2b55},   {0x2e80, 0x303e},   {0x3041, 0x3247},
    {0x3250, 0x4dbf},   {0x4e00, 0xa4c6},   {0xa960, 0xa97c},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
    {0xfe10, 0xfe19},   {0xfe30, 0xfe6b},   {0xff01, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18aff},
    {0x1b000, 0x1b2ff}, {0x1f004, 0x1f004}, {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a},
    {0x1f200, 0x1f320}, {0x1f32d, 0x1f335}, {0x1f337, 0x1f37c}, {0x1f37e, 0x1f393}, {0x1f3a0, 0x1f3ca},
    {0x1f3cf, 0x1f3d3}, {0x1f3e0, 0x1f3f0}, {0x1f3f4, 0x1f3f4}, {0x1f3f8, 0x1f43e}, {0x1f440, 0x1f440},
    {0x1f442, 0x1f4fc}, {0x1f4ff, 0x1f53d}, {0x1f54b, 0x1f567}, {0x1f57a, 0x1f57a}, {0x1f595, 0x1f596},
    {0x1f5a4, 0x1f5a4}, {0x1f5fb, 0x1f64f}, {0x1f680, 0x1f6c5}, {0x1f6cc, 0x1f6cc}, {0x1f6d0, 0x1f6d2},
    {0x1f6eb, 0x1f6ec}, {0x1f6f4, 0x1f6fc}, {0x1f7e0, 0x1f7eb}, {0x1f90c, 0x1f9ff}, {0x1fa70, 0x1faff},
    {0x20000, 0x3fffd},
};

template <size_t n>
bool IsIn(const Range (&ranges)[n], uint32_t character) {
  const Range* end = std::end(ranges);
  const Range* range = std::lower_bound(std::begin(ranges), end, character,
                                        [](const Range& each, uint32_t wanted) { return each.last < wanted; });
  return range != end && range->first <= character;
}

// The first character of `text`, which is not empty, and how many bytes it has.  Returns 0 bytes if they are not valid
// UTF-8.
size_t Decode(std::string_view text, uint32_t* character) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) {
    *character = first;
    return 1;
  }
  size_t bytes = 0;
  uint32_t lowest = 0;
  if (first >= 0xc2 && first < 0xe0) {
    bytes = 2;
    lowest = 0x80;
    *character = first & 0x1fu;
  } else if (first >= 0xe0 && first < 0xf0) {
    bytes = 3;
    lowest = 0x800;
    *character = first & 0x0fu;
  } else if (first >= 0xf0 && first < 0xf5) {
    bytes = 4;
    lowest = 0x10000;
    *character = first & 0x07u;
  } else {
    return 0;
  }
  if (text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return 0;
    *character = *character << 6 | (byte(i) & 0x3fu);
  }
  const bool surrogate = *character >= 0xd800 && *character <= 0xdfff;
  return *character < lowest || *character > 0x10ffff || surrogate ? 0 : bytes;
}

size_t WidthOf(uint32_t character) {
  if (character < 0x300) return 1;
  if (IsIn(kCombining, character)) return 0;
  return IsIn(kWide, character) ? 2 : 1;
}

// What is printed for one character, and its columns.
struct Cell {
  std::string text;
  size_t columns = 0;
};

Cell Escape(uint32_t character) {
  switch (character) {
    case '\n':
      return {"\\n", 2};
    case '\r':
      return {"\\r", 2};
    case '\t':
      return {"\\t", 2};
    case '\\':
      return {"\\\\", 2};
    default:
      break;
  }
  std::string text = character < 0x80 ? fmt::format("\\x{:02x}", character) : fmt::format("\\u{{{:x}}}", character);
  const size_t columns = text.size();
  return {std::move(text), columns};
}

// Takes the first character away from *text.  `combined` counts the combining characters since the last other one: a
// tower of them would cover other lines.
Cell TakeCell(std::string_view* text, size_t* combined) {
  constexpr size_t kMaxCombined = 3;
  uint32_t character = 0;
  const size_t bytes = Decode(*text, &character);
  if (bytes == 0) {
    const auto byte = static_cast<uint8_t>(text->front());
    text->remove_prefix(1);
    *combined = 0;
    return {fmt::format("\\x{:02x}", byte), 4};
  }
  const std::string_view same = text->substr(0, bytes);
  text->remove_prefix(bytes);
  const size_t columns = WidthOf(character);
  *combined = columns == 0 ? *combined + 1 : 0;
  if (character == '\\' || IsIn(kHidden, character) || *combined > kMaxCombined) return Escape(character);
  return {std::string(same), columns};
}

constexpr std::string_view kDots = "...";

// Whether the text is shown as it is, a column for each byte: nearly all names are so.
bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != '\\'; });
}

std::string CutPlain(std::string_view text, size_t max_columns, Cut cut) {
  std::string result;
  if (max_columns == 0 || text.size() <= max_columns) return result.append(text);
  const size_t room = max_columns > kDots.size() ? max_columns - kDots.size() : 0;
  if (cut == Cut::kEnd) return result.append(text.substr(0, room)).append(kDots);
  return result.append(kDots).append(text.substr(text.size() - room));
}

}  // namespace

std::string TerminalText(std::string_view text, size_t max_columns, Cut cut) {
  // More bytes than these cannot be needed for the columns, whatever they are; so a huge name costs little.
  if (max_columns != 0) {
    const size_t enough = (max_columns + kDots.size() + 1) * 16;
    if (text.size() > enough) text = cut == Cut::kEnd ? text.substr(0, enough) : text.substr(text.size() - enough);
  }
  if (IsPlain(text)) return CutPlain(text, max_columns, cut);
  std::vector<Cell> cells;
  size_t columns = 0;
  size_t combined = 0;
  while (!text.empty()) {
    cells.push_back(TakeCell(&text, &combined));
    columns += cells.back().columns;
  }
  std::string result;
  size_t first = 0;
  size_t last = cells.size();
  if (max_columns != 0 && columns > max_columns) {
    const size_t room = max_columns > kDots.size() ? max_columns - kDots.size() : 0;
    while (columns > room) columns -= cut == Cut::kEnd ? cells[--last].columns : cells[first++].columns;
    // A combining character must not land on the dots.
    while (cut == Cut::kBegin && first < last && cells[first].columns == 0) ++first;
    if (cut == Cut::kBegin) result = kDots;
  }
  for (size_t i = first; i < last; ++i) result += cells[i].text;
  if (last < cells.size()) result += kDots;
  return result;
}

std::string CutToWidth(std::string_view text, size_t columns, Cut cut) {
  size_t width = TerminalWidth(text);
  if (width <= columns) return std::string(text);
  const std::string_view dots = columns > 2 * kDots.size() ? kDots : kDots.substr(0, std::min<size_t>(columns, 1));
  const size_t room = columns - dots.size();
  std::vector<std::pair<size_t, size_t>> characters;  // where each begins, its columns
  for (size_t at = 0; at < text.size();) {
    uint32_t character = 0;
    const size_t bytes = Decode(text.substr(at), &character);
    characters.emplace_back(at, bytes == 0 ? 1 : WidthOf(character));
    at += std::max<size_t>(bytes, 1);
  }
  size_t first = 0;
  size_t last = characters.size();
  while (width > room) width -= cut == Cut::kEnd ? characters[--last].second : characters[first++].second;
  if (cut == Cut::kEnd) return std::string(text.substr(0, characters[last].first)).append(dots);
  // A combining character must not land on the dots.
  while (first < last && characters[first].second == 0) ++first;
  const size_t begin = first < characters.size() ? characters[first].first : text.size();
  return std::string(dots).append(text.substr(begin));
}

size_t TerminalWidth(std::string_view text) {
  size_t columns = 0;
  while (!text.empty()) {
    uint32_t character = 0;
    const size_t bytes = Decode(text, &character);
    columns += bytes == 0 ? 1 : WidthOf(character);
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
  return columns;
}

Grapheme FirstGrapheme(std::string_view text) {
  uint32_t character = 0;
  const size_t first = Decode(text, &character);
  if (first == 0) return {"?", 1, 1};
  const size_t columns = WidthOf(character);
  size_t bytes = first;
  while (bytes < text.size()) {
    const size_t more = static_cast<uint8_t>(text[bytes]) < 0x80 ? 0 : Decode(text.substr(bytes), &character);
    if (more == 0 || WidthOf(character) != 0) break;
    bytes += more;
  }
  return {text.substr(0, bytes), bytes, columns};
}

}  // namespace memtally::tools
