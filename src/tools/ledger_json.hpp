// SPDX-License-Identifier: Apache-2.0
//
// The parts that the JSON documents of several subcommands share.  docs/formats/json.md is the contract.
#pragma once

#include <string_view>

#include <memtally/ledger_reader.hpp>

#include "tools/json_writer.hpp"
#include "tools/ledger_survey.hpp"

namespace memtally::tools {

// "schema", "schema_version", "host", "time_ns": the beginning of every document.  REQUIRES: in an object.
void WriteHead(std::string_view schema, const LedgerSurvey& survey, JsonWriter* json);

// "problems" and "clean_up".  REQUIRES: in an object.
void WriteProblems(const LedgerSurvey& survey, JsonWriter* json);

// One process, with its devices, anomalies, losses and, if `with_accounts`, its accounts.
void WriteProcess(const LedgerView& ledger, bool with_accounts, JsonWriter* json);

}  // namespace memtally::tools
