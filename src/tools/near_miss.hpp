// SPDX-License-Identifier: Apache-2.0
//
// What somebody meant who mistyped a word.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace memtally::tools {

// Letters to insert, leave out, replace, or swap with their neighbour, to make one of the other.
size_t EditDistance(std::string_view a, std::string_view b);

// The word that is nearest to `typed`, "" if none is near enough to be meant.  A word that begins with what was typed
// is near.
std::string NearestWord(std::string_view typed, const std::vector<std::string>& words);

}  // namespace memtally::tools
