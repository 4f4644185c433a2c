// SPDX-License-Identifier: Apache-2.0
#include "tools/top/curses_colors.hpp"

namespace memtally::tools::top {
namespace {

// Colours that can be read on black and on white alike, and told apart by people who see red and green as one.
struct Palette {
  short title, heading, key, warning, critical, gone, history;
  std::array<short, kKindRoles> kinds;
};

constexpr Palette k256 = {.title = 33,
                          .heading = 67,
                          .key = 33,
                          .warning = 172,
                          .critical = 196,
                          .gone = 133,
                          .history = 67,
                          .kinds = {33, 208, 36, 170, 100, 99}};
// Of the sixteen the bright ones that are too pale on white are left out.
constexpr Palette k16 = {.title = 12,
                         .heading = 4,
                         .key = 12,
                         .warning = 3,
                         .critical = 9,
                         .gone = 5,
                         .history = 6,
                         .kinds = {12, 3, 6, 5, 2, 4}};
constexpr Palette k8 = {.title = 4,
                        .heading = 6,
                        .key = 4,
                        .warning = 3,
                        .critical = 1,
                        .gone = 5,
                        .history = 6,
                        .kinds = {4, 3, 6, 5, 2, 1}};

Look LookOf(Role role, const Palette* palette) {
  const auto color = [&](short Palette::*of) { return palette == nullptr ? short{-1} : palette->*of; };
  switch (role) {
    case Role::kText:
      return {};
    case Role::kDim:
      return {.dim = true};
    case Role::kTitle:
      return {.color = color(&Palette::title), .bold = true};
    case Role::kHeading:
      return {.color = color(&Palette::heading), .underlined = palette == nullptr};
    case Role::kSorted:
      return {.color = color(&Palette::heading), .bold = true, .underlined = true};
    case Role::kKey:
      return {.color = color(&Palette::key), .bold = true};
    case Role::kWarning:
      return {.color = color(&Palette::warning), .bold = true};
    case Role::kCritical:
      return {.color = color(&Palette::critical), .bold = true};
    case Role::kGone:
      return {.color = color(&Palette::gone), .dim = palette == nullptr};
    case Role::kTrack:
      return {.dim = true};
    case Role::kHistory:
      return {.color = color(&Palette::history)};
    default:
      break;
  }
  if (palette == nullptr) return {};
  return {.color = palette->kinds[static_cast<size_t>(role) - static_cast<size_t>(Role::kKind0)]};
}

}  // namespace

std::array<Look, kRoles> LooksFor(int colors) {
  const Palette* palette = nullptr;
  if (colors >= 256) {
    palette = &k256;
  } else if (colors >= 16) {
    palette = &k16;
  } else if (colors >= 8) {
    palette = &k8;
  }
  std::array<Look, kRoles> looks;
  for (size_t i = 0; i < kRoles; ++i) looks[i] = LookOf(static_cast<Role>(i), palette);
  return looks;
}

}  // namespace memtally::tools::top
