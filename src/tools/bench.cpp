// SPDX-License-Identifier: Apache-2.0
//
// memtally bench: measures what tracking costs on this machine, beside what other ways of reporting would cost in the
// same run.
#include <fcntl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memtally/version.h>

#include "tools/channel_bench/channel_bench.hpp"
#include "tools/event_bench.hpp"
#include "tools/output.hpp"
#include "tools/subcommand.hpp"

namespace memtally::tools {

namespace {

struct BenchOptions {
  bool json = false;
  bool quick = false;
  std::string part;  // run this one here, and print its figures
  std::string only;  // rows of channels
};

const BenchPart* FindPart(const std::string& name) {
  for (const BenchPart& part : EventBenchParts()) {
    if (name == part.name) return &part;
  }
  return nullptr;
}

// Runs one part in a process of its own, with ledgers in `directory`.  False if it did not end well.
bool RunPart(const BenchPart& part, bool quick, const std::string& directory, nlohmann::json* figures) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    setenv("MEMTALLY_DIR", directory.c_str(), 1);
    setenv("MEMTALLY", part.tracking ? "1" : "0", 1);
    unsetenv("MEMTALLY_LOG");
    unsetenv("TT_ALLOC_TRACKING_ENABLED");
    dup2(ends[1], STDOUT_FILENO);
    const char* const arguments[] = {"memtally", "bench", "events", "--part", part.name, quick ? "--quick" : nullptr,
                                     nullptr};
    execv("/proc/self/exe", const_cast<char* const*>(arguments));
    _exit(127);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !parsed.is_object()) return false;
  figures->update(parsed);
  return true;
}

double Figure(const nlohmann::json& figures, const char* name) {
  return figures.contains(name) ? figures[name].get<double>() : 0;
}

void AddRatios(nlohmann::json* figures) {
  const double event = Figure(*figures, "event_ns_1k");
  if (event > 0) (*figures)["socket_sends_per_event"] = Figure(*figures, "socket_send_ns") / event;
  const double read = Figure(*figures, "random_read_ns_1m");
  if (read > 0) (*figures)["random_reads_per_random_event"] = Figure(*figures, "event_ns_1m_random") / read;
}

std::string Table(const nlohmann::json& figures) {
  struct Row {
    const char* figure;
    const char* says;
    const char* goal;
  };
  static constexpr Row kRows[] = {
      {"event_ns_1k", "event, 1 k live, random victims", "<= 12"},
      {"event_ns_1k_scattered", "  the same, ids spread over all numbers", ""},
      {"event_ns_1m_fifo", "event, 1 M live, first in first out", "<= 60"},
      {"event_ns_1m_fifo_scattered", "  the same, ids spread over all numbers", ""},
      {"event_ns_1m_random", "event, 1 M live, random victims", ""},
      {"event_ns_1m_random_scattered", "  the same, ids spread over all numbers", ""},
      {"random_read_ns_1m", "one random read over the same bytes", ""},
      {"random_reads_per_random_event", "  random reads that such an event costs", "<= 1.5"},
      {"time_stamp_ns", "one time stamp", ""},
      {"mutex_ns", "mutex, lock and unlock", ""},
      {"ioctl_ns", "the cheapest ioctl", ""},
      {"socket_send_ns", "112-byte blocking send on a Unix socket", ""},
      {"socket_sends_per_event", "  events that such a send costs", ">= 50"},
      {"two_thread_ratio", "two threads against one, rate", ">= 1.9"},
      {"cross_thread_free_ns", "allocation here and free on another thread", ""},
      {"disabled_ns", "a call with tracking off", "<= 0.5"},
      {"ledger_idle_bytes", "ledger of an idle process, bytes", "8192"},
      {"ledger_fixed_bytes", "ledger without buffers, recorder full, bytes", "<= 524288"},
      {"ledger_bytes_per_buffer_100k", "bytes a live buffer at 100 k, index included", "<= 48"},
      {"ledger_bytes_per_buffer", "bytes a live buffer at 1 M, index included", "<= 48"},
      {"read_totals_us", "reading the totals, us", "<= 20"},
      {"read_buffers_ms", "reading 1 M buffers, ms", "<= 50"},
      {"writer_slowdown", "writer read every 100 ms against not read", "<= 1.01"},
  };
  std::string text;
  for (const Row& row : kRows) {
    if (!figures.contains(row.figure)) continue;
    text += fmt::format("{:<48}{:>12.2f}  {}\n", row.says, figures[row.figure].get<double>(), row.goal);
  }
  return text;
}

