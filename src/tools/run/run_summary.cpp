// SPDX-License-Identifier: Apache-2.0
#include "tools/run/run_summary.hpp"

#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "tools/screen_units.hpp"
#include "tools/table_printer.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr size_t kMostShares = 8;
constexpr size_t kMostLeaks = 12;
constexpr size_t kMostReleased = 3;
constexpr size_t kMostFailures = 5;
constexpr size_t kMostProcesses = 12;

std::string Shown(const std::string& text, size_t columns = 60) { return TerminalText(text, columns); }

std::string TagText(const Share& share) {
  if (!share.tag_known) return "(tag not known)";
  return share.tag.empty() ? "(no tag)" : TerminalText(share.tag, 60, Cut::kBegin);
}

class Summary {
 public:
  explicit Summary(const RunFacts& facts) : facts_(facts) {}

  std::string Text() {
    Head();
    if (facts_.processes.empty()) {
      NothingTracked();
    } else {
      Places();
      Peaks();
      Failures();
      Leaks();
      Notes();
    }
    return std::move(text_);
  }

 private:
  template <typename... T>
  void Line(fmt::format_string<T...> format, T&&... arguments) {
    text_ += "  ";
    text_ += fmt::format(format, std::forward<T>(arguments)...);
    text_ += '\n';
  }

  void Table(const TablePrinter& table) {
    const std::string lines = table.Text();
    for (size_t begin = 0; begin < lines.size();) {
      const size_t end = lines.find('\n', begin);
      Line("{}", lines.substr(begin, end - begin));
      begin = end + 1;
    }
  }

  void Head() {
    const std::string how =
        WIFSIGNALED(facts_.status)
            ? fmt::format("killed by signal {} ({})", WTERMSIG(facts_.status), strsignal(WTERMSIG(facts_.status)))
            : fmt::format("exit code {}", WEXITSTATUS(facts_.status));
    text_ += fmt::format("memtally: {}: {} after {}; {} process{} tracked\n", Shown(facts_.name), how,
                         ScreenAge(facts_.ended_ns - facts_.started_ns), facts_.processes.size(),
                         facts_.processes.size() == 1 ? "" : "es");
  }

  void NothingTracked() {
    Line("nothing was tracked. Why this may be:");
    bool any = false;
    for (const Finding& finding : facts_.warnings) {
      if (finding.code != "disabled" && finding.code != "directory" && finding.code != "library") continue;
      Line("  - {}{}{}", finding.what, finding.hint.empty() ? "" : "; ", finding.hint);
      any = true;
    }
    for (const Finding& finding : facts_.inspection.findings) {
      Line("  - {}{}{}", finding.what, finding.hint.empty() ? "" : "; ", finding.hint);
      any = true;
    }
    if (!any) {
      Line("  - no process called an allocator that reports to memtally. A program reports through memtally/track.h,");
      Line("    or through a framework that does");
      Line("  - it did so in a process that was started with an empty environment, or in another container");
    }
    Line("  'memtally doctor -- COMMAND' looks closer.");
  }

