// SPDX-License-Identifier: Apache-2.0
//
// TrackingSetup: what has to be in a command's environment so that its processes are tracked, and what speaks against
// it on this machine.
#pragma once

#include <string>
#include <vector>

#include "tools/run/command_inspection.hpp"
#include "tools/run/run_facts.hpp"

namespace memtally::tools {

struct TrackingSetup {
  std::string library;             // libmemtally.so.0, "" not found
  std::vector<std::string> hooks;  // libraries for single frameworks, preloaded behind it; those that were installed
  std::string ledger_directory;    // where the tracker will put ledgers
  // Hooks say on standard error what did not fit, unless the environment says otherwise.
  bool reports_shortages = false;
  std::vector<Finding> warnings;  // "disabled", "directory", "library", "preload"
  bool tracks = true;             // false: nothing will be tracked, for one of the warnings
};

// Looks at this process's own environment, which the command will have, too.
TrackingSetup LookAtTracking();

// Where libmemtally.so.0 is: beside the installed command, or in the tree that it was built in.  "" nowhere; *looked
// has the places.
std::string FindTracker(std::vector<std::string>* looked);

// This process's environment with what a launch adds.  What was preloaded before stays, behind libmemtally and hooks.
std::vector<std::string> LaunchEnvironment(const TrackingSetup& setup, const CommandFacts& command,
                                           const LaunchId& launch);

// 16 random bytes, not all zero.
LaunchId NewLaunchId();

// Whether a program that is started from here may gain rights by its set-user-id bits or capabilities.
bool MayGainRights();

}  // namespace memtally::tools
