// SPDX-License-Identifier: Apache-2.0
#include "tools/event_list.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <memtally/abi/ledger_format.h>

namespace memtally::tools {
namespace {

bool IsWanted(const LedgerView& facts, const LedgerEvent& event, const EventFilter& filter) {
  if (filter.operations.empty()) {
    if (event.operation == MEMTALLY_OP_NONE || event.operation == MEMTALLY_OP_BOOKKEEPING) return false;
  } else {
    const std::string name = collect::OperationName(event.operation);
    if (std::find(filter.operations.begin(), filter.operations.end(), name) == filter.operations.end()) return false;
  }
  if (filter.kind.empty()) return true;
  const LedgerAccount* account = event.account ? collect::AccountAt(facts, *event.account) : nullptr;
  return account != nullptr && collect::KindName(facts, account->kind) == filter.kind;
}

}  // namespace

const std::vector<std::string>& OperationNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (uint32_t i = 0; i <= MEMTALLY_OP_BOOKKEEPING; ++i) all.push_back(collect::OperationName(i));
    return all;
  }();
  return names;
}

uint64_t EventCursor::Advance(const collect::ProcessKey& process, const LedgerEvent& event) {
  const auto [entry, is_new] = next_.try_emplace({process, event.lane}, event.number);
  if (event.number < entry->second) return UINT64_MAX;
  const uint64_t missed = event.number - entry->second;
  entry->second = event.number + 1;
  return missed;
}

EventList::EventList(const std::vector<const collect::Process*>& processes, const EventFilter& filter,
                     EventCursor* cursor) {
  for (uint32_t i = 0; i < processes.size(); ++i) {
    const collect::Process& process = *processes[i];
    TagPaths& paths = *tag_paths_.emplace_back(std::make_unique<TagPaths>(process.facts, filter.tag.get()));
    uint64_t missed = 0;  // and not yet told, because the event behind them was not wanted
    for (const LedgerEvent& event : process.facts.events) {
      if (cursor != nullptr) {
        const uint64_t before = cursor->Advance(process.key(), event);
        if (before == UINT64_MAX) continue;
        missed += before;
      }
      if (!IsWanted(process.facts, event, filter) || !paths.Matches(event.tag)) continue;
      rows_.push_back({&process, i, &event, &paths.Of(event.tag), std::exchange(missed, 0)});
    }
  }
  std::stable_sort(rows_.begin(), rows_.end(), [](const EventRow& a, const EventRow& b) {
    return std::tie(a.event->time_ns, a.process_index, a.event->lane) <
           std::tie(b.event->time_ns, b.process_index, b.event->lane);
  });
}

}  // namespace memtally::tools
