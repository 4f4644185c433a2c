// SPDX-License-Identifier: Apache-2.0
#include "tools/run/run_verdict.hpp"

#include <algorithm>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "collect/snapshot.hpp"
#include "tools/run/child.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

std::string Shown(const std::string& text) { return TerminalText(text, 60); }

std::string PlaceName(const RunFacts& facts, const RunPlace& place) {
  return fmt::format("device {}, {}", DeviceName(facts.devices[place.device]), Shown(place.name));
}

void JudgeLeaks(const RunFacts& facts, std::vector<Failing>* failing) {
  uint64_t processes = 0;
  Amount sum;
  for (const RunProcess& process : facts.processes) {
    bool any = false;
    for (const TagSum& left : process.left) {
      if (left.suppressed) continue;
      any = true;
      sum.count += left.amount.count;
      sum.bytes_reserved += left.amount.bytes_reserved;
    }
    processes += any ? 1 : 0;
  }
  if (sum.count == 0) return;
  failing->push_back({"leak", fmt::format("{} buffer{} of {} process{} {} never given back: {} reserved", sum.count,
                                          sum.count == 1 ? "" : "s", processes, processes == 1 ? "" : "es",
                                          sum.count == 1 ? "was" : "were", ScreenBytes(sum.bytes_reserved))});
}

void JudgeLimit(const RunFacts& facts, const SizeLimit& limit, std::vector<Failing>* failing) {
  for (const RunPlace& place : facts.places) {
    if (limit.kind.empty() ? !place.is_memory : place.is_memory || place.name != limit.kind) continue;
    if (place.peak_reserved > limit.bytes) {
      failing->push_back(
          {"limit", fmt::format("{}: the peak, {} reserved, is above the limit of {}", PlaceName(facts, place),
                                ScreenBytes(place.peak_reserved), Shown(limit.text))});
    }
  }
}

void JudgeStrictly(const RunFacts& facts, std::vector<Failing>* failing) {
  const auto fail = [failing](std::string what) { failing->push_back({"strict", std::move(what)}); };
  for (const NamedSum& anomaly : Anomalies(facts)) {
    if (anomaly.name == collect::AnomalyName(MEMTALLY_ANOMALY_AFTER_CLOSE)) continue;
    fail(fmt::format("anomaly {}: {} times", anomaly.name, anomaly.count));
  }
  for (const NamedSum& loss : LossesOf(facts)) {
    // What the program itself did not want recorded is no loss.
    if (loss.name != "paused_events") fail(fmt::format("not recorded: {} {}", loss.name, loss.count));
  }
  for (const RunProcess& process : facts.processes) {
    if (process.facts.gaps.empty()) continue;
    fail(fmt::format("the ledger of process {} has gaps: {}", facts.holders[process.holder].pid,
                     TerminalText(process.facts.gaps.front(), 120)));
  }
  if (facts.foreign_ledgers != 0) {
    fail(fmt::format("{} ledgers of other users name this launch and were left out", facts.foreign_ledgers));
  }
  if (facts.processes.empty()) fail("nothing was tracked");
}

}  // namespace

std::string DeviceName(const RunDevice& device) {
  const std::string& name = device.facts.architecture.empty() ? device.facts.vendor : device.facts.architecture;
  if (name.empty()) return std::to_string(device.facts.local_index);
  return fmt::format("{}:{}", device.facts.local_index, TerminalText(name, 32));
}

std::vector<NamedSum> Anomalies(const RunFacts& facts) {
  std::vector<NamedSum> sums;
  for (uint32_t i = 0; i < MEMTALLY_ANOMALIES; ++i) {
    NamedSum sum{collect::AnomalyName(i)};
    for (const RunProcess& process : facts.processes) {
      sum.count += process.facts.anomalies[i].count;
      sum.bytes_requested += process.facts.anomalies[i].bytes_requested;
    }
    if (sum.count != 0) sums.push_back(std::move(sum));
  }
  return sums;
}

std::vector<NamedSum> LossesOf(const RunFacts& facts) {
  std::vector<NamedSum> sums;
  for (const RunProcess& process : facts.processes) {
    for (const collect::NamedCount& loss : collect::Losses(process.facts.counters)) {
      if (loss.count == 0) continue;
      const auto known =
          std::find_if(sums.begin(), sums.end(), [&](const NamedSum& sum) { return sum.name == loss.name; });
      if (known != sums.end()) {
        known->count += loss.count;
      } else {
        sums.push_back({loss.name, loss.count, 0});
      }
    }
  }
  return sums;
}

void Suppress(Suppressions* suppressions, RunFacts* facts) {
  for (RunProcess& process : facts->processes) {
    for (TagSum& left : process.left) left.suppressed = suppressions->Find(left.tag) != nullptr;
  }
}

std::vector<Failing> Judge(const RunFacts& facts, const RunChecks& checks) {
  std::vector<Failing> failing;
  if (checks.fail_on_leak) JudgeLeaks(facts, &failing);
  for (const SizeLimit& limit : checks.limits) JudgeLimit(facts, limit, &failing);
  if (checks.strict) JudgeStrictly(facts, &failing);
  return failing;
}

int ExitCodeOf(const RunFacts& facts, const std::vector<Failing>& failing) {
  const int own = ExitCodeOf(facts.status);
  if (own != 0) return own;
  return failing.empty() ? kSuccess : kCheckFailed;
}

}  // namespace memtally::tools
