// SPDX-License-Identifier: Apache-2.0
//
// Which machine this is, as snapshots and JSON name it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace memtally::tools {

struct HostIdentity {
  std::string name;
  std::array<uint8_t, 16> machine_id{};  // zero unknown
  std::array<uint8_t, 16> boot_id{};     // zero unknown
};

HostIdentity ThisHost();

// 32 hex digits.
std::string HexText(const std::array<uint8_t, 16>& id);

// CLOCK_MONOTONIC.
uint64_t MonotonicNs();

// The user's name, or the number if it has none.
std::string UserName(uint32_t uid);

}  // namespace memtally::tools
