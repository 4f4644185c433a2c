// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace memtally::tools::demo {

// The words of an ASCII text in lines of at most `columns`; a longer word has a line of its own.
std::vector<std::string> Lines(std::string_view text, size_t columns);

}  // namespace memtally::tools::demo