int RunAllParts(const BenchOptions& options) {
  std::string pattern = "/dev/shm/memtally-bench-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    Complain("cannot make a directory in /dev/shm for the measurements; is it mounted and writable?");
    return kFailure;
  }
  nlohmann::json figures = nlohmann::json::object();
  int result = kSuccess;
  for (const BenchPart& part : EventBenchParts()) {
    if (!options.json) Complain(fmt::format("measuring: {}", part.says));
    if (!RunPart(part, options.quick, pattern, &figures)) {
      Complain(fmt::format("the measurement \"{}\" did not end well; its figures are missing", part.says));
      result = kFailure;
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(pattern, ignored);
  AddRatios(&figures);
  figures["schema"] = "memtally.bench";
  figures["schema_version"] = 1;
  figures["quick"] = options.quick;
  figures["memtally_version"] = MEMTALLY_VERSION;
  const int written = WriteOutput(options.json ? figures.dump(2) + "\n" : Table(figures));
  return result != kSuccess ? result : written;
}

int RunChannelBench(const BenchOptions& options) {
  const nlohmann::json document = MeasureChannels(options.quick, options.only, [&](const std::string& what) {
    if (!options.json) Complain("measuring: " + what);
  });
  bool intact = true;
  for (const nlohmann::json& row : document.at("rows")) intact = intact && row.at("intact").get<bool>();
  if (!intact) Complain("messages were lost or changed on the way; see the rows that are not intact");
  const int written = WriteOutput(options.json ? document.dump(2) + "\n" : ChannelBenchTable(document));
  return intact ? written : kCheckFailed;
}

int RunBench(const BenchOptions& options) {
  if (options.part.empty()) return RunAllParts(options);
  const BenchPart* part = FindPart(options.part);
  if (part == nullptr) {
    Complain(fmt::format("no measurement is called \"{}\"", options.part));
    return kUsage;
  }
  return WriteOutput(nlohmann::json(part->measure(options.quick)).dump() + "\n");
}

}  // namespace

void AddBench(CLI::App* app, Action* action) {
  CLI::App* bench = app->add_subcommand("bench", "Measure what tracking costs on this machine");
  bench->require_subcommand(1);
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* events = bench->add_subcommand(
      "events", "Events of the tracker, beside a socket send, an ioctl, a mutex and a time stamp in the same run");
  events->add_flag("--json", options->json, "Print one JSON object");
  events->add_flag("--quick", options->quick, "Fewer repetitions and fewer buffers: seconds, not minutes");
  events->add_option("--part", options->part, "Run one measurement in this process")->group("");
  events->callback([options, action] { *action = [options] { return RunBench(*options); }; });
  CLI::App* channels = bench->add_subcommand(
      "channels", "Message channels, beside a cache line, a futex and other queues in the same run; some minutes");
  channels->add_flag("--json", options->json, "Print one JSON object");
  channels->add_flag("--quick", options->quick, "Fewer messages and repetitions: half a minute");
  channels->add_option("--only", options->only, "Only rows with this in their names, such as \"memory SPSC 64 bytes\"")
      ->type_name("TEXT")
      ->check([](const std::string& only) {
        return ChannelBenchHas(only) ? ""
                                     : fmt::format(
                                           "no row has \"{}\" in its name; names are like \"memory SPSC 64 bytes\" "
                                           "and \"ipc MPSC 1024 bytes\"",
                                           only);
      });
  channels->callback([options, action] { *action = [options] { return RunChannelBench(*options); }; });
}

}  // namespace memtally::tools
