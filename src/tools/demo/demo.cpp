// SPDX-License-Identifier: Apache-2.0
//
// memtally demo: what memtally does, shown on recordings of real models, for people with no accelerator at hand.
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include "tools/demo/interruption.hpp"
#include "tools/demo/legacy_show.hpp"
#include "tools/demo/live_show.hpp"
#include "tools/demo/plain_show.hpp"
#include "tools/demo/story.hpp"
#include "tools/output.hpp"
#include "tools/subcommand.hpp"

namespace memtally::tools {
namespace {

struct Arguments {
  bool plain = false;
  bool fast = false;
  bool legacy = false;
  std::optional<uint32_t> seconds;
};

// The pace of people who read while something goes on above, and of those who scroll back.
constexpr double kLiveSeconds = 85;
constexpr double kPlainSeconds = 30;
constexpr double kFastSeconds = 8;

double Hurry(const Arguments& arguments, double usual_seconds) {
  double seconds = usual_seconds;
  if (arguments.fast) seconds = kFastSeconds;
  if (arguments.seconds) seconds = *arguments.seconds;
  return demo::StorySeconds() / seconds;
}

int RunPlain(const Arguments& arguments) {
  int result = kSuccess;
  int signal = 0;
  {
    const demo::Interruption interruption;
    result = arguments.legacy ? demo::ShowLegacy() : demo::ShowPlain(Hurry(arguments, kPlainSeconds));
    signal = demo::Interruption::signal();
  }
  if (signal != 0) demo::EndBySignal(signal);
  return result;
}

int Run(const Arguments& arguments) {
  if (arguments.legacy || arguments.plain || isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)
    return RunPlain(arguments);
  const bool has_time = arguments.fast || arguments.seconds;
  constexpr double kLingerSeconds = 60;
  constexpr double kShortLingerSeconds = 1;
  bool drawn = false;
  int signal = 0;
  const int result =
      demo::ShowLive(Hurry(arguments, kLiveSeconds), has_time ? kShortLingerSeconds : kLingerSeconds, &drawn, &signal);
  if (!drawn) return RunPlain(arguments);
  if (signal != 0) demo::EndBySignal(signal);
  return result == kSuccess ? WriteOutput(demo::WhatNext()) : result;
}

}  // namespace

void AddDemo(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* demo =
      app->add_subcommand("demo", "Shows what memtally does, on recordings of real models: live on a terminal");
  demo->add_flag("--plain", arguments->plain, "Text that scrolls by, also on a terminal");
  CLI::Option* fast = demo->add_flag("--fast", arguments->fast, "In some seconds");
  demo->add_option("--seconds", arguments->seconds, "How long it takes")
      ->check(CLI::Range(3u, 3600u))
      ->type_name("N")
      ->excludes(fast);
  demo->add_flag("--legacy", arguments->legacy,
                 "Programs of the original allocation server, in every generation of its protocol, as text");
  demo->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
