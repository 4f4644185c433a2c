// SPDX-License-Identifier: Apache-2.0
//
// memtally channels: the ipc channels of the machine, who takes part in each, and what went through.
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/proc.hpp"
#include "channel/ipc_file.hpp"
#include "collect/json_writer.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

using channel::ChannelParticipant;
using channel::ChannelRecord;
using collect::JsonWriter;
using Align = TablePrinter::Align;

struct Arguments {
  ViewOptions view;
};

const char* ModeName(uint32_t mode) {
  switch (mode) {
    case MEMTALLY_CHANNEL_SPSC:
      return "spsc";
    case MEMTALLY_CHANNEL_MPSC:
      return "mpsc";
    default:
      return "broadcast";
  }
}

const char* RoleName(uint32_t role) {
  switch (role) {
    case MEMTALLY_CHANNEL_PRODUCER:
      return "producer";
    case MEMTALLY_CHANNEL_CONSUMER:
      return "consumer";
    default:
      return "handle";
  }
}

bool Counts(const ChannelRecord& record) { return (record.geometry.flags & MEMTALLY_CHANNEL_METRICS) != 0; }

std::string Sides(const ChannelRecord& record, uint32_t role) {
  std::string text;
  for (const ChannelParticipant& one : record.participants) {
    if (one.role != role) continue;
    text += fmt::format("{}{} ({}){}", text.empty() ? "" : ", ", TerminalText(one.comm, 16), one.pid,
                        one.alive ? "" : " dead");
  }
  return text.empty() ? "-" : text;
}

std::string Screen(const std::vector<ChannelRecord>& records, const ScreenFormat& format) {
  if (records.empty()) return "No ipc channel is there.\n";
  TablePrinter table({{"CHANNEL", Align::kLeft, 8, Cut::kBegin},
                      {"MODE", Align::kLeft},
                      {"RING", Align::kRight},
                      {"SENT", Align::kRight},
                      {"RECEIVED", Align::kRight},
                      {"DROPS", Align::kRight},
                      {"WAITS FULL", Align::kRight},
                      {"HIGH WATER", Align::kRight},
                      {"DEATHS", Align::kRight},
                      {"PRODUCERS", Align::kLeft, 10},
                      {"CONSUMERS", Align::kLeft, 10}});
  for (const ChannelRecord& record : records) {
    const std::string name = "ipc://" + TerminalText(record.name, 200);
    if (!record.fault.empty()) {
      table.AddNote(fmt::format("{}: {}", name, TerminalText(record.fault, 200)), Style::kRed);
      continue;
    }
    const ChannelMetrics& metrics = record.metrics;
    const auto counted = [&](uint64_t value) { return Counts(record) ? std::to_string(value) : std::string("-"); };
    table.AddRow({name, ModeName(record.geometry.mode), ScreenBytes(record.geometry.capacity),
                  counted(metrics.messages_sent), counted(metrics.messages_received),
                  counted(metrics.drops + metrics.overruns), counted(metrics.full_waits),
                  Counts(record) ? ScreenBytes(metrics.high_water_bytes) : "-",
                  std::to_string(metrics.producer_deaths + metrics.consumer_deaths),
                  Sides(record, MEMTALLY_CHANNEL_PRODUCER), Sides(record, MEMTALLY_CHANNEL_CONSUMER)});
    if (record.stopped) table.AddNote("  stopped");
    if (record.stale()) table.AddNote("  stale: all who had it died; the next one makes it anew", Style::kYellow);
  }
  return table.Text(format);
}

void WriteRecord(const ChannelRecord& record, JsonWriter* json) {
  json->BeginObject();
  json->Field("uri", "ipc://" + record.name);
  json->Field("path", record.path);
  json->Field("uid", uint64_t{record.uid});
  json->Field("fault", record.fault);
  json->Key("channel");
  if (!record.fault.empty()) {
    json->Null();
    return json->EndObject();
  }
  const ChannelMetrics& metrics = record.metrics;
  json->BeginObject();
  json->Field("mode", ModeName(record.geometry.mode));
  json->Field("ring_bytes", record.geometry.capacity);
  json->Field("alignment", uint64_t{record.geometry.alignment});
  json->Flag("metrics", Counts(record));
  json->Flag("sleepers_possible", (record.geometry.flags & MEMTALLY_CHANNEL_SLEEPERS) != 0);
  json->Flag("stopped", record.stopped);
  json->Flag("stale", record.stale());
  json->Field("created_realtime_ns", record.created_realtime_ns);
  json->Field("messages_sent", metrics.messages_sent);
  json->Field("bytes_sent", metrics.bytes_sent);
  json->Field("messages_received", metrics.messages_received);
  json->Field("bytes_received", metrics.bytes_received);
  json->Field("full_waits", metrics.full_waits);
  json->Field("empty_waits", metrics.empty_waits);
  json->Field("drops", metrics.drops);
  json->Field("overruns", metrics.overruns);
  json->Field("high_water_bytes", metrics.high_water_bytes);
  json->Field("producer_deaths", metrics.producer_deaths);
  json->Field("consumer_deaths", metrics.consumer_deaths);
  json->Field("abandoned", metrics.abandoned);
  json->Field("last_dead_pid", uint64_t{metrics.last_dead_pid});
  json->Field("last_sent_time_ns", metrics.last_sent_ns);
  json->Field("last_received_time_ns", metrics.last_received_ns);
  json->Key("participants");
  json->BeginArray();
  for (const ChannelParticipant& one : record.participants) {
    json->BeginObject();
    json->Field("role", RoleName(one.role));
    json->Field("pid", uint64_t{one.pid});
    json->Field("comm", one.comm);
    json->Flag("alive", one.alive);
    json->Field("joined_time_ns", one.joined_time_ns);
    json->Field("messages", one.counts.messages);
    json->Field("bytes", one.counts.bytes);
    json->EndObject();
  }
  json->EndArray();
  json->EndObject();
  json->EndObject();
}

std::string JsonText(const std::vector<ChannelRecord>& records, JsonWriter::Layout layout) {
  JsonWriter json(layout);
  json.BeginObject();
  json.Field("schema", "memtally.channels");
  json.Field("schema_version", uint64_t{1});
  json.Field("time_ns", base::MonotonicNs());
  json.Key("channels");
  json.BeginArray();
  for (const ChannelRecord& record : records) WriteRecord(record, &json);
  json.EndArray();
  json.EndObject();
  return json.Take();
}

int Run(const Arguments& arguments) {
  return RunView(arguments.view, "memtally channels", [](const FrameFormat& format) {
    std::string problem;
    const std::vector<ChannelRecord> records = channel::ListIpcChannels(&problem);
    Frame frame;
    if (!problem.empty()) {
      frame.complaints.push_back(TerminalText(problem, 500));
      frame.result = kFailure;
    }
    frame.text = format.json ? JsonText(records, format.layout) : Screen(records, format.screen);
    return frame;
  });
}

}  // namespace

void AddChannels(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* channels =
      app->add_subcommand("channels", "Lists the machine's ipc message channels, and what goes through");
  AddViewOptions(channels, "memtally.channels", &arguments->view);
  channels->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
