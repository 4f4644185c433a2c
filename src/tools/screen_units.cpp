// SPDX-License-Identifier: Apache-2.0
#include "tools/screen_units.hpp"

#include <array>

#include <fmt/format.h>

namespace memtally::tools {

std::string ScreenBytes(uint64_t bytes, bool inexact) {
  constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  const char* mark = inexact ? "~" : "";
  if (bytes < 1024) return fmt::format("{}{} B", mark, bytes);
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  // 1023.95 would be printed as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{}{:.1f} {}", mark, value, kUnits[unit]);
}

std::string ExactBytes(uint64_t bytes) {
  const std::string rounded = ScreenBytes(bytes);
  const std::string exact = fmt::format("{} B", bytes);
  return rounded == exact ? exact : fmt::format("{} ({})", exact, rounded);
}

std::string ScreenCount(uint64_t count, bool inexact) { return fmt::format("{}{}", inexact ? "~" : "", count); }

std::string ScreenPercent(uint64_t part, uint64_t whole, bool inexact) {
  if (whole == 0) return "-";
  return fmt::format("{}{:.1f}", inexact ? "~" : "", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string ScreenAge(uint64_t age_ns) {
  constexpr uint64_t kSecond = 1'000'000'000;
  const uint64_t seconds = age_ns / kSecond;
  if (age_ns < kSecond) return fmt::format("{} ms", age_ns / 1'000'000);
  if (seconds < 60) return fmt::format("{}.{} s", seconds, age_ns / 100'000'000 % 10);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{} d {} h", seconds / 86400, seconds / 3600 % 24);
}

}  // namespace memtally::tools
