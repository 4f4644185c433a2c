// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cwchar>
#include <optional>

#include "tools/top/key.hpp"

namespace memtally::tools::top {

// What ncurses' wget_wch returned, as a key; nothing if it means nothing here.  `is_function`: it is a function key,
// not a character.  For the mouse, takes its event from ncurses' queue.
std::optional<Key> KeyOf(wint_t code, bool is_function);

}  // namespace memtally::tools::top
