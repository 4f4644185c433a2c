// SPDX-License-Identifier: Apache-2.0
#include "host_process.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include <gtest/gtest.h>

namespace memtally::testing {

namespace {

void Nap() {
  const timespec nap{0, 500'000};
  nanosleep(&nap, nullptr);
}

std::string TakeText(int* fd) {
  std::string text;
  if (*fd < 0) return text;
  char buffer[4096];
  off_t at = 0;
  for (ssize_t got; (got = pread(*fd, buffer, sizeof(buffer), at)) > 0; at += got) {
    text.append(buffer, static_cast<size_t>(got));
  }
  close(*fd);
  *fd = -1;
  return text;
}

}  // namespace

Place::Place() {
  char name[] = "/dev/shm/memtally-process-test-XXXXXX";
  if (mkdtemp(name) == nullptr) {
    perror(name);
    abort();
  }
  path_ = name;
  chmod(name, 0755);
}

Place::~Place() {
  for (const std::string& file : Files()) unlink(file.c_str());
  rmdir(path_.c_str());
}

std::vector<std::string> Place::Files(const std::string& suffix) const {
  std::vector<std::string> files;
  DIR* directory = opendir(path_.c_str());
  if (directory == nullptr) return files;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && name.ends_with(suffix)) files.push_back(path_ + "/" + name);
  }
  closedir(directory);
  std::sort(files.begin(), files.end());
  return files;
}

std::string ControlOf(const std::string& ledger) { return ledger.substr(0, ledger.size() - 7) + ".control"; }

void RemoveLedger(const std::string& path) {
  unlink(path.c_str());
  unlink(ControlOf(path).c_str());
}

LedgerView ReadLedger(const std::string& path) {
  LedgerView view;
  LedgerError error;
  const auto reader = LedgerReader::Open(path, &error);
  EXPECT_TRUE(reader != nullptr) << error.what;
  if (reader != nullptr) {
    EXPECT_TRUE(reader->Read(ReadLevel::kAll, &view, &error)) << error.what;
  }
  return view;
}

LedgerView ReadOnlyLedger(const Place& place) {
  const std::vector<std::string> ledgers = place.Ledgers();
  EXPECT_EQ(ledgers.size(), 1u);
  return ledgers.empty() ? LedgerView{} : ReadLedger(ledgers.front());
}

std::optional<LedgerView> FindLedgerOf(const Place& place, pid_t pid) {
  for (const std::string& path : place.Ledgers()) {
    LedgerView view = ReadLedger(path);
    if (view.identity.pid == static_cast<uint32_t>(pid)) return view;
  }
  return std::nullopt;
}

void ExpectExact(const LedgerView& view) {
  EXPECT_TRUE(view.totals_exact);
  EXPECT_TRUE(view.buffers_exact);
  for (const std::string& gap : view.gaps) ADD_FAILURE() << "gap: " << gap;
  std::map<uint32_t, Amount> live;
  std::map<uint32_t, Amount> imported;
  for (const LedgerBuffer& buffer : view.buffers) {
    ASSERT_LT(buffer.account, view.accounts.size());
    if (buffer.released) continue;
    Amount& amount = buffer.imported ? imported[buffer.account] : live[buffer.account];
    ++amount.count;
    amount.bytes_requested += buffer.bytes_requested;
    amount.bytes_reserved += buffer.bytes_per_bank * view.accounts[buffer.account].banks;
  }
  for (const LedgerAccount& account : view.accounts) {
    EXPECT_EQ(account.live, live[account.index]) << "account " << account.index << ": live " << account.live.count
                                                 << " against listed " << live[account.index].count;
    EXPECT_EQ(account.live.count, account.allocated.count - account.freed.count);
    EXPECT_EQ(account.live.bytes_requested, account.allocated.bytes_requested - account.freed.bytes_requested);
    EXPECT_EQ(account.live.bytes_reserved, account.allocated.bytes_reserved - account.freed.bytes_reserved);
    EXPECT_EQ(account.imported, imported[account.index].count);
    EXPECT_GE(account.peak_requested, account.live.bytes_requested);
    EXPECT_GE(account.peak_reserved, account.live.bytes_reserved);
  }
}

const LedgerAccount* FindAccount(const LedgerView& view, uint32_t device, uint32_t kind) {
  for (const LedgerAccount& account : view.accounts) {
    if (account.device == device && account.kind == kind) return &account;
  }
  return nullptr;
}

Amount LiveOf(const LedgerView& view) {
  Amount sum;
  for (const LedgerAccount& account : view.accounts) {
    sum.count += account.live.count;
    sum.bytes_requested += account.live.bytes_requested;
    sum.bytes_reserved += account.live.bytes_reserved;
  }
  return sum;
}

