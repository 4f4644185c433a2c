// SPDX-License-Identifier: Apache-2.0
//
// What a person did: a key, or the mouse.
#pragma once

#include <cstdint>

namespace memtally::tools::top {

enum class KeyCode : uint8_t {
  kCharacter,  // Key::character: printable, of any script
  kUp,
  kDown,
  kLeft,
  kRight,
  kPageUp,
  kPageDown,
  kHome,
  kEnd,
  kEnter,
  kEscape,
  kBackspace,
  kDelete,
  kTab,
  kBackTab,
  kF1,
  kF2,
  kF3,
  kF4,
  kF5,
  kF6,
  kF7,
  kF8,
  kF9,
  kF10,
  kControlL,  // draw everything again
  kControlU,  // clear the line
  kClick,     // at x, y
  kWheelUp,
  kWheelDown,
};

struct Key {
  KeyCode code = KeyCode::kCharacter;
  char32_t character = 0;
  int x = 0;
  int y = 0;

  bool Is(char32_t wanted) const { return code == KeyCode::kCharacter && character == wanted; }
};

inline Key Character(char32_t character) { return {KeyCode::kCharacter, character}; }

}  // namespace memtally::tools::top
