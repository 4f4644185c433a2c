// SPDX-License-Identifier: Apache-2.0
//
// What the command says, and to whom: results to standard output, complaints to standard error.
#pragma once

#include <string>
#include <string_view>

namespace memtally::tools {

// Writes `text` to standard output and flushes it.  Returns kSuccess; kFailure if it could not all be written (after a
// message, except where the reader of a pipe went away: that is his choice).
// *reader_gone: whether it was that.
int WriteOutput(std::string_view text, bool* reader_gone = nullptr);

// Writes "memtally: <text>" and a newline to standard error.  `text` must be safe for a terminal.
void Complain(std::string_view text);

// What an errno value means, in words.
std::string ErrorText(int error);

}  // namespace memtally::tools
