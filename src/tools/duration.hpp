// SPDX-License-Identifier: Apache-2.0
//
// Durations as people write them: "90", "1.5h", "500ms", "1h30m", "2d".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace memtally::tools {

// In nanoseconds.  Units are ns, us, ms, s, m (or min), h, d; a number without one is seconds, and must then be alone.
// Nothing for anything else, and for what is more than 290 years.
std::optional<uint64_t> ParseDuration(std::string_view text);

}  // namespace memtally::tools
