// SPDX-License-Identifier: Apache-2.0
//
// Single buffers and events of a process.
#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/detail_tabs.hpp"
#include "tools/top/tag_tree.hpp"

namespace memtally::tools::top {
namespace {

constexpr size_t kMostEvents = 2000;

struct Entry {
  const LedgerBuffer* buffer;
  uint64_t bytes_reserved;
};

Role RoleOf(const LedgerEvent& event) {
  switch (event.operation) {
    case MEMTALLY_OP_ALLOC:
    case MEMTALLY_OP_FREE:
    case MEMTALLY_OP_OPEN:
    case MEMTALLY_OP_CLOSE:
      return Role::kText;
    case MEMTALLY_OP_MARK:
      return Role::kTitle;
    case MEMTALLY_OP_ALLOC_FAILED:
    case MEMTALLY_OP_NO_ROOM:
      return Role::kCritical;
    default:
      return Role::kWarning;
  }
}

std::string NumberCell(uint64_t number) { return number == 0 ? "-" : std::to_string(number); }
std::string BytesCell(uint64_t bytes) { return bytes == 0 ? "-" : ScreenBytes(bytes); }
std::string AddressCell(uint64_t address) { return address == 0 ? "-" : fmt::format("{:#x}", address); }

}  // namespace

DetailTable BuffersTable(const collect::Snapshot& snapshot, const collect::Process& process, BufferOrder order) {
  const LedgerView& facts = process.facts;
  std::vector<Entry> entries;
  entries.reserve(facts.buffers.size());
  for (const LedgerBuffer& buffer : facts.buffers) {
    if (buffer.released) continue;
    const LedgerAccount* account = collect::AccountAt(facts, buffer.account);
    entries.push_back({&buffer, account == nullptr ? 0 : ReservedBytes(buffer, *account)});
  }
  const size_t all = entries.size();
  const size_t shown = std::min(all, kMostBuffers);
  const auto comes_before = [order](const Entry& a, const Entry& b) {
    const auto key = [](const Entry& entry) { return std::tie(entry.buffer->time_ns, entry.buffer->id); };
    if (order == BufferOrder::kLargest && a.bytes_reserved != b.bytes_reserved)
      return a.bytes_reserved > b.bytes_reserved;
    return key(a) < key(b);
  };
  std::partial_sort(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(shown), entries.end(), comes_before);
  entries.resize(shown);

  DetailTable table;
  table.columns = {{"RESERVED", 11, true, 0}, {"REQUESTED", 11, true, 4}, {"AGE", 10, true, 1},
                   {"DEV", 3, true, 3},       {"KIND", 10, false, 2},     {"ADDRESS", 14, true, 5},
                   {"ID", 12, true, 6},       {"THREAD", 8, true, 7},     {"TAG", 12, false, 1, true, true}};
  table.nothing = "No live buffers.";
  table.count = shown + (shown < all ? 1 : 0);
  table.line = [entries = std::move(entries), all, &snapshot, &facts](size_t i) {
    DetailLine line;
    if (i == entries.size()) {
      line.role = Role::kDim;
      line.cells = {fmt::format("... and {} more (memtally buffers lists them all)", all - entries.size())};
      return line;
    }
    const LedgerBuffer& buffer = *entries[i].buffer;
    const LedgerAccount* account = collect::AccountAt(facts, buffer.account);
    if (buffer.imported) line.role = Role::kDim;
    line.cells = {ScreenBytes(entries[i].bytes_reserved, !facts.buffers_exact),
                  ScreenBytes(buffer.bytes_requested),
                  AgeCell(snapshot, facts, buffer.time_ns),
                  account == nullptr ? "?" : DeviceCell(facts, account->device),
                  account == nullptr ? "?" : KindCell(facts, account->kind),
                  fmt::format("{:#x}", buffer.address),
                  std::to_string(buffer.id),
                  NumberCell(buffer.thread_id),
                  (buffer.imported ? "imported " : "") + TagCell(facts, buffer.tag)};
    return line;
  };
  return table;
}

DetailTable EventsTable(const collect::Snapshot& snapshot, const collect::Process& process) {
  const LedgerView& facts = process.facts;
  std::vector<const LedgerEvent*> events;
  for (const LedgerEvent& event : facts.events) {
    if (event.operation == MEMTALLY_OP_NONE || event.operation == MEMTALLY_OP_BOOKKEEPING) continue;
    events.push_back(&event);
  }
  const size_t all = events.size();
  const size_t shown = std::min(all, kMostEvents);
  std::partial_sort(events.begin(), events.begin() + static_cast<ptrdiff_t>(shown), events.end(),
                    [](const LedgerEvent* a, const LedgerEvent* b) {
                      return std::tie(a->time_ns, a->lane, a->number) > std::tie(b->time_ns, b->lane, b->number);
                    });
  events.resize(shown);

  DetailTable table;
  table.columns = {{"AGE", 10, true, 0},   {"EVENT", 18, false, 0},    {"DEV", 3, true, 3},
                   {"KIND", 10, false, 2}, {"REQUESTED", 11, true, 1}, {"ADDRESS", 14, true, 5},
                   {"ID", 12, true, 4},    {"THREAD", 8, true, 6},     {"TAG", 10, false, 2, true, true}};
  table.nothing = "Its flight recorder holds no events.";
  table.count = shown + (shown < all ? 1 : 0);
  table.line = [events = std::move(events), all, &snapshot, &facts](size_t i) {
    DetailLine line;
    if (i == events.size()) {
      line.role = Role::kDim;
      line.cells = {fmt::format("... and {} older ones", all - events.size())};
      return line;
    }
    const LedgerEvent& event = *events[i];
    const LedgerAccount* account = event.account ? collect::AccountAt(facts, *event.account) : nullptr;
    line.role = RoleOf(event);
    line.cells = {AgeCell(snapshot, facts, event.time_ns),
                  collect::OperationName(event.operation),
                  account == nullptr ? "-" : DeviceCell(facts, account->device),
                  account == nullptr ? "-" : KindCell(facts, account->kind),
                  BytesCell(event.bytes_requested),
                  AddressCell(event.address),
                  NumberCell(event.id),
                  NumberCell(event.thread_id),
                  TagCell(facts, event.tag)};
    return line;
  };
  return table;
}

}  // namespace memtally::tools::top
