// SPDX-License-Identifier: Apache-2.0
#include "tools/top/curses_keys.hpp"

#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <curses.h>

namespace memtally::tools::top {
namespace {

std::optional<Key> MouseKey() {
  MEVENT event{};
  if (getmouse(&event) != OK) return std::nullopt;
  Key key{KeyCode::kClick, 0, event.x, event.y};
  if ((event.bstate & BUTTON4_PRESSED) != 0) {
    key.code = KeyCode::kWheelUp;
  } else if ((event.bstate & BUTTON5_PRESSED) != 0) {
    key.code = KeyCode::kWheelDown;
  } else if ((event.bstate & BUTTON1_PRESSED) == 0) {
    return std::nullopt;
  }
  return key;
}

std::optional<Key> FunctionKey(wint_t code) {
  if (code >= KEY_F(1) && code <= KEY_F(10)) {
    return Key{static_cast<KeyCode>(static_cast<wint_t>(KeyCode::kF1) + (code - KEY_F(1)))};
  }
  switch (code) {
    case KEY_UP:
      return Key{KeyCode::kUp};
    case KEY_DOWN:
      return Key{KeyCode::kDown};
    case KEY_LEFT:
      return Key{KeyCode::kLeft};
    case KEY_RIGHT:
      return Key{KeyCode::kRight};
    case KEY_PPAGE:
      return Key{KeyCode::kPageUp};
    case KEY_NPAGE:
      return Key{KeyCode::kPageDown};
    case KEY_HOME:
    case KEY_A1:
      return Key{KeyCode::kHome};
    case KEY_END:
    case KEY_C1:
      return Key{KeyCode::kEnd};
    case KEY_ENTER:
      return Key{KeyCode::kEnter};
    case KEY_BACKSPACE:
      return Key{KeyCode::kBackspace};
    case KEY_DC:
      return Key{KeyCode::kDelete};
    case KEY_BTAB:
      return Key{KeyCode::kBackTab};
    case KEY_MOUSE:
      return MouseKey();
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<Key> KeyOf(wint_t code, bool is_function) {
  if (is_function) return FunctionKey(code);
  switch (code) {
    case '\r':
    case '\n':
      return Key{KeyCode::kEnter};
    case '\t':
      return Key{KeyCode::kTab};
    case 0x1b:
      return Key{KeyCode::kEscape};
    case 0x08:
    case 0x7f:
      return Key{KeyCode::kBackspace};
    case 0x0c:
      return Key{KeyCode::kControlL};
    case 0x15:
      return Key{KeyCode::kControlU};
    default:
      break;
  }
  if (code < 0x20) return std::nullopt;
  return Character(static_cast<char32_t>(code));
}

}  // namespace memtally::tools::top
