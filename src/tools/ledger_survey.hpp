// SPDX-License-Identifier: Apache-2.0
//
// All ledgers of this machine, read once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "tools/host_identity.hpp"

namespace memtally::tools {

// A ledger that could not be read, or a place where ledgers could not be looked for (path "").
struct SurveyProblem {
  std::string path;
  LedgerError error;
};

struct LedgerSurvey {
  HostIdentity host;
  uint64_t time_ns = 0;             // CLOCK_MONOTONIC of the survey
  std::vector<LedgerView> ledgers;  // the living first, then detached, then dead; by pid within
  std::vector<SurveyProblem> problems;
  std::optional<CleanUpResult> clean_up;
};

// With `clean_up`, first removes what the dead left and is not worth keeping.
LedgerSurvey SurveyLedgers(ReadLevel level, bool clean_up);

// One file instead.
LedgerSurvey SurveyFile(const std::string& path, ReadLevel level);

// Complains about each problem on standard error.
void ReportProblems(const LedgerSurvey& survey);

// ---- what screens and JSON both say of a ledger ----

// The pid in this command's namespace where it is known, otherwise the process's own.
uint32_t ShownPid(const LedgerView& ledger);
const char* StateName(Liveness liveness);  // "alive", "detached", "dead"
// "0:wormhole_b0"; the number is the program's own.
std::string DeviceText(const LedgerView& ledger, uint32_t device);
std::string KindName(const LedgerView& ledger, uint32_t kind);
const LedgerAccount* AccountAt(const LedgerView& ledger, uint32_t index);
// Live buffers of all accounts, imported ones left out.
uint64_t LiveBuffers(const LedgerView& ledger);

struct NamedCount {
  const char* name;
  uint64_t count;
};
// What the ledger says was lost, by the names of LedgerCounters.
std::vector<NamedCount> Losses(const LedgerCounters& counters);

}  // namespace memtally::tools
