// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/plain_show.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

#include "tools/demo/interruption.hpp"
#include "tools/demo/paragraph.hpp"
#include "tools/demo/program.hpp"
#include "tools/demo/stage.hpp"
#include "tools/demo/story.hpp"
#include "tools/output.hpp"
#include "tools/subcommand.hpp"

namespace memtally::tools::demo {
namespace {

// Thrown where a signal wants the end, or nobody reads the output any more.
struct Stopped {};

void Say(const std::string& text) {
  if (WriteOutput(text) != kSuccess) throw Stopped();
}

size_t TextColumns() {
  constexpr size_t kMost = 100;
  constexpr size_t kLeast = 40;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kMost;
  return std::clamp<size_t>(size.ws_col, kLeast, kMost);
}

// A memtally command, as one would type it, and what it prints.
void Show(const std::vector<std::string>& arguments) {
  std::string line = "\n$ memtally";
  for (const std::string& word : arguments) {
    line += word.find(' ') == std::string::npos ? " " + word : " '" + word + "'";
  }
  Say(line + "\n");
  if (RunOwnCommand(arguments) != kSuccess) throw std::runtime_error("memtally " + arguments.front() + " failed");
}

// A slow machine takes its time.
Facts WaitUntilReady(Stage* stage, const Step& step) {
  constexpr double kPatience = 120;
  constexpr double kBetween = 0.05;
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(kPatience);
  for (;;) {
    Facts facts = stage->Look();
    if (step.is_ready(facts)) return facts;
    if (Clock::now() > end) throw std::runtime_error(fmt::format("waited in vain for: {}", step.awaited(facts)));
    if (!Interruption::Sleep(kBetween)) throw Stopped();
  }
}

void Tell(Stage* stage, double hurry) {
  const std::vector<Step>& story = Story();
  const size_t columns = TextColumns();
  for (size_t i = 0; i < story.size(); ++i) {
    const Step& step = story[i];
    if (step.action == StepAction::kStartPrograms) stage->StartPrograms(hurry);
    if (step.action == StepAction::kKillChatServer) stage->KillChatServer();
    const Facts facts = WaitUntilReady(stage, step);
    Say(fmt::format("{}== {} of {}: {}\n\n", i == 0 ? "" : "\n", i + 1, story.size(), step.title));
    for (const std::string& line : Lines(step.caption(facts), columns)) Say(line + "\n");
    if (step.commands != nullptr) {
      for (const std::vector<std::string>& command : step.commands(facts)) Show(command);
    }
    if (!Interruption::Sleep(step.seconds / hurry)) throw Stopped();
  }
}

}  // namespace

int ShowPlain(double hurry) {
  Stage stage;
  try {
    Tell(&stage, hurry);
  } catch (const Stopped&) {
    return kFailure;
  }
  return WriteOutput("\n" + WhatNext());
}

}  // namespace memtally::tools::demo
