// SPDX-License-Identifier: Apache-2.0
//
// How a subcommand joins the memtally command: a file with one function that adds it and, if it is the one chosen, says
// what to run.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace memtally::tools {

// Exit codes of every subcommand; the man page has the same list.
enum ExitCode {
  kSuccess = 0,
  kFailure = 1,      // something could not be read or done, or what was named is not there
  kUsage = 2,        // wrong arguments
  kCheckFailed = 3,  // a check found a difference
};

// Set by the chosen subcommand while arguments are parsed; run afterwards.  Returns an ExitCode.
using Action = std::function<int()>;

void AddPs(CLI::App* app, Action* action);
void AddBuffers(CLI::App* app, Action* action);
void AddOom(CLI::App* app, Action* action);
void AddClash(CLI::App* app, Action* action);
void AddDevices(CLI::App* app, Action* action);
void AddLeaks(CLI::App* app, Action* action);
void AddTags(CLI::App* app, Action* action);
void AddEvents(CLI::App* app, Action* action);
void AddSnapshot(CLI::App* app, Action* action);
void AddMonitor(CLI::App* app, Action* action);
void AddChannels(CLI::App* app, Action* action);
void AddReplay(CLI::App* app, Action* action);
void AddBench(CLI::App* app, Action* action);
void AddDemo(CLI::App* app, Action* action);
void AddTop(CLI::App* app, Action* action);
// `command`: what stands behind "--".
void AddDoctor(CLI::App* app, Action* action, std::vector<std::string> command);
void AddRun(CLI::App* app, Action* action, std::vector<std::string> command);

}  // namespace memtally::tools
