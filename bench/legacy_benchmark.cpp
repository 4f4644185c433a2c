// SPDX-License-Identifier: Apache-2.0
//
// What each way of reporting by the original interface costs, and what memtallyd takes in.
//
//   legacy_benchmark MEMTALLYD [--events N]... [--threads N]... [--rounds N]
//
// Prints tables for docs/benchmarks.md.  Costs are processor and wall-clock time of the reporting threads; each figure
// is the median of the rounds, in which the ways take turns.  Starts a server of its own.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <memtally/abi/legacy_protocol.h>
#include <memtally/allocation_client.hpp>

#include "daemon/legacy/client_registry.hpp"
#include "daemon/legacy/message_framer.hpp"

namespace {

using memtally::daemon::FramedMessage;
using tt::tt_metal::AllocationClient;
using Message = memtally_legacy_message_144;

constexpr const char* kWays[] = {"none", "ledger", "blocking", "hybrid", "async", "batch"};
constexpr uint64_t kIds = 1000;

std::string folder;
std::string socket_path;

double Now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Message MakeMessage(uint8_t type, int32_t device, uint64_t size, uint64_t id) {
  Message message{};
  message.head.type = type;
  message.head.device_id = device;
  message.head.size = size;
  message.head.process_id = getpid();
  message.head.buffer_id = id;
  return message;
}

// ---- a server

class Server {
 public:
  explicit Server(const char* program) {
    pid_ = fork();
    if (pid_ == 0) {
      const std::string state = folder + "/memtally_legacy.sock";
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, STDERR_FILENO);
      execl(program, program, "--socket", socket_path.c_str(), "--state-socket", state.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 5000 && access(socket_path.c_str(), F_OK) != 0; ++i) usleep(1000);
    clock_getcpuclockid(pid_, &clock_);
  }
  ~Server() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  double cpu() const { return Now(clock_); }
  uint64_t ResidentBytes() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
    uint64_t all = 0;
    uint64_t resident = 0;
    file >> all >> resident;
    return resident * 4096;
  }

 private:
  pid_t pid_;
  clockid_t clock_{};
};

class Connection {
 public:
  Connection() : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      perror("connect");
      exit(1);
    }
  }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Send(const void* bytes, size_t size) const {
    const char* at = static_cast<const char*>(bytes);
    while (size > 0) {
      const ssize_t sent = send(fd_, at, size, MSG_NOSIGNAL);
      if (sent < 0) exit(1);
      at += sent;
      size -= static_cast<size_t>(sent);
    }
  }
  Message Query(int32_t device) const {
    Message message = MakeMessage(MEMTALLY_LEGACY_QUERY, device, 0, 0);
    Send(&message, sizeof(message));
    if (recv(fd_, &message, sizeof(message), MSG_WAITALL) != static_cast<ssize_t>(sizeof(message))) exit(1);
    return message;
  }

 private:
  int fd_;
};

// ---- cost to the application

struct Cost {
  double cpu_ns = 0;    // of the reporting threads, an event
  double wall_ns = 0;   // an event of one thread
  double delay_us = 0;  // until the server's view is right
};

// In a process of its own: reports, and writes what it cost.
void ReportInChild(const char* way, uint64_t events, int threads, int output, int input) {
  setenv("TT_ALLOC_TRANSPORT", way, 1);
  setenv("TT_ALLOC_SOCKET", socket_path.c_str(), 1);
  setenv("MEMTALLY_DIR", folder.c_str(), 1);
  AllocationClient::report_allocation(0, 1, 0, 1);  // connects, starts what is to be started
  AllocationClient::report_deallocation(0, 1);
  std::vector<double> cpu(static_cast<size_t>(threads));
  std::atomic<int> waiting{threads};
  const auto work = [&](int number) {
    const uint64_t count = events / static_cast<uint64_t>(threads);
    --waiting;
    while (waiting != 0) sched_yield();
    const double begin = Now(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t i = 0; i < count / 2; ++i) {
      const uint64_t id = (static_cast<uint64_t>(number + 1) << 32) + i % kIds;
      AllocationClient::report_allocation(0, 64, 1, id);
      AllocationClient::report_deallocation(0, id);
    }
    cpu[static_cast<size_t>(number)] = Now(CLOCK_THREAD_CPUTIME_ID) - begin;
  };
  std::vector<std::thread> workers;
  const double begin = Now(CLOCK_MONOTONIC);
  for (int number = 0; number < threads; ++number) workers.emplace_back(work, number);
  for (std::thread& worker : workers) worker.join();
  const double wall = Now(CLOCK_MONOTONIC) - begin;
  // The last report, by which the server's view is right.
  AllocationClient::report_allocation(7, 4096, 0, 99);
  double sums[3] = {0, wall, Now(CLOCK_MONOTONIC)};
  for (const double one : cpu) sums[0] += one;
  if (write(output, sums, sizeof(sums)) < 0) _exit(1);
  char byte = 0;
  if (read(input, &byte, 1) < 0) _exit(1);
  exit(0);
}

