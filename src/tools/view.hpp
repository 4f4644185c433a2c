// SPDX-License-Identifier: Apache-2.0
//
// View: what the commands that look at the machine have in common.  They make a screen or a JSON document, once or,
// with
// --watch, again and again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "collect/json_writer.hpp"
#include "collect/snapshot.hpp"
#include "tools/subcommand.hpp"
#include "tools/text_style.hpp"

namespace CLI {
class App;
}

namespace memtally::tools {

struct ViewOptions {
  bool json = false;
  std::optional<double> watch_seconds;
};

// Adds --json and --watch.  `schema` names the document.
void AddViewOptions(CLI::App* command, const std::string& schema, ViewOptions* options);

// How a frame is to be made.
struct FrameFormat {
  bool json = false;
  collect::JsonWriter::Layout layout = collect::JsonWriter::Layout::kIndented;
  ScreenFormat screen;
};

// What was made of one look at the machine.
struct Frame {
  std::string text;                     // a document or a screen
  std::vector<std::string> complaints;  // for standard error, safe for a terminal
  int result = kSuccess;                // an ExitCode
  bool last = false;                    // nothing more is to be expected: a watch ends
};

// Shows what `make` makes.  A single screen goes through the pager.  A watch shows frames until it is interrupted,
// terminated, or nobody reads it any more, all of which are success; on a terminal each takes the place of the one
// before, elsewhere a line "---" stands between them, and JSON documents are one a line.  A complaint that stays the
// same is made once.  Returns an ExitCode: a failure to write, or the last frame's result.
int RunView(const ViewOptions& options, const std::string& title, const std::function<Frame(const FrameFormat&)>& make);

// What could not be looked at or tidied up, in words that are safe for a terminal.
std::vector<std::string> ProblemTexts(const collect::Snapshot& snapshot);

}  // namespace memtally::tools
