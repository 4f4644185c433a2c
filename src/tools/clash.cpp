// SPDX-License-Identifier: Apache-2.0
//
// memtally clash: programs that cannot run, because L1 buffers lie where their circular and dataflow buffers are.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collect/collector.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/device_names.hpp"
#include "tools/process_choice.hpp"
#include "tools/program_clash.hpp"
#include "tools/screen_units.hpp"
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

constexpr size_t kMostBuffers = 12;  // on a screen

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  std::optional<int32_t> device;
  std::optional<uint64_t> group;
};

std::vector<ProgramClash> ClashesOf(const ProcessSet& set, const Arguments& arguments) {
  std::vector<ProgramClash> clashes;
  for (const Process* process : set.processes) {
    for (ProgramClash& clash : FindProgramClashes(*process, arguments.device, arguments.group)) {
      clashes.push_back(std::move(clash));
    }
  }
  return clashes;
}

// ---- screen ----

std::string At(uint64_t address) { return fmt::format("{} ({:#x})", address, address); }

void AddOne(const ProcessSet& set, const DeviceNames& names, const ProgramClash& clash, const ScreenFormat& format,
            std::string* text) {
  const LedgerView& facts = clash.process->facts;
  const std::string program =
      clash.program.empty() ? "its circular and dataflow buffers" : TerminalText(clash.program, 100);
  AppendStyled(
      fmt::format("{} (pid {}, {}): {} on device {}", TerminalText(facts.identity.comm, 24), clash.process->pid,
                  collect::StateName(facts.liveness), program, names.of(*clash.process, clash.device)),
      Style::kBold, format.color, text);
  *text += fmt::format(
      "\n  its {} buffer{} on a core     {} to {}\n"
      "  lowest buffer in the way    {}, {} below that end\n"
      "  what would have to go       {} buffer{}, {} a bank of {}\n",
      clash.buffers, clash.buffers == 1 ? " " : "s", clash.begin, At(clash.end), At(clash.lowest()),
      ExactBytes(clash.end - std::max(clash.lowest(), clash.begin)), clash.in_the_way.size(),
      clash.in_the_way.size() == 1 ? "" : "s", ExactBytes(clash.bytes_per_bank), TerminalText(clash.memory, 20));
  TablePrinter table({{"ADDRESS", Align::kRight},
                      {"END", Align::kRight},
                      {"KIND", Align::kLeft},
                      {"A BANK", Align::kRight},
                      {"AGE", Align::kRight},
                      {"TAG", Align::kLeft, 12, Cut::kBegin}});
  for (size_t i = 0; i < clash.in_the_way.size() && i < kMostBuffers; ++i) {
    const LedgerBuffer& buffer = *clash.in_the_way[i];
    const LedgerAccount* account = collect::AccountAt(facts, buffer.account);
    const std::optional<uint64_t> age_ns = collect::AgeNs(*set.machine, facts, buffer.time_ns);
    table.AddRow({std::to_string(buffer.address), std::to_string(buffer.address + buffer.bytes_per_bank),
                  TerminalText(collect::KindName(facts, account->kind), 20), ScreenBytes(buffer.bytes_per_bank),
                  age_ns ? ScreenAge(*age_ns) : "-", ScreenTag(facts.tag_path(buffer.tag))});
  }
  *text += table.Text(format);
  if (clash.in_the_way.size() > kMostBuffers) {
    *text += fmt::format("... and {} more; --json has all\n", clash.in_the_way.size() - kMostBuffers);
  }
}

std::string ScreenText(const ProcessSet& set, const std::vector<ProgramClash>& clashes, const Arguments& arguments,
                       const ScreenFormat& format) {
  if (clashes.empty()) {
    return fmt::format("No {} lie where others are.\n",
                       arguments.group ? "buffers of the program" : "program's buffers");
  }
  std::string text;
  const DeviceNames names(*set.machine);
  for (const ProgramClash& clash : clashes) {
    if (!text.empty()) text += "\n";
    AddOne(set, names, clash, format, &text);
  }
  return text;
}

// ---- JSON ----

void WriteClash(const ProgramClash& clash, JsonWriter* json) {
  const LedgerView& facts = clash.process->facts;
  json->BeginObject();
  json->Key("process");
  collect::WriteProcess(*clash.process, {.accounts = false, .contents = false}, json);
  json->Field("device", clash.device);
  json->Field("memory", clash.memory);
  json->Field("group", clash.group);
  json->Field("program", clash.program);
  json->Field("buffers", clash.buffers);
  json->Field("begin", clash.begin);
  json->Field("end", clash.end);
  json->Field("bytes_per_bank", clash.bytes_per_bank);
  json->Key("in_the_way");
  json->BeginArray();
  for (const LedgerBuffer* buffer : clash.in_the_way) {
    json->BeginObject();
    json->Field("id", buffer->id);
    json->Field("kind", collect::KindName(facts, collect::AccountAt(facts, buffer->account)->kind));
    json->Field("address", buffer->address);
    json->Field("bytes_requested", buffer->bytes_requested);
    json->Field("bytes_per_bank", buffer->bytes_per_bank);
    json->Field("time_ns", buffer->time_ns);
    json->Field("tag", facts.tag_path(buffer->tag));
    json->EndObject();
  }
  json->EndArray();
  json->EndObject();
}

std::string JsonText(const ProcessSet& set, const std::vector<ProgramClash>& clashes, JsonWriter::Layout layout) {
  JsonWriter json(layout);
  json.BeginObject();
  collect::WriteHead("memtally.clash", *set.machine, &json);
  json.Key("clashes");
  json.BeginArray();
  for (const ProgramClash& clash : clashes) WriteClash(clash, &json);
  json.EndArray();
  collect::WriteProblems(*set.machine, &json);
  json.EndObject();
  return json.Take();
}

Frame MakeFrame(const Arguments& arguments, collect::Collector* collector, const FrameFormat& format) {
  Frame frame;
  const ProcessSet set = TakeChosen(collector, arguments.choice, &frame);
  const std::vector<ProgramClash> clashes = ClashesOf(set, arguments);
  frame.text = format.json ? JsonText(set, clashes, format.layout) : ScreenText(set, clashes, arguments, format.screen);
  return frame;
}

int Run(const Arguments& arguments) {
  collect::Collector collector(CollectorOptions(arguments.choice));
  return RunView(arguments.view, "memtally clash",
                 [&](const FrameFormat& format) { return MakeFrame(arguments, &collector, format); });
}

}  // namespace

void AddClash(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* clash =
      app->add_subcommand("clash", "Says which programs cannot run, because L1 buffers lie where theirs are");
  AddProcessOptions(clash, &arguments->choice);
  AddOwnerOptions(clash, &arguments->choice);
  clash->add_option("--device", arguments->device, "On this device only, by the program's own number")->type_name("N");
  clash->add_option("--group", arguments->group, "Of this program only, by its group's number in memtally buffers")
      ->type_name("ID");
  AddViewOptions(clash, "memtally.clash", &arguments->view);
  clash->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
