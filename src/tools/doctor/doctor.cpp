// SPDX-License-Identifier: Apache-2.0
//
// memtally doctor: what works here, what does not, why, and what to do.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memtally/version.h>

#include "base/proc.hpp"
#include "collect/json_writer.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/doctor/check.hpp"
#include "tools/doctor/hook_checks.hpp"
#include "tools/output.hpp"
#include "tools/pager.hpp"
#include "tools/run/command_inspection.hpp"
#include "tools/run/tracking_setup.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"
#include "tools/text_style.hpp"

namespace memtally::tools {
namespace {

struct Arguments {
  std::vector<std::string> command;
  bool json = false;
  bool be_tracked = false;
  std::vector<std::string> ask_hook;  // hook and library
};

const char* StateWord(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "ok";
    case CheckState::kWarning:
      return "warning";
    case CheckState::kProblem:
      break;
  }
  return "problem";
}

CheckState WorstOf(const Checkup& checkup) {
  CheckState worst = CheckState::kOk;
  for (const Check& check : checkup.checks()) worst = std::max(worst, check.state);
  return worst;
}

// What `memtally run` would find about a command.
CommandFacts CheckCommand(const std::string& command, const TrackingSetup& setup, Checkup* checkup) {
  const char* search = getenv("PATH");
  CommandFacts facts =
      InspectCommand({command, search != nullptr ? search : "/bin:/usr/bin", setup.library, MayGainRights()});
  for (const Finding& finding : facts.findings) {
    if (facts.failure != 0) {
      checkup->Problem("command", finding.what, finding.hint);
    } else {
      checkup->Warn("command", finding.what, finding.hint);
    }
  }
  if (facts.failure != 0) return facts;
  const std::string path = TerminalText(facts.path, 120, Cut::kBegin);
  const std::string program = TerminalText(facts.program, 120, Cut::kBegin);
  const std::string what = facts.scripts.empty() ? path : fmt::format("{}, a script for {}", path, program);
  if (!facts.can_preload) {
    checkup->Problem("command", fmt::format("{}: will not be tracked under memtally run", what),
                     "see the line above; processes that it starts may be");
  } else {
    checkup->Ok("command", fmt::format("{}: libmemtally will be loaded into it. Whether it reports anything depends on "
                                       "its allocator",
                                       what));
  }
  return facts;
}

std::string Screen(const Checkup& checkup, const ScreenFormat& format) {
  size_t width = 0;
  for (const Check& check : checkup.checks()) width = std::max(width, check.topic.size());
  std::string screen;
  size_t warnings = 0;
  size_t problems = 0;
  for (const Check& check : checkup.checks()) {
    const Style style = check.state == CheckState::kOk        ? Style::kPlain
                        : check.state == CheckState::kWarning ? Style::kYellow
                                                              : Style::kRed;
    warnings += check.state == CheckState::kWarning ? 1 : 0;
    problems += check.state == CheckState::kProblem ? 1 : 0;
    AppendStyled(fmt::format("{:<8}", StateWord(check.state)), style, format.color, &screen);
    screen += fmt::format("{:<{}}  {}\n", check.topic, width, check.what);
    if (!check.hint.empty()) screen += fmt::format("{:<{}}  -> {}\n", "", 8 + width, check.hint);
  }
  if (problems + warnings == 0) {
    screen += "\nAll is right.\n";
  } else {
    screen += fmt::format("\n{} problem{}, {} warning{}.\n", problems, problems == 1 ? "" : "s", warnings,
                          warnings == 1 ? "" : "s");
  }
  return screen;
}

std::string Document(const Checkup& checkup, const std::optional<CommandFacts>& command,
                     const std::vector<HookFinding>& hooks) {
  collect::JsonWriter json;
  json.BeginObject();
  collect::Snapshot head;
  head.host = collect::ThisHost();
  head.time_ns = base::MonotonicNs();
  collect::WriteHead("memtally.doctor", head, &json);
  json.Field("memtally_version", MEMTALLY_VERSION);
  json.Field("result", StateWord(WorstOf(checkup)));
  json.Key("checks");
  json.BeginArray();
  for (const Check& check : checkup.checks()) {
    json.BeginObject();
    json.Field("topic", check.topic);
    json.Field("state", StateWord(check.state));
    json.Field("what", check.what);
    json.Field("hint", check.hint);
    json.EndObject();
  }
  json.EndArray();
  json.Key("command");
  if (command) {
    json.BeginObject();
    json.Field("path", command->path);
    json.Field("program", command->program);
    json.Key("scripts");
    json.BeginArray();
    for (const std::string& script : command->scripts) json.String(script);
    json.EndArray();
    json.Field("failure", static_cast<uint64_t>(command->failure));
    json.Flag("can_preload", command->failure == 0 && command->can_preload);
    json.Key("frameworks");
    json.BeginArray();
    for (const HookFinding& hook : hooks) {
      json.BeginObject();
      json.Field("name", hook.framework);
      json.Field("version", hook.version);
      json.Field("library", hook.library);
      json.Flag("records", hook.records);
      json.Field("needed", hook.needed);
      json.Field("missing", hook.missing);
      json.Field("not_recorded", hook.not_recorded);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  } else {
    json.Null();
  }
  json.EndObject();
  return json.Take();
}

int Run(const Arguments& arguments) {
  if (arguments.be_tracked) return BeTracked();
  if (!arguments.ask_hook.empty()) return AskHook(arguments.ask_hook[0], arguments.ask_hook[1]);
  Checkup checkup;
  const TrackingSetup setup = LookAtTracking();
  CheckMachine(&checkup);
  CheckSettings(&checkup);
  CheckDirectory(setup, &checkup);
  CheckTracking(setup, &checkup);
  CheckLedgers(setup, &checkup);
  CheckLegacyServer(&checkup);
  CheckDevices(&checkup);
  CheckScreen(&checkup);
  std::optional<CommandFacts> command;
  std::vector<HookFinding> hooks;
  if (!arguments.command.empty()) {
    command = CheckCommand(arguments.command[0], setup, &checkup);
    if (command->failure == 0 && command->can_preload) hooks = CheckHooks(setup, *command, &checkup);
  }
  const int shown =
      arguments.json ? WriteOutput(Document(checkup, command, hooks)) : ShowScreen(Screen(checkup, StandardFormat()));
  return WorstOf(checkup) == CheckState::kProblem ? int{kFailure} : shown;
}

}  // namespace

void AddDoctor(CLI::App* app, Action* action, std::vector<std::string> command) {
  auto arguments = std::make_shared<Arguments>();
  arguments->command = std::move(command);
  CLI::App* doctor = app->add_subcommand(
      "doctor", "Says what works here, what does not, why, and what to do; with -- COMMAND, of that command too");
  doctor->add_flag("--json", arguments->json, "JSON, for programs (schema memtally.doctor)");
  doctor->add_flag("--be-tracked", arguments->be_tracked)->group("");
  doctor->add_option("--ask-hook", arguments->ask_hook)->expected(2)->group("");
  doctor->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
