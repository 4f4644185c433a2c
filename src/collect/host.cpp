// SPDX-License-Identifier: Apache-2.0
#include "collect/host.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "base/proc.hpp"

namespace memtally::collect {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The 32 hex digits that a file begins with, dashes left out; zero if there are not as many.
std::array<uint8_t, 16> ReadId(const char* path) {
  std::string text;
  std::ifstream(path) >> text;
  text.erase(std::remove(text.begin(), text.end(), '-'), text.end());
  std::array<uint8_t, 16> id{};
  if (text.size() != 2 * id.size()) return id;
  for (size_t i = 0; i < text.size(); ++i) {
    const int digit = HexDigit(text[i]);
    if (digit < 0) return {};
    id[i / 2] = static_cast<uint8_t>(id[i / 2] << 4 | digit);
  }
  return id;
}

}  // namespace

Host ThisHost() {
  Host host;
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) == 0) host.name = name;
  host.machine_id = ReadId("/etc/machine-id");
  host.boot_id = base::BootId();
  return host;
}

std::string HexText(const std::array<uint8_t, 16>& id) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : id) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

const std::string& UserNames::NameOf(uint32_t uid) {
  const auto known = names_.find(uid);
  if (known != names_.end()) return known->second;
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  return names_.emplace(uid, found ? std::string(found->pw_name) : std::to_string(uid)).first->second;
}

}  // namespace memtally::collect
