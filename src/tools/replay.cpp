// SPDX-License-Identifier: Apache-2.0
//
// memtally replay: plays a trace against the tracker, or makes one.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/number_option.hpp"
#include "tools/output.hpp"
#include "tools/replay_session.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal_text.hpp"
#include "tools/trace_file.hpp"
#include "tools/trace_generator.hpp"
#include "tools/trace_reader.hpp"
#include "tools/trace_writer.hpp"

namespace memtally::tools {
namespace {

struct Arguments {
  std::string trace;
  std::string speed = "max";
  bool keep_going = false;
  ReplayOptions replay;
  std::optional<std::string> threads;  // "" where it has no value
  std::string generate;
  GeneratorOptions generator{.threads = 0};  // 0: what suits the kind
  std::string output;
};

int Play(const Arguments& arguments) {
  const std::string path = FindTrace(arguments.trace);
  if (path.empty()) {
    Complain(fmt::format("{}: there is no such file, and no such recording among: {}", TerminalText(arguments.trace),
                         fmt::join(TraceNames(), ", ")));
    return kFailure;
  }
  Trace trace;
  std::vector<std::string> errors;
  const bool usable = ReadTrace(path, arguments.keep_going, &trace, &errors);
  for (const std::string& error : errors) Complain(error);
  if (!usable) return kFailure;
  const int result = RunReplay(trace, arguments.replay);
  return result == kSuccess && !errors.empty() ? kFailure : result;
}

int Generate(const Arguments& arguments) {
  GeneratorOptions options = arguments.generator;
  const std::vector<std::string>& names = GeneratedKindNames();
  options.kind = static_cast<GeneratedKind>(std::find(names.begin(), names.end(), arguments.generate) - names.begin());
  if (options.threads == 0) options.threads = options.kind == GeneratedKind::kCrossThreadFrees ? 4 : 1;
  const Trace trace = GenerateTrace(options);
  std::string error;
  const std::unique_ptr<TextFileWriter> writer = TextFileWriter::Open(arguments.output, &error);
  if (writer) WriteTrace(trace, [&](std::string_view text) { writer->Append(text); });
  if (writer && writer->Close(&error)) return kSuccess;
  Complain(error);
  return kFailure;
}

// "recorded", "max" or a positive number.  Returns false for anything else.
bool ParseSpeed(const std::string& text, double* speed) {
  if (text == "max" || text == "recorded") {
    *speed = text == "max" ? 0 : 1;
    return true;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *speed);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(*speed) && *speed > 0;
}

// --threads has a number only with --generate; without, what follows it is not its value, but the trace.
void SortOutThreads(Arguments* arguments) {
  if (!arguments->threads) return;
  const std::string& value = *arguments->threads;
  if (arguments->generate.empty()) {
    arguments->replay.worker.threads = true;
    if (value.empty()) return;
    if (!arguments->trace.empty()) throw CLI::ValidationError("--threads", "takes a number with --generate only");
    arguments->trace = value;
    return;
  }
  uint32_t threads = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), threads);
  if (error != std::errc() || end != value.data() + value.size() || threads == 0 || threads > 10'000) {
    throw CLI::ValidationError("--threads", "takes a number from 1 to 10000 with --generate");
  }
  arguments->generator.threads = threads;
}

// What CLI11 cannot say about single options.
void Validate(const CLI::App& app, Arguments* arguments) {
  const auto given = [&](const char* name) { return app.count(name) != 0; };
  SortOutThreads(arguments);
  if (given("--generate")) {
    for (const char* name :
         {"TRACE", "--speed", "--processes", "--device-id", "--device-index", "--check", "--kill-after",
          "--random-kill", "--repeat", "--hold", "--loop", "--keep-going", "--name", "--transport"}) {
      if (given(name)) throw CLI::ValidationError(name, "does not go with --generate");
    }
    if (!given("--output")) throw CLI::ValidationError("--generate", "needs -o FILE");
    if (arguments->generate == "cross-thread-frees" && arguments->generator.threads == 1) {
      throw CLI::ValidationError("--generate", "cross-thread-frees needs at least 2 threads");
    }
    return;
  }
  for (const char* name : {"--events", "--seed", "--output"}) {
    if (given(name)) throw CLI::ValidationError(name, "goes with --generate only");
  }
  if (arguments->trace.empty()) {
    throw CLI::ValidationError("TRACE",
                               fmt::format("is missing: a file, '-', or one of {}", fmt::join(TraceNames(), ", ")));
  }
  if (!ParseSpeed(arguments->speed, &arguments->replay.worker.speed)) {
    throw CLI::ValidationError("--speed", "takes 'max', 'recorded' or a positive number");
  }
  if (given("--repeat") && !given("--random-kill")) throw CLI::ValidationError("--repeat", "goes with --random-kill");
  if (given("--random-kill") && given("--processes")) {
    throw CLI::ValidationError("--processes", "does not go with --random-kill");
  }
}

}  // namespace

