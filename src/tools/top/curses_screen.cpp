// SPDX-License-Identifier: Apache-2.0
#include "tools/top/curses_screen.hpp"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <cwctype>

#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <curses.h>

#include "tools/terminal_text.hpp"
#include "tools/top/curses_colors.hpp"
#include "tools/top/curses_keys.hpp"

namespace memtally::tools::top {
namespace {

// Signals for which ncurses installs handlers of its own.
constexpr std::array<int, 4> kCursesSignals = {SIGINT, SIGTERM, SIGTSTP, SIGWINCH};

bool IsSet(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

// What is given to ncurses for a cell: always as wide as the cell, by the C library's own table, so that ncurses' idea
// of the line and ours never differ.
std::wstring WideText(const Cell& cell) {
  wchar_t text[CCHARW_MAX + 1] = {};
  const size_t length = std::mbstowcs(text, cell.text.c_str(), CCHARW_MAX);
  if (length == static_cast<size_t>(-1) || length == 0 || wcwidth(text[0]) != cell.width) return L"";
  std::wstring wide(1, text[0]);
  for (size_t i = 1; i < length && wcwidth(text[i]) == 0; ++i) wide += text[i];
  return wide;
}

// Terminals send cursor keys in one of two forms, and not all of them the one that their description says.
void DefineCursorKeys() {
  struct Sequence {
    const char* text;
    int key;
  };
  static constexpr Sequence kSequences[] = {
      {"\x1b[A", KEY_UP},   {"\x1b[B", KEY_DOWN}, {"\x1b[C", KEY_RIGHT}, {"\x1b[D", KEY_LEFT},  {"\x1b[H", KEY_HOME},
      {"\x1b[F", KEY_END},  {"\x1bOA", KEY_UP},   {"\x1bOB", KEY_DOWN},  {"\x1bOC", KEY_RIGHT}, {"\x1bOD", KEY_LEFT},
      {"\x1bOH", KEY_HOME}, {"\x1bOF", KEY_END},  {"\x1b[1~", KEY_HOME}, {"\x1b[4~", KEY_END}};
  for (const Sequence& sequence : kSequences) {
    if (key_defined(sequence.text) == 0) define_key(sequence.text, sequence.key);
  }
}

}  // namespace

Charset SetLocale() {
  const bool is_chosen = IsSet("LC_ALL") || IsSet("LC_CTYPE") || IsSet("LANG");
  if (std::setlocale(LC_CTYPE, "") == nullptr || !is_chosen) {
    // Nobody said anything, as in most containers; today's terminals speak UTF-8.
    if (!is_chosen) std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  return std::string(nl_langinfo(CODESET)) == "UTF-8" ? Charset::kUnicode : Charset::kAscii;
}

struct CursesScreen::State {
  SCREEN* screen = nullptr;
  std::array<attr_t, kRoles> attributes{};
  bool has_colors = false;
  std::optional<CellGrid> shown;
};

CursesScreen::CursesScreen() : state_(std::make_unique<State>()) {}

std::unique_ptr<CursesScreen> CursesScreen::Open(bool colors, std::string* error) {
  const char* type = std::getenv("TERM");
  const std::string name = type == nullptr || *type == '\0' ? "unknown" : TerminalText(type, 40);
  std::array<struct sigaction, kCursesSignals.size()> before{};
  for (size_t i = 0; i < before.size(); ++i) sigaction(kCursesSignals[i], nullptr, &before[i]);
  std::unique_ptr<CursesScreen> result(new CursesScreen);
  State& state = *result->state_;
  state.screen = newterm(nullptr, stdout, stdin);
  for (size_t i = 0; i < before.size(); ++i) sigaction(kCursesSignals[i], &before[i], nullptr);
  if (state.screen == nullptr) {
    *error = "the terminal is not known (TERM is " + name + "); set TERM, or use --once";
    return nullptr;
  }
  const char* move = tigetstr("cup");
  if (move == nullptr || move == reinterpret_cast<char*>(-1)) {
    *error = "the terminal cannot be drawn on (TERM is " + name + "); use --once";
    return nullptr;
  }
  cbreak();
  noecho();
  nonl();
  intrflush(stdscr, FALSE);
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  set_escdelay(25);
  DefineCursorKeys();
  curs_set(0);
  mouseinterval(0);
  mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, nullptr);

  state.has_colors = colors && has_colors() == TRUE && start_color() == OK;
  const int foreground = state.has_colors && use_default_colors() == OK ? -1 : COLOR_WHITE;
  const int background = foreground == -1 ? -1 : COLOR_BLACK;
  const std::array<Look, kRoles> looks = LooksFor(state.has_colors ? COLORS : 0);
  for (size_t i = 0; i < kRoles; ++i) {
    const Look& look = looks[i];
    attr_t attributes = A_NORMAL;
    if (look.bold) attributes |= A_BOLD;
    if (look.dim) attributes |= A_DIM;
    if (look.underlined) attributes |= A_UNDERLINE;
    state.attributes[i] = attributes;
    const int color = look.color == -1 ? foreground : look.color;
    if (state.has_colors)
      init_pair(static_cast<short>(i + 1), static_cast<short>(color), static_cast<short>(background));
  }
  return result;
}

CursesScreen::~CursesScreen() {
  if (state_->screen == nullptr) return;
  endwin();
  delscreen(state_->screen);
}

std::pair<int, int> CursesScreen::Resize() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row != 0 && size.ws_col != 0) {
    const int lines = std::min<int>(size.ws_row, CellGrid::kMaxSide);
    const int columns = std::min<int>(size.ws_col, CellGrid::kMaxSide);
    if (lines != LINES || columns != COLS) {
      resizeterm(lines, columns);
      Forget();
    }
  }
  return {COLS, LINES};
}

