// SPDX-License-Identifier: Apache-2.0
//
// memtally oom: why an allocation did not fit, who holds the rest, and what would have to go.
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collect/collector.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/device_names.hpp"
#include "tools/number_option.hpp"
#include "tools/process_choice.hpp"
#include "tools/screen_units.hpp"
#include "tools/shortage.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/tag_option.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

using collect::JsonWriter;
using collect::Process;
using Align = TablePrinter::Align;

constexpr size_t kMostTags = 12;     // on a screen
constexpr size_t kMostBuffers = 12;  // on a screen
constexpr uint64_t kImpossible = std::numeric_limits<uint64_t>::max();

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  std::optional<int32_t> device;
  std::string kind;
  std::optional<uint64_t> bytes;
};

// What was asked for, or is supposed to be: --bytes, on the first account that matches.
std::optional<Demand> DemandOf(const Process& process, const Arguments& arguments) {
  if (!arguments.bytes) return LastFailure(process, arguments.device, arguments.kind);
  const LedgerView& facts = process.facts;
  for (const LedgerAccount& account : facts.accounts) {
    const LedgerKind* kind = facts.kind(account.kind);
    if (collect::KindName(facts, account.kind) != arguments.kind || (kind != nullptr && kind->overlaps)) continue;
    if (arguments.device &&
        (account.device >= facts.devices.size() || facts.devices[account.device].local_index != *arguments.device)) {
      continue;
    }
    const uint64_t banks = std::max<uint32_t>(account.banks, 1);
    Demand demand;
    demand.account = account.index;
    demand.bytes_requested = *arguments.bytes;
    demand.bytes_per_bank = *arguments.bytes / banks + (*arguments.bytes % banks != 0 ? 1 : 0);
    return demand;
  }
  return std::nullopt;
}

bool SharesAddresses(const Process& process, uint32_t account_index) {
  const LedgerAccount* account = collect::AccountAt(process.facts, account_index);
  const LedgerKind* kind = account == nullptr ? nullptr : process.facts.kind(account->kind);
  return kind != nullptr && kind->overlaps;
}

std::vector<Shortage> FindShortages(const ProcessSet& set, const Arguments& arguments) {
  std::vector<Shortage> shortages;
  for (const Process* process : set.processes) {
    const std::optional<Demand> demand = DemandOf(*process, arguments);
    if (!demand || SharesAddresses(*process, demand->account)) continue;
    shortages.push_back(Explain(*set.machine, *process, *demand));
  }
  return shortages;
}

// ---- screen ----

class Screen {
 public:
  Screen(const ProcessSet& set, const ScreenFormat& format) : set_(set), format_(format), names_(*set.machine) {}

  std::string Text(const Shortage& shortage) {
    text_.clear();
    AddHead(shortage);
    AddSpace(shortage);
    if (shortage.capacity_per_bank != 0 && !shortage.fits()) {
      AddTags(shortage);
      AddClearing(shortage);
    }
    AddOthers(shortage);
    return text_;
  }

 private:
  static std::string Name(const Process& process) {
    return fmt::format("{} (pid {}, {})", TerminalText(process.facts.identity.comm, 24), process.pid,
                       collect::StateName(process.facts.liveness));
  }

  void AddHead(const Shortage& shortage) {
    const Demand& demand = shortage.demand;
    const LedgerView& facts = shortage.process->facts;
    std::string head = Name(*shortage.process) + ": " + ExactBytes(demand.bytes_requested);
    head += fmt::format(" of {} on device {}", TerminalText(collect::KindName(facts, shortage.account->kind), 40),
                        names_.of(*shortage.process, shortage.account->device));
    if (!demand.time_ns) {
      head += shortage.fits() ? " would fit" : " would not fit";
    } else {
      head += " did not fit";
      const std::optional<uint64_t> age_ns = collect::AgeNs(*set_.machine, facts, *demand.time_ns);
      if (age_ns) head += fmt::format(", {} ago", ScreenAge(*age_ns));
      if (!demand.tag.empty()) head += ", under the tag " + ScreenTag(demand.tag);
      if (demand.thread_id != 0) head += fmt::format(", thread {}", demand.thread_id);
    }
    AppendStyled(head, Style::kBold, format_.color, &text_);
    text_ += "\n";
    if (demand.time_ns && shortage.events_since != 0) {
      text_ += fmt::format("  (the process has gone on since: {} events; what follows is as of now)\n",
                           shortage.events_since);
    }
  }

