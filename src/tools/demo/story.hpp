// SPDX-License-Identifier: Apache-2.0
//
// The story that the demonstration tells, step by step, whatever it is shown on.
#pragma once

#include <string>
#include <vector>

#include "tools/demo/stage.hpp"

namespace memtally::tools::demo {

// What happens when a step begins.
enum class StepAction { kNothing, kStartPrograms, kKillChatServer };

// What a live view looks at during a step.
enum class Scene {
  kMachine,     // all devices and processes
  kChatByTag,   // the chat server's memory, by its own tags
  kChatFailed,  // its allocations that failed
  kChatOldest,  // its buffers, the oldest first
};

struct Step {
  std::string name;  // one word
  std::string title;
  StepAction action = StepAction::kNothing;
  // How long it is shown at the usual pace.
  double seconds = 0;
  // It is told as soon as this holds.
  bool (*is_ready)(const Facts&) = nullptr;
  // What is awaited, in words; "" where that never takes long.
  std::string (*awaited)(const Facts&) = nullptr;
  // One paragraph of ASCII.  REQUIRES: is_ready, now or before.
  std::string (*caption)(const Facts&) = nullptr;
  Scene scene = Scene::kMachine;
  // The commands that show it where there is no live view.
  std::vector<std::vector<std::string>> (*commands)(const Facts&) = nullptr;
};

const std::vector<Step>& Story();

// Of all steps together, at the usual pace.
double StorySeconds();

// What one can do now; lines of ASCII.
std::string WhatNext();

}  // namespace memtally::tools::demo