  // Indices of places that were used, memories only where they are more than one kind.
  std::vector<size_t> Order() const {
    std::vector<size_t> order;
    for (size_t i = 0; i < facts_.places.size(); ++i) {
      const RunPlace& place = facts_.places[i];
      const bool used = place.allocated.count != 0 || place.failed_allocations != 0;
      if (used && (!place.is_memory || place.kinds > 1)) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) {
      const RunPlace& left = facts_.places[a];
      const RunPlace& right = facts_.places[b];
      return std::pair(left.device, left.overlaps) < std::pair(right.device, right.overlaps);
    });
    return order;
  }

  std::string PlaceName(const RunPlace& place) const {
    return Shown(place.name, 24) + (place.is_memory ? " (all)" : "") + (place.overlaps ? "*" : "");
  }

  void Places() {
    using Align = TablePrinter::Align;
    const std::vector<size_t> order = Order();
    if (order.empty()) {
      Line("no buffer was allocated");
      return;
    }
    TablePrinter table({{"DEVICE"},
                        {"KIND"},
                        {"PEAK", Align::kRight},
                        {"%", Align::kRight},
                        {"REQUESTED", Align::kRight},
                        {"ALLOCATED", Align::kRight},
                        {"BUFFERS", Align::kRight},
                        {"FAILED", Align::kRight},
                        {"LEFT", Align::kRight}});
    bool slack = false;
    bool overlaps = false;
    for (const size_t i : order) {
      const RunPlace& place = facts_.places[i];
      slack = slack || place.peak_reserved_slack != 0;
      overlaps = overlaps || place.overlaps;
      table.AddRow({DeviceName(facts_.devices[place.device]), PlaceName(place),
                    ScreenBytes(place.peak_reserved) + (place.peak_reserved_slack != 0 ? "+" : ""),
                    place.overlaps ? "-" : ScreenPercent(place.peak_reserved, place.capacity_bytes),
                    ScreenBytes(place.peak_requested) + (place.peak_requested_slack != 0 ? "+" : ""),
                    ScreenBytes(place.allocated.bytes_reserved), std::to_string(place.allocated.count),
                    std::to_string(place.failed_allocations),
                    place.left.count != 0 ? ScreenBytes(place.left.bytes_reserved) : "-"});
    }
    Table(table);
    if (overlaps) Line("* buffers of this kind share addresses: the sum is not what the memory lost");
    if (slack) Line("+ the peak may have been higher: several threads or processes held it together");
  }

  std::string HowExact(const Moment& moment, const RunPlace& place) const {
    if (moment.exact) return "exact";
    const bool by_requested = place.peak_reserved == 0;
    const uint64_t peak = by_requested ? place.peak_requested : place.peak_reserved;
    const uint64_t seen = by_requested ? moment.total.bytes_requested : moment.total.bytes_reserved;
    return fmt::format("sampled: at {} % of the peak", ScreenPercent(seen, peak));
  }

  void Shares(const Moment& moment) {
    std::set<std::string> kinds;
    std::set<size_t> holders;
    for (const Share& share : moment.shares) {
      kinds.insert(share.kind);
      holders.insert(share.holder);
    }
    Amount rest = moment.rest;
    for (size_t i = 0; i < moment.shares.size(); ++i) {
      const Share& share = moment.shares[i];
      if (i >= kMostShares) {
        rest.count += share.amount.count;
        rest.bytes_reserved += share.amount.bytes_reserved;
        rest.bytes_requested += share.amount.bytes_requested;
        continue;
      }
      const Holder& holder = facts_.holders[share.holder];
      const bool many = holders.size() > 1 || !holder.of_launch;
      Line("  {:>10}  {:>6} x  {}{}{}", BytesOf(share.amount, moment), share.amount.count, TagText(share),
           kinds.size() > 1 ? fmt::format("  [{}]", Shown(share.kind, 24)) : "",
           many ? fmt::format("  in {} {}{}", holder.pid, Shown(holder.command, 20),
                              holder.of_launch ? "" : ", not of this run")
                : "");
    }
    if (rest.count != 0) Line("  {:>10}  {:>6} x  everything else", BytesOf(rest, moment), rest.count);
  }

  static std::string BytesOf(const Amount& amount, const Moment& moment) {
    return ScreenBytes(moment.total.bytes_reserved == 0 ? amount.bytes_requested : amount.bytes_reserved);
  }

  void Peaks() {
    for (const size_t i : Order()) {
      const RunPlace& place = facts_.places[i];
      // The highest sum of buffers that share addresses is no peak of anything.
      if (!place.at_peak || place.is_memory || place.overlaps || place.at_peak->shares.empty()) continue;
      Line("held at the peak of {} {} ({}):", DeviceName(facts_.devices[place.device]), PlaceName(place),
           HowExact(*place.at_peak, place));
      Shares(*place.at_peak);
    }
  }

  void Failures() {
    uint64_t all = 0;
    for (const RunPlace& place : facts_.places) all += place.is_memory ? 0 : place.failed_allocations;
    if (all == 0) return;
    for (size_t i = 0; i < facts_.failures.size() && i < kMostFailures; ++i) {
      const FailedAllocation& failure = facts_.failures[i];
      const Holder& asker = facts_.holders[facts_.processes[failure.process].holder];
      Line("FAILED after {}: {} of {} on {}, asked by {} {}, thread {}, under {}",
           ScreenAge(failure.time_ns > facts_.started_ns ? failure.time_ns - facts_.started_ns : 0),
           ScreenBytes(failure.bytes_requested), Shown(failure.kind, 24), DeviceName(facts_.devices[failure.device]),
           asker.pid, Shown(asker.command, 20), failure.thread_id,
           failure.tag.empty() ? "no tag" : TerminalText(failure.tag, 60, Cut::kBegin));
      const Moment& held = failure.held;
      Line("  {} was held then{} ({}):", ScreenBytes(held.total.bytes_reserved),
           failure.capacity_bytes != 0 ? fmt::format(", {} % of the asker's {}",
                                                     ScreenPercent(held.total.bytes_reserved, failure.capacity_bytes),
                                                     ScreenBytes(failure.capacity_bytes))
                                       : "",
           held.exact ? "exact" : fmt::format("sampled: {} later", ScreenAge(held.distance_ns)));
      Shares(held);
    }
    const uint64_t told = std::min<uint64_t>(facts_.failures.size(), kMostFailures);
    if (all > told) Line("  and {} more allocations failed", all - told);
  }

  void Leaks() {
    Left("LEAKED, neither given back nor its device closed", kMostLeaks, &RunProcess::left);
    Left("released by closing the device, never freed", kMostReleased, &RunProcess::released);
  }

  void Left(const char* heading, size_t most, std::vector<TagSum> RunProcess::*which) {
    // By place and tag, over all processes.
    Amount all;
    Amount suppressed;
    std::map<std::pair<size_t, std::string>, std::pair<Amount, std::vector<const RunProcess*>>> sums;
    for (const RunProcess& process : facts_.processes) {
      for (const TagSum& one : process.*which) {
        if (one.suppressed) {
          suppressed.count += one.amount.count;
          suppressed.bytes_requested += one.amount.bytes_requested;
          suppressed.bytes_reserved += one.amount.bytes_reserved;
          continue;
        }
        auto& [amount, processes] = sums[{one.place, one.tag}];
        for (Amount* sum : {&amount, &all}) {
          sum->count += one.amount.count;
          sum->bytes_requested += one.amount.bytes_requested;
          sum->bytes_reserved += one.amount.bytes_reserved;
        }
        processes.push_back(&process);
      }
    }
    if (suppressed.count != 0) {
      Line("suppressed leaks: {} buffer{}, {}", suppressed.count, suppressed.count == 1 ? "" : "s",
           BytesOf(suppressed));
    }
    if (sums.empty()) return;
    std::vector<decltype(sums)::const_iterator> order;
    for (auto entry = sums.cbegin(); entry != sums.cend(); ++entry) order.push_back(entry);
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      const Amount& left = a->second.first;
      const Amount& right = b->second.first;
      return std::tie(left.bytes_reserved, left.bytes_requested) >
             std::tie(right.bytes_reserved, right.bytes_requested);
    });
    Line("{}: {} buffer{}, {}", heading, all.count, all.count == 1 ? "" : "s", BytesOf(all));
    for (size_t i = 0; i < order.size() && i < most; ++i) {
      const auto& [key, sum] = *order[i];
      const auto& [amount, processes] = sum;
      const RunPlace& place = facts_.places[key.first];
      const Holder& holder = facts_.holders[processes.front()->holder];
      Line("  {:>10}  {:>6} x  {}  [{}]  in {}", BytesOf(amount), amount.count,
           key.second.empty() ? "(no tag)" : TerminalText(key.second, 60, Cut::kBegin), Shown(place.name, 24),
           processes.size() == 1 ? fmt::format("{} {}", holder.pid, Shown(holder.command, 20))
                                 : fmt::format("{} processes", processes.size()));
    }
    if (order.size() > most) Line("  and {} more tags", order.size() - most);
  }

  // What the memory lost, or, where the program does not say that, what was asked for.
  static std::string BytesOf(const Amount& amount) {
    return ScreenBytes(amount.bytes_reserved != 0 ? amount.bytes_reserved : amount.bytes_requested);
  }

  void Notes() {
    std::string list;
    for (const NamedSum& anomaly : Anomalies(facts_)) {
      list += fmt::format("{}{} {}", list.empty() ? "" : ", ", anomaly.name, anomaly.count);
      if (anomaly.bytes_requested != 0) list += fmt::format(" ({})", ScreenBytes(anomaly.bytes_requested));
    }
    if (!list.empty()) Line("anomalies: {}", list);
    list.clear();
    for (const NamedSum& loss : LossesOf(facts_)) {
      list += fmt::format("{}{} {}", list.empty() ? "" : ", ", loss.name,
                          loss.name == "lost_bytes" ? ScreenBytes(loss.count) : std::to_string(loss.count));
    }
    if (!list.empty()) Line("not recorded: {}", list);
    size_t shown = 0;
    for (const RunProcess& process : facts_.processes) {
      for (const std::string& gap : process.facts.gaps) {
        if (shown++ < kMostProcesses) Line("gap: process {}: {}", facts_.holders[process.holder].pid, Shown(gap, 160));
      }
    }
    if (facts_.foreign_ledgers != 0) {
      Line("{} ledgers of other users name this run; they were left out", facts_.foreign_ledgers);
    }
    list.clear();
    size_t count = 0;
    for (const RunProcess& process : facts_.processes) {
      if (!process.goes_on) continue;
      const Holder& holder = facts_.holders[process.holder];
      if (count++ < kMostProcesses) {
        list += fmt::format("{}{} {}", list.empty() ? "" : ", ", holder.pid, Shown(holder.command, 20));
      }
    }
    if (count > kMostProcesses) list += ", ...";
    if (count != 0) {
      Line("{} process{} of this run go{} on: {}. What they hold is not counted as left; see memtally ps", count,
           count == 1 ? "" : "es", count == 1 ? "es" : "", list);
    }
  }

  const RunFacts& facts_;
  std::string text_;
};

}  // namespace

std::string RunSummary(const RunFacts& facts) { return Summary(facts).Text(); }

std::string FailingChecks(const std::vector<Failing>& failing) {
  std::string text;
  for (const Failing& one : failing) text += fmt::format("memtally: CHECK FAILED ({}): {}\n", one.check, one.what);
  return text;
}

}  // namespace memtally::tools