  void AddSpace(const Shortage& shortage) {
    const uint64_t needed = shortage.demand.bytes_per_bank;
    if (shortage.capacity_per_bank == 0) {
      text_ += "  The process never told how much there is: nothing can be said of what is free.\n";
      return;
    }
    const bool estimated = !shortage.demand.time_ns && shortage.account->banks > 1;
    text_ += fmt::format("  needed in each of {} banks  {}{}\n", shortage.account->banks, ExactBytes(needed),
                         estimated ? ", at least" : "");
    text_ +=
        fmt::format("  free in a bank              {} of {}, in {} block{}\n", ExactBytes(shortage.free_per_bank),
                    ExactBytes(shortage.capacity_per_bank), shortage.free_blocks, shortage.free_blocks == 1 ? "" : "s");
    text_ += fmt::format("  largest free block          {}\n", ExactBytes(shortage.largest_free_per_bank));
    if (shortage.held_per_bank > shortage.capacity_per_bank) {
      text_ += fmt::format("  More is held than there is: {} a bank.\n", ExactBytes(shortage.held_per_bank));
    } else if (shortage.is_fragmentation()) {
      text_ += "  Enough is free, but in pieces: this is fragmentation.\n";
    } else if (needed > shortage.capacity_per_bank) {
      text_ += "  It is larger than the whole memory.\n";
    } else if (!shortage.fits()) {
      text_ += fmt::format("  However it were arranged, {} a bank are missing.\n",
                           ExactBytes(needed - shortage.free_per_bank));
    } else if (shortage.demand.time_ns) {
      text_ += "  It would fit by now.\n";
    }
  }

  void AddTags(const Shortage& shortage) {
    if (shortage.tags.empty()) return;
    text_ += "\nWho holds the rest, and the largest free block in a bank if that were gone:\n";
    TablePrinter table({{"TAG", Align::kLeft, 12, Cut::kBegin},
                        {"BUFFERS", Align::kRight},
                        {"A BANK", Align::kRight},
                        {"%", Align::kRight},
                        {"LARGEST FREE WITHOUT", Align::kRight},
                        {"THEN IT FITS"}});
    for (size_t i = 0; i < shortage.tags.size() && i < kMostTags; ++i) {
      const collect::TagShare& share = shortage.tags[i];
      table.AddRow({share.tag.empty() ? "(untagged)" : ScreenTag(share.tag), std::to_string(share.count),
                    ScreenBytes(share.bytes_per_bank), ScreenPercent(share.bytes_per_bank, shortage.capacity_per_bank),
                    ScreenBytes(share.largest_free_without),
                    share.largest_free_without >= shortage.demand.bytes_per_bank ? "yes" : "no"});
    }
    text_ += table.Text(format_);
    if (shortage.tags.size() > kMostTags) {
      text_ += fmt::format("... and {} more tags; --json has all\n", shortage.tags.size() - kMostTags);
    }
  }

