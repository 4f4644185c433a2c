// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them.  Screens only: machine output has bytes and nanoseconds.
#pragma once

#include <cstdint>
#include <string>

namespace memtally::tools {

// "512 B", "1.5 KiB", "12.0 GiB".  With `inexact`, a "~" before it.
std::string ScreenBytes(uint64_t bytes, bool inexact = false);

// "33554432 B (32.0 MiB)"; "512 B" where that says it all.
std::string ExactBytes(uint64_t bytes);

// A count, with "~" before it if it is inexact.
std::string ScreenCount(uint64_t count, bool inexact = false);

// `part` of `whole` in percent with one decimal, "-" if the whole is unknown (0).  May be above 100.
std::string ScreenPercent(uint64_t part, uint64_t whole, bool inexact = false);

// "12 ms", "3.4 s", "5 min 2 s", "3 h 4 min", "2 d 5 h".
std::string ScreenAge(uint64_t age_ns);

}  // namespace memtally::tools
