// SPDX-License-Identifier: Apache-2.0
//
// memtally ps: a line for each process and device memory.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/json_writer.hpp"
#include "tools/ledger_json.hpp"
#include "tools/ledger_survey.hpp"
#include "tools/output.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/terminal_text.hpp"
#include "tools/trace.hpp"

namespace memtally::tools {
namespace {

using Align = TablePrinter::Align;

struct Arguments {
  bool json = false;
  bool all = false;
  bool no_clean_up = false;
};

bool WasUsed(const LedgerAccount& account) {
  return account.allocated.count != 0 || account.live.count != 0 || account.failed_allocations != 0 ||
         account.imported != 0;
}

bool IsShown(const LedgerView& ledger, const LedgerAccount& account, bool all) {
  if (all) return true;
  return ledger.liveness == Liveness::kDead ? account.live.count != 0 || account.imported != 0 : WasUsed(account);
}

bool HasLosses(const LedgerView& ledger) {
  const std::vector<NamedCount> losses = Losses(ledger.counters);
  return std::any_of(losses.begin(), losses.end(), [](const NamedCount& loss) { return loss.count != 0; });
}

// Whether a dead process left something that nobody should overlook.
bool IsEvidence(const LedgerView& ledger) {
  // Frees after a close are what many programs do at their end.
  for (uint32_t i = 0; i < ledger.anomalies.size(); ++i) {
    if (i != MEMTALLY_ANOMALY_AFTER_CLOSE && ledger.anomalies[i].count != 0) return true;
  }
  return LiveBuffers(ledger) != 0 || HasLosses(ledger) || !ledger.gaps.empty();
}

// What else must be seen of a process: a line each, below its rows.
std::vector<std::string> Notes(const LedgerView& ledger) {
  std::vector<std::string> notes;
  const uint64_t buffers = LiveBuffers(ledger);
  if (ledger.liveness == Liveness::kDead && buffers != 0) {
    const char* how = ledger.exited_normally ? "ended without closing its device, and held" : "died holding";
    notes.push_back(fmt::format("{} {} buffer{}", how, buffers, buffers == 1 ? "" : "s"));
  }
  if (ledger.interrupted) notes.emplace_back("died inside a call, which was taken back");
  std::string anomalies;
  for (uint32_t i = 0; i < ledger.anomalies.size(); ++i) {
    const LedgerAnomaly& anomaly = ledger.anomalies[i];
    if (anomaly.count == 0) continue;
    anomalies += fmt::format("{}{} {}", anomalies.empty() ? "" : ", ", AnomalyName(i), anomaly.count);
    if (anomaly.bytes_requested != 0) anomalies += fmt::format(" ({})", ScreenBytes(anomaly.bytes_requested));
  }
  if (!anomalies.empty()) notes.push_back("anomalies: " + anomalies);
  std::string losses;
  for (const NamedCount& loss : Losses(ledger.counters)) {
    if (loss.count != 0) losses += fmt::format("{}{} {}", losses.empty() ? "" : ", ", loss.name, loss.count);
  }
  if (!losses.empty()) notes.push_back("not recorded: " + losses);
  for (const std::string& gap : ledger.gaps) notes.push_back("gap: " + TerminalText(gap, 160));
  return notes;
}

class Screen {
 public:
  Screen()
      : table_({{"PID", Align::kRight},
                {"USER"},
                {"STATE"},
                {"COMMAND"},
                {"DEVICE"},
                {"KIND"},
                {"BUFFERS", Align::kRight},
                {"REQUESTED", Align::kRight},
                {"RESERVED", Align::kRight},
                {"PEAK", Align::kRight},
                {"%", Align::kRight}}) {}