  void AddClearing(const Shortage& shortage) {
    const collect::Clearing& clearing = shortage.clearing;
    if (clearing.bytes_per_bank == kImpossible || clearing.buffers.empty()) return;
    text_ += fmt::format("\nThe least that would have to go: {} buffer{}, {} a bank, around address {:#x}:\n",
                         clearing.buffers.size(), clearing.buffers.size() == 1 ? "" : "s",
                         ExactBytes(clearing.bytes_per_bank), clearing.begin);
    TablePrinter table({{"ADDRESS", Align::kRight},
                        {"A BANK", Align::kRight},
                        {"REQUESTED", Align::kRight},
                        {"AGE", Align::kRight},
                        {"TAG", Align::kLeft, 12, Cut::kBegin}});
    const LedgerView& facts = shortage.process->facts;
    for (size_t i = 0; i < clearing.buffers.size() && i < kMostBuffers; ++i) {
      const LedgerBuffer& buffer = *clearing.buffers[i];
      const std::optional<uint64_t> age_ns = collect::AgeNs(*set_.machine, facts, buffer.time_ns);
      table.AddRow({fmt::format("{:#x}", buffer.address), ScreenBytes(buffer.bytes_per_bank),
                    ScreenBytes(buffer.bytes_requested), age_ns ? ScreenAge(*age_ns) : "-",
                    ScreenTag(facts.tag_path(buffer.tag))});
    }
    text_ += table.Text(format_);
    if (clearing.buffers.size() > kMostBuffers) {
      text_ += fmt::format("... and {} more; --json has all\n", clearing.buffers.size() - kMostBuffers);
    }
  }

  void AddOthers(const Shortage& shortage) {
    if (shortage.others.empty()) return;
    text_ += "\nOther processes that hold the same memory:\n";
    for (const OtherHolder& other : shortage.others) {
      text_ += fmt::format("  {}: {} in {} buffers\n", Name(*other.process), ExactBytes(other.live.bytes_reserved),
                           other.live.count);
    }
  }

  const ProcessSet& set_;
  const ScreenFormat format_;
  const DeviceNames names_;
  std::string text_;
};

std::string ScreenText(const ProcessSet& set, const std::vector<Shortage>& shortages, const Arguments& arguments,
                       const ScreenFormat& format) {
  if (shortages.empty()) {
    return arguments.bytes ? fmt::format("No process has {} memory there.\n", TerminalText(arguments.kind, 40))
                           : "No allocation has failed.\n";
  }
  std::string text;
  Screen screen(set, format);
  for (const Shortage& shortage : shortages) {
    if (!text.empty()) text += "\n";
    text += screen.Text(shortage);
  }
  return text;
}

// ---- JSON ----

void WriteDemand(const ProcessSet& set, const Shortage& shortage, JsonWriter* json) {
  const Demand& demand = shortage.demand;
  json->BeginObject();
  json->Field("bytes_requested", demand.bytes_requested);
  json->Field("bytes_per_bank", demand.bytes_per_bank);
  json->Field("tag", demand.tag);
  json->Field("thread_id", demand.thread_id);
  json->OptionalField("time_ns", demand.time_ns);
  json->OptionalField(
      "age_ns", demand.time_ns ? collect::AgeNs(*set.machine, shortage.process->facts, *demand.time_ns) : std::nullopt);
  json->EndObject();
}

void WriteClearing(const Shortage& shortage, JsonWriter* json) {
  const collect::Clearing& clearing = shortage.clearing;
  if (clearing.bytes_per_bank == kImpossible || shortage.capacity_per_bank == 0) {
    json->Null();
    return;
  }
  json->BeginObject();
  json->Field("address", clearing.begin);
  json->Field("bytes_per_bank", clearing.bytes_per_bank);
  json->Key("buffers");
  json->BeginArray();
  for (const LedgerBuffer* buffer : clearing.buffers) {
    json->BeginObject();
    json->Field("id", buffer->id);
    json->Field("address", buffer->address);
    json->Field("bytes_requested", buffer->bytes_requested);
    json->Field("bytes_per_bank", buffer->bytes_per_bank);
    json->Field("time_ns", buffer->time_ns);
    json->Field("tag", shortage.process->facts.tag_path(buffer->tag));
    json->EndObject();
  }
  json->EndArray();
  json->EndObject();
}

