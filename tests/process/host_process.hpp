// SPDX-License-Identifier: Apache-2.0
//
// A host: a child process that runs some code with the tracker loaded, watched from outside.
//
// The test program itself never loads the tracker.  Each host is forked from it, gets a directory for ledgers of its
// own, and loads libmemtally with dlopen; the calls of track.h in the test program then record (in the host only).
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <memtally/ledger_reader.hpp>
#include <memtally/track.h>

namespace memtally::testing {

// A directory for the ledgers of one test, removed at the end with all that is in it.
class Place {
 public:
  Place();  // below /dev/shm
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  const std::string& path() const { return path_; }
  // Full paths, sorted.  An empty suffix: all files.
  std::vector<std::string> Files(const std::string& suffix = "") const;
  std::vector<std::string> Ledgers() const { return Files(".ledger"); }

 private:
  std::string path_;
};

// Path of the control file beside a ledger.
std::string ControlOf(const std::string& ledger);
// Removes a ledger and its control file.
void RemoveLedger(const std::string& path);
// Reads a whole ledger; a failed EXPECT and an empty view if that is not possible.
LedgerView ReadLedger(const std::string& path);
// The only ledger in the place.
LedgerView ReadOnlyLedger(const Place& place);
// The ledger of one process; nullopt without a failure if it has none.
std::optional<LedgerView> FindLedgerOf(const Place& place, pid_t pid);

// For every account: live buffers add up to the total, which is allocated minus freed; nothing is missing or inexact.
void ExpectExact(const LedgerView& view);

const LedgerAccount* FindAccount(const LedgerView& view, uint32_t device, uint32_t kind);
// Sums over all accounts.
Amount LiveOf(const LedgerView& view);
Amount AllocatedOf(const LedgerView& view);
uint64_t AnomalyCount(const LedgerView& view, memtally_anomaly anomaly);

struct Outcome {
  int status = 0;  // as of waitpid
  bool timed_out = false;
  std::string out;
  std::string err;
  bool Exited(int code) const;
  bool Killed(int signal) const;
  std::string Describe() const;
};

struct HostOptions {
  std::vector<std::pair<std::string, std::string>> environment;
  bool load_tracker = true;
  std::string directory;  // instead of the place's
};

class Host {
 public:
  using Body = std::function<int()>;

  // Starts a host; `body`'s result becomes its exit status, by way of exit().
  Host(const Place& place, const Body& body, const HostOptions& options = {});
  // Starts a program instead.
  Host(const Place& place, const std::vector<std::string>& command, const HostOptions& options = {});
  ~Host();  // kills it if it still runs
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  pid_t pid() const { return pid_; }
  // Waits until the host calls Rest (or stops otherwise).  A failed EXPECT if it ends first.
  bool AwaitRest();
  void Continue();
  // Waits until it ends.
  Outcome Wait(std::chrono::seconds patience = std::chrono::seconds(60));

 private:
  void Start(const Place& place, const HostOptions& options, const std::function<void()>& run);

  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
  int out_ = -1;
  int err_ = -1;
};

// Runs a host to its end.
Outcome RunHost(const Place& place, const Host::Body& body, const HostOptions& options = {});
Outcome RunProgram(const Place& place, const std::vector<std::string>& command, const HostOptions& options = {});

// --- for code inside a host

// Stops this process until the test continues it.  Uses no descriptor and no memory.
void Rest();
// Loads the tracker into this process; for hosts that were started without it.
void LoadTracker();
// Ends this process at once with status 99 and a line on stderr if `condition` does not hold.
void Require(bool condition, const char* what);
#define REQUIRE(condition) ::memtally::testing::Require((condition), #condition)
// Waits for a child of this process and tells its exit status; 200 + signal if one killed it.
int WaitForChild(pid_t child);

memtally_device RegisterDevice(int32_t local_index, const char* reporter = nullptr);
// Registers device `local_index` with DRAM of one bank.
memtally_device OpenDram(int32_t local_index = 0);

}  // namespace memtally::testing
