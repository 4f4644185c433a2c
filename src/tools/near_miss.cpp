// SPDX-License-Identifier: Apache-2.0
#include "tools/near_miss.hpp"

#include <algorithm>

namespace memtally::tools {
namespace {

constexpr size_t kLongestWord = 40;  // longer is no command and no option

}  // namespace

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);  // the row before the last one
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string NearestWord(std::string_view typed, const std::vector<std::string>& words) {
  if (typed.empty() || typed.size() > kLongestWord) return "";
  std::string nearest;
  size_t least = 0;
  for (const std::string& word : words) {
    const bool begins = typed.size() >= 2 && word.starts_with(typed);
    const size_t distance = begins ? 1 : EditDistance(typed, word);
    const size_t allowed = std::max<size_t>(1, std::min(typed.size(), word.size()) / 3);
    if (distance > allowed && !begins) continue;
    if (!nearest.empty() && distance >= least) continue;
    nearest = word;
    least = distance;
  }
  return nearest;
}

}  // namespace memtally::tools
