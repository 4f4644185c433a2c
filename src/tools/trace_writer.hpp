// SPDX-License-Identifier: Apache-2.0
//
// Trace -> text, as docs/formats/trace.md has it.
#pragma once

#include <functional>
#include <string_view>

#include "tools/trace.hpp"

namespace memtally::tools {

// Hands the text to `sink` in pieces.  What TraceParser makes of it is the same trace; kinds that no line described
// stay so.
void WriteTrace(const Trace& trace, const std::function<void(std::string_view)>& sink);

}  // namespace memtally::tools
