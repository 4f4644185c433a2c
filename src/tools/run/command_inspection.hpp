// SPDX-License-Identifier: Apache-2.0
//
// Looks at a command before it is started: which file it is, whether it can be executed, and whether libmemtally can be
// preloaded into what will run.
//
// A guess of what exec and the dynamic loader are going to do, good enough to warn; nothing is decided by it but
// whether to preload.
#pragma once

#include <string>
#include <vector>

namespace memtally::tools {

// Something about a command that people should know.
struct Finding {
  std::string code;  // for programs: "static", "privileged", ...
  std::string what;  // for people, safe for a terminal
  std::string hint;  // what to do; may be empty
};

struct CommandFacts {
  std::string path;                  // of the file that is executed; "" if there is none
  std::vector<std::string> scripts;  // `path` and further scripts, if it is one; the last names `program`
  std::string program;               // what the kernel loads in the end, as far as it could be followed
  int failure = 0;                   // 126: there, but it cannot be executed; 127: not found; 0: nothing against it
  std::vector<Finding> findings;     // why it fails; why it will not be tracked; what is done about it
  bool can_preload = true;           // no reason is known why libmemtally would not be loaded
  bool needs_asan_order = false;     // AddressSanitizer's run-time has to be told that it may come second
};

struct CommandQuestion {
  std::string command;  // as typed
  std::string search;   // PATH
  std::string library;  // libmemtally.so, to compare with; "" if there is none
  bool use_ids = true;  // whether set-user-id bits count: false under no_new_privs
};

CommandFacts InspectCommand(const CommandQuestion& question);

// Where the first file of that name that can be executed is in a PATH; "" nowhere.  *forbidden is set if there is one
// that may not be executed.
std::string FindInPath(const std::string& name, const std::string& search, std::string* forbidden);

}  // namespace memtally::tools
