// SPDX-License-Identifier: Apache-2.0
#include "tools/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace memtally::tools {
namespace {

std::string_view Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// A size from the environment; 0 if it says none.
size_t SizeFrom(const char* name) {
  const std::string_view text = Environment(name);
  size_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  return error == std::errc() && end == text.data() + text.size() && size <= 100'000 ? size : 0;
}

bool IsDumb() {
  const std::string_view type = Environment("TERM");
  return type.empty() || type == "dumb";
}

}  // namespace

OutputSettings& GlobalOutputSettings() {
  static OutputSettings settings;
  return settings;
}

Terminal StandardOutput() {
  Terminal terminal;
  terminal.is_terminal = isatty(STDOUT_FILENO) == 1;
  if (!terminal.is_terminal) return terminal;
  terminal.can_move = !IsDumb();
  terminal.columns = SizeFrom("COLUMNS");
  terminal.lines = SizeFrom("LINES");
  winsize size{};
  if ((terminal.columns == 0 || terminal.lines == 0) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
    if (terminal.columns == 0) terminal.columns = size.ws_col;
    if (terminal.lines == 0) terminal.lines = size.ws_row;
  }
  if (terminal.columns == 0) terminal.columns = 80;
  if (terminal.lines == 0) terminal.lines = 24;
  return terminal;
}

ScreenFormat StandardFormat() {
  const Terminal terminal = StandardOutput();
  const ColorWhen when = GlobalOutputSettings().color;
  ScreenFormat format;
  format.columns = terminal.columns;
  format.color = when == ColorWhen::kAlways ||
                 (when == ColorWhen::kAuto && terminal.is_terminal && !IsDumb() && Environment("NO_COLOR").empty());
  return format;
}

}  // namespace memtally::tools