Cost Measure(const char* way, uint64_t events, int threads) {
  int up[2];
  int down[2];
  if (pipe(up) != 0 || pipe(down) != 0) exit(1);
  const pid_t child = fork();
  if (child == 0) {
    close(down[1]);
    ReportInChild(way, events, threads, up[1], down[0]);
  }
  close(up[1]);
  close(down[0]);
  double sums[3] = {};
  if (read(up[0], sums, sizeof(sums)) != static_cast<ssize_t>(sizeof(sums))) exit(1);
  Cost cost;
  cost.cpu_ns = sums[0] * 1e9 / static_cast<double>(events);
  cost.wall_ns = sums[1] * 1e9 * threads / static_cast<double>(events);
  if (strcmp(way, "none") != 0 && strcmp(way, "ledger") != 0) {
    const Connection connection;
    while (connection.Query(7).head.dram_allocated != 4096) usleep(20);
    cost.delay_us = (Now(CLOCK_MONOTONIC) - sums[2]) * 1e6;
  }
  close(down[1]);
  waitpid(child, nullptr, 0);
  close(up[0]);
  return cost;
}

void PrintCosts(const std::vector<uint64_t>& events, const std::vector<int>& threads, int rounds) {
  printf("| events | threads |");
  for (const char* way : kWays) printf(" %s |", way);
  printf("\n|---|---|---|---|---|---|---|---|\n");
  for (const uint64_t count : events) {
    for (const int number : threads) {
      std::map<std::string, std::vector<Cost>> costs;
      for (int round = 0; round < rounds; ++round) {
        for (const char* way : kWays) costs[way].push_back(Measure(way, count, number));
      }
      printf("| %llu | %d |", static_cast<unsigned long long>(count), number);
      for (const char* way : kWays) {
        std::vector<double> cpu;
        std::vector<double> wall;
        std::vector<double> delay;
        for (const Cost& cost : costs[way]) {
          cpu.push_back(cost.cpu_ns);
          wall.push_back(cost.wall_ns);
          delay.push_back(cost.delay_us);
        }
        printf(" %.0f / %.0f", Median(cpu), Median(wall));
        if (Median(delay) != 0) printf(" / %.0f us", Median(delay));
        printf(" |");
      }
      printf("\n");
      fflush(stdout);
    }
  }
}

// ---- what the server takes in

// Allocations and frees of `kIds` buffers, in turns: the server's view is the same after each block.
std::vector<Message> MakeBlock() {
  std::vector<Message> block;
  for (uint64_t id = 0; id < kIds / 2; ++id) block.push_back(MakeMessage(MEMTALLY_LEGACY_ALLOC, 0, 64, id << 8));
  for (uint64_t id = 0; id < kIds / 2; ++id) block.push_back(MakeMessage(MEMTALLY_LEGACY_FREE, 0, 0, id << 8));
  return block;
}

double ParsingLimit(uint64_t messages) {
  const std::vector<Message> block = MakeBlock();
  const memtally::daemon::ServerSettings settings;
  memtally::daemon::ClientRegistry registry(settings);
  bool is_new = false;
  memtally::daemon::ClientProcess* process = registry.Find(0, 0, 0, 1, 0, &is_new);
  registry.Attach(process);
  memtally::daemon::MessageFramer framer;
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(block.data()), block.size() * sizeof(Message));
  const double begin = Now(CLOCK_PROCESS_CPUTIME_ID);
  uint64_t done = 0;
  while (done < messages) {
    framer.Feed(bytes, 1, [&](const FramedMessage& message) {
      process->NoteMessage(message.head, message.generation);
      registry.Apply(process, message, 1);
    });
    done += block.size();
  }
  return static_cast<double>(done) / (Now(CLOCK_PROCESS_CPUTIME_ID) - begin);
}

