// SPDX-License-Identifier: Apache-2.0
//
// --tag, and how tag paths look on screens.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "tools/tag_paths.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {

// Adds --tag REGEX; *pattern stays null without it.
inline void AddTagOption(CLI::App* command, std::unique_ptr<TagPattern>* pattern) {
  command
      ->add_option_function<std::string>(
          "--tag",
          [pattern](const std::string& expression) {
            std::string error;
            *pattern = TagPattern::Compile(expression, &error);
            if (!error.empty()) throw CLI::ValidationError("--tag", "is no regular expression: " + error);
          },
          "Whose tag path matches, such as 'layer [0-3]$' (extended regular expression)")
      ->type_name("REGEX");
}

// More than any terminal is wide.  Documents have the rest.
inline constexpr size_t kMaxTagColumns = 1000;

// Safe for a terminal; "-" for no tag.
inline std::string ScreenTag(const std::string& path) {
  return path.empty() ? "-" : TerminalText(path, kMaxTagColumns, Cut::kBegin);
}

}  // namespace memtally::tools
