// SPDX-License-Identifier: Apache-2.0
#include "tools/process_choice.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/terminal_text.hpp"

namespace memtally::tools {

void AddProcessOptions(CLI::App* command, ProcessChoice* choice) {
  CLI::Option* pid = command->add_option("--pid", choice->pid, "Of this process only")->type_name("PID");
  CLI::Option* ledger = command->add_option("--ledger", choice->ledger, "Of this ledger file")->type_name("FILE");
  CLI::Option* all = command->add_flag("--all", choice->all, "Of all processes, living and dead (the default)");
  pid->excludes(ledger)->excludes(all);
  ledger->excludes(all);
}

void AddOwnerOptions(CLI::App* command, ProcessChoice* choice) {
  command->add_option("--user", choice->user, "Of this user's processes only, by name or number")->type_name("USER");
  command->add_option("--state", choice->state, "Of processes in this state only: alive, detached or dead")
      ->check(CLI::IsMember({"alive", "detached", "dead"}).description(""))
      ->type_name("STATE");
}

collect::Collector::Options CollectorOptions(const ProcessChoice& choice) {
  collect::Collector::Options options;
  if (choice.ledger.empty()) return options;
  options.only_ledger = choice.ledger;
  options.passive_directory = "";
  return options;
}

bool IsChosen(const collect::Process& process, const ProcessChoice& choice) {
  const Identity& identity = process.facts.identity;
  if (choice.pid && process.pid != *choice.pid && identity.pid != *choice.pid) return false;
  if (!choice.user.empty() && process.user != choice.user && std::to_string(identity.uid) != choice.user) return false;
  return choice.state.empty() || choice.state == collect::StateName(process.facts.liveness);
}

std::string NobodyText(const ProcessChoice& choice) {
  if (!choice.pid) return "";
  return fmt::format("no process {} has a ledger here; 'memtally ps --all' lists those that have", *choice.pid);
}

ProcessSet TakeProcesses(collect::Collector* collector, const std::function<bool(const collect::Process&)>& wanted) {
  ProcessSet set;
  set.machine = collector->Take();
  std::vector<collect::ProcessKey> keys;
  for (const collect::Process& process : set.machine->processes) {
    if (wanted(process)) keys.push_back(process.key());
  }
  const auto take = [&](const collect::SnapshotRequest& request) {
    const std::shared_ptr<const collect::Snapshot>& snapshot = set.owners.emplace_back(collector->Take(request));
    for (const collect::Process& process : snapshot->processes) {
      if (process.has_buffers) set.processes.push_back(&process);
    }
  };
  if (keys.size() > 1 && keys.size() == set.machine->processes.size()) {
    take({.level = collect::Level::kEverything, .process = {}});
  } else {
    for (const collect::ProcessKey& key : keys) take({.level = collect::Level::kProcess, .process = key});
  }
  if (!set.owners.empty()) set.machine = set.owners.front();
  return set;
}

ProcessSet TakeChosen(collect::Collector* collector, const ProcessChoice& choice, Frame* frame) {
  collector->Discover();
  ProcessSet set = TakeProcesses(collector, [&](const collect::Process& process) { return IsChosen(process, choice); });
  frame->complaints = ProblemTexts(*set.machine);
  if (!set.processes.empty()) return set;
  const std::string nobody = NobodyText(choice);
  if (!nobody.empty()) frame->complaints.push_back(nobody);
  if (!nobody.empty() || !choice.ledger.empty()) frame->result = kFailure;
  return set;
}

}  // namespace memtally::tools
