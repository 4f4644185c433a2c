// SPDX-License-Identifier: Apache-2.0
//
// Check: one thing that `memtally doctor` looked at, and what it found.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace memtally::tools {

enum class CheckState : uint8_t {
  kOk,
  kWarning,  // works, but not as well as it could; or something that people should know
  kProblem,  // does not work
};

struct Check {
  std::string topic;  // one word, a name for programs: "directory"
  CheckState state = CheckState::kOk;
  std::string what;  // what was found; safe for a terminal
  std::string hint;  // what to do; empty if nothing is to be done
};

// The findings of one checkup.
class Checkup {
 public:
  void Ok(const char* topic, std::string what) { checks_.push_back({topic, CheckState::kOk, std::move(what), ""}); }
  void Warn(const char* topic, std::string what, std::string hint) {
    checks_.push_back({topic, CheckState::kWarning, std::move(what), std::move(hint)});
  }
  void Problem(const char* topic, std::string what, std::string hint) {
    checks_.push_back({topic, CheckState::kProblem, std::move(what), std::move(hint)});
  }

  const std::vector<Check>& checks() const { return checks_; }

 private:
  std::vector<Check> checks_;
};

// ---- the parts, each in a file of its own

struct TrackingSetup;

// Kernel, C library, /proc, containers and limits.
void CheckMachine(Checkup* checkup);

// Variables of the environment that memtally knows, or that look as if it should.
void CheckSettings(Checkup* checkup);

// The directory of ledgers, and what lies there.
void CheckDirectory(const TrackingSetup& setup, Checkup* checkup);
void CheckLedgers(const TrackingSetup& setup, Checkup* checkup);

// memtallyd, its clients, and whom it refused.
void CheckLegacyServer(Checkup* checkup);

// Drivers and what they publish: facts, nothing is judged.
void CheckDevices(Checkup* checkup);

// The terminal, for memtally top.
void CheckScreen(Checkup* checkup);

// Starts a process under the tracker, and reads its ledger.
void CheckTracking(const TrackingSetup& setup, Checkup* checkup);
// What that process does; its exit code.
int BeTracked();

}  // namespace memtally::tools
