// SPDX-License-Identifier: Apache-2.0
//
// What went wrong in a process: anomalies, what was not recorded, allocations that failed.
#include <utility>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/detail_tabs.hpp"

namespace memtally::tools::top {
namespace {

// What an anomaly means to the program's author.
const char* MeaningOf(uint32_t anomaly) {
  switch (anomaly) {
    case MEMTALLY_ANOMALY_UNKNOWN_FREE:
      return "a free of a buffer that is not live";
    case MEMTALLY_ANOMALY_REPLACED:
      return "an allocation of an id that was live; the earlier buffer is taken as freed";
    case MEMTALLY_ANOMALY_AMBIGUOUS:
      return "a free without a kind that matched several; the newest was taken";
    case MEMTALLY_ANOMALY_INHERITED:
      return "a free, in a forked child, of a buffer of its parent";
    case MEMTALLY_ANOMALY_AFTER_CLOSE:
      return "a call for a device that had been closed";
    case MEMTALLY_ANOMALY_DUPLICATE_REPORTER:
      return "two parts of the program report the same memory; the second is not counted";
    case MEMTALLY_ANOMALY_NO_ROOM:
      return "an allocation that the ledger had no room for";
    default:
      return "";
  }
}

// Lines of text, ready made: there are only a few of them.
DetailTable TextTable(std::vector<DetailLine> lines, std::string nothing) {
  DetailTable table;
  table.columns = {{"", 20, false, 0, true}};
  table.nothing = std::move(nothing);
  table.count = lines.size();
  table.line = [lines = std::move(lines)](size_t i) { return lines[i]; };
  return table;
}

DetailLine TextLine(std::string text, Role role) {
  DetailLine line;
  line.cells = {std::move(text)};
  line.role = role;
  return line;
}

// The newest first.
void AddLast(const collect::Snapshot& snapshot, const LedgerView& facts, const LedgerAnomaly& anomaly,
             std::vector<DetailLine>* lines) {
  for (auto event = anomaly.last.rbegin(); event != anomaly.last.rend(); ++event) {
    const auto [what, where] = EventTexts(snapshot, facts, *event);
    lines->push_back(TextLine("  " + what, Role::kText));
    lines->push_back(TextLine("      " + where, Role::kDim));
  }
}

std::string Size(const LedgerAnomaly& anomaly) {
  return anomaly.bytes_requested == 0 ? "" : fmt::format(", {}", ScreenBytes(anomaly.bytes_requested));
}

}  // namespace

DetailTable AnomaliesTable(const collect::Snapshot& snapshot, const collect::Process& process) {
  const LedgerView& facts = process.facts;
  std::vector<DetailLine> lines;
  for (uint32_t i = 0; i < facts.anomalies.size(); ++i) {
    const LedgerAnomaly& anomaly = facts.anomalies[i];
    if (anomaly.count == 0 || i == MEMTALLY_ANOMALY_FAILED_ALLOC) continue;
    const Role role = i == MEMTALLY_ANOMALY_AFTER_CLOSE ? Role::kText : Role::kWarning;
    lines.push_back(TextLine(
        fmt::format("{}: {}{}: {}", collect::AnomalyName(i), anomaly.count, Size(anomaly), MeaningOf(i)), role));
    AddLast(snapshot, facts, anomaly, &lines);
  }
  for (const collect::NamedCount& loss : collect::Losses(facts.counters)) {
    if (loss.count != 0) {
      lines.push_back(TextLine(fmt::format("not recorded: {} {}", loss.name, loss.count), Role::kWarning));
    }
  }
  for (const std::string& gap : facts.gaps) lines.push_back(TextLine("gap: " + TerminalText(gap, 300), Role::kWarning));
  if (facts.interrupted) lines.push_back(TextLine("died inside a call, which was taken back", Role::kText));
  return TextTable(std::move(lines), "Nothing went wrong, and nothing was lost.");
}

DetailTable FailedTable(const collect::Snapshot& snapshot, const collect::Process& process) {
  const LedgerView& facts = process.facts;
  std::vector<DetailLine> lines;
  for (const LedgerAccount& account : facts.accounts) {
    if (account.failed_allocations == 0) continue;
    lines.push_back(TextLine(
        fmt::format("device {} {}: {} failed, {} requested; it holds {} of {} now", DeviceCell(facts, account.device),
                    KindCell(facts, account.kind), account.failed_allocations, ScreenBytes(account.failed_requested),
                    ScreenBytes(account.live.bytes_reserved),
                    account.capacity_bytes == 0 ? "an unknown capacity" : ScreenBytes(account.capacity_bytes)),
        Role::kCritical));
  }
  AddLast(snapshot, facts, facts.anomalies[MEMTALLY_ANOMALY_FAILED_ALLOC], &lines);
  return TextTable(std::move(lines), "No allocation failed.");
}

}  // namespace memtally::tools::top