void WriteShortage(const ProcessSet& set, const Shortage& shortage, JsonWriter* json) {
  const LedgerAccount& account = *shortage.account;
  json->BeginObject();
  json->Key("process");
  collect::WriteProcess(*shortage.process, {.accounts = false, .contents = false}, json);
  json->Field("device", account.device);
  json->Field("kind", collect::KindName(shortage.process->facts, account.kind));
  json->Field("banks", account.banks);
  json->Key("demand");
  WriteDemand(set, shortage, json);
  json->Field("events_since", shortage.events_since);
  json->Field("capacity_bytes_per_bank", shortage.capacity_per_bank);
  json->Field("held_bytes_per_bank", shortage.held_per_bank);
  json->Field("free_bytes_per_bank", shortage.free_per_bank);
  json->Field("largest_free_bytes_per_bank", shortage.largest_free_per_bank);
  json->Field("free_blocks", shortage.free_blocks);
  json->Flag("fits", shortage.fits());
  json->Flag("fragmentation", shortage.is_fragmentation());
  json->Key("tags");
  json->BeginArray();
  for (const collect::TagShare& share : shortage.tags) {
    json->BeginObject();
    json->Field("tag", share.tag);
    json->Field("count", share.count);
    json->Field("bytes_per_bank", share.bytes_per_bank);
    json->Field("largest_free_bytes_per_bank_without", share.largest_free_without);
    json->EndObject();
  }
  json->EndArray();
  json->Key("clearing");
  WriteClearing(shortage, json);
  json->Key("others");
  json->BeginArray();
  for (const OtherHolder& other : shortage.others) {
    json->BeginObject();
    json->Key("process");
    collect::WriteProcess(*other.process, {.accounts = false, .contents = false}, json);
    json->Key("live");
    collect::WriteAmount(other.live, json);
    json->EndObject();
  }
  json->EndArray();
  json->EndObject();
}

std::string JsonText(const ProcessSet& set, const std::vector<Shortage>& shortages, JsonWriter::Layout layout) {
  JsonWriter json(layout);
  json.BeginObject();
  collect::WriteHead("memtally.oom", *set.machine, &json);
  json.Key("shortages");
  json.BeginArray();
  for (const Shortage& shortage : shortages) WriteShortage(set, shortage, &json);
  json.EndArray();
  collect::WriteProblems(*set.machine, &json);
  json.EndObject();
  return json.Take();
}

Frame MakeFrame(const Arguments& arguments, collect::Collector* collector, const FrameFormat& format) {
  Frame frame;
  ProcessSet set;
  if (arguments.bytes || arguments.choice.pid || !arguments.choice.ledger.empty()) {
    set = TakeChosen(collector, arguments.choice, &frame);
  } else {
    collector->Discover();
    set = TakeProcesses(collector, [&](const Process& process) {
      return IsChosen(process, arguments.choice) && LastFailure(process, arguments.device, arguments.kind).has_value();
    });
    frame.complaints = ProblemTexts(*set.machine);
  }
  const std::vector<Shortage> shortages = FindShortages(set, arguments);
  frame.text =
      format.json ? JsonText(set, shortages, format.layout) : ScreenText(set, shortages, arguments, format.screen);
  return frame;
}

int Run(const Arguments& arguments) {
  collect::Collector collector({.only_ledger = arguments.choice.ledger});
  return RunView(arguments.view, "memtally oom",
                 [&](const FrameFormat& format) { return MakeFrame(arguments, &collector, format); });
}

}  // namespace

void AddOom(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* oom = app->add_subcommand("oom", "Says why an allocation did not fit, and what would have to go");
  AddProcessOptions(oom, &arguments->choice);
  AddOwnerOptions(oom, &arguments->choice);
  oom->add_option("--device", arguments->device, "On this device only, by the program's own number")->type_name("N");
  CLI::Option* kind =
      oom->add_option("--kind", arguments->kind, "Of this kind only, such as dram or l1")->type_name("KIND");
  oom->add_option("--bytes", arguments->bytes,
                  "Suppose that so many bytes were asked for, instead of the last allocation that failed")
      ->check(NotNegative())
      ->needs(kind)
      ->type_name("N");
  AddViewOptions(oom, "memtally.oom", &arguments->view);
  oom->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
