// SPDX-License-Identifier: Apache-2.0
//
// What a process holds, summed: by tag, by kind, by size.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/detail_tabs.hpp"
#include "tools/top/tag_tree.hpp"

namespace memtally::tools::top {
namespace {

double ShareOf(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
}

// "1.0 KiB ..": sizes from a power of two to just below the next.
std::string SizeRange(size_t power) { return ScreenBytes(power == 0 ? 0 : uint64_t{1} << (power - 1)) + " .."; }

}  // namespace

DetailTable TagsTable(const collect::Process& process, const TagFolds& folds) {
  const LedgerView& facts = process.facts;
  DetailTable table;
  table.columns = {{"TAG", 16, false, 0, true}, {"BUFFERS", 9, true, 2}, {"REQUESTED", 11, true, 4},
                   {"RESERVED", 11, true, 0},   {"%", 6, true, 1},       {"OTHER", 11, true, 5},
                   {"", 20, false, 6}};
  table.nothing = "No live buffers.";
  const auto nodes = std::make_shared<const std::vector<TagNode>>(BuildTagTree(facts, folds));
  const uint64_t whole = collect::HeldOnDevices(facts).bytes_reserved;
  table.count = nodes->size();
  table.line = [nodes, whole, &facts](size_t i) {
    const TagNode& node = (*nodes)[i];
    const TagSums& sums = node.sums;
    DetailLine line;
    line.tag = node.tag;
    line.depth = node.depth;
    if (node.has_children) line.fold = node.open ? DetailLine::Fold::kOpen : DetailLine::Fold::kFolded;
    line.share = ShareOf(sums.bytes_reserved, whole);
    std::string name = node.tag == 0 ? "(no tag)" : TerminalText(facts.tags[node.tag].name, 120);
    if (node.tag != 0 && facts.tags[node.tag].cut) name += "...";
    line.cells = {std::move(name),
                  std::to_string(sums.buffers),
                  ScreenBytes(sums.bytes_requested),
                  ScreenBytes(sums.bytes_reserved),
                  ScreenPercent(sums.bytes_reserved, whole),
                  sums.bytes_other == 0 ? "-" : ScreenBytes(sums.bytes_other),
                  ""};
    return line;
  };
  return table;
}

DetailTable KindsTable(const collect::Process& process) {
  const LedgerView& facts = process.facts;
  DetailTable table;
  table.columns = {{"DEV", 3, true, 1},     {"KIND", 14, false, 0, true}, {"IN", 12, false, 6},
                   {"BUFFERS", 9, true, 2}, {"REQUESTED", 11, true, 4},   {"RESERVED", 11, true, 0},
                   {"PEAK", 11, true, 3},   {"CAPACITY", 11, true, 5},    {"%", 6, true, 1},
                   {"FAILED", 6, true, 5},  {"IMPORTED", 8, true, 7}};
  table.nothing = "It has registered no memory.";
  std::vector<const LedgerAccount*> accounts;
  for (const LedgerAccount& account : facts.accounts) accounts.push_back(&account);
  std::stable_sort(accounts.begin(), accounts.end(), [](const LedgerAccount* a, const LedgerAccount* b) {
    return std::pair(a->device, a->kind) < std::pair(b->device, b->kind);
  });
  table.count = accounts.size();
  table.line = [accounts, &facts](size_t i) {
    const LedgerAccount& account = *accounts[i];
    const LedgerKind* kind = facts.kind(account.kind);
    const bool overlaps = kind != nullptr && kind->overlaps;
    const bool inexact = !facts.totals_exact;
    std::string in = kind == nullptr ? "?" : KindCell(facts, kind->inside ? *kind->inside : kind->memory);
    if (kind != nullptr && kind->on_host) in = "host";
    DetailLine line;
    if (!collect::WasUsed(account)) line.role = Role::kDim;
    line.cells = {DeviceCell(facts, account.device),
                  KindCell(facts, account.kind) + (overlaps ? "*" : ""),
                  std::move(in),
                  ScreenCount(account.live.count, inexact),
                  ScreenBytes(account.live.bytes_requested, inexact),
                  ScreenBytes(account.live.bytes_reserved, inexact),
                  ScreenBytes(account.peak_reserved) + (account.peak_reserved_slack != 0 ? "+" : ""),
                  account.capacity_bytes == 0 ? "-" : ScreenBytes(account.capacity_bytes),
                  overlaps ? "-" : ScreenPercent(account.live.bytes_reserved, account.capacity_bytes, inexact),
                  std::to_string(account.failed_allocations),
                  std::to_string(account.imported)};
    return line;
  };
  return table;
}

DetailTable SizesTable(const collect::Process& process) {
  struct Class {
    uint64_t buffers = 0;
    uint64_t bytes = 0;
  };
  const LedgerView& facts = process.facts;
  std::array<Class, 65> classes{};  // by the number of bits of the size
  uint64_t most = 0;
  for (const LedgerBuffer& buffer : facts.buffers) {
    if (buffer.imported || buffer.released) continue;
    Class& of_size = classes[static_cast<size_t>(std::bit_width(buffer.bytes_requested))];
    ++of_size.buffers;
    of_size.bytes += buffer.bytes_requested;
    most = std::max(most, of_size.buffers);
  }
  DetailTable table;
  table.columns = {
      {"SIZE FROM", 14, true, 0}, {"BUFFERS", 9, true, 0}, {"REQUESTED", 11, true, 1}, {"", 20, false, 2, true}};
  table.nothing = "No live buffers.";
  // All classes between the smallest and the largest, so that gaps are seen as such.
  size_t first = 0;
  while (first < classes.size() && classes[first].buffers == 0) ++first;
  size_t last = classes.size();
  while (last > first && classes[last - 1].buffers == 0) --last;
  table.count = last - first;
  table.line = [classes, first, most](size_t i) {
    const Class& of_size = classes[first + i];
    DetailLine line;
    if (of_size.buffers == 0) line.role = Role::kDim;
    line.share = ShareOf(of_size.buffers, most);
    line.cells = {SizeRange(first + i), std::to_string(of_size.buffers), ScreenBytes(of_size.bytes), ""};
    return line;
  };
  return table;
}

}  // namespace memtally::tools::top
