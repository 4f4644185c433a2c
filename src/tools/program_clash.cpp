// SPDX-License-Identifier: Apache-2.0
#include "tools/program_clash.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace memtally::tools {
namespace {

struct Region {
  uint64_t buffers = 0;
  uint64_t begin = UINT64_MAX;
  uint64_t end = 0;
};

// The device, memory and kind of a live buffer of the process's own; false for others.
bool PlaceOf(const LedgerView& facts, const LedgerBuffer& buffer, uint32_t* device, const LedgerKind** kind) {
  const LedgerAccount* account = collect::AccountAt(facts, buffer.account);
  if (account == nullptr || buffer.imported || buffer.released) return false;
  *device = account->device;
  *kind = facts.kind(account->kind);
  return *kind != nullptr && !(*kind)->on_host && !(*kind)->inside;
}

uint64_t EndOf(const LedgerBuffer& buffer) {
  return buffer.address + std::min(buffer.bytes_per_bank, UINT64_MAX - buffer.address);
}

std::string GroupName(const LedgerView& facts, uint64_t group) {
  const auto found = std::find_if(facts.groups.begin(), facts.groups.end(),
                                  [group](const LedgerGroup& each) { return each.id == group; });
  return found == facts.groups.end() ? "" : found->name;
}

}  // namespace

std::vector<ProgramClash> FindProgramClashes(const collect::Process& process, std::optional<int32_t> device,
                                             std::optional<uint64_t> group) {
  const LedgerView& facts = process.facts;
  std::map<std::tuple<uint32_t, uint64_t, uint32_t>, Region> regions;               // by device, group, memory
  std::map<std::pair<uint32_t, uint32_t>, std::vector<const LedgerBuffer*>> fixed;  // by device, memory
  for (const LedgerBuffer& buffer : facts.buffers) {
    uint32_t on = 0;
    const LedgerKind* kind = nullptr;
    if (!PlaceOf(facts, buffer, &on, &kind)) continue;
    if (device && (on >= facts.devices.size() || facts.devices[on].local_index != *device)) continue;
    if (!kind->overlaps) {
      fixed[{on, kind->memory}].push_back(&buffer);
    } else if (!group || buffer.group == *group) {
      Region& region = regions[{on, buffer.group, kind->memory}];
      ++region.buffers;
      region.begin = std::min(region.begin, buffer.address);
      region.end = std::max(region.end, EndOf(buffer));
    }
  }
  for (auto& [place, buffers] : fixed) {
    std::sort(buffers.begin(), buffers.end(),
              [](const LedgerBuffer* a, const LedgerBuffer* b) { return a->address < b->address; });
  }

  std::vector<ProgramClash> clashes;
  for (const auto& [key, region] : regions) {
    const auto& [on, of_group, memory] = key;
    const auto there = fixed.find({on, memory});
    if (there == fixed.end()) continue;
    ProgramClash clash;
    for (const LedgerBuffer* buffer : there->second) {
      if (buffer->address >= region.end || EndOf(*buffer) <= region.begin) continue;
      clash.in_the_way.push_back(buffer);
      clash.bytes_per_bank += buffer->bytes_per_bank;
    }
    if (clash.in_the_way.empty()) continue;
    clash.process = &process;
    clash.device = on;
    clash.group = of_group;
    clash.program = of_group == 0 ? "" : GroupName(facts, of_group);
    clash.memory = collect::KindName(facts, memory);
    clash.buffers = region.buffers;
    clash.begin = region.begin;
    clash.end = region.end;
    clashes.push_back(std::move(clash));
  }
  return clashes;
}

}  // namespace memtally::tools
