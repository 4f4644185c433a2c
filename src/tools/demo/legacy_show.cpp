// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/legacy_show.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include <memtally/abi/legacy_protocol.h>

#include "base/fd.hpp"
#include "base/proc.hpp"
#include "collect/collector.hpp"
#include "tools/demo/interruption.hpp"
#include "tools/demo/legacy_speaker.hpp"
#include "tools/demo/private_folder.hpp"
#include "tools/demo/program.hpp"
#include "tools/output.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools::demo {
namespace {

namespace fs = std::filesystem;

constexpr double kPatienceSeconds = 20;
constexpr double kBetweenLooks = 0.02;

// Thrown where a signal wants the end, or nobody reads the output any more.
struct Stopped {};

void Say(const std::string& text) {
  if (WriteOutput(text) != kSuccess) throw Stopped();
}

void Show(const std::vector<std::string>& arguments) {
  std::string line = "\n$ memtally";
  for (const std::string& word : arguments) line += " " + word;
  Say(line + "\n");
  if (RunOwnCommand(arguments) != kSuccess) throw std::runtime_error("memtally " + arguments.front() + " failed");
}

template <typename Condition>
void Await(const std::string& what, const Condition& condition) {
  const uint64_t end_ns = base::MonotonicNs() + static_cast<uint64_t>(kPatienceSeconds * 1e9);
  while (!condition()) {
    if (base::MonotonicNs() > end_ns) throw std::runtime_error("waited in vain for " + what);
    if (!Interruption::Sleep(kBetweenLooks)) throw Stopped();
  }
}

// memtallyd: where it was installed, or in the tree that this command was built in.
std::string FindServer() {
  std::error_code ignored;
  const fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& place : {folder / "memtallyd", folder / "../daemon/memtallyd"}) {
    if (access(place.c_str(), X_OK) == 0) return place.lexically_normal().string();
  }
  throw std::runtime_error(fmt::format("memtallyd is not beside this command, in {}; install memtally again",
                                       TerminalText(folder.string(), 200)));
}

// Four Wormhole cards, whatever this machine has: the protocol itself does not say how much a card has.
void WriteSettings(const std::string& path) {
  std::string text;
  for (int number = 0; number < 4; ++number) {
    text += fmt::format(
        "[[legacy.device]]\nnumber = {}\ndram_bytes = 12884901888\nl1_bytes = 107937792\narchitecture = 2\n"
        "dram_channels = 6\nl1_bytes_per_core = 1499136\n",
        number);
  }
  const base::Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid() || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error(fmt::format("{}: {}", path, ErrorText(errno)));
  }
}

// A server of the demonstration's own.
class Server {
 public:
  explicit Server(const std::string& folder)
      : socket_(folder + "/allocation_server.sock"), log_(folder + "/memtallyd.log") {
    const std::string path = FindServer();
    const std::string settings = folder + "/memtallyd.toml";
    WriteSettings(settings);
    (void)std::fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error(fmt::format("cannot start a process: {}", ErrorText(errno)));
    if (pid_ != 0) return;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);  // Ctrl-C is for the demonstration, which then stops it
    const int output = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int input = open("/dev/null", O_RDONLY);
    if (output < 0 || input < 0) _exit(1);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0u, 0);
    execl(path.c_str(), "memtallyd", "--config", settings.c_str(), "--socket", socket_.c_str(), nullptr);
    _exit(1);
  }
  ~Server() { Stop(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void AwaitReady() {
    Await("memtallyd", [this] {
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        throw std::runtime_error("memtallyd ended: " + TerminalText(Log(), 300));
      }
      return access(socket_.c_str(), F_OK) == 0;
    });
  }

  // Tells it to end, and waits until it has.
  void Stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }

  const std::string& socket() const { return socket_; }
  std::string Log() const {
    std::string text(size_t{1} << 16, '\0');
    text.resize(base::ReadSmallFile(log_.c_str(), text.data(), text.size()));
    return text;
  }

 private:
  std::string socket_;
  std::string log_;
  pid_t pid_ = -1;
};

// What the server said at its end: the lines behind the last one that a reader or client brought about.
std::string FinalStatistics(const std::string& log) {
  std::string text;
  for (size_t begin = 0; begin < log.size();) {
    const size_t end = std::min(log.find('\n', begin), log.size());
    const std::string line = log.substr(begin, end - begin);
    if (line.find("statistics") != std::string::npos || !text.empty()) text += "  " + TerminalText(line, 400) + "\n";
    begin = end + 1;
  }
  return text;
}

bool IsDead(collect::Collector* collector, const std::string& name) {
  collector->Discover();
  const auto snapshot = collector->Take();
  for (const collect::Process& process : snapshot->processes) {
    if (process.facts.identity.comm == name && process.facts.liveness == Liveness::kDead) return true;
  }
  return false;
}

void Tell(const std::string& folder) {
  Server server(folder);
  server.AwaitReady();
  Say("== 1 of 3: Four programs of the original allocation server, unchanged\n\n"
      "Each was built with another generation of its protocol, of 72, 112, 128 and 144 bytes a message, and none of "
      "them\n"
      "knows of memtally. memtallyd serves their socket; what they hold is in every view, beside everything else.\n");
  std::vector<std::unique_ptr<LegacySpeaker>> speakers;
  for (const uint32_t bytes : {MEMTALLY_LEGACY_72, MEMTALLY_LEGACY_112, MEMTALLY_LEGACY_128, MEMTALLY_LEGACY_144}) {
    speakers.push_back(std::make_unique<LegacySpeaker>(bytes, static_cast<int32_t>(speakers.size()), server.socket()));
  }
  Show({"ps"});
  Show({"monitor", "--all", "--frames", "1"});

  const std::string killed = speakers[1]->name();
  Say(fmt::format("\n== 2 of 3: {} is killed\n\nThe kernel tells the server, which says at once what it held.\n",
                  killed));
  collect::Collector collector(collect::Collector::Options{});
  speakers.erase(speakers.begin() + 1);
  Await("the server to notice that " + killed + " is dead", [&] { return IsDead(&collector, killed); });
  Show({"leaks"});

  Say("\n== 3 of 3: What the server has to say at its end\n\n");
  speakers.clear();
  server.Stop();
  Say(FinalStatistics(server.Log()));
}

}  // namespace

int ShowLegacy() {
  std::string error;
  const std::unique_ptr<PrivateFolder> folder = PrivateFolder::Make(&error);
  if (!folder) throw std::runtime_error(error);
  try {
    Tell(folder->path());
  } catch (const Stopped&) {
    return kFailure;
  }
  return WriteOutput("\nYour own: memtallyd --foreground, and start your programs. docs/legacy.md has the rest.\n");
}

}  // namespace memtally::tools::demo
