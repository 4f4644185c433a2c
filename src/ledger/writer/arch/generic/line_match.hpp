// SPDX-License-Identifier: Apache-2.0
//
// Which of the sixteen 32-bit entries of a cache line equal a value under a mask: any processor.
#pragma once

#include <cstdint>

namespace memtally::writer {

// Bit i is set if (line[i] & mask) == value.  `line` is 64-byte aligned.
inline uint32_t MatchLine(const uint32_t* line, uint32_t mask, uint32_t value) {
  uint32_t bits = 0;
  for (uint32_t i = 0; i < 16; ++i) bits |= static_cast<uint32_t>((line[i] & mask) == value) << i;
  return bits;
}

// The same, and *empty has bit i set if line[i] == 0.
inline uint32_t MatchLineTwice(const uint32_t* line, uint32_t mask, uint32_t value, uint32_t* empty) {
  *empty = MatchLine(line, ~uint32_t{0}, 0);
  return MatchLine(line, mask, value);
}

}  // namespace memtally::writer
