// SPDX-License-Identifier: Apache-2.0
#include "tools/replay_session.hpp"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <memtally/ledger_reader.hpp>

#include "tools/output.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal_text.hpp"
#include "tools/trace_check.hpp"
#include "tools/trace_model.hpp"

namespace memtally::tools {
namespace {

const char* SignalName(int signal) {
  const char* name = sigdescr_np(signal);
  return name ? name : "unknown";
}

// One child and what is known of it.
struct Worker {
  pid_t pid = 0;
  int socket = -1;
  WorkerProgress* progress = nullptr;
  std::unique_ptr<TraceModel> model;  // as far as was checked
  std::string ledger;                 // path, "" unknown
  uint64_t views = 0;                 // checked
  uint64_t differences = 0;
  uint64_t wall_ns = 0;
  bool finished = false;
  bool not_tracked = false;
  bool gone = false;
  int status = 0;  // as waitpid gives it
};

class Session {
 public:
  Session(const Trace& trace, const ReplayOptions& options, uint32_t workers)
      : trace_(trace), options_(options), workers_(workers) {
    void* shared =
        mmap(nullptr, workers * sizeof(WorkerProgress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw std::runtime_error(fmt::format("cannot share memory: {}", ErrorText(errno)));
    progress_ = static_cast<WorkerProgress*>(shared);
    for (uint32_t i = 0; i < workers; ++i) workers_[i].progress = new (progress_ + i) WorkerProgress;
  }
  ~Session() {
    for (Worker& worker : workers_) {
      if (worker.socket >= 0) close(worker.socket);
      if (worker.pid > 0 && !worker.gone) {
        kill(worker.pid, SIGKILL);
        Reap(&worker);
      }
    }
    munmap(progress_, workers_.size() * sizeof(WorkerProgress));
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  int Run();
  // Kills the only worker once `record` records are done and then some nanoseconds, and checks what it left.
  int RunAndKill(uint64_t record, uint64_t delay_ns);

  uint64_t differences() const {
    uint64_t sum = 0;
    for (const Worker& worker : workers_) sum += worker.differences;
    return sum;
  }

 private:
  void Start(Worker* worker);
  void Serve(Worker* worker);
  bool Receive(Worker* worker, WorkerMessage* message);
  void Answer(Worker* worker) const { (void)!send(worker->socket, "!", 1, MSG_NOSIGNAL); }
  void Reap(Worker* worker);
  void Hold();
  bool AllFinished() const;
  void CheckClaims(Worker* worker, uint64_t done);
  void CheckEnd(Worker* worker);
  void CheckDead(Worker* worker);
  bool ReadLedger(Worker* worker, Liveness expected, LedgerView* ledger);
  void Report(Worker* worker, const Differences& differences, uint64_t done);
  int Summary();

  const Trace& trace_;
  const ReplayOptions& options_;
  std::vector<Worker> workers_;
  WorkerProgress* progress_ = nullptr;
  bool held_ = false;
};

void Session::Start(Worker* worker) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::runtime_error(fmt::format("cannot make a socket: {}", ErrorText(errno)));
  }
  (void)std::fflush(nullptr);  // or the child would write it again
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const int error = errno;
    close(ends[0]);
    close(ends[1]);
    throw std::runtime_error(fmt::format("cannot start a process: {}", ErrorText(error)));
  }
  if (pid == 0) {
    close(ends[0]);
    for (const Worker& other : workers_) {
      if (other.socket >= 0) close(other.socket);
    }
    if (getppid() != parent) _exit(1);
    RunWorker(trace_, options_.worker, ends[1], worker->progress);
  }
  close(ends[1]);
  worker->pid = pid;
  worker->socket = ends[0];
  worker->model = std::make_unique<TraceModel>(trace_);
}

// Returns false when the worker is gone.
bool Session::Receive(Worker* worker, WorkerMessage* message) {
  ssize_t bytes = 0;
  do {
    bytes = recv(worker->socket, message, sizeof(*message), 0);
  } while (bytes < 0 && errno == EINTR);
  if (bytes != static_cast<ssize_t>(sizeof(*message))) return false;
  message->path[sizeof(message->path) - 1] = 0;
  if (message->path[0] != 0) worker->ledger = message->path;
  return true;
}

void Session::Reap(Worker* worker) {
  while (waitpid(worker->pid, &worker->status, 0) < 0 && errno == EINTR) {
  }
  worker->gone = true;
}

void Session::Serve(Worker* worker) {
  WorkerMessage message;
  if (!Receive(worker, &message)) {
    close(std::exchange(worker->socket, -1));
    Reap(worker);
    const bool killed = WIFSIGNALED(worker->status) && WTERMSIG(worker->status) == SIGKILL;
    if (killed && options_.worker.kill_after) CheckDead(worker);
    return;
  }
  switch (message.type) {
    case WorkerMessage::kReady:
      break;
    case WorkerMessage::kNotTracked:
      worker->not_tracked = true;
      break;
    case WorkerMessage::kClaims:
      CheckClaims(worker, message.done);
      Answer(worker);
      break;
    case WorkerMessage::kFinished:
      worker->finished = true;
      worker->wall_ns = message.wall_ns;
      if (options_.worker.check) CheckEnd(worker);
      if (!options_.worker.hold) Answer(worker);
      break;
  }
}

bool Session::AllFinished() const {
  for (const Worker& worker : workers_) {
    if (!worker.finished && !worker.gone) return false;
  }
  return true;
}

// Keeps the workers as they are until SIGINT or SIGTERM.
void Session::Hold() {
  held_ = true;
  std::string pids;
  for (const Worker& worker : workers_) {
    if (!worker.gone) pids += fmt::format(" {}", worker.pid);
  }
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGINT);
  sigaddset(&wanted, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  (void)WriteOutput(fmt::format("holding what is live, in processes{}; Ctrl-C ends it\n", pids));
  int got = 0;
  sigwait(&wanted, &got);
  for (Worker& worker : workers_) {
    if (!worker.gone) Answer(&worker);
  }
}

bool Session::ReadLedger(Worker* worker, Liveness expected, LedgerView* ledger) {
  LedgerError error;
  if (worker->ledger.empty()) {
    // Its process said nothing before it died.
    const std::string part = fmt::format("-{}-", worker->pid);
    for (const LedgerPlace& place : FindLedgers()) {
      if (place.path.find(part, place.path.rfind('/') + 1) != std::string::npos) worker->ledger = place.path;
    }
  }
  const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(worker->ledger, &error);
  if (!reader || !reader->Read(ReadLevel::kAll, ledger, &error)) {
    Report(worker, {"cannot read its ledger: " + TerminalText(error.what, 400)}, worker->progress->done);
    return false;
  }
  if (ledger->liveness != expected) {
    Report(worker, {"its ledger's process is taken for another state than it is in"}, worker->progress->done);
  }
  return true;
}

void Session::CheckClaims(Worker* worker, uint64_t done) {
  LedgerView ledger;
  Differences differences;
  size_t first = done;
  while (first > 0 && IsClaim(trace_.records[first - 1].operation)) --first;
  if (ReadLedger(worker, Liveness::kAlive, &ledger)) {
    CheckConsistency(ledger, &differences);
    for (size_t i = first; i < done; ++i) {
      const TraceRecord& claim = trace_.records[i];
      if (claim.operation == TraceOperation::kView) {
        CompareWithView(ledger, trace_, trace_.views[claim.item], &differences);
        ++worker->views;
      } else {
        CompareWithAnomaly(ledger, trace_.anomalies[claim.item], &differences);
      }
    }
    worker->model->AdvanceTo(done);
    CompareWithModel(ledger, trace_, *worker->model, &differences);
  }
  Report(worker, differences, done);
}

void Session::CheckEnd(Worker* worker) {
  LedgerView ledger;
  Differences differences;
  if (ReadLedger(worker, Liveness::kAlive, &ledger)) {
    CheckConsistency(ledger, &differences);
    worker->model->AdvanceTo(trace_.records.size());
    CompareWithModel(ledger, trace_, *worker->model, &differences);
  }
  Report(worker, differences, trace_.records.size());
}

// The ledger must show the state before or after the call in which the worker died.
void Session::CheckDead(Worker* worker) {
  const uint64_t done = worker->progress->done;
  const uint64_t started = worker->progress->started;
  LedgerView ledger;
  if (!ReadLedger(worker, Liveness::kDead, &ledger)) return;
  Differences consistency;
  CheckConsistency(ledger, &consistency);
  Report(worker, consistency, done);
  Differences before;
  worker->model->AdvanceTo(done);
  CompareWithModel(ledger, trace_, *worker->model, &before);
  if (before.empty()) return;
  if (started > done) {
    Differences after;
    worker->model->AdvanceTo(started);
    CompareWithModel(ledger, trace_, *worker->model, &after);
    if (after.empty()) return;
    before.push_back("(nor is it the state after the call in which it died)");
  }
  Report(worker, before, done);
}

void Session::Report(Worker* worker, const Differences& differences, uint64_t done) {
  const uint32_t line = done == 0 ? 1 : trace_.records[done - 1].line;
  for (const std::string& difference : differences) {
    Complain(fmt::format("process {}, after line {}: {}", worker->pid, line, difference));
  }
  worker->differences += differences.size();
}

int Session::Summary() {
  int result = kSuccess;
  std::string text;
  for (const Worker& worker : workers_) {
    if (worker.not_tracked) {
      Complain(fmt::format("process {}: nothing was tracked; is tracking turned off in the environment?", worker.pid));
      result = kFailure;
      continue;
    }
    const bool killed = WIFSIGNALED(worker.status) && WTERMSIG(worker.status) == SIGKILL && options_.worker.kill_after;
    text += fmt::format("{} in process {}: {} events", TerminalText(trace_.name, 60), worker.pid,
                        worker.progress->events.load());
    if (worker.finished) text += fmt::format(" in {:.3f} s", static_cast<double>(worker.wall_ns) / 1e9);
    if (killed) text += ", then killed";
    if (options_.worker.check) text += fmt::format(", {} views checked", worker.views);
    if (options_.worker.check || killed) text += fmt::format(", {} differences", worker.differences);
    text += '\n';
    if (WIFSIGNALED(worker.status) && !killed) {
      Complain(fmt::format("process {} was ended by signal {} ({})", worker.pid, WTERMSIG(worker.status),
                           SignalName(WTERMSIG(worker.status))));
      result = kFailure;
    } else if (WIFEXITED(worker.status) && (WEXITSTATUS(worker.status) != 0 || !worker.finished)) {
      Complain(fmt::format("process {} ended early, with exit code {}", worker.pid, WEXITSTATUS(worker.status)));
      result = kFailure;
    } else if (options_.worker.kill_after && !killed) {
      Complain(fmt::format("process {} ended before it had so many events", worker.pid));
      result = kFailure;
    }
  }
  const int written = WriteOutput(text);
  if (differences() != 0) return kCheckFailed;
  return result == kSuccess ? written : result;
}

int Session::Run() {
  for (Worker& worker : workers_) Start(&worker);
  for (;;) {
    std::vector<pollfd> waited;
    std::vector<Worker*> owners;
    for (Worker& worker : workers_) {
      if (worker.gone) continue;
      waited.push_back({worker.socket, POLLIN, 0});
      owners.push_back(&worker);
    }
    if (waited.empty()) return Summary();
    if (poll(waited.data(), waited.size(), -1) < 0) {
      if (errno == EINTR) continue;
      throw std::runtime_error(fmt::format("cannot wait for processes: {}", ErrorText(errno)));
    }
    for (size_t i = 0; i < waited.size(); ++i) {
      if (waited[i].revents != 0) Serve(owners[i]);
    }
    if (options_.worker.hold && !held_ && AllFinished()) Hold();
  }
}

int Session::RunAndKill(uint64_t record, uint64_t delay_ns) {
  Worker& worker = workers_.front();
  Start(&worker);
  WorkerMessage message;
  if (!Receive(&worker, &message) || message.type != WorkerMessage::kReady) {
    Complain("nothing was tracked; is tracking turned off in the environment?");
    return kFailure;
  }
  // Asleep between looks: the worker has the processor, and the instant is the more random for it.
  while (worker.progress->done.load(std::memory_order_relaxed) < record) {
    pollfd waited{worker.socket, 0, 0};  // says only whether the other end is closed
    if (poll(&waited, 1, 0) > 0 && (waited.revents & POLLHUP) != 0) break;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  std::this_thread::sleep_for(std::chrono::nanoseconds(delay_ns));
  kill(worker.pid, SIGKILL);
  Reap(&worker);
  if (!WIFSIGNALED(worker.status) || WTERMSIG(worker.status) != SIGKILL) {
    Complain(fmt::format("process {} ended by itself", worker.pid));
    return kFailure;
  }
  CheckDead(&worker);
  if (worker.differences != 0) return kCheckFailed;  // and its ledger stays, to be looked at
  std::string control = worker.ledger;
  control.replace(control.rfind('.'), std::string::npos, ".control");
  unlink(worker.ledger.c_str());
  unlink(control.c_str());
  return kSuccess;
}

int KillAtRandom(const Trace& trace, const ReplayOptions& options) {
  std::mt19937_64 random(*options.random_kill);
  uint64_t differences = 0;
  int result = kSuccess;
  for (uint32_t i = 0; i < options.repeat && result != kFailure; ++i) {
    constexpr uint64_t kMaxDelayNs = 100'000;
    const uint64_t record = random() % (trace.records.size() + 1);
    const uint64_t delay_ns = random() % kMaxDelayNs;
    Session session(trace, options, 1);
    const int outcome = session.RunAndKill(record, delay_ns);
    differences += session.differences();
    if (outcome != kSuccess) result = outcome;
  }
  const int written = WriteOutput(fmt::format("{}: killed {} times at random instants, {} differences\n",
                                              TerminalText(trace.name, 60), options.repeat, differences));
  return result == kSuccess ? written : result;
}

}  // namespace

int RunReplay(const Trace& trace, const ReplayOptions& options) {
  ReplayOptions adjusted = options;
  if (options.random_kill) {
    adjusted.worker.check = false;
    adjusted.worker.hold = false;
    return KillAtRandom(trace, adjusted);
  }
  Session session(trace, adjusted, options.processes);
  return session.Run();
}

}  // namespace memtally::tools
