// SPDX-License-Identifier: Apache-2.0
//
// Storyteller: which step of the story it is, and when the next one comes.  Knows no terminal.
#pragma once

#include <cstdint>
#include <string>

#include "tools/demo/stage.hpp"
#include "tools/demo/story.hpp"

namespace memtally::tools::demo {

class Storyteller {
 public:
  // `hurry`: how many times faster than the usual pace.  `linger_seconds`: how long the last step stays.  The stage
  // must outlive it.
  Storyteller(Stage* stage, double hurry, double linger_seconds);

  // Goes on where it is time, or where somebody wanted it.  Returns true if another step is told now.  Throws
  // std::runtime_error, also if what a step waits for does not come.
  bool Advance(const Facts& facts, uint64_t now_ns);

  // Does not wait for the time of the next step.
  void WantNext();
  // Programs and story stand still, or go on.
  void SetPaused(bool paused);
  bool paused() const { return paused_; }
  // Somebody looks around: programs go on, the story waits for WantNext.
  void Hold() { held_ = true; }
  bool held() const { return held_; }

  // The step that is told.  Before the first: null.
  const Step* step() const { return told_ < 0 ? nullptr : &Story()[static_cast<size_t>(told_)]; }
  int number() const { return told_ + 1; }
  bool is_last() const { return number() == static_cast<int>(Story().size()); }
  // The last step has had its time, or the person wanted to go on from there.
  bool is_over() const { return over_; }
  // Until the story goes on or ends by itself.
  double seconds_left() const { return seconds_left_; }
  // What is awaited for the next step, "" nothing.
  std::string Awaited(const Facts& facts) const;

 private:
  void Begin(int step);

  Stage& stage_;
  const double hurry_;
  const double linger_seconds_;
  int told_ = -1;
  int begun_ = -1;  // told_ + 1 while the next step's condition is awaited
  double seconds_left_ = 0;
  uint64_t last_ns_ = 0;
  uint64_t begun_ns_ = 0;
  bool paused_ = false;
  bool held_ = false;
  bool wanted_ = false;
  bool over_ = false;
};

}  // namespace memtally::tools::demo
