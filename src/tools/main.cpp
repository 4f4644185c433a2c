// SPDX-License-Identifier: Apache-2.0
//
// The memtally command: finds the subcommand and runs it.
#include <exception>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memtally/version.h>

#include "tools/output.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 success, 1 something could not be read or done, 2 wrong arguments, 3 a check found a difference.";

constexpr const char* kWelcome =
    "memtally shows who holds device memory on this machine, down to the buffer.\n"
    "\n"
    "  memtally ps                      processes that hold device memory, and what dead ones left\n"
    "  memtally buffers --pid PID       the buffers of one process, largest first\n"
    "  memtally buffers --all --by-tag  what holds memory, by the program's own tags\n"
    "  memtally demo                    all of it on recordings of real models; needs no accelerator\n"
    "  memtally replay llama-1b-n150 --speed recorded\n"
    "                                   plays a recording, to have something to look at\n"
    "\n"
    "  memtally --help, memtally ps --help, man memtally: everything else\n";

// The subcommand that was chosen, below which none was, and how it is called: "memtally bench events".
std::pair<const CLI::App*, std::string> Chosen(const CLI::App* app) {
  std::string name = app->get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    name += " " + app->get_name();
  }
  return {app, name};
}

int Complaint(const CLI::App& app, const CLI::ParseError& error) {
  const std::string name = Chosen(&app).second;
  std::string what = TerminalText(error.what(), 500);
  if (dynamic_cast<const CLI::ConversionError*>(&error)) what += " (it takes a number)";
  Complain(fmt::format("{}\nTry '{} --help'.", what, name));
  return kUsage;
}

int Main(int argc, char** argv) {
  CLI::App app("Shows who holds device memory, down to the buffer, in every process of this machine.", "memtally");
  app.set_version_flag("--version", "memtally " MEMTALLY_VERSION, "Print the version and leave");
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  Action action;
  AddPs(&app, &action);
  AddBuffers(&app, &action);
  AddReplay(&app, &action);
  AddBench(&app, &action);
  AddDemo(&app, &action);
  for (CLI::App* subcommand : app.get_subcommands({})) subcommand->footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto [chosen, name] = Chosen(&app);
    return WriteOutput(chosen->help(chosen == &app ? "" : name.substr(0, name.rfind(' '))));
  } catch (const CLI::CallForVersion& version) {
    return WriteOutput(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError& error) {
    return Complaint(app, error);
  }
  return action ? action() : WriteOutput(kWelcome);
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
