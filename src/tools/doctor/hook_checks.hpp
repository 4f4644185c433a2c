// SPDX-License-Identifier: Apache-2.0
//
// What the hooks for frameworks would record of a command: by asking each hook about the library that the command would
// load, before anything of it runs.
#pragma once

#include <string>
#include <vector>

#include "tools/doctor/check.hpp"
#include "tools/run/command_inspection.hpp"

namespace memtally::tools {

// A framework that a command would load, and what its hook says of it.
struct HookFinding {
  std::string framework;     // "TT-Metal"
  std::string version;       // of the Python package, "" if it has none
  std::string library;       // path
  bool records = false;      // buffers would be recorded
  std::string needed;        // missing functions without which nothing is recorded, separated by ", "
  std::string missing;       // other missing functions
  std::string not_recorded;  // what is lost without these
};

// Looks for frameworks that the command would load.  To find them it runs the command's Python interpreter, which looks
// for the package and imports nothing of it, or the dynamic loader on the command's program.
std::vector<HookFinding> CheckHooks(const TrackingSetup& setup, const CommandFacts& command, Checkup* checkup);

// What the copy of this command does that asks `hook` about `library` (paths); its exit code.
int AskHook(const std::string& hook, const std::string& library);

}  // namespace memtally::tools
