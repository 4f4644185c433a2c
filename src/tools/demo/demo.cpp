// SPDX-License-Identifier: Apache-2.0
//
// memtally demo: what memtally does, shown on recordings of real models, for people with no accelerator at hand.
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include "tools/demo/interruption.hpp"
#include "tools/demo/plain_show.hpp"
#include "tools/demo/story.hpp"
#include "tools/subcommand.hpp"

namespace memtally::tools {
namespace {

struct Arguments {
  bool plain = false;
  bool fast = false;
  std::optional<uint32_t> seconds;
};

int Run(const Arguments& arguments) {
  constexpr double kFastSeconds = 8;
  constexpr double kPlainSeconds = 30;  // text is read after it has scrolled by
  double seconds = kPlainSeconds;
  if (arguments.fast) seconds = kFastSeconds;
  if (arguments.seconds) seconds = *arguments.seconds;
  int result = kSuccess;
  int signal = 0;
  {
    const demo::Interruption interruption;
    result = demo::ShowPlain(demo::StorySeconds() / seconds);
    signal = demo::Interruption::signal();
  }
  if (signal != 0) demo::EndBySignal(signal);
  return result;
}

}  // namespace

void AddDemo(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* demo = app->add_subcommand("demo", "Shows what memtally does, on recordings of real models");
  demo->add_flag("--plain", arguments->plain, "Text that scrolls by, also on a terminal");
  CLI::Option* fast = demo->add_flag("--fast", arguments->fast, "In some seconds");
  demo->add_option("--seconds", arguments->seconds, "How long it takes")
      ->check(CLI::Range(3u, 3600u))
      ->type_name("N")
      ->excludes(fast);
  demo->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
