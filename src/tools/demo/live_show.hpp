// SPDX-License-Identifier: Apache-2.0
//
// The demonstration on a terminal: the live view of `memtally top` with the story told below it.
#pragma once

namespace memtally::tools::demo {

// `hurry`: how many times faster than the usual pace.  `linger_seconds`: how long the last screen stays if nobody
// presses a key.  Returns an ExitCode; *signal is the one that asked for an end, 0 if a person or the story did.  Where
// the terminal cannot be drawn on, does nothing and sets *drawn to false.  Throws std::runtime_error.
int ShowLive(double hurry, double linger_seconds, bool* drawn, int* signal);

}  // namespace memtally::tools::demo
