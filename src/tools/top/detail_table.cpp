// SPDX-License-Identifier: Apache-2.0
#include "tools/top/detail_table.hpp"

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/detail_tabs.hpp"

namespace memtally::tools::top {

std::string DeviceCell(const LedgerView& facts, uint32_t device) {
  return device < facts.devices.size() ? std::to_string(facts.devices[device].local_index) : "?";
}

std::string KindCell(const LedgerView& facts, uint32_t kind) {
  return TerminalText(collect::KindName(facts, kind), 24);
}

std::string AgeCell(const collect::Snapshot& snapshot, const LedgerView& facts, uint64_t time_ns) {
  const std::optional<uint64_t> age = collect::AgeNs(snapshot, facts, time_ns);
  return age ? ScreenAge(*age) : "-";
}

std::string TagCell(const LedgerView& facts, uint32_t tag) {
  const std::string path = facts.tag_path(tag);
  return path.empty() ? "-" : TerminalText(path, 120, Cut::kBegin);
}

std::array<std::string, 2> EventTexts(const collect::Snapshot& snapshot, const LedgerView& facts,
                                      const LedgerEvent& event) {
  std::string what = collect::OperationName(event.operation);
  const std::optional<uint64_t> age = collect::AgeNs(snapshot, facts, event.time_ns);
  if (age) what += ", " + ScreenAge(*age) + " ago";
  const LedgerAccount* account = event.account ? collect::AccountAt(facts, *event.account) : nullptr;
  if (account != nullptr) {
    what += fmt::format(", device {} {}", DeviceCell(facts, account->device), KindCell(facts, account->kind));
  }
  if (event.bytes_requested != 0) {
    what +=
        fmt::format(", {} requested, {} a bank", ScreenBytes(event.bytes_requested), ScreenBytes(event.bytes_per_bank));
  }
  std::string where = fmt::format("id {}", event.id);
  if (event.address != 0) where += fmt::format(", address {:#x}", event.address);
  if (event.thread_id != 0) where += fmt::format(", thread {}", event.thread_id);
  if (event.tag != 0) where += ", tag " + TagCell(facts, event.tag);
  return {what, where};
}

DetailTable BuildDetail(const collect::Snapshot& snapshot, const collect::Process& process, Tab tab,
                        const TagFolds& folds) {
  switch (tab) {
    case Tab::kTags:
      return TagsTable(process, folds);
    case Tab::kKinds:
      return KindsTable(process);
    case Tab::kSizes:
      return SizesTable(process);
    case Tab::kLargest:
      return BuffersTable(snapshot, process, BufferOrder::kLargest);
    case Tab::kOldest:
      return BuffersTable(snapshot, process, BufferOrder::kOldest);
    case Tab::kAnomalies:
      return AnomaliesTable(snapshot, process);
    case Tab::kFailed:
      return FailedTable(snapshot, process);
    case Tab::kEvents:
      break;
  }
  return EventsTable(snapshot, process);
}

}  // namespace memtally::tools::top
