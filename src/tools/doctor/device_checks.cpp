// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "tools/doctor/check.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

namespace fs = std::filesystem;

// How many entries of a folder have a name that begins so.
size_t CountIn(const char* folder, const std::string& prefix) {
  std::error_code ignored;
  size_t count = 0;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    count += entry->path().filename().string().starts_with(prefix) ? 1 : 0;
  }
  return count;
}

std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

void CheckDevices(Checkup* checkup) {
  std::error_code ignored;
  const size_t cards = CountIn("/dev/tenstorrent", "");
  if (cards == 0 && !fs::exists("/proc/driver/tenstorrent", ignored)) {
    checkup->Ok("tenstorrent", "no driver and no devices here");
  } else {
    checkup->Ok("tenstorrent", fmt::format("{} device{} in /dev/tenstorrent; {}", cards, cards == 1 ? "" : "s",
                                           fs::exists("/proc/driver/tenstorrent", ignored)
                                               ? "the driver lists the processes of each"
                                               : "the driver does not list their processes"));
  }
  const size_t published = CountIn("/dev/shm", "tt_device_");
  if (published != 0) {
    checkup->Ok("tt_metal", fmt::format("tt-metal publishes its own counters of {} device{} in /dev/shm", published,
                                        published == 1 ? "" : "s"));
  }
  const std::string nvidia = FirstLine("/proc/driver/nvidia/version");
  if (nvidia.empty()) {
    checkup->Ok("nvidia", "no driver here");
  } else {
    checkup->Ok("nvidia", TerminalText(nvidia, 120));
  }
}

}  // namespace memtally::tools
