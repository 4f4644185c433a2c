// SPDX-License-Identifier: Apache-2.0
#include "tools/welcome.hpp"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "collect/collector.hpp"
#include "tools/screen_units.hpp"

namespace memtally::tools {
namespace {

// What there is to look at.
struct Situation {
  uint64_t living = 0;
  uint64_t dead_with_buffers = 0;
  uint64_t dead_held_bytes = 0;
  uint64_t problems = 0;
};

Situation LookAround() {
  Situation now;
  collect::Collector collector;
  const std::shared_ptr<const collect::Snapshot> snapshot = collector.Take();
  for (const collect::Process& process : snapshot->processes) {
    const bool holds = collect::LiveBuffers(process.facts) != 0;
    if (process.facts.liveness == Liveness::kAlive) {
      ++now.living;
    } else if (holds) {
      ++now.dead_with_buffers;
      now.dead_held_bytes += collect::HeldOnDevices(process.facts).bytes_reserved;
    }
  }
  now.problems = snapshot->problems.size();
  return now;
}

class Proposals {
 public:
  explicit Proposals(const std::vector<std::string>& commands) : commands_(commands) {}

  // Of "memtally <command> <arguments>", if there is such a command.
  void Add(const std::string& command, const std::string& arguments, const char* what) {
    if (std::find(commands_.begin(), commands_.end(), command) == commands_.end()) return;
    const std::string line = "memtally " + command + (arguments.empty() ? "" : " " + arguments);
    text_ += fmt::format("  {:<32} {}\n", line, what);
  }

  const std::string& text() const { return text_; }

 private:
  const std::vector<std::string>& commands_;
  std::string text_;
};

std::string Plural(uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

}  // namespace

std::string WelcomeText(const std::vector<std::string>& commands) {
  const Situation now = LookAround();
  std::string text = "memtally shows who holds device memory on this machine, down to the buffer.\n\n";
  Proposals proposals(commands);
  if (now.living == 0 && now.dead_with_buffers == 0) {
    text += "No process is tracked here now. To begin:\n\n";
    proposals.Add("demo", "", "shows what memtally does, without any device");
    proposals.Add("run", "-- COMMAND", "runs a program and says what it held, and what it left");
    proposals.Add("replay", "llama-1b-n150 --speed recorded", "plays a recording of a model, to look at");
    proposals.Add("ps", "", "processes that hold device memory, and what dead ones left");
  } else {
    if (now.living != 0) text += Plural(now.living, "process is", "processes are") + " tracked here now.\n";
    if (now.dead_with_buffers != 0) {
      text += fmt::format("{} device memory when {} ended: {}.\n",
                          Plural(now.dead_with_buffers, "process held", "processes held"),
                          now.dead_with_buffers == 1 ? "it" : "they", ScreenBytes(now.dead_held_bytes));
    }
    text += '\n';
    proposals.Add("top", "", "all of it, live");
    proposals.Add("ps", "", "processes and what they hold");
    proposals.Add("devices", "", "each device memory, and who holds most of it");
    proposals.Add("tags", "", "what holds memory, by the programs' own tags");
    proposals.Add("buffers", "--pid PID", "the buffers of one process, the largest first");
    if (now.dead_with_buffers != 0) proposals.Add("leaks", "", "what the dead held, by tag and age");
  }
  text += proposals.text();
  if (now.problems != 0) {
    text += fmt::format("\n{} could not be read: memtally ps says why.\n", Plural(now.problems, "ledger", "ledgers"));
  }
  return text + "\n  memtally --help, memtally ps --help, man memtally: everything else\n";
}

}  // namespace memtally::tools
