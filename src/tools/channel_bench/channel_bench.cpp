// SPDX-License-Identifier: Apache-2.0
#include "tools/channel_bench/channel_bench.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memtally/version.h>

#include "tools/channel_bench/channel_case.hpp"

namespace memtally::tools {

namespace {

const char* ModeName(ChannelMode mode) {
  switch (mode) {
    case ChannelMode::SPSC:
      return "SPSC";
    case ChannelMode::MPSC:
      return "MPSC";
    case ChannelMode::SPMC:
      return "SPMC";
    case ChannelMode::MPMC:
      return "MPMC";
  }
  return "?";
}

uint64_t MessagesFor(size_t bytes, bool quick) {
  const uint64_t usual = bytes <= 64 ? 10'000'000 : bytes <= 1024 ? 2'000'000 : 20'000;
  return quick ? usual / 20 : usual;
}

// Rows that differ in nothing but the batch.
struct Series {
  std::string transport;
  ChannelMode mode;
  bool broadcast;
  size_t bytes;
  std::string ModeText() const { return broadcast ? "BROADCAST" : ModeName(mode); }
  std::string Name() const { return fmt::format("{} {} {} bytes", transport, ModeText(), bytes); }
};

// As many threads as there are CPUs, four at most.
QueueCase CaseFor(const Series& series, size_t batch, bool quick) {
  const int cpus = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2, 4);
  QueueCase wanted{.mode = series.mode,
                   .broadcast = series.broadcast,
                   .processes = series.transport == "ipc",
                   .bytes = series.bytes,
                   .batch = batch,
                   .messages = MessagesFor(series.bytes, quick)};
  if (series.mode == ChannelMode::MPSC) wanted.producers = cpus - 1;
  if (series.mode == ChannelMode::SPMC && !wanted.processes) wanted.consumers = cpus - 1;
  if (series.mode == ChannelMode::MPMC) wanted.producers = wanted.consumers = cpus / 2;
  wanted.messages /= static_cast<uint64_t>(wanted.producers);
  return wanted;
}

nlohmann::json Row(const Series& series, size_t batch, const RoundTrip& trip, bool quick) {
  const QueueCase wanted = CaseFor(series, batch, quick);
  const std::vector<Peer> peers = series.broadcast ? std::vector<Peer>() : ChannelPeers();
  const int rounds = quick ? 3 : 7;
  std::vector<double> own;
  std::vector<std::vector<double>> others(peers.size());
  // One after the other within a round, so that whoever shares the machine disturbs all alike.
  for (int i = 0; i < rounds; ++i) {
    own.push_back(RunChannel(wanted, WaitStrategy::Spin));
    for (size_t p = 0; p < peers.size(); ++p) {
      // Who cannot do it says 0 the first time.
      if (i == 0 || others[p][0] > 0) others[p].push_back(peers[p].run(wanted));
    }
  }
  nlohmann::json row = {
      {"transport", series.transport}, {"mode", series.ModeText()},
      {"bytes", series.bytes},         {"batch", batch},
      {"producers", wanted.producers}, {"consumers", wanted.consumers},
      {"messages_per_s", Median(own)}, {"intact", std::find(own.begin(), own.end(), 0.0) == own.end()},
      {"rtt_p50_ns", trip.p50_ns},     {"rtt_p99_ns", trip.p99_ns},
      {"best_peer", nullptr},          {"best_peer_messages_per_s", nullptr}};
  double best = 0;
  for (size_t p = 0; p < peers.size(); ++p) {
    const double rate = Median(others[p]);
    if (rate <= best) continue;
    best = rate;
    row["best_peer"] = peers[p].name;
    row["best_peer_messages_per_s"] = rate;
  }
  row["line_rtt_ns"] = MeasureLine(quick ? 5'000 : 20'000).p50_ns;
  return row;
}

std::vector<Series> AllSeries() {
  using Mode = ChannelMode;
  std::vector<Series> all;
  for (const auto& [transport, mode, broadcast] : {std::tuple{"memory", Mode::SPSC, false},
                                                   {"memory", Mode::MPSC, false},
                                                   {"memory", Mode::SPMC, false},
                                                   {"memory", Mode::MPMC, false},
                                                   {"memory", Mode::SPMC, true},
                                                   {"ipc", Mode::SPSC, false},
                                                   {"ipc", Mode::MPSC, false},
                                                   {"ipc", Mode::SPMC, true}}) {
    for (const size_t bytes : {16, 64, 1024, 65536}) all.push_back({transport, mode, broadcast, bytes});
  }
  return all;
}

}  // namespace

bool ChannelBenchHas(const std::string& only) {
  const std::vector<Series> all = AllSeries();
  return std::any_of(all.begin(), all.end(),
                     [&](const Series& series) { return series.Name().find(only) != std::string::npos; });
}