  void Add(const LedgerView& ledger, bool all) {
    const std::vector<std::string> process = {std::to_string(ShownPid(ledger)),
                                              TerminalText(UserName(ledger.identity.uid), 16),
                                              StateName(ledger.liveness), TerminalText(ledger.identity.comm, 20)};
    bool any = false;
    for (const LedgerAccount& account : ledger.accounts) {
      if (!IsShown(ledger, account, all)) continue;
      any = true;
      std::vector<std::string> cells = process;
      AppendAccount(ledger, account, &cells);
      table_.AddRow(std::move(cells));
    }
    if (!any) {
      std::vector<std::string> cells = process;
      cells.resize(11, "-");
      table_.AddRow(std::move(cells));
    }
    for (const std::string& note : Notes(ledger)) table_.AddNote("         ! " + note);
    ++processes_;
    inexact_ = inexact_ || !ledger.totals_exact;
  }

  std::string Text(uint64_t hidden) const {
    std::string text;
    if (processes_ != 0) text = table_.Text();
    if (processes_ == 0) text = "No process holds device memory.\n";
    if (overlaps_) text += "* buffers of this kind share addresses: the sum is not what the memory lost\n";
    if (inexact_) text += "~ changed while it was read\n";
    if (slack_) text += "+ the peak may have been a little higher\n";
    if (hidden != 0) text += fmt::format("{} dead processes left nothing live; --all shows them\n", hidden);
    return text;
  }

 private:
  void AppendAccount(const LedgerView& ledger, const LedgerAccount& account, std::vector<std::string>* cells) {
    const LedgerKind* kind = ledger.kind(account.kind);
    const bool overlaps = kind && kind->overlaps;
    const bool inexact = !ledger.totals_exact;
    const bool slack = account.peak_reserved_slack != 0;
    overlaps_ = overlaps_ || overlaps;
    slack_ = slack_ || slack;
    cells->push_back(DeviceText(ledger, account.device));
    cells->push_back(TerminalText(KindName(ledger, account.kind), 24) + (overlaps ? "*" : ""));
    cells->push_back(ScreenCount(account.live.count, inexact));
    cells->push_back(ScreenBytes(account.live.bytes_requested, inexact));
    cells->push_back(ScreenBytes(account.live.bytes_reserved, inexact));
    cells->push_back(ScreenBytes(account.peak_reserved) + (slack ? "+" : ""));
    cells->push_back(overlaps ? "-" : ScreenPercent(account.live.bytes_reserved, account.capacity_bytes, inexact));
  }

  TablePrinter table_;
  uint64_t processes_ = 0;
  bool overlaps_ = false;
  bool inexact_ = false;
  bool slack_ = false;
};

int Run(const Arguments& arguments) {
  const LedgerSurvey survey = SurveyLedgers(ReadLevel::kTotals, !arguments.no_clean_up);
  const auto is_shown = [&](const LedgerView& ledger) {
    return arguments.all || ledger.liveness != Liveness::kDead || IsEvidence(ledger);
  };
  if (arguments.json) {
    JsonWriter json;
    json.BeginObject();
    WriteHead("memtally.ps", survey, &json);
    json.Key("processes");
    json.BeginArray();
    for (const LedgerView& ledger : survey.ledgers) {
      if (is_shown(ledger)) WriteProcess(ledger, true, &json);
    }
    json.EndArray();
    WriteProblems(survey, &json);
    json.EndObject();
    return WriteOutput(json.Take());
  }
  Screen screen;
  uint64_t hidden = 0;
  for (const LedgerView& ledger : survey.ledgers) {
    if (is_shown(ledger)) {
      screen.Add(ledger, arguments.all);
    } else {
      ++hidden;
    }
  }
  const int result = WriteOutput(screen.Text(hidden));
  ReportProblems(survey);
  return result;
}

}  // namespace

void AddPs(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* ps = app->add_subcommand("ps", "Lists processes and the device memory that they hold, the dead included");
  ps->add_flag("--json", arguments->json, "JSON, in bytes, for programs (schema memtally.ps)");
  ps->add_flag("--all", arguments->all,
               "Also memories that were never used, and dead processes that left nothing live");
  ps->add_flag("--no-clean-up", arguments->no_clean_up, "Do not first remove what dead processes left without need");
  ps->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