Amount AllocatedOf(const LedgerView& view) {
  Amount sum;
  for (const LedgerAccount& account : view.accounts) {
    sum.count += account.allocated.count;
    sum.bytes_requested += account.allocated.bytes_requested;
    sum.bytes_reserved += account.allocated.bytes_reserved;
  }
  return sum;
}

uint64_t AnomalyCount(const LedgerView& view, memtally_anomaly anomaly) { return view.anomalies[anomaly].count; }

bool Outcome::Exited(int code) const { return !timed_out && WIFEXITED(status) && WEXITSTATUS(status) == code; }

bool Outcome::Killed(int signal) const { return !timed_out && WIFSIGNALED(status) && WTERMSIG(status) == signal; }

std::string Outcome::Describe() const {
  std::string text = timed_out             ? "had to be killed"
                     : WIFEXITED(status)   ? "exit status " + std::to_string(WEXITSTATUS(status))
                     : WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                           : "status " + std::to_string(status);
  return text + "\nstdout: " + out + "\nstderr: " + err;
}

Host::Host(const Place& place, const Body& body, const HostOptions& options) {
  Start(place, options, [&] { exit(body()); });
}

Host::Host(const Place& place, const std::vector<std::string>& command, const HostOptions& options) {
  HostOptions without = options;
  without.load_tracker = false;
  Start(place, without, [&] {
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    perror(arguments[0]);
    _exit(98);
  });
}

void Host::Start(const Place& place, const HostOptions& options, const std::function<void()>& run) {
  out_ = memfd_create("out", MFD_CLOEXEC);
  err_ = memfd_create("err", MFD_CLOEXEC);
  fflush(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out_, STDOUT_FILENO);
  dup2(err_, STDERR_FILENO);
  close(out_);
  close(err_);
  for (const char* variable :
       {"MEMTALLY", "MEMTALLY_LOG", "MEMTALLY_PRIVATE", "MEMTALLY_LAUNCH", "TT_ALLOC_TRACKING_ENABLED"}) {
    unsetenv(variable);
  }
  setenv("MEMTALLY_DIR", options.directory.empty() ? place.path().c_str() : options.directory.c_str(), 1);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  if (options.load_tracker) LoadTracker();
  run();
  _exit(96);
}

Host::~Host() {
  if (pid_ > 0 && !ended_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (out_ >= 0) close(out_);
  if (err_ >= 0) close(err_);
}

bool Host::AwaitRest() {
  for (int i = 0; i < 120'000; ++i) {
    const pid_t got = waitpid(pid_, &status_, WNOHANG | WUNTRACED);
    if (got == pid_ && WIFSTOPPED(status_)) return true;
    if (got == pid_) {
      ended_ = true;
      ADD_FAILURE() << "the host ended early: " << Outcome{status_, false, TakeText(&out_), TakeText(&err_)}.Describe();
      return false;
    }
    Nap();
  }
  ADD_FAILURE() << "the host does not come to rest";
  return false;
}

void Host::Continue() { kill(pid_, SIGCONT); }

Outcome Host::Wait(std::chrono::seconds patience) {
  Outcome outcome;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!ended_) {
    if (waitpid(pid_, &status_, WNOHANG) == pid_) {
      ended_ = true;
    } else if (std::chrono::steady_clock::now() > deadline) {
      outcome.timed_out = true;
      kill(pid_, SIGKILL);
      waitpid(pid_, &status_, 0);
      ended_ = true;
    } else {
      Nap();
    }
  }
  outcome.status = status_;
  outcome.out = TakeText(&out_);
  outcome.err = TakeText(&err_);
  return outcome;
}

Outcome RunHost(const Place& place, const Host::Body& body, const HostOptions& options) {
  return Host(place, body, options).Wait();
}

Outcome RunProgram(const Place& place, const std::vector<std::string>& command, const HostOptions& options) {
  return Host(place, command, options).Wait();
}

void Rest() { raise(SIGSTOP); }

void LoadTracker() {
  if (dlopen(MEMTALLY_TEST_LIBRARY, RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  fprintf(stderr, "%s\n", dlerror());
  _exit(97);
}

void Require(bool condition, const char* what) {
  if (condition) return;
  const std::string line = std::string("required: ") + what + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  _exit(99);
}

int WaitForChild(pid_t child) {
  int status = 0;
  if (child <= 0) return 255;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return 254;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

memtally_device RegisterDevice(int32_t local_index, const char* reporter) {
  memtally_device_info info{};
  info.size = sizeof(info);
  info.local_index = local_index;
  info.vendor = "acme";
  info.reporter = reporter;
  return memtally_register_device(&info);
}

memtally_device OpenDram(int32_t local_index) {
  const memtally_device device = RegisterDevice(local_index);
  memtally_register_kind(device, MEMTALLY_KIND_DRAM, uint64_t{1} << 40, 1, uint64_t{1} << 40);
  return device;
}

}  // namespace memtally::testing
