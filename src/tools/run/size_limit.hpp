// SPDX-License-Identifier: Apache-2.0
//
// SizeLimit: what --limit asks for, "1GiB" or "512MiB:l1".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace memtally::tools {

struct SizeLimit {
  std::string text;  // as given
  uint64_t bytes = 0;
  std::string kind;  // "": what all kinds in one memory of a device reserve together
};

// "4096", "1KiB", "1.5 GiB", "2GB", "512M": a number, perhaps with a decimal fraction, and a unit: B, or K, M, G, T, P,
// E with "iB" (1024) or "B" (1000); alone they mean the binary ones.  Case does not matter.  False: *error says what is
// wrong and what would be right.
bool ParseSize(std::string_view text, uint64_t* bytes, std::string* error);

// SIZE or SIZE:KIND.
bool ParseSizeLimit(const std::string& text, SizeLimit* limit, std::string* error);

}  // namespace memtally::tools
