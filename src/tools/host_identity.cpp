// SPDX-License-Identifier: Apache-2.0
#include "tools/host_identity.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <vector>

#include <fmt/format.h>

namespace memtally::tools {
namespace {

// Hex digits at the beginning of a file, dashes left out; zero if there are not enough.
std::array<uint8_t, 16> ReadId(const char* path) {
  std::string text;
  std::ifstream(path) >> text;
  text.erase(std::remove(text.begin(), text.end(), '-'), text.end());
  std::array<uint8_t, 16> id{};
  if (text.size() != 2 * id.size()) return id;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (digit < 0) return {};
    id[i / 2] = static_cast<uint8_t>(id[i / 2] << 4 | digit);
  }
  return id;
}

}  // namespace

HostIdentity ThisHost() {
  HostIdentity host;
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) == 0) host.name = name;
  host.machine_id = ReadId("/etc/machine-id");
  host.boot_id = ReadId("/proc/sys/kernel/random/boot_id");
  return host;
}

std::string HexText(const std::array<uint8_t, 16>& id) { return fmt::format("{:02x}", fmt::join(id, "")); }

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::string UserName(uint32_t uid) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  return found ? found->pw_name : std::to_string(uid);
}

}  // namespace memtally::tools
