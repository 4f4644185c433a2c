// SPDX-License-Identifier: Apache-2.0
//
// What a program prints.
#pragma once

#include <string>
#include <vector>

namespace memtally::tools {

// Runs words[0] (a path) with those arguments, with this process's environment and `variables` ("NAME=value") in place
// of its own of the same names.  It reads nothing, and what it says on standard error is dropped.  After `patience_ms`
// it is killed.  Returns whether it ended with 0; *output has what it printed, at most 1 MiB.
bool OutputOf(const std::vector<std::string>& words, const std::vector<std::string>& variables, int patience_ms,
              std::string* output);

}  // namespace memtally::tools