double Ingest(const Server& server, size_t clients, uint64_t messages) {
  const std::vector<Message> block = MakeBlock();
  const pid_t sender = fork();
  if (sender == 0) {
    std::vector<Connection> connections(clients);
    for (uint64_t done = 0; done < messages; done += block.size() * clients) {
      for (const Connection& connection : connections) connection.Send(block.data(), block.size() * sizeof(Message));
    }
    for (const Connection& connection : connections) connection.Query(0);
    _exit(0);
  }
  const double begin = server.cpu();
  waitpid(sender, nullptr, 0);
  return static_cast<double>(messages) / (server.cpu() - begin);
}

// 99th percentile and median of QUERY, in microseconds, while others send so many messages a second.
void QueryLatency(double rate) {
  const pid_t sender = fork();
  if (sender == 0) {
    const Connection connection;
    std::vector<Message> block = MakeBlock();
    const double begin = Now(CLOCK_MONOTONIC);
    for (uint64_t sent = 0;; sent += 100) {
      const double ahead = static_cast<double>(sent) / rate - (Now(CLOCK_MONOTONIC) - begin);
      if (ahead > 0.0002) usleep(static_cast<useconds_t>(ahead * 1e6));
      connection.Send(block.data() + sent % kIds, 100 * sizeof(Message));
    }
  }
  usleep(300'000);
  const Connection connection;
  connection.Query(0);
  std::vector<double> taken;
  for (int i = 0; i < 2000; ++i) {
    const double begin = Now(CLOCK_MONOTONIC);
    connection.Query(0);
    taken.push_back((Now(CLOCK_MONOTONIC) - begin) * 1e6);
    usleep(500);
  }
  kill(sender, SIGKILL);
  waitpid(sender, nullptr, 0);
  std::sort(taken.begin(), taken.end());
  printf("QUERY at %.0f messages/s: median %.0f us, p99 %.0f us\n", rate, taken[taken.size() / 2],
         taken[taken.size() * 99 / 100]);
}

void MemoryABuffer(const Server& server) {
  constexpr uint64_t kBuffers = 1'000'000;
  const Connection connection;
  connection.Query(0);
  const uint64_t before = server.ResidentBytes();
  for (uint64_t id = 0; id < kBuffers; ++id) {
    const Message message = MakeMessage(MEMTALLY_LEGACY_ALLOC, 3, 64, id << 10);
    connection.Send(&message, sizeof(message));
  }
  connection.Query(0);
  printf("server memory: %.1f bytes a live buffer, of %llu\n",
         static_cast<double>(server.ResidentBytes() - before) / static_cast<double>(kBuffers),
         static_cast<unsigned long long>(kBuffers));
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);  // nothing is left in it where the process forks
  if (argc < 2) {
    fprintf(stderr, "usage: legacy_benchmark MEMTALLYD [--events N]... [--threads N]... [--rounds N]\n");
    return 2;
  }
  std::vector<uint64_t> events;
  std::vector<int> threads;
  int rounds = 5;
  for (int i = 2; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--events") == 0) events.push_back(strtoull(argv[i + 1], nullptr, 10));
    if (strcmp(argv[i], "--threads") == 0) threads.push_back(atoi(argv[i + 1]));
    if (strcmp(argv[i], "--rounds") == 0) rounds = atoi(argv[i + 1]);
  }
  if (events.empty()) events = {10'000, 100'000, 1'000'000};
  if (threads.empty()) threads = {1, 2, 4};
  char made[] = "/dev/shm/memtally-bench.XXXXXX";
  if (mkdtemp(made) == nullptr) return 1;
  folder = made;
  socket_path = folder + "/legacy.sock";
  {
    const Server server(argv[1]);
    printf(
        "ns an event: processor time of the reporting threads / wall-clock time of one, and until the server's view is "
        "right\n\n");
    PrintCosts(events, threads, rounds);
    printf("\n");
    std::vector<double> limits;
    std::vector<double> ingests;
    for (int round = 0; round < rounds; ++round) {
      limits.push_back(ParsingLimit(3'000'000));
      ingests.push_back(Ingest(server, 100, 3'000'000));
    }
    printf(
        "server: %.2f M messages a second of its processor time (100 clients, batched writes); parsing alone: %.2f M\n",
        Median(ingests) / 1e6, Median(limits) / 1e6);
    QueryLatency(500'000);
    MemoryABuffer(server);
  }
  const std::string remove = "rm -rf " + folder;
  return system(remove.c_str());
}
