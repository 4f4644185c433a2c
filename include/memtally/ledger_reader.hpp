// SPDX-License-Identifier: Apache-2.0
//
// Read any ledger, of a living, dead or hostile process, into plain structs.
//
// A reader copies (pread) and never maps; it never blocks or slows the writer; it allocates only what the file's real
// size and the format's limits justify; a truncated, torn, mutated or vanishing file gives an error or a correct
// partial view with its gaps named.  docs/formats/ledger.md is the format.  Sizes are bytes, times CLOCK_MONOTONIC
// nanoseconds of the writer's machine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace memtally {

namespace reader {
struct ReaderAccess;
}

// Why something could not be read.  `what` names the file and what was wrong with it; `hint` says what to do.
struct LedgerError {
  enum class Code {
    kNone,
    kNotFound,  // no such file, or it vanished
    kNoPermission,
    kNotALedger,  // no magic, wrong type of file, a symbolic link
    kBeingMade,   // magic still zero; a process that dies before it writes one looks like this for ten seconds
    kNewerVersion,
    kForged,   // the owner of the file is not the user in its header
    kCorrupt,  // offsets or counts that contradict the format
    kIo,
  };
  Code code = Code::kNone;
  std::string what;
  std::string hint;
  explicit operator bool() const { return code != Code::kNone; }
};

// One side of an account: number of buffers, bytes asked for, bytes that the memory lost (a bank x banks).
struct Amount {
  uint64_t count = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_reserved = 0;
  bool operator==(const Amount&) const = default;
};

struct Identity {
  std::array<uint8_t, 16> run_id{};
  std::array<uint8_t, 16> boot_id{};
  std::array<uint8_t, 16> machine_id{};
  std::array<uint8_t, 16> launch_id{};  // of the `memtally run` under which it runs; zero: none
  uint32_t pid = 0;                     // in the process's own namespace
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t parent_pid = 0;
  uint64_t pid_namespace = 0;
  uint64_t process_start_ticks = 0;
  uint64_t created_realtime_ns = 0;
  std::string comm, host_name, executable, tracker_version, cgroup, container, pod, job;
};

struct LedgerDevice {
  uint32_t index = 0;
  std::array<uint8_t, 16> id{};
  uint32_t id_scheme = 0;  // enum memtally_device_id_scheme
  int32_t local_index = 0;
  std::optional<uint32_t> pci_address;
  std::optional<uint32_t> parent;
  uint64_t physical_bytes = 0;
  std::optional<uint64_t> closed_at_ns;
  uint32_t closes = 0;
  std::string vendor, architecture;
};

struct LedgerKind {
  uint32_t number = 0;
  uint32_t memory = 0;
  std::optional<uint32_t> inside;
  bool overlaps = false;
  bool on_host = false;
  std::string name;
};

// Everything that is summed for one device and kind.
struct LedgerAccount {
  uint32_t index = 0;
  uint32_t device = 0;
  uint32_t kind = 0;
  uint32_t banks = 1;
  uint64_t capacity_bytes = 0;
  uint64_t capacity_bytes_per_bank = 0;
  Amount live, allocated, freed, released;         // live = allocated - freed; released by a close: also in freed
  uint64_t peak_requested = 0, peak_reserved = 0;  // sums that were really reached
  uint64_t peak_requested_slack = 0, peak_reserved_slack = 0;  // 0: exact
  uint64_t failed_allocations = 0, failed_requested = 0;
  uint64_t imported = 0, imported_requested = 0;  // live ones; 0 once the device is closed
};

struct LedgerBuffer {
  uint64_t id = 0;
  uint64_t address = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_per_bank = 0;
  uint64_t time_ns = 0;
  uint64_t group = 0;
  uint32_t account = 0;
  uint32_t thread_id = 0;  // kernel's; 0 unknown
  uint32_t tag = 0;        // index into tags
  uint32_t stack = 0;
  bool imported = false;
  bool released = false;  // its device was closed: listed, not live
};

struct LedgerEvent {
  uint32_t operation = 0;  // enum memtally_operation
  uint32_t lane = 0;
  uint64_t number = 0;  // within the lane
  uint64_t id = 0, address = 0, bytes_requested = 0, bytes_per_bank = 0, time_ns = 0;
  std::optional<uint32_t> account;
  uint32_t thread_id = 0, tag = 0;
  uint32_t group_low = 0;
  bool imported = false;  // of another process's memory: in no sum
};

struct LedgerTag {
  uint32_t parent = 0;
  std::string name;
  bool cut = false;  // the name was longer than the format keeps
};

struct LedgerGroup {
  uint64_t id = 0;
  std::string name;
};

struct LedgerAnomaly {
  uint64_t count = 0;
  uint64_t bytes_requested = 0;
  std::vector<LedgerEvent>
      last;  // oldest first, at most 4 of each lane; `number` counts the lane's anomalies of this sort
};

