// SPDX-License-Identifier: Apache-2.0
//
// Which machine this is, and who its users are.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace memtally::collect {

struct Host {
  std::string name;
  std::array<uint8_t, 16> machine_id{};  // zero unknown
  std::array<uint8_t, 16> boot_id{};     // zero unknown
};

Host ThisHost();

// 32 hex digits.
std::string HexText(const std::array<uint8_t, 16>& id);

// Names of users, asked for once each.  Not thread-safe.
class UserNames {
 public:
  // The user's name, or the number if it has none.
  const std::string& NameOf(uint32_t uid);

 private:
  std::map<uint32_t, std::string> names_;
};

}  // namespace memtally::collect
