// SPDX-License-Identifier: Apache-2.0
#include "tools/ledger_survey.hpp"

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

// Reads one ledger into the survey, as a view or as a problem.
void ReadInto(const std::string& path, ReadLevel level, LedgerSurvey* survey) {
  LedgerError error;
  LedgerView view;
  const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(path, &error);
  if (reader && reader->Read(level, &view, &error)) {
    survey->ledgers.push_back(std::move(view));
  } else {
    survey->problems.push_back({path, error});
  }
}

LedgerSurvey BeginSurvey() {
  LedgerSurvey survey;
  survey.host = ThisHost();
  survey.time_ns = MonotonicNs();
  return survey;
}

}  // namespace

LedgerSurvey SurveyLedgers(ReadLevel level, bool clean_up) {
  LedgerSurvey survey = BeginSurvey();
  if (clean_up) survey.clean_up = CleanUpDeadLedgers();
  std::vector<std::string> place_problems;
  for (const LedgerPlace& place : FindLedgers(&place_problems)) ReadInto(place.path, level, &survey);
  // Processes that end or begin while we look are nobody's problem.
  std::erase_if(survey.problems, [](const SurveyProblem& problem) {
    return problem.error.code == LedgerError::Code::kNotFound || problem.error.code == LedgerError::Code::kBeingMade;
  });
  for (std::string& text : place_problems) {
    survey.problems.push_back({"", {LedgerError::Code::kIo, std::move(text), ""}});
  }
  std::stable_sort(survey.ledgers.begin(), survey.ledgers.end(), [](const LedgerView& a, const LedgerView& b) {
    return std::tuple(a.liveness, ShownPid(a)) < std::tuple(b.liveness, ShownPid(b));
  });
  return survey;
}

LedgerSurvey SurveyFile(const std::string& path, ReadLevel level) {
  LedgerSurvey survey = BeginSurvey();
  ReadInto(path, level, &survey);
  return survey;
}

void ReportProblems(const LedgerSurvey& survey) {
  for (const SurveyProblem& problem : survey.problems) {
    const std::string hint = problem.error.hint.empty() ? "" : "; " + TerminalText(problem.error.hint, 400);
    Complain(TerminalText(problem.error.what, 800) + hint);
  }
  if (!survey.clean_up) return;
  for (const std::string& problem : survey.clean_up->problems) Complain(TerminalText(problem, 800));
}

uint32_t ShownPid(const LedgerView& ledger) {
  return ledger.visible_pid != 0 ? ledger.visible_pid : ledger.identity.pid;
}

const char* StateName(Liveness liveness) {
  switch (liveness) {
    case Liveness::kAlive:
      return "alive";
    case Liveness::kDetached:
      return "detached";
    case Liveness::kDead:
      break;
  }
  return "dead";
}

std::string DeviceText(const LedgerView& ledger, uint32_t device) {
  if (device >= ledger.devices.size()) return "?";
  const LedgerDevice& found = ledger.devices[device];
  const std::string& name = found.architecture.empty() ? found.vendor : found.architecture;
  if (name.empty()) return std::to_string(found.local_index);
  return fmt::format("{}:{}", found.local_index, TerminalText(name, 32));
}

std::string KindName(const LedgerView& ledger, uint32_t kind) {
  const LedgerKind* found = ledger.kind(kind);
  return found ? found->name : std::to_string(kind);
}

const LedgerAccount* AccountAt(const LedgerView& ledger, uint32_t index) {
  if (index < ledger.accounts.size() && ledger.accounts[index].index == index) return &ledger.accounts[index];
  for (const LedgerAccount& account : ledger.accounts) {
    if (account.index == index) return &account;
  }
  return nullptr;
}

uint64_t LiveBuffers(const LedgerView& ledger) {
  uint64_t count = 0;
  for (const LedgerAccount& account : ledger.accounts) count += account.live.count;
  return count;
}

std::vector<NamedCount> Losses(const LedgerCounters& counters) {
  return {{"lost_events", counters.lost_events},
          {"lost_bytes", counters.lost_bytes},
          {"lost_tags", counters.lost_tags},
          {"lost_groups", counters.lost_groups},
          {"lost_registrations", counters.lost_registrations},
          {"signal_overflow", counters.signal_overflow},
          {"paused_events", counters.paused_events},
          {"refused_pages", counters.refused_pages},
          {"dropped_events", counters.dropped_events},
          {"unread_events", counters.unread_events}};
}

}  // namespace memtally::tools