struct LedgerCounters {
  uint64_t lost_events = 0, lost_bytes = 0, lost_tags = 0, lost_groups = 0, lost_registrations = 0, signal_overflow = 0,
           paused_events = 0, refused_pages = 0, recorder_wait_ns = 0;
  uint64_t events = 0, dropped_events = 0, unread_events = 0;  // over all lanes
};

enum class Liveness { kAlive, kDetached, kDead };
enum class ReadLevel {
  kTotals,   // identity, catalog, sums, peaks, anomalies, counters
  kAccount,  // and the buffers of one account, tags, groups
  kAll,      // and all buffers and events
};

struct LedgerView {
  std::string path;
  Identity identity;
  Liveness liveness = Liveness::kDead;
  uint32_t visible_pid = 0;  // of the lock's holder, in the reader's namespace; 0 unknown
  bool exited_normally = false;
  std::optional<uint64_t> end_time_ns;
  uint64_t start_time_ns = 0;
  bool totals_exact = true;       // sums are of one instant
  bool buffers_exact = true;      // buffers are of that instant, too
  bool interrupted = false;       // death came inside a call, which was taken back
  std::vector<std::string> gaps;  // what could not be read or believed, in words
  std::vector<LedgerDevice> devices;
  std::vector<LedgerKind> kinds;
  std::vector<LedgerAccount> accounts;
  std::array<LedgerAnomaly, 8> anomalies;  // enum memtally_anomaly
  LedgerCounters counters;
  std::vector<LedgerBuffer> buffers;
  std::vector<LedgerTag> tags;  // by index; 0 is "no tag", 1 "(other)"
  std::vector<LedgerGroup> groups;
  std::vector<LedgerEvent> events;  // by lane, then number
  uint64_t file_bytes = 0;          // that the file system holds for it

  const LedgerKind* kind(uint32_t number) const;
  std::string tag_path(uint32_t tag) const;  // "decode / layer 3"; "" for no tag
};

// Where readers copy ledgers to: as much as the largest of them has needed.  Readers that share one must not read at
// the same time; whoever reads many ledgers one after the other saves memory, and time, with it.
class ReaderMemory {
 public:
  ReaderMemory();
  ~ReaderMemory();
  ReaderMemory(const ReaderMemory&) = delete;
  ReaderMemory& operator=(const ReaderMemory&) = delete;

 private:
  friend struct reader::ReaderAccess;
  struct State;
  std::unique_ptr<State> state_;
};

// Texts of a view are bytes that a foreign process chose, up to their first zero: whoever prints them makes them
// harmless. One ledger, open.  Not thread-safe; several readers of one file are fine.
class LedgerReader {
 public:
  // Opens `path`.  Follows no symbolic link, waits for nothing.  `memory`: shared with other readers; null: its own.
  static std::unique_ptr<LedgerReader> Open(const std::string& path, LedgerError* error,
                                            std::shared_ptr<ReaderMemory> memory = nullptr);
  ~LedgerReader();
  LedgerReader(const LedgerReader&) = delete;
  LedgerReader& operator=(const LedgerReader&) = delete;

  // Reads at a level; `account` matters for kAccount.  May be called again and again, while the process goes on.
  // Returns false and sets *error if nothing useful could be read; what is missing from a success is in view->gaps.
  bool Read(ReadLevel level, LedgerView* view, LedgerError* error, uint32_t account = 0);

  // Asks the lock and /proc, now.  *visible_pid: see LedgerView.
  Liveness liveness(uint32_t* visible_pid = nullptr) const;

  const std::string& path() const;

 private:
  LedgerReader();
  friend struct reader::ReaderAccess;
  struct State;
  std::unique_ptr<State> state_;
};

// Where ledgers are: in MEMTALLY_DIR and nowhere else, if that is set; otherwise in /dev/shm, and for root also in the
// /dev/shm of other mount namespaces (/proc/<pid>/root).
struct LedgerPlace {
  std::string path;
  bool other_namespace = false;
};

// All files that have a ledger's name, each file once.  `problems` gets a line for each place that could not be looked
// at.
std::vector<LedgerPlace> FindLedgers(std::vector<std::string>* problems = nullptr);

// Removes what a dead process of this user (for root: of any user) left and is not worth keeping: files without
// evidence at once, pages without live buffers, and, beyond `cap_bytes` for each user, the oldest files.  Never touches
// a ledger whose lock is held.
// Only in this process's own directory of ledgers, not in those of other mount namespaces.
struct CleanUpResult {
  uint64_t removed_files = 0;
  uint64_t freed_bytes = 0;
  std::vector<std::string> problems;
};
inline constexpr uint64_t kDeadLedgerCapBytes = uint64_t{64} << 20;
CleanUpResult CleanUpDeadLedgers(uint64_t cap_bytes = kDeadLedgerCapBytes);

}  // namespace memtally