void AddReplay(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* replay = app->add_subcommand("replay", "Plays a trace of allocations against the tracker, or makes one");
  WorkerPlan& worker = arguments->replay.worker;
  replay->add_option("TRACE", arguments->trace, "A trace, '-' for standard input, or the name of a recording");
  replay
      ->add_option("--speed", arguments->speed, "'max', 'recorded', or how many times the recorded speed (default max)")
      ->type_name("N");
  replay->add_option("--processes", arguments->replay.processes, "Replay in so many processes at once")
      ->check(CLI::Range(1u, 1000u))
      ->type_name("N");
  replay
      ->add_option_function<std::vector<std::string>>(
          "--threads",
          [arguments](const std::vector<std::string>& value) {
            arguments->threads = value.empty() ? "" : value.front();
          },
          "A real thread for each thread of the trace, in the recorded order; with --generate: how many there are")
      ->expected(0, 1)
      ->type_name("[N]");
  replay->add_option("--device-id", worker.device_id, "Unique id of chip 0; chip n gets this plus n")
      ->check(NotNegative())
      ->type_name("N");
  replay->add_option("--device-index", worker.device_index, "The program's number of chip 0; chip n gets this plus n")
      ->check(CLI::Range(0, 1'000'000))
      ->type_name("N");
  CLI::Option* transport = replay
                               ->add_option("--transport", worker.transport,
                                            "Report by the original client: ledger, blocking, hybrid, async or batch")
                               ->check(CLI::IsMember({"ledger", "blocking", "hybrid", "async", "batch"}))
                               ->type_name("HOW");
  replay->add_option("--name", worker.comm, "Name of the replaying process (default: the trace's)")->type_name("NAME");
  CLI::Option* check = replay->add_flag("--check", worker.check,
                                        "Compare the ledger with the trace from outside; exit code 3 if they differ");
  CLI::Option* kill_after = replay
                                ->add_option("--kill-after", worker.kill_after,
                                             "The process kills itself after so many events; what it leaves is checked")
                                ->check(CLI::PositiveNumber)
                                ->type_name("EVENTS");
  CLI::Option* random_kill = replay
                                 ->add_option("--random-kill", arguments->replay.random_kill,
                                              "Kill the process at a random instant; what it leaves is checked")
                                 ->check(NotNegative())
                                 ->type_name("SEED");
  random_kill->excludes(kill_after);
  // These compare the ledger, which knows more than that client reports.
  transport->excludes(check)->excludes(kill_after)->excludes(random_kill);
  replay->add_option("--repeat", arguments->replay.repeat, "With --random-kill: so many times")
      ->check(CLI::Range(1u, 1000000u))
      ->type_name("K");
  CLI::Option* hold = replay->add_flag("--hold", worker.hold, "Stay at the end, with what is live, until Ctrl-C")
                          ->excludes(kill_after)
                          ->excludes(random_kill);
  replay->add_flag("--loop", worker.loop, "Begin again at the end, until Ctrl-C")
      ->excludes(hold)
      ->excludes(check)
      ->excludes(kill_after)
      ->excludes(random_kill);
  replay->add_flag("--keep-going", arguments->keep_going,
                   "Leave out lines of the trace that are wrong; exit code 1 then");
  replay
      ->add_option("--generate", arguments->generate,
                   "Make a trace: " + fmt::format("{}", fmt::join(GeneratedKindNames(), ", ")))
      ->check(CLI::IsMember(GeneratedKindNames()))
      ->type_name("KIND");
  replay->add_option("--events", arguments->generator.events, "With --generate: how many (default 10000)")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000}))
      ->type_name("N");
  replay->add_option("--seed", arguments->generator.seed, "With --generate: of the random numbers (default 1)")
      ->check(NotNegative())
      ->type_name("S");
  replay->add_option("-o,--output", arguments->output, "With --generate: the file; compressed if it ends in .zst")
      ->type_name("FILE");
  replay->callback([replay, arguments, action] {
    Validate(*replay, arguments.get());
    *action = [arguments] { return arguments->generate.empty() ? Play(*arguments) : Generate(*arguments); };
  });
}

}  // namespace memtally::tools
