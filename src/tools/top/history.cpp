// SPDX-License-Identifier: Apache-2.0
#include "tools/top/history.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace memtally::tools::top {
namespace {

// Devices without an id are told apart by their place, as people see them.
std::string NameOf(const collect::Snapshot& snapshot, const collect::Device& device, const collect::Memory& memory) {
  std::string name(device.id.begin(), device.id.end());
  name += std::to_string(device.id_scheme) + ":";
  if (device.id == std::array<uint8_t, 16>{}) name += std::to_string(&device - snapshot.devices.data()) + ":";
  return name + memory.name;
}

double FullnessShare(const collect::Memory& memory) {
  const uint64_t whole = memory.capacity_bytes != 0 ? memory.capacity_bytes : memory.peak_reserved;
  if (whole == 0) return 0;
  return std::min(1.0, static_cast<double>(memory.held.bytes_reserved) / static_cast<double>(whole));
}

}  // namespace

void History::Record(const collect::Snapshot& snapshot) {
  std::map<std::string, std::deque<double>> now;
  for (const collect::Device& device : snapshot.devices) {
    for (const collect::Memory& memory : device.memories) {
      std::string name = NameOf(snapshot, device, memory);
      std::deque<double> line;
      if (const auto before = samples_.find(name); before != samples_.end()) line = std::move(before->second);
      line.push_back(FullnessShare(memory));
      if (line.size() > kSamples) line.pop_front();
      now.insert_or_assign(std::move(name), std::move(line));
    }
  }
  samples_ = std::move(now);
}

std::string History::Line(const collect::Snapshot& snapshot, const collect::Device& device,
                          const collect::Memory& memory, int columns, const std::array<const char*, 9>& levels) const {
  const auto found = samples_.find(NameOf(snapshot, device, memory));
  if (found == samples_.end() || columns <= 0) return "";
  const std::deque<double>& line = found->second;
  const size_t count = std::min(line.size(), static_cast<size_t>(columns));
  const double steps = static_cast<double>(levels.size() - 1);
  std::string text;
  for (size_t i = line.size() - count; i < line.size(); ++i) {
    // What is not nothing is seen.
    auto level = static_cast<size_t>(std::lround(line[i] * steps));
    if (level == 0 && line[i] > 0) level = 1;
    text += levels[level];
  }
  return text;
}

}  // namespace memtally::tools::top
