// SPDX-License-Identifier: Apache-2.0
//
// memtally snapshot: everything that is known of the machine now, as one document.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "collect/collector.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/process_choice.hpp"
#include "tools/subcommand.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  std::string level;  // "": everything for a process that was named, otherwise totals
};

int Run(const Arguments& arguments) {
  collect::Collector collector(CollectorOptions(arguments.choice));
  const bool totals = arguments.level == "totals" ||
                      (arguments.level.empty() && !arguments.choice.pid && arguments.choice.ledger.empty());
  const bool everyone = !arguments.choice.pid;
  return RunView(arguments.view, "memtally snapshot", [&](const FrameFormat& format) {
    Frame frame;
    collect::JsonWriter json(format.layout);
    if (!totals && !everyone) {
      const ProcessSet set = TakeChosen(&collector, arguments.choice, &frame);
      if (frame.result != kSuccess && !arguments.view.watch_seconds) return frame;
      collect::WriteSnapshot(*set.machine, set.processes, &json);
    } else {
      collector.Discover();
      const auto level = totals ? collect::Level::kTotals : collect::Level::kEverything;
      const std::shared_ptr<const collect::Snapshot> snapshot =
          collector.Take({.level = level, .process = {}, .extents = true});
      std::vector<const collect::Process*> chosen;
      for (const collect::Process& process : snapshot->processes) {
        if (IsChosen(process, arguments.choice)) chosen.push_back(&process);
      }
      frame.complaints = ProblemTexts(*snapshot);
      if (chosen.empty() && arguments.choice.pid) frame.complaints.push_back(NobodyText(arguments.choice));
      const bool named = arguments.choice.pid || !arguments.choice.ledger.empty();
      if (chosen.empty() && named) frame.result = kFailure;
      if (frame.result != kSuccess && !arguments.view.watch_seconds) return frame;
      collect::WriteSnapshot(*snapshot, chosen, &json);
    }
    frame.text = json.Take();
    return frame;
  });
}

}  // namespace

void AddSnapshot(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* snapshot = app->add_subcommand("snapshot", "Prints all that is known of the machine, as one JSON document");
  snapshot
      ->add_option(
          "--level", arguments->level,
          "totals (the default), or everything: also buffers, tags, groups and events (the default with --pid)")
      ->check(CLI::IsMember({"totals", "everything"}).description(""))
      ->type_name("LEVEL");
  AddProcessOptions(snapshot, &arguments->choice);
  AddViewOptions(snapshot, "memtally.snapshot", &arguments->view);
  snapshot->callback([arguments, action] {
    arguments->view.json = true;
    *action = [arguments] { return Run(*arguments); };
  });
}

}  // namespace memtally::tools
