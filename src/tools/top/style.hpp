// SPDX-License-Identifier: Apache-2.0
//
// What a cell of a screen means, not how it looks: whoever shows a grid chooses colours for roles.
#pragma once

#include <cstddef>
#include <cstdint>

namespace memtally::tools::top {

enum class Role : uint8_t {
  kText,
  kDim,       // of less interest
  kTitle,     // what this screen is
  kHeading,   // above columns
  kSorted,    // the heading that rows are sorted by
  kKey,       // a key that can be pressed
  kWarning,   // should be looked at
  kCritical,  // must be looked at
  kGone,      // of a process that is not there any more
  kTrack,     // the empty part of a bar
  kHistory,   // a line of past values
  kKind0,     // kinds of memory, by their place in it
  kKind1,
  kKind2,
  kKind3,
  kKind4,
  kKind5,
};
inline constexpr size_t kRoles = static_cast<size_t>(Role::kKind5) + 1;
inline constexpr size_t kKindRoles = 6;

// Kinds beyond the last role begin again.
constexpr Role KindRole(size_t place) {
  return static_cast<Role>(static_cast<size_t>(Role::kKind0) + place % kKindRoles);
}

struct Style {
  Role role = Role::kText;
  bool selected = false;
  bool operator==(const Style&) const = default;
};

}  // namespace memtally::tools::top
