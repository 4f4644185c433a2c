// SPDX-License-Identifier: Apache-2.0
//
// memtally top: a live view.
#include <memory>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/number_option.hpp"
#include "tools/subcommand.hpp"
#include "tools/top/top_loop.hpp"

namespace memtally::tools {

void AddTop(CLI::App* app, Action* action) {
  struct Arguments {
    top::TopOptions options;
    std::vector<int32_t> devices;
  };
  auto arguments = std::make_shared<Arguments>();
  top::TopOptions& options = arguments->options;
  CLI::App* top = app->add_subcommand("top", "Shows who holds device memory, live");
  top->add_option("-r,--refresh", options.refresh_ms, "Look every so many milliseconds, 50 to 3600000 (default 500)")
      ->check(NotNegative())
      ->check(CLI::Range(uint64_t{50}, uint64_t{3600000}))
      ->type_name("MS");
  top->add_option("-d,--device", arguments->devices, "Only this device, by the programs' own number; may be repeated")
      ->type_name("N");
  top->add_flag("--readonly", options.read_only, "Send no signal to any process, whatever is typed");
  top->add_flag("--once", options.once, "Print one plain frame and leave, also on a terminal");
  top->add_option("--frames", options.frames, "Leave after so many frames; plain ones where output is no terminal")
      ->check(NotNegative())
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  top->add_flag("--ascii", options.ascii, "Draw with ASCII characters alone");
  top->fallthrough();  // --color may stand behind the command, too
  top->callback([arguments, action] {
    arguments->options.devices = {arguments->devices.begin(), arguments->devices.end()};
    *action = [arguments] { return top::RunTop(arguments->options); };
  });
}

}  // namespace memtally::tools
