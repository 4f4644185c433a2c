// SPDX-License-Identifier: Apache-2.0
//
// Which processes a command is about, as its options say, and the reading of those and no others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collect/collector.hpp"
#include "collect/snapshot.hpp"
#include "tools/view.hpp"

namespace CLI {
class App;
}

namespace memtally::tools {

struct ProcessChoice {
  std::optional<uint32_t> pid;
  std::string ledger;  // this file only
  bool all = false;    // what is done without any option, said aloud
  std::string user;    // "" any
  std::string state;   // "" any
};

// --pid, --ledger and --all, which exclude each other.
void AddProcessOptions(CLI::App* command, ProcessChoice* choice);
// --user and --state.
void AddOwnerOptions(CLI::App* command, ProcessChoice* choice);

// A collector that looks at no more than was asked for.
collect::Collector::Options CollectorOptions(const ProcessChoice& choice);

// Whether the process is one that was asked for.
bool IsChosen(const collect::Process& process, const ProcessChoice& choice);

// What to say if a process that was named is not there; "" if none was.
std::string NobodyText(const ProcessChoice& choice);

// Processes with their buffers, tags, groups and events, in the order of snapshots.
struct ProcessSet {
  std::shared_ptr<const collect::Snapshot> machine;
  std::vector<const collect::Process*> processes;
  std::vector<std::shared_ptr<const collect::Snapshot>> owners;  // of what `processes` points to
};

// Reads the buffers of those processes for which `wanted` is true, and of no others.
ProcessSet TakeProcesses(collect::Collector* collector, const std::function<bool(const collect::Process&)>& wanted);

// Looks for ledgers and takes the processes that were chosen.  Adds complaints to *frame; its result is kFailure if
// what was named is not there.
ProcessSet TakeChosen(collect::Collector* collector, const ProcessChoice& choice, Frame* frame);

}  // namespace memtally::tools
