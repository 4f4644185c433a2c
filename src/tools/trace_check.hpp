// SPDX-License-Identifier: Apache-2.0
//
// Compares what a ledger says with what must be true.  Each difference is one line of words and numbers, safe for a
// terminal.
#pragma once

#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "tools/trace.hpp"
#include "tools/trace_model.hpp"

namespace memtally::tools {

using Differences = std::vector<std::string>;

// With what the framework's allocator said about chip 0 at this point: for each kind the bytes a bank of the live
// buffers, the number of banks, and the account's totals against its own buffers.
void CompareWithView(const LedgerView& ledger, const Trace& trace, const TraceView& view, Differences* differences);

// With the count that the trace claims for one anomaly.
void CompareWithAnomaly(const LedgerView& ledger, const TraceAnomaly& anomaly, Differences* differences);

// With everything that the model knows: live buffers one by one, totals, peaks, failures and anomalies of every
// account.
void CompareWithModel(const LedgerView& ledger, const Trace& trace, const TraceModel& model, Differences* differences);

// What a ledger must be in any case when its process stands still or is dead: read whole, exact, consistent, nothing
// lost.
void CheckConsistency(const LedgerView& ledger, Differences* differences);

}  // namespace memtally::tools
