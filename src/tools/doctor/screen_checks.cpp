// SPDX-License-Identifier: Apache-2.0
#include <langinfo.h>
#include <locale.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "tools/doctor/check.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

namespace fs = std::filesystem;

// Whether ncurses will find a description of the terminal.
bool IsDescribed(const std::string& terminal) {
  if (terminal.empty() || terminal.find('/') != std::string::npos) return false;
  std::vector<fs::path> folders;
  if (const char* own = getenv("TERMINFO")) folders.emplace_back(own);
  if (const char* home = getenv("HOME")) folders.push_back(fs::path(home) / ".terminfo");
  for (const char* folder : {"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"}) folders.emplace_back(folder);
  const std::string by_letter(1, terminal[0]);
  const std::string by_number = fmt::format("{:x}", static_cast<unsigned char>(terminal[0]));
  for (const fs::path& folder : folders) {
    std::error_code ignored;
    if (fs::exists(folder / by_letter / terminal, ignored) || fs::exists(folder / by_number / terminal, ignored))
      return true;
  }
  return false;
}

// The character encoding that a program gets that asks for the user's locale.
std::string Encoding() {
  const locale_t user = newlocale(LC_CTYPE_MASK, "", nullptr);
  if (user == nullptr) return "";
  std::string encoding = nl_langinfo_l(CODESET, user);
  freelocale(user);
  return encoding;
}

}  // namespace

void CheckScreen(Checkup* checkup) {
  const std::string encoding = Encoding();
  if (encoding != "UTF-8") {
    checkup->Warn("locale",
                  encoding.empty() ? "the locale that LANG or LC_ALL names is not installed"
                                   : fmt::format("the locale's encoding is {}, not UTF-8", TerminalText(encoding, 40)),
                  "memtally top draws with ASCII characters then; try LC_ALL=C.UTF-8");
  } else {
    checkup->Ok("locale", "UTF-8");
  }
  const Terminal terminal = StandardOutput();
  const char* named = getenv("TERM");
  const std::string name = named != nullptr ? named : "";
  if (!terminal.is_terminal) {
    checkup->Ok("terminal", "standard output is none: memtally top prints plain frames there");
  } else if (name.empty() || name == "dumb" || !IsDescribed(name)) {
    checkup->Warn("terminal",
                  name.empty() ? "TERM is not set"
                               : fmt::format("there is no description of the terminal '{}'", TerminalText(name, 40)),
                  "memtally top needs one; try TERM=xterm-256color, or install ncurses-term");
  } else {
    checkup->Ok("terminal", fmt::format("{}, {} x {}{}", TerminalText(name, 40), terminal.columns, terminal.lines,
                                        StandardFormat().color ? ", with colours" : ", without colours"));
  }
}

}  // namespace memtally::tools
