// SPDX-License-Identifier: Apache-2.0
//
// memtallyd: reads its settings, serves, and stops cleanly.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <memtally/version.h>

#include "base/fd.hpp"
#include "daemon/legacy/legacy_server.hpp"
#include "daemon/legacy/server_settings.hpp"

namespace memtally::daemon {
namespace {

constexpr const char* kSettingsFile = "/etc/memtally/memtallyd.toml";

enum ExitCode { kSuccess = 0, kFailure = 1, kUsage = 2 };

struct Arguments {
  std::string config;
  std::string socket;
  std::string state_socket;
  bool foreground = false;
};

int Complain(const std::string& what) {
  fmt::print(stderr, "memtallyd: {}\n", what);
  return kFailure;
}

// A descriptor that is readable once the process is told to stop.
base::Fd StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return base::Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

void StartLog(const std::string& level) {
  auto log = spdlog::stderr_logger_st("memtallyd");
  // Under systemd the journal has the time.
  log->set_pattern(getenv("JOURNAL_STREAM") != nullptr ? "%l: %v" : "%Y-%m-%d %H:%M:%S.%e %l: %v");
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(log));
}

int Serve(const Arguments& arguments) {
  ServerSettings settings = DefaultSettings();
  const bool named = !arguments.config.empty();
  const std::string path = named ? arguments.config : kSettingsFile;
  std::string error;
  if ((named || access(path.c_str(), F_OK) == 0) && !ReadSettings(path, &settings, &error)) return Complain(error);
  if (!arguments.socket.empty()) settings.socket = arguments.socket;
  if (!arguments.state_socket.empty()) settings.state_socket = arguments.state_socket;
  StartLog(settings.log_level);
  const base::Fd stop = StopSignals();
  if (!stop.valid()) return Complain(fmt::format("signalfd: {}", strerror(errno)));
  LegacyServer server(std::move(settings));
  if (!server.Start(&error)) return Complain(error);
  // Whether anybody supervises this does not matter here.
  (void)sd_notify(0, "READY=1\nSTATUS=serving");
  server.Run(stop.get());
  (void)sd_notify(0, "STOPPING=1");
  return kSuccess;
}

int Main(int argc, char** argv) {
  CLI::App app("Serves programs that speak the original allocation-server protocol, for memtally to show.",
               "memtallyd");
  Arguments arguments;
  app.set_version_flag("--version", "memtallyd " MEMTALLY_VERSION, "Print the version and leave");
  app.add_option("--config", arguments.config,
                 fmt::format("Settings, in TOML (default {}, if it is there)", kSettingsFile))
      ->type_name("FILE");
  app.add_option("--socket", arguments.socket, "Where clients connect (default /tmp/tt_allocation_server.sock)")
      ->type_name("PATH");
  app.add_option("--state-socket", arguments.state_socket,
                 "Where readers ask (default memtally_legacy.sock beside the ledgers: in MEMTALLY_DIR or /dev/shm)")
      ->type_name("PATH");
  app.add_flag("--foreground", arguments.foreground, "Stay in the foreground (it always does; for service managers)");
  app.footer("Stop it with SIGTERM or Ctrl-C. Exit codes: 0 stopped, 1 could not serve, 2 wrong arguments.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "memtallyd: {}\nTry 'memtallyd --help'.\n", wrong.what());
    return kUsage;
  }
  return Serve(arguments);
}

}  // namespace
}  // namespace memtally::daemon

int main(int argc, char** argv) {
  try {
    return memtally::daemon::Main(argc, argv);
  } catch (const std::exception& error) {
    return memtally::daemon::Complain(error.what());
  }
}