nlohmann::json MeasureChannels(bool quick, const std::string& only,
                               const std::function<void(const std::string&)>& says) {
  nlohmann::json document = {{"schema", "memtally.bench.channels"},
                             {"schema_version", 1},
                             {"memtally_version", MEMTALLY_VERSION},
                             {"quick", quick},
                             {"cpus", std::thread::hardware_concurrency()}};
  const uint64_t rounds = quick ? 20'000 : 200'000;
  says("cache line, futex");
  const RoundTrip line = MeasureLine(rounds);
  const RoundTrip futex = MeasureFutex(quick ? 1'000 : 5'000);
  const RoundTrip parked =
      MeasureRoundTrip("ipc", OptionsFor(ChannelMode::SPSC, false, 56, WaitStrategy::Park), 56, quick ? 1'000 : 5'000);
  document["line_rtt_ns"] = line.p50_ns;
  document["line_rtt_p99_ns"] = line.p99_ns;
  document["line_pair_rtt_ns"] = MeasureLinePair(rounds).p50_ns;
  document["futex_rtt_ns"] = futex.p50_ns;
  document["ipc_parked_rtt_ns"] = parked.p50_ns;
  std::vector<double> loans(quick ? 3 : 7);
  for (double& rate : loans) rate = RunLoans(MessagesFor(64, quick));
  document["memory_spsc_64_byte_loans_messages_per_s"] = Median(loans);
  document["mpsc_two_pushing_messages_per_s"] = RunPushersOnly(quick ? 200'000 : 1'000'000);
  for (const auto& [transport, figure] : {std::pair{"memory", "memory_spsc_56_byte"}, {"ipc", "ipc_spsc_56_byte"}}) {
    const RoundTrip trip =
        MeasureRoundTrip(transport, OptionsFor(ChannelMode::SPSC, false, 56, WaitStrategy::Spin), 56, rounds);
    document[std::string(figure) + "_rtt_p50_ns"] = trip.p50_ns;
    document[std::string(figure) + "_rtt_p99_ns"] = trip.p99_ns;
  }
  document["rows"] = nlohmann::json::array();
  for (const Series& series : AllSeries()) {
    if (series.Name().find(only) == std::string::npos) continue;
    says(series.Name());
    const RoundTrip trip =
        MeasureRoundTrip(series.transport, OptionsFor(series.mode, series.broadcast, series.bytes, WaitStrategy::Spin),
                         series.bytes, series.bytes > 1024 ? rounds / 20 : rounds / 4);
    for (const size_t batch : {1, 32}) {
      if (batch > 1 && series.bytes > 1024) continue;
      document["rows"].push_back(Row(series, batch, trip, quick));
    }
  }
  return document;
}

std::string ChannelBenchTable(const nlohmann::json& document) {
  const auto number = [&](const char* name) { return document.at(name).get<double>(); };
  std::string text;
  text += fmt::format("{:<52}{:>10.0f}\n", "a cache line there and back, ns", number("line_rtt_ns"));
  text += fmt::format("{:<52}{:>10.0f}\n", "  two lines, one each way, ns", number("line_pair_rtt_ns"));
  text += fmt::format("{:<52}{:>10.0f}\n", "memory SPSC, 56 bytes there and back, p50 ns",
                      number("memory_spsc_56_byte_rtt_p50_ns"));
  text += fmt::format("{:<52}{:>10.0f}\n", "  p99 ns", number("memory_spsc_56_byte_rtt_p99_ns"));
  text += fmt::format("{:<52}{:>10.0f}\n", "ipc SPSC, 56 bytes there and back, p50 ns",
                      number("ipc_spsc_56_byte_rtt_p50_ns"));
  text += fmt::format("{:<52}{:>10.0f}\n", "  the same, both sides parked", number("ipc_parked_rtt_ns"));
  text += fmt::format("{:<52}{:>10.0f}\n", "  a bare futex there and back", number("futex_rtt_ns"));
  text += fmt::format("{:<52}{:>10.1f}\n", "memory SPSC, 64 bytes claimed and looked at, M/s",
                      number("memory_spsc_64_byte_loans_messages_per_s") / 1e6);
  text += fmt::format("{:<52}{:>10.1f}\n\n", "MPSC, two CPUs pushing and nobody receiving, M/s",
                      number("mpsc_two_pushing_messages_per_s") / 1e6);
  text += fmt::format("{:<10}{:<10}{:>7}{:>7}{:>10}{:>9}{:>9}{:>9}  {}\n", "TRANSPORT", "MODE", "BYTES", "BATCH", "M/s",
                      "P50 ns", "P99 ns", "LINE ns", "BEST PEER");
  for (const nlohmann::json& row : document.at("rows")) {
    std::string peer = "-";
    if (!row.at("best_peer").is_null()) {
      peer = fmt::format("{:.1f} {}", row.at("best_peer_messages_per_s").get<double>() / 1e6,
                         row.at("best_peer").get<std::string>());
    }
    text += fmt::format("{:<10}{:<10}{:>7}{:>7}{:>10.1f}{:>9.0f}{:>9.0f}{:>9.0f}  {}{}\n",
                        row.at("transport").get<std::string>(), row.at("mode").get<std::string>(),
                        row.at("bytes").get<size_t>(), row.at("batch").get<size_t>(),
                        row.at("messages_per_s").get<double>() / 1e6, row.at("rtt_p50_ns").get<double>(),
                        row.at("rtt_p99_ns").get<double>(), row.at("line_rtt_ns").get<double>(), peer,
                        row.at("intact").get<bool>() ? "" : "  NOT INTACT");
  }
  return text;
}

}  // namespace memtally::tools
