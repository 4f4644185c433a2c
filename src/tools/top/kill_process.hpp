// SPDX-License-Identifier: Apache-2.0
//
// Sends a signal to the very process that a person was asked about, never to another one that has its pid by now.
#pragma once

#include <array>
#include <csignal>
#include <string>

#include "collect/snapshot.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

struct KillSignal {
  int number;
  const char* name;
};
inline constexpr std::array<KillSignal, 5> kKillSignals = {
    {{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGHUP, "SIGHUP"}, {SIGQUIT, "SIGQUIT"}, {SIGKILL, "SIGKILL"}}};

// Why this process cannot be sent anything, in words; "" if it can.
std::string WhyNotKill(const collect::Process& process);

// REQUIRES: WhyNotKill said "".
KillOrder MakeKillOrder(const collect::Process& process);

// Checks once more that the process lives and is the same, and sends.  Returns "" or, in words, why nothing was sent.
std::string SendSignal(const KillOrder& order);

}  // namespace memtally::tools::top
