// SPDX-License-Identifier: Apache-2.0
//
// memtally run: a command under the tracker, and what it did with device memory.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/proc.hpp"
#include "tools/output.hpp"
#include "tools/run/child.hpp"
#include "tools/run/command_inspection.hpp"
#include "tools/run/launch_observer.hpp"
#include "tools/run/run_report.hpp"
#include "tools/run/run_summary.hpp"
#include "tools/run/run_verdict.hpp"
#include "tools/run/size_limit.hpp"
#include "tools/run/tracking_setup.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

struct Arguments {
  std::vector<std::string> command;
  std::string name;
  std::string report;
  std::string suppressions;
  std::vector<std::string> limits;
  bool quiet = false;
  bool no_hooks = false;
  RunChecks checks;
};

void Say(const Finding& finding) { Complain(finding.hint.empty() ? finding.what : finding.what + "; " + finding.hint); }

// The text goes out as one piece, between whatever the processes of the launch may still write.
void SayAll(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (wrote <= 0) return;
    done += static_cast<size_t>(wrote);
  }
}

int SayWhyNot(const CommandFacts& facts, int error) {
  const int code = error == ENOENT || error == ENOTDIR ? kNotFound : kNotExecutable;
  if (facts.failure == 0) {
    Complain(fmt::format("{}: cannot be executed: {}", TerminalText(facts.path, 200, Cut::kBegin), ErrorText(error)));
    return code;
  }
  for (const Finding& finding : facts.findings) Say(finding);
  return code;
}

int Run(const Arguments& arguments) {
  ReportFile report;
  std::string error;
  if (!arguments.report.empty() && !report.Prepare(arguments.report, &error)) {
    Complain(error);
    return kFailure;
  }
  Suppressions suppressions;
  const char* named = getenv("MEMTALLY_LEAK_SUPPRESSIONS");
  const std::string file = arguments.suppressions.empty() && named != nullptr ? named : arguments.suppressions;
  if (!file.empty() && !suppressions.Read(file, &error)) {
    Complain(error);
    return kFailure;
  }
  const char* search = getenv("PATH");
  TrackingSetup setup = LookAtTracking();
  if (arguments.no_hooks) setup.hooks.clear();
  setup.reports_shortages = !arguments.quiet;
  RunFacts facts;
  facts.command = arguments.command;
  facts.launch_id = NewLaunchId();
  facts.ledger_directory = setup.ledger_directory;
  facts.inspection = InspectCommand(
      {arguments.command[0], search != nullptr ? search : "/bin:/usr/bin", setup.library, MayGainRights()});
  facts.name =
      !arguments.name.empty() ? arguments.name : std::filesystem::path(arguments.command[0]).filename().string();
  if (facts.inspection.path.empty()) {
    for (const Finding& finding : facts.inspection.findings) Say(finding);
    return facts.inspection.failure;
  }
  const bool will_track = setup.tracks && facts.inspection.can_preload;
  if (facts.inspection.failure == 0) {
    for (const auto* list : {&setup.warnings, &facts.inspection.findings}) {
      for (const Finding& finding : *list) {
        if (!arguments.quiet || (arguments.checks.strict && !will_track)) Say(finding);
      }
    }
    if (!will_track && arguments.checks.strict) {
      Complain("the command is not started: it would run untracked, and --strict was asked for");
      return kCheckFailed;
    }
    if (!will_track && !arguments.quiet) Complain("it runs untracked");
  }
  facts.warnings = setup.warnings;

  LaunchObserver observer(setup.ledger_directory, facts.launch_id);
  observer.Prepare();
  const ChildCommand command{facts.inspection.path, arguments.command,
                             LaunchEnvironment(setup, facts.inspection, facts.launch_id)};
  if (setup.tracks) {
    facts.library = setup.library;
    facts.hooks = setup.hooks;
  }
  Child child;
  facts.started_realtime_ns = base::RealtimeNs();
  if (const int failed = child.Start(command); failed != 0) return SayWhyNot(facts.inspection, failed);
  // The summary may meet a closed pipe; that is not to change the exit code.
  signal(SIGPIPE, SIG_IGN);
  observer.Start();
  facts.status = child.Wait();
  facts.ended_ns = base::MonotonicNs();
  facts.started_ns = child.started_ns();
  observer.Finish(&facts);
  Suppress(&suppressions, &facts);

  const std::vector<Failing> failing = Judge(facts, arguments.checks);
  const int code = ExitCodeOf(facts, failing);
  SayAll((arguments.quiet ? std::string() : RunSummary(facts)) + FailingChecks(failing));
  if (!arguments.report.empty() && !report.Write(RunReport(facts, arguments.checks, failing, code), &error)) {
    Complain(error);
    if (code == kSuccess) return kFailure;
  }
  return code;
}

}  // namespace

void AddRun(CLI::App* app, Action* action, std::vector<std::string> command) {
  auto arguments = std::make_shared<Arguments>();
  arguments->command = std::move(command);
  CLI::App* run = app->add_subcommand(
      "run", "Runs a command under the tracker and says what it did with device memory: memtally run -- COMMAND");
  run->add_option("--report", arguments->report, "Also write a report there, as JSON (schema memtally.run)")
      ->type_name("FILE");
  run->add_option("--name", arguments->name, "What summary and report call this run; otherwise the command's name")
      ->type_name("NAME");
  run->add_flag("--quiet,-q", arguments->quiet, "No summary; checks that fail are still said");
  run->add_flag("--no-hooks", arguments->no_hooks,
                "Preload no library that watches a framework (TT-Metal): only what reports by itself is tracked");
  run->add_flag("--fail-on-leak", arguments->checks.fail_on_leak,
                "Exit with 3 if a process ended without giving back what it held, or closing its device");
  run->add_option("--suppressions", arguments->suppressions,
                  "Leaks that are known, by tag; otherwise what MEMTALLY_LEAK_SUPPRESSIONS names")
      ->type_name("FILE");
  run->add_option("--limit", arguments->limits,
                  "Exit with 3 if the peak of a memory, or of KIND, is above SIZE (1GiB, 512MiB:l1); repeatable")
      ->type_name("SIZE[:KIND]")
      ->take_all();
  run->add_flag("--strict", arguments->checks.strict,
                "Exit with 3 at an anomaly, a failed allocation or a loss; do not start what cannot be tracked");
  run->allow_extras();
  run->callback([arguments, action, run] {
    const std::vector<std::string> extras = run->remaining();
    if (!extras.empty() && extras.front().starts_with('-')) throw CLI::ExtrasError(run->get_name(), extras);
    if (!extras.empty()) {
      throw CLI::ValidationError(
          fmt::format("the command goes behind --, as in: memtally run -- {}", TerminalText(extras.front(), 60)));
    }
    if (arguments->command.empty()) {
      throw CLI::ValidationError("there is no command; it goes behind --, as in: memtally run -- python3 train.py");
    }
    for (const std::string& text : arguments->limits) {
      std::string error;
      if (!ParseSizeLimit(text, &arguments->checks.limits.emplace_back(), &error)) {
        throw CLI::ValidationError("--limit: " + error);
      }
    }
    *action = [arguments] { return Run(*arguments); };
  });
}

}  // namespace memtally::tools
