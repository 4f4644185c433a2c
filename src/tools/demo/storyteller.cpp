// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/storyteller.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

namespace memtally::tools::demo {
namespace {

constexpr double kNanosecond = 1e-9;
// A slow machine takes its time.
constexpr double kPatienceSeconds = 120;

int KillStep() {
  const std::vector<Step>& story = Story();
  const auto found = std::find_if(story.begin(), story.end(),
                                  [](const Step& step) { return step.action == StepAction::kKillChatServer; });
  return static_cast<int>(found - story.begin());
}

}  // namespace

Storyteller::Storyteller(Stage* stage, double hurry, double linger_seconds)
    : stage_(*stage), hurry_(hurry), linger_seconds_(linger_seconds) {}

void Storyteller::Begin(int step) {
  begun_ = step;
  switch (Story()[static_cast<size_t>(step)].action) {
    case StepAction::kNothing:
      return;
    case StepAction::kStartPrograms:
      stage_.StartPrograms(hurry_);
      return;
    case StepAction::kKillChatServer:
      stage_.KillChatServer();
      return;
  }
}

void Storyteller::WantNext() {
  SetPaused(false);
  held_ = false;
  wanted_ = true;
}

void Storyteller::SetPaused(bool paused) {
  paused_ = paused;
  stage_.SetStopped(paused);
}

std::string Storyteller::Awaited(const Facts& facts) const {
  return begun_ == told_ ? "" : Story()[static_cast<size_t>(begun_)].awaited(facts);
}

bool Storyteller::Advance(const Facts& facts, uint64_t now_ns) {
  const double passed = last_ns_ == 0 ? 0 : static_cast<double>(now_ns - last_ns_) * kNanosecond;
  last_ns_ = now_ns;
  if (paused_) {
    begun_ns_ += static_cast<uint64_t>(passed / kNanosecond);
    return false;
  }
  if (begun_ == told_) {
    if (!held_) seconds_left_ -= passed;
    if (!wanted_ && (held_ || seconds_left_ > 0)) return false;
    wanted_ = false;
    if (is_last()) {
      over_ = true;
      return false;
    }
    Begin(told_ + 1);
    begun_ns_ = now_ns;
  }
  wanted_ = false;
  // Somebody else was quicker.
  const int kill = KillStep();
  if (told_ >= 0 && begun_ < kill && IsChatServerDead(facts)) begun_ = kill;
  const Step& next = Story()[static_cast<size_t>(begun_)];
  if (!next.is_ready(facts)) {
    const double patience = kPatienceSeconds * std::max(1.0, 1 / hurry_);
    if (static_cast<double>(now_ns - begun_ns_) * kNanosecond > patience) {
      throw std::runtime_error(fmt::format("waited in vain for: {}", next.awaited(facts)));
    }
    return false;
  }
  told_ = begun_;
  seconds_left_ = is_last() ? linger_seconds_ : next.seconds / hurry_;
  return true;
}

}  // namespace memtally::tools::demo
