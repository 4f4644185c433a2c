// SPDX-License-Identifier: Apache-2.0
#include "tools/process_notes.hpp"

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

void AddEnd(const LedgerView& facts, std::vector<ProcessNote>* notes) {
  const uint64_t buffers = collect::LiveBuffers(facts);
  if (facts.liveness != Liveness::kAlive && buffers != 0) {
    const char* how = "died holding";
    if (facts.exited_normally) how = "ended without closing its device, and held";
    if (facts.liveness == Liveness::kDetached) how = "executed another program while it held";
    notes->push_back({fmt::format("{} {} buffer{}", how, buffers, buffers == 1 ? "" : "s"), Style::kRed});
  }
  if (facts.interrupted) notes->push_back({"died inside a call, which was taken back"});
}

void AddAnomalies(const LedgerView& facts, std::vector<ProcessNote>* notes) {
  std::string text;
  for (uint32_t i = 0; i < facts.anomalies.size(); ++i) {
    const LedgerAnomaly& anomaly = facts.anomalies[i];
    if (anomaly.count == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", collect::AnomalyName(i), anomaly.count);
    if (anomaly.bytes_requested != 0) text += fmt::format(" ({})", ScreenBytes(anomaly.bytes_requested));
  }
  if (!text.empty()) notes->push_back({"anomalies: " + text, Style::kYellow});
}

}  // namespace

std::vector<ProcessNote> ProcessNotes(const collect::Process& process) {
  const LedgerView& facts = process.facts;
  std::vector<ProcessNote> notes;
  AddEnd(facts, &notes);
  AddAnomalies(facts, &notes);
  std::string losses;
  for (const collect::NamedCount& loss : collect::Losses(facts.counters)) {
    if (loss.count != 0) losses += fmt::format("{}{} {}", losses.empty() ? "" : ", ", loss.name, loss.count);
  }
  if (!losses.empty()) notes.push_back({"not recorded: " + losses, Style::kYellow});
  for (const std::string& gap : facts.gaps) notes.push_back({"gap: " + TerminalText(gap, 160), Style::kYellow});
  return notes;
}

}  // namespace memtally::tools
