// SPDX-License-Identifier: Apache-2.0
#include "tools/duration.hpp"

#include <charconv>
#include <cmath>

namespace memtally::tools {
namespace {

struct Unit {
  std::string_view name;
  double ns;
};

constexpr Unit kUnits[] = {{"ns", 1},     {"us", 1e3}, {"ms", 1e6},   {"s", 1e9},
                           {"min", 60e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}};
constexpr double kMostNs = 9.2e18;  // some 290 years

// The unit that the text begins with, up to the next digit; null if that is none.
const Unit* TakeUnit(std::string_view* text) {
  const size_t end = text->find_first_of("0123456789.");
  const std::string_view name = text->substr(0, end);
  text->remove_prefix(name.size());
  for (const Unit& unit : kUnits) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

}  // namespace

std::optional<uint64_t> ParseDuration(std::string_view text) {
  double total = 0;
  if (text.empty()) return std::nullopt;
  const bool is_alone = text.find_first_not_of("0123456789.") == std::string_view::npos;
  while (!text.empty()) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc() || !std::isfinite(number) || number < 0 || std::signbit(number)) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (is_alone && text.empty()) {
      total = number * 1e9;
      break;
    }
    const Unit* unit = TakeUnit(&text);
    if (unit == nullptr) return std::nullopt;
    total += number * unit->ns;
  }
  if (!(total <= kMostNs)) return std::nullopt;
  return static_cast<uint64_t>(std::llround(total));
}

}  // namespace memtally::tools
