// SPDX-License-Identifier: Apache-2.0
//
// Text of a trace -> Trace.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/trace.hpp"

namespace memtally::tools {

// Takes the text piece by piece, as it comes from a file.  Trusts nothing in it.
class TraceParser {
 public:
  // `file` is what error messages call the trace.  With `keep_going`, a line that is wrong is reported and left out;
  // otherwise the first one ends it.  A wrong first line always ends it.
  explicit TraceParser(std::string file, bool keep_going = false);
  ~TraceParser();
  TraceParser(const TraceParser&) = delete;
  TraceParser& operator=(const TraceParser&) = delete;

  // Returns false once there is no use in more text.
  bool Add(std::string_view text);
  // The end of the text.  Returns whether there is a trace to use.  REQUIRES: called once, last.
  bool Finish(Trace* trace);

  // "FILE:LINE: expected THIS, found 'THAT'", safe for a terminal.
  const std::vector<std::string>& errors() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads a whole file, plain or compressed, "-" for standard input.  Returns whether there is a trace to use; *errors
// has what was wrong.
bool ReadTrace(const std::string& path, bool keep_going, Trace* trace, std::vector<std::string>* errors);

}  // namespace memtally::tools
