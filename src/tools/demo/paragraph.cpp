// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/paragraph.hpp"

#include <algorithm>

namespace memtally::tools::demo {

std::vector<std::string> Lines(std::string_view text, size_t columns) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty()) continue;
    if (!lines.empty() && lines.back().size() + 1 + word.size() <= columns) {
      lines.back() += ' ';
      lines.back() += word;
    } else {
      lines.emplace_back(word);
    }
  }
  return lines;
}

}  // namespace memtally::tools::demo
