// SPDX-License-Identifier: Apache-2.0
//
// CursesScreen: puts grids onto a terminal, and reads what a person does there.
//
// One at a time in a process.  The terminal is as it was before when it is destroyed, also by an exception.  Signals
// are the caller's: none of ncurses' handlers stays.  Nothing here includes ncurses' header, whose macros have many
// names.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tools/top/cell_grid.hpp"
#include "tools/top/key.hpp"

namespace memtally::tools::top {

class CursesScreen {
 public:
  // Standard input and output must be terminals.  Returns null and sets *error if this one cannot be drawn on.
  // The locale must have been set (SetLocale).
  static std::unique_ptr<CursesScreen> Open(bool colors, std::string* error);
  ~CursesScreen();
  CursesScreen(const CursesScreen&) = delete;
  CursesScreen& operator=(const CursesScreen&) = delete;

  // Columns and lines, as the terminal says now.
  std::pair<int, int> Resize();

  // Writes the cells that differ from what was shown before.
  void Show(const CellGrid& grid);
  // Forgets what was shown: the next Show writes everything.
  void Forget();

  // The next thing that was done; nothing if there is none yet.  Does not wait, but for the rest of a key's bytes.
  std::optional<Key> ReadKey();

  // Gives the terminal back while this process is stopped, and takes it again.
  void Suspend();
  void Resume();

 private:
  CursesScreen();
  struct State;
  std::unique_ptr<State> state_;
};

// Sets the character set of the environment's locale, UTF-8 where none is set.  Returns what can be drawn with.
Charset SetLocale();

}  // namespace memtally::tools::top
