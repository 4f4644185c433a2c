// SPDX-License-Identifier: Apache-2.0
//
// RunReport: the document memtally.run, and the file that it goes to.  docs/formats/json.md is the contract.
#pragma once

#include <string>
#include <vector>

#include "tools/run/run_facts.hpp"
#include "tools/run/run_verdict.hpp"

namespace memtally::tools {

std::string RunReport(const RunFacts& facts, const RunChecks& checks, const std::vector<Failing>& failing,
                      int exit_code);

// A file that is there as a whole or not at all: what is written goes beside it and takes its place.  A name that is no
// regular file (a pipe, a device) is written to as it is.
class ReportFile {
 public:
  // Whether the report can be written there, tried now.  False: *error says why not.
  bool Prepare(const std::string& path, std::string* error);
  // False: *error says why not; what was there before is still there.
  bool Write(const std::string& text, std::string* error) const;

 private:
  std::string path_;    // as given
  std::string target_;  // what a symbolic link points to
  bool in_place_ = false;
};

}  // namespace memtally::tools
