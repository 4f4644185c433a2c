// SPDX-License-Identifier: Apache-2.0
#include "tools/view.hpp"

#include <cmath>
#include <set>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/proc.hpp"
#include "tools/output.hpp"
#include "tools/pager.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"
#include "tools/watch.hpp"

namespace memtally::tools {
namespace {

constexpr double kDefaultSeconds = 2;
constexpr double kLeastSeconds = 0.05;

FrameFormat FormatFor(const ViewOptions& options) {
  FrameFormat format;
  format.json = options.json;
  if (options.watch_seconds) format.layout = collect::JsonWriter::Layout::kCompact;
  format.screen = StandardFormat();
  return format;
}

// Takes the place of what is on the terminal: as many lines as fit below the title, the rest by number.
std::string Redrawn(const std::string& title, const std::string& text, const Terminal& terminal) {
  constexpr const char* kEndOfLine = "\x1b[K\n";
  std::string screen = "\x1b[H" + CutToWidth(title, terminal.columns) + kEndOfLine;
  std::string_view rest = text;
  size_t room = terminal.lines > 2 ? terminal.lines - 2 : 1;  // one for the title, one for the cursor
  size_t left = 0;
  for (const char c : rest) left += c == '\n' ? 1 : 0;
  while (left > 0 && room > 0) {
    if (room == 1 && left > 1) {
      screen += fmt::format("... and {} more lines", left) + kEndOfLine;
      break;
    }
    const size_t end = rest.find('\n');
    screen += rest.substr(0, end);
    screen += kEndOfLine;
    rest.remove_prefix(end + 1);
    --left;
    --room;
  }
  return screen + "\x1b[J";
}

class Watcher {
 public:
  Watcher(const ViewOptions& options, const std::string& title) : options_(options), title_(title) {}

  int Run(const std::function<Frame(const FrameFormat&)>& make) {
    const Watch watch;
    const auto period_ns = static_cast<uint64_t>(*options_.watch_seconds * 1e9);
    uint64_t next_ns = base::MonotonicNs();
    for (;;) {
      const Frame frame = make(FormatFor(options_));
      bool reader_gone = false;
      const int shown = Show(frame, &reader_gone);
      if (shown != kSuccess) return reader_gone ? kSuccess : shown;
      if (frame.last) return frame.result;
      const uint64_t now_ns = base::MonotonicNs();
      next_ns = next_ns + period_ns > now_ns ? next_ns + period_ns : now_ns + period_ns;
      Watch::Outcome outcome = watch.WaitUntil(next_ns);
      if (outcome == Watch::Outcome::kResized && !StandardOutput().can_move) outcome = watch.WaitUntil(next_ns);
      if (outcome == Watch::Outcome::kStop) return kSuccess;
      if (outcome == Watch::Outcome::kResized) next_ns = base::MonotonicNs() - period_ns;
    }
  }

 private:
  int Show(const Frame& frame, bool* reader_gone) {
    for (const std::string& complaint : frame.complaints) {
      if (complained_.insert(complaint).second) Complain(complaint);
    }
    const Terminal terminal = StandardOutput();
    std::string text;
    if (!options_.json && terminal.can_move) {
      if (first_) text = "\x1b[2J";
      text += Redrawn(fmt::format("Every {:g} s: {}", *options_.watch_seconds, title_), frame.text, terminal);
    } else {
      if (!first_ && !options_.json) text = "---\n";
      text += frame.text;
    }
    first_ = false;
    return WriteOutput(text, reader_gone);
  }

  const ViewOptions& options_;
  const std::string& title_;
  std::set<std::string> complained_;
  bool first_ = true;
};

}  // namespace

void AddViewOptions(CLI::App* command, const std::string& schema, ViewOptions* options) {
  command->fallthrough();  // --color and --no-pager may stand behind the command, too
  command->add_flag("--json", options->json, "JSON, in bytes, for programs (schema " + schema + ")");
  command
      ->add_option_function<std::vector<double>>(
          "--watch",
          [options](const std::vector<double>& value) {
            options->watch_seconds = value.empty() ? kDefaultSeconds : value.front();
          },
          "Again every so many seconds (2 if none are said), until Ctrl-C; with --json one document a line")
      ->expected(0, 1)
      ->check(CLI::Validator(
          [](const std::string& text) {
            double seconds = 0;
            const bool is_number = CLI::detail::lexical_cast(text, seconds) && std::isfinite(seconds);
            return is_number && seconds >= kLeastSeconds && seconds <= 86400
                       ? std::string()
                       : fmt::format("takes seconds from {} to 86400, not {}", kLeastSeconds, text);
          },
          ""))
      ->type_name("[SECONDS]");
}

int RunView(const ViewOptions& options, const std::string& title,
            const std::function<Frame(const FrameFormat&)>& make) {
  if (options.watch_seconds) return Watcher(options, title).Run(make);
  const Frame frame = make(FormatFor(options));
  const int shown = options.json ? WriteOutput(frame.text) : ShowScreen(frame.text);
  for (const std::string& complaint : frame.complaints) Complain(complaint);
  return shown != kSuccess ? shown : frame.result;
}

std::vector<std::string> ProblemTexts(const collect::Snapshot& snapshot) {
  std::vector<std::string> texts;
  for (const collect::Problem& problem : snapshot.problems) {
    const std::string hint = problem.error.hint.empty() ? "" : "; " + TerminalText(problem.error.hint, 400);
    texts.push_back(TerminalText(problem.error.what, 800) + hint);
  }
  if (!snapshot.clean_up) return texts;
  for (const std::string& problem : snapshot.clean_up->problems) texts.push_back(TerminalText(problem, 800));
  return texts;
}

}  // namespace memtally::tools
