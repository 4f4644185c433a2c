// SPDX-License-Identifier: Apache-2.0
#include "tools/replay_worker.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <thread>
#include <vector>

#include <memtally/track.h>

#include "tools/legacy_replay.hpp"
#include "tools/turnstile.hpp"

namespace memtally::tools {
namespace {

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void SleepUntil(uint64_t time_ns) {
  timespec until{};
  until.tv_sec = static_cast<time_t>(time_ns / 1'000'000'000);
  until.tv_nsec = static_cast<long>(time_ns % 1'000'000'000);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

// A kind of a trace as the C API names it.
uint32_t KindNumber(const std::string& name) {
  constexpr std::array<const char*, MEMTALLY_BUILTIN_KINDS> kBuiltin = {
      "dram", "l1",     "l1_small",    "trace",        "system_memory", "cb",
      "dfb",  "kernel", "cuda_device", "cuda_managed", "host_pinned"};
  for (uint32_t i = 0; i < kBuiltin.size(); ++i) {
    if (name == kBuiltin[i]) return i;
  }
  return memtally_define_kind(name.c_str(), MEMTALLY_KIND_ANY, MEMTALLY_KIND_ANY, 0);
}

// Turns records into calls.  One thread at a time, in the order of the records.
class Driver {
 public:
  Driver(const Trace& trace, const WorkerPlan& plan, int socket, WorkerProgress* progress)
      : trace_(trace), plan_(plan), socket_(socket), progress_(progress), devices_(trace.chips.size(), 0) {
    for (const std::string& name : trace.kind_names) kinds_.push_back(KindNumber(name));
    if (!plan.transport.empty()) legacy_.emplace(trace, plan.device_index.value_or(0));
  }

  // The clock of the trace starts now, at its first record.
  void Start() {
    start_ns_ = NowNs();
    progress_->started.store(0, std::memory_order_relaxed);
    progress_->done.store(0, std::memory_order_release);
  }

  void Execute(size_t index) {
    const TraceRecord& record = trace_.records[index];
    if (plan_.speed > 0) WaitForTime(record.time_ns);
    progress_->started.store(index + 1, std::memory_order_relaxed);
    Call(record);
    progress_->done.store(index + 1, std::memory_order_release);
    if (IsEvent(record.operation)) {
      ++events_;
      progress_->events.store(events_, std::memory_order_relaxed);
      if (plan_.kill_after && events_ == *plan_.kill_after) kill(getpid(), SIGKILL);
    } else if (plan_.check && IsClaim(record.operation) && !IsClaimAt(index + 1)) {
      Ask(WorkerMessage::kClaims, index + 1);
    }
  }

  void Tell(WorkerMessage* message) const {
    std::strncpy(message->path, memtally_ledger_path(), sizeof(message->path) - 1);
    while (send(socket_, message, sizeof(*message), MSG_NOSIGNAL) < 0) {
      if (errno != EINTR) _exit(1);
    }
  }

  void Ask(WorkerMessage::Type type, uint64_t done, uint64_t wall_ns = 0) const {
    WorkerMessage message;
    message.type = type;
    message.done = done;
    message.wall_ns = wall_ns;
    Tell(&message);
    char answer = 0;
    ssize_t bytes = 0;
    do {
      bytes = recv(socket_, &answer, 1, 0);
    } while (bytes < 0 && errno == EINTR);
    if (bytes != 1) _exit(1);  // the parent is gone
  }

 private:
  bool IsClaimAt(size_t index) const {
    return index < trace_.records.size() && IsClaim(trace_.records[index].operation);
  }

  void WaitForTime(uint64_t time_ns) {
    const uint64_t due_ns = start_ns_ + static_cast<uint64_t>(static_cast<double>(time_ns) / plan_.speed);
    const uint64_t now_ns = NowNs();
    // Shorter waits than this would only make it late.
    constexpr uint64_t kWorthSleepingNs = 50'000;
    if (due_ns > now_ns + kWorthSleepingNs) SleepUntil(due_ns);
    // Who was stopped goes on from there, instead of catching up at once.
    constexpr uint64_t kStoppedNs = 500'000'000;
    const uint64_t end_ns = NowNs();
    const uint64_t late_ns = end_ns - std::min(end_ns, due_ns);
    if (late_ns > kStoppedNs) start_ns_ += late_ns;
  }

  void Call(const TraceRecord& record) {
    if (legacy_) return legacy_->Report(record);
    const memtally_device device = devices_.empty() ? 0 : devices_[record.chip];
    const uint32_t kind = kinds_.empty() ? 0 : kinds_[record.kind];
    switch (record.operation) {
      case TraceOperation::kDevice:
        devices_[record.chip] = RegisterDevice(record);
        break;
      case TraceOperation::kKind: {
        const TraceKind& described = trace_.kinds[record.item];
        memtally_register_kind(device, kind, described.capacity_bytes, described.banks,
                               described.capacity_bytes_per_bank);
        break;
      }
      case TraceOperation::kAlloc:
        memtally_alloc(device, kind, record.id, record.address, record.bytes_requested, record.bytes_per_bank);
        break;
      case TraceOperation::kFree:
        memtally_free(device, kind, record.id);
        break;
      case TraceOperation::kFailed:
        memtally_alloc_failed(device, kind, record.bytes_requested, record.bytes_per_bank);
        break;
      case TraceOperation::kClose:
        memtally_close_device(device);
        break;
      case TraceOperation::kPushTag:
        memtally_push_tag(trace_.tags[record.item].c_str());
        break;
      case TraceOperation::kPopTag:
        memtally_pop_tag();
        break;
      case TraceOperation::kView:
        memtally_mark(trace_.views[record.item].name.c_str());
        break;
      case TraceOperation::kAnomaly:
        break;
    }
  }

  memtally_device RegisterDevice(const TraceRecord& record) const {
    const TraceDevice& described = trace_.devices[record.item];
    memtally_device_info info{};
    info.size = sizeof(info);
    uint64_t id = described.unique_id;
    if (plan_.device_id) id = *plan_.device_id + static_cast<uint64_t>(trace_.chips[record.chip]);
    if (plan_.device_id || id != 0) {
      for (size_t i = 0; i < 8; ++i) info.id[i] = static_cast<uint8_t>(id >> (8 * i));
      info.id_scheme = MEMTALLY_ID_CHIP;
    }
    info.local_index = trace_.chips[record.chip] + plan_.device_index.value_or(0);
    info.vendor = described.vendor.c_str();
    info.architecture = described.architecture.c_str();
    info.reporter = "memtally replay";
    return memtally_register_device(&info);
  }

  const Trace& trace_;
  const WorkerPlan& plan_;
  const int socket_;
  WorkerProgress* const progress_;
  std::vector<memtally_device> devices_;  // by chip
  std::vector<uint32_t> kinds_;           // by kind
  std::optional<LegacyReplay> legacy_;    // where reports go by the original interface
  uint64_t events_ = 0;
  uint64_t start_ns_ = 0;
};

// All records from `first` on by this thread, which takes the tags of the trace's thread with it when that changes.
void ReplayInOneThread(const Trace& trace, size_t first, Driver* driver) {
  std::vector<uint32_t> tags(trace.threads.size() + 1, 0);
  uint16_t thread = 0;
  for (size_t i = first; i < trace.records.size(); ++i) {
    const uint16_t next = trace.records[i].thread;
    if (next != thread) {
      tags[thread] = memtally_exchange_tag(tags[next]);
      thread = next;
    }
    driver->Execute(i);
  }
}

void ReplayInThreads(const Trace& trace, size_t first, Driver* driver) {
  const size_t count = trace.threads.size();
  if (first == trace.records.size() || count == 0) return;
  std::vector<std::vector<uint32_t>> turns(count);
  for (size_t i = first; i < trace.records.size(); ++i) {
    turns[trace.records[i].thread].push_back(static_cast<uint32_t>(i));
  }
  Turnstile turnstile(count);
  turnstile.Pass(trace.records[first].thread, static_cast<uint32_t>(first));
  const auto run = [&](size_t thread) {
    for (const uint32_t turn : turns[thread]) {
      turnstile.Await(thread, turn);
      driver->Execute(turn);
      if (turn + 1 < trace.records.size()) turnstile.Pass(trace.records[turn + 1].thread, turn + 1);
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (size_t thread = 0; thread < count; ++thread) threads.emplace_back(run, thread);
  for (std::thread& thread : threads) thread.join();
}

// The lines before the first that has a thread: they make devices known.
size_t CountPreamble(const Trace& trace) {
  size_t count = 0;
  while (count < trace.records.size() && (trace.records[count].operation == TraceOperation::kDevice ||
                                          trace.records[count].operation == TraceOperation::kKind)) {
    ++count;
  }
  return count;
}

}  // namespace

void RunWorker(const Trace& trace, const WorkerPlan& plan, int socket, WorkerProgress* progress) {
  prctl(PR_SET_NAME, plan.comm.empty() ? trace.name.c_str() : plan.comm.c_str());
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (!plan.transport.empty())
    setenv("TT_ALLOC_TRANSPORT", plan.transport.c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
  if (plan.hold) signal(SIGINT, SIG_IGN);  // a Ctrl-C is for the parent, who then lets this process end normally
  WorkerMessage message;
  if (!memtally_is_enabled()) message.type = WorkerMessage::kNotTracked;
  Driver driver(trace, plan, socket, progress);
  const size_t preamble = CountPreamble(trace);
  driver.Start();
  for (size_t i = 0; i < preamble; ++i) driver.Execute(i);
  driver.Tell(&message);
  if (message.type == WorkerMessage::kNotTracked) _exit(0);
  const uint64_t start_ns = NowNs();
  const auto replay = [&](size_t first) {
    if (plan.threads) {
      ReplayInThreads(trace, first, &driver);
    } else {
      ReplayInOneThread(trace, first, &driver);
    }
  };
  replay(preamble);
  while (plan.loop) {
    driver.Start();
    for (size_t i = 0; i < preamble; ++i) driver.Execute(i);
    replay(preamble);
  }
  const uint64_t wall_ns = NowNs() - start_ns;
  driver.Ask(WorkerMessage::kFinished, trace.records.size(), wall_ns);
  // With exit handlers: the tracker's is one of them.  The threads of the trace have been joined.
  std::exit(0);  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace memtally::tools
