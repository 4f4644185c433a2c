// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace memtally::tools {

// For options of 64 bits, where CLI11 takes "-1" for the largest number.
inline CLI::Validator NotNegative() {
  return {[](const std::string& text) {
            return text.starts_with('-') ? "takes a number from 0 on, not " + text : std::string();
          },
          ""};
}

}  // namespace memtally::tools