void CursesScreen::Show(const CellGrid& grid) {
  State& state = *state_;
  const bool same_size = state.shown && state.shown->width() == grid.width() && state.shown->height() == grid.height();
  if (!same_size) werase(stdscr);
  for (int y = 0; y < grid.height(); ++y) {
    for (int x = 0; x < grid.width(); ++x) {
      const Cell& cell = grid.at(x, y);
      if (cell.width == 0 || (same_size && state.shown->at(x, y) == cell)) continue;
      // A selected line has one look, whatever its cells mean.
      const auto role = static_cast<size_t>(cell.style.selected ? Role::kText : cell.style.role);
      const attr_t attributes = state.attributes[role] | (cell.style.selected ? A_REVERSE : A_NORMAL);
      const auto pair = static_cast<short>(state.has_colors ? role + 1 : 0);
      const std::wstring text = WideText(cell);
      cchar_t character;
      for (int i = 0; i < (text.empty() ? cell.width : 1); ++i) {
        setcchar(&character, text.empty() ? L"?" : text.c_str(), attributes, pair, nullptr);
        // The last cell of the screen says ERR, because the cursor cannot go on; it is written all the same.
        mvwadd_wch(stdscr, y, x + i, &character);
      }
    }
  }
  state.shown = grid;
  wmove(stdscr, std::max(grid.height() - 1, 0), 0);
  wnoutrefresh(stdscr);
  doupdate();
}

void CursesScreen::Forget() {
  state_->shown.reset();
  clearok(curscr, TRUE);
}

std::optional<Key> CursesScreen::ReadKey() {
  // Keys that mean nothing here are passed over.
  for (int i = 0; i < 100; ++i) {
    wint_t code = 0;
    const int kind = wget_wch(stdscr, &code);
    if (kind == ERR) return std::nullopt;
    const std::optional<Key> key = KeyOf(code, kind == KEY_CODE_YES);
    if (key) return key;
  }
  return std::nullopt;
}

void CursesScreen::Suspend() { endwin(); }

void CursesScreen::Resume() {
  Forget();
  wrefresh(stdscr);
  curs_set(0);
}

}  // namespace memtally::tools::top
