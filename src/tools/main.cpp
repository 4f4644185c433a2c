// SPDX-License-Identifier: Apache-2.0
//
// The memtally command: finds the subcommand and runs it.
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memtally/version.h>

#include "tools/near_miss.hpp"
#include "tools/output.hpp"
#include "tools/pager.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"
#include "tools/welcome.hpp"

namespace memtally::tools {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 success, 1 something could not be read or done, 2 wrong arguments, 3 a check found a difference.";

// The subcommand that was chosen, below which none was, and how it is called: "memtally bench events".
std::pair<const CLI::App*, std::string> Chosen(const CLI::App* app) {
  std::string name = app->get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    name += " " + app->get_name();
  }
  return {app, name};
}

// What was typed, if it is the first word that nobody knows: "memtally buffer", "memtally ps --jsno".
std::string DidYouMean(const CLI::App& app, const CLI::App& chosen) {
  const std::vector<std::string> unknown = chosen.remaining();
  const std::vector<std::string> left = unknown.empty() ? app.remaining() : unknown;
  if (left.empty()) return "";
  const std::string typed = left.front().substr(0, left.front().find('='));
  std::vector<std::string> words;
  if (typed.starts_with('-')) {
    for (const CLI::App* one : {&chosen, &app}) {
      for (const CLI::Option* option : one->get_options()) {
        for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
      }
    }
  } else {
    for (const CLI::App* command : chosen.get_subcommands({})) words.push_back(command->get_name());
  }
  const std::string nearest = NearestWord(typed, words);
  return nearest.empty() ? "" : fmt::format(" Did you mean '{}'?", nearest);
}

int Complaint(const CLI::App& app, const CLI::ParseError& error) {
  const auto [chosen, name] = Chosen(&app);
  std::string what = TerminalText(error.what(), 500);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> left = chosen->remaining().empty() ? app.remaining() : chosen->remaining();
    const std::string first = left.empty() ? "" : TerminalText(left.front(), 200);
    const bool is_command = chosen == &app && !first.starts_with('-');
    what = fmt::format("{} takes no {}.", name, first.empty() ? "more arguments" : "'" + first + "'");
    if (is_command) what = fmt::format("there is no command '{}'.", first);
    what += DidYouMean(app, *chosen);
  }
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) what += " (it takes a number)";
  Complain(fmt::format("{}\nTry '{} --help'.", what, name));
  return kUsage;
}

void AddOutputOptions(CLI::App* app) {
  OutputSettings& settings = GlobalOutputSettings();
  app->add_option_function<std::string>(
         "--color",
         [&settings](const std::string& when) {
           settings.color = when == "always"  ? ColorWhen::kAlways
                            : when == "never" ? ColorWhen::kNever
                                              : ColorWhen::kAuto;
         },
         "Colours: auto (the default: on terminals), always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}).description(""))
      ->type_name("WHEN");
  app->add_flag_callback(
      "--no-pager", [&settings] { settings.pager = false; }, "Long screens do not go through a pager");
}

// Cuts off what stands behind "--" where that is a command to be started, of which not a word is ours to look at.
std::vector<std::string> TakeCommand(int* argc, char** argv) {
  int chosen = 1;  // where the subcommand is: behind the options of all
  while (chosen < *argc && argv[chosen][0] == '-') chosen += std::string_view(argv[chosen]) == "--color" ? 2 : 1;
  std::vector<std::string> command;
  if (chosen >= *argc) return command;
  if (const std::string_view name = argv[chosen]; name != "run" && name != "doctor") return command;
  for (int i = chosen + 1; i < *argc; ++i) {
    if (std::string_view(argv[i]) != "--") continue;
    command.assign(argv + i + 1, argv + *argc);
    *argc = i;
  }
  return command;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> to_run = TakeCommand(&argc, argv);
  CLI::App app("Shows who holds device memory, down to the buffer, in every process of this machine.", "memtally");
  app.set_version_flag("--version", "memtally " MEMTALLY_VERSION, "Print the version and leave");
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  AddOutputOptions(&app);
  Action action;
  AddTop(&app, &action);
  AddPs(&app, &action);
  AddBuffers(&app, &action);
  AddOom(&app, &action);
  AddClash(&app, &action);
  AddDevices(&app, &action);
  AddLeaks(&app, &action);
  AddTags(&app, &action);
  AddEvents(&app, &action);
  AddSnapshot(&app, &action);
  AddMonitor(&app, &action);
  AddChannels(&app, &action);
  AddReplay(&app, &action);
  AddBench(&app, &action);
  AddDemo(&app, &action);
  AddRun(&app, &action, to_run);
  AddDoctor(&app, &action, to_run);
  for (CLI::App* subcommand : app.get_subcommands({})) subcommand->footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto [chosen, name] = Chosen(&app);
    return ShowScreen(chosen->help(chosen == &app ? "" : name.substr(0, name.rfind(' '))));
  } catch (const CLI::CallForVersion& version) {
    return WriteOutput(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError& error) {
    return Complaint(app, error);
  }
  if (action) return action();
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands({})) commands.push_back(command->get_name());
  return WriteOutput(WelcomeText(commands));
}

}  // namespace
}  // namespace memtally::tools

int main(int argc, char** argv) {
  try {
    return memtally::tools::Main(argc, argv);
  } catch (const std::exception& error) {
    memtally::tools::Complain(memtally::tools::TerminalText(error.what(), 500));
    return memtally::tools::kFailure;
  }
}
