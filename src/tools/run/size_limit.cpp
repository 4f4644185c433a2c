// SPDX-License-Identifier: Apache-2.0
#include "tools/run/size_limit.hpp"

#include <algorithm>
#include <cctype>
#include <optional>

#include <fmt/format.h>

#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr const char* kExamples = "write it like 4096, 512MiB, 1.5GiB or 2GB";

using Wide = unsigned __int128;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

char Lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

// How many bytes the unit has; nothing if there is no such unit.
std::optional<uint64_t> BytesOfUnit(std::string_view unit) {
  std::string lower(unit);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  if (lower.empty() || lower == "b") return 1;
  const size_t prefix = std::string_view("kmgtpe").find(lower[0]);
  if (prefix == std::string_view::npos) return std::nullopt;
  const std::string rest = lower.substr(1);
  if (!rest.empty() && rest != "ib" && rest != "b") return std::nullopt;
  uint64_t bytes = 1;
  for (size_t i = 0; i <= prefix; ++i) bytes *= rest == "b" ? 1000 : 1024;
  return bytes;
}

}  // namespace

bool ParseSize(std::string_view text, uint64_t* bytes, std::string* error) {
  const std::string shown = TerminalText(text, 60);
  const auto fail = [&](const std::string& why) {
    *error = fmt::format("'{}' is no size: {}; {}", shown, why, kExamples);
    return false;
  };
  size_t at = 0;
  Wide number = 0;
  Wide scale = 1;
  bool any_digit = false;
  bool in_fraction = false;
  for (; at < text.size() && (IsDigit(text[at]) || (text[at] == '.' && !in_fraction)); ++at) {
    if (text[at] == '.') {
      in_fraction = true;
      continue;
    }
    any_digit = true;
    if (scale > 1'000'000'000) continue;  // further digits of the fraction are less than a byte of a GiB
    number = number * 10 + static_cast<unsigned>(text[at] - '0');
    if (in_fraction) scale *= 10;
    if (number >> 100 != 0) return fail("it is too large");
  }
  if (!any_digit) return fail(text.starts_with('-') ? "it is negative" : "it does not begin with a number");
  while (at < text.size() && text[at] == ' ') ++at;
  const std::string_view unit = text.substr(at);
  const std::optional<uint64_t> unit_bytes = BytesOfUnit(unit);
  if (!unit_bytes) return fail(fmt::format("there is no unit '{}'", TerminalText(unit, 30)));
  if (in_fraction && *unit_bytes == 1) return fail("there are no fractions of a byte");
  // The number has at most 100 bits and the unit at most 60: looked at in two steps.
  if (number > (Wide{1} << 127) / *unit_bytes) return fail("it is too large");
  const Wide product = number * *unit_bytes / scale;
  if (product > UINT64_MAX) return fail("it is too large");
  *bytes = static_cast<uint64_t>(product);
  return true;
}

bool ParseSizeLimit(const std::string& text, SizeLimit* limit, std::string* error) {
  const size_t colon = text.find(':');
  limit->text = text;
  limit->kind = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (colon != std::string::npos && limit->kind.empty()) {
    *error = fmt::format("'{}' names no kind behind its colon; write it like 512MiB:l1", TerminalText(text, 60));
    return false;
  }
  return ParseSize(std::string_view(text).substr(0, colon), &limit->bytes, error);
}

}  // namespace memtally::tools
