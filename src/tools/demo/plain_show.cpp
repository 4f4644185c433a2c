// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/plain_show.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/proc.hpp"
#include "tools/demo/interruption.hpp"
#include "tools/demo/paragraph.hpp"
#include "tools/demo/program.hpp"
#include "tools/demo/stage.hpp"
#include "tools/demo/story.hpp"
#include "tools/demo/storyteller.hpp"
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

void Tell(Stage* stage, double hurry) {
  constexpr double kBetweenLooks = 0.05;
  const size_t columns = TextColumns();
  Storyteller teller(stage, hurry, 0);
  while (!teller.is_over()) {
    const Facts facts = stage->Look();
    if (teller.Advance(facts, base::MonotonicNs())) {
      const Step& step = *teller.step();
      Say(fmt::format("{}== {} of {}: {}\n\n", teller.number() == 1 ? "" : "\n", teller.number(), Story().size(),
                      step.title));
      for (const std::string& line : Lines(step.caption(facts), columns)) Say(line + "\n");
      if (step.commands != nullptr) {
        for (const std::vector<std::string>& command : step.commands(facts)) Show(command);
      }
    }
    if (!Interruption::Sleep(kBetweenLooks)) throw Stopped();
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
