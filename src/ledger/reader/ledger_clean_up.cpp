// SPDX-License-Identifier: Apache-2.0
//
// CleanUpDeadLedgers: what happens to the files of the dead.
//
// Only the own directory is cleaned (for root, the files of all users in it): in another mount namespace a pid cannot
// be looked up, and a process that closed a descriptor of its ledger would pass for dead.  While a file is changed or
// removed, a lock of an open file description is held on its byte 0: a second clean-up stays away, a tracker that would
// still start with this file is refused, and no reader takes it for a sign of life.
#include "ledger/reader/ledger_clean_up.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "base/fd.hpp"
#include "base/proc.hpp"
#include "ledger/reader/dead_pages.hpp"
#include "ledger/reader/held_descriptor.hpp"
#include "ledger/reader/ledger_name.hpp"
#include "ledger/reader/reader_access.hpp"

namespace memtally {

namespace {

// A file without a header or without its partner may be one that is being made; not if it has lain there for so long.
constexpr uint64_t kLongInMakingNs = 10'000'000'000;

constexpr std::string_view kLedgerSuffix = ".ledger";
constexpr std::string_view kControlSuffix = ".control";

uint64_t Nanoseconds(const timespec& time) {
  return time.tv_sec < 0 ? 0
                         : static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

bool IsOld(const struct stat& status) {
  const uint64_t now = base::RealtimeNs();
  return now > Nanoseconds(status.st_ctim) && now - Nanoseconds(status.st_ctim) > kLongInMakingNs;
}

// Whether a dead process's ledger has something that somebody may want to see.
bool IsEvidence(const LedgerView& view) {
  for (const LedgerAccount& account : view.accounts) {
    if (account.live != Amount{} || account.released != Amount{} || account.imported != 0) return true;
  }
  for (const LedgerAnomaly& anomaly : view.anomalies) {
    if (anomaly.count != 0) return true;
  }
  const LedgerCounters& c = view.counters;
  return c.lost_events != 0 || c.lost_bytes != 0 || c.lost_tags != 0 || c.lost_groups != 0 ||
         c.lost_registrations != 0 || c.signal_overflow != 0 || c.refused_pages != 0 || c.dropped_events != 0 ||
         c.unread_events != 0 || !view.gaps.empty() || !view.totals_exact;
}

class CleanUp {
 public:
  CleanUp(std::string directory, CleanUpResult* result) : directory_(std::move(directory)), result_(result) {}

  // The file of this name alone, if it has no evidence.
  void RunFor(const std::string& name) {
    at_ = base::Fd(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    LedgerError error;
    if (!at_.valid() || !IsOurs(name, &status)) return;
    const std::unique_ptr<LedgerReader> ledger = LedgerReader::Open(PathOf(name), &error);
    Hold hold;
    LedgerView view;
    if (ledger && ledger->liveness() == Liveness::kDead && Take(name, status, &hold) &&
        ledger->Read(ReadLevel::kTotals, &view, &error) && view.liveness == Liveness::kDead && !IsEvidence(view)) {
      Remove(name, hold);
    }
  }

  void Run(uint64_t cap_bytes) {
    if (!ListNames()) return;
    for (const std::string& name : ledgers_) LookAtLedger(name);
    RemoveBeyond(cap_bytes);
    for (const std::string& name : controls_) LookAtControl(name);
  }

 private:
  // What is left of a dead process.
  struct Remains {
    std::string name;
    uint32_t uid;
    uint64_t bytes;
    uint64_t born_ns;
  };

  // A dead ledger, held for changes.
  struct Hold {
    base::Fd fd;
    struct stat status {};
  };

  std::string PathOf(const std::string& name) const { return directory_ + "/" + name; }

  void Problem(const std::string& name, const std::string& what) {
    result_->problems.push_back(PathOf(name) + ": " + what);
  }

  bool ListNames() {
    at_ = base::Fd(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    base::Fd listed(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(listed.valid() ? fdopendir(listed.get()) : nullptr, closedir);
    if (!at_.valid() || !stream) {
      result_->problems.push_back(directory_ + ": cannot be looked at: " + strerror(errno));
      return false;
    }
    (void)listed.release();  // the stream's
    while (const dirent* entry = readdir(stream.get())) {
      reader::LedgerName name;
      if (!reader::ParseLedgerName(entry->d_name, &name)) continue;
      if (name.pid == static_cast<uint32_t>(getpid())) continue;  // perhaps our own, at any stage of its making
      (name.is_control ? controls_ : ledgers_).emplace_back(entry->d_name);
    }
    return true;
  }

  bool IsOurs(const std::string& name, struct stat* status) const {
    return fstatat(at_.get(), name.c_str(), status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status->st_mode) &&
           (geteuid() == 0 || status->st_uid == geteuid());
  }

  // False if somebody holds the ledger, or it is another file by now.
  bool Take(const std::string& name, const struct stat& expected, Hold* hold) {
    hold->fd = base::Fd(openat(at_.get(), name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    if (!hold->fd.valid() || fstat(hold->fd.get(), &hold->status) != 0) return false;
    if (hold->status.st_dev != expected.st_dev || hold->status.st_ino != expected.st_ino) return false;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    return fcntl(hold->fd.get(), F_OFD_SETLK, &lock) == 0;
  }

  // Removes the ledger and what lies beside it.
  void Remove(const std::string& name, const Hold& hold) {
    if (unlinkat(at_.get(), name.c_str(), 0) != 0) {
      if (errno != ENOENT) Problem(name, std::string("cannot be removed: ") + strerror(errno));
      return;
    }
    ++result_->removed_files;
    struct stat now {};
    if (fstat(hold.fd.get(), &now) == 0 && now.st_nlink == 0) {
      result_->freed_bytes += static_cast<uint64_t>(now.st_blocks) * 512;
    }
    const std::string control = name.substr(0, name.size() - kLedgerSuffix.size()) + std::string(kControlSuffix);
    struct stat status {};
    if (IsOurs(control, &status)) RemoveControl(control, status);
  }

  void RemoveControl(const std::string& name, const struct stat& status) {
    if (unlinkat(at_.get(), name.c_str(), 0) != 0) return;
    ++result_->removed_files;
    if (status.st_nlink == 1) result_->freed_bytes += static_cast<uint64_t>(status.st_blocks) * 512;
  }

  void LookAtLedger(const std::string& name) {
    struct stat status {};
    if (!IsOurs(name, &status)) return;
    LedgerError error;
    const std::unique_ptr<LedgerReader> ledger = LedgerReader::Open(PathOf(name), &error);
    if (!ledger) {
      LookAtUnreadable(name, status, error);
      return;
    }
    if (ledger->liveness() != Liveness::kDead) return;
    Hold hold;
    if (!Take(name, status, &hold)) return;
    LedgerView view;
    if (!ledger->Read(ReadLevel::kTotals, &view, &error)) {
      LookAtUnreadable(name, status, error);
      return;
    }
    if (view.liveness != Liveness::kDead) return;
    if (!IsEvidence(view)) {
      Remove(name, hold);
      return;
    }
    reader::PunchDeadPages(reader::ReaderAccess::BytesOf(*ledger), ledger->path(), hold.fd.get());
    struct stat after {};
    if (fstat(hold.fd.get(), &after) != 0) return;
    if (after.st_blocks < status.st_blocks) {
      result_->freed_bytes += static_cast<uint64_t>(status.st_blocks - after.st_blocks) * 512;
    }
    remains_.push_back({name, static_cast<uint32_t>(after.st_uid), static_cast<uint64_t>(after.st_blocks) * 512,
                        view.identity.created_realtime_ns});
  }

  void LookAtUnreadable(const std::string& name, const struct stat& status, const LedgerError& error) {
    switch (error.code) {
      case LedgerError::Code::kBeingMade:
      case LedgerError::Code::kNotFound:
      case LedgerError::Code::kNewerVersion:  // a newer memtally knows what is evidence in it
        return;
      case LedgerError::Code::kNotALedger: {
        Hold hold;
        if (!IsOld(status) || !Take(name, status, &hold)) return;
        uint64_t magic = 1;
        // Without a header, and nobody can write one any more without the lock, which is ours.
        if (pread(hold.fd.get(), &magic, sizeof(magic), 0) >= 0 && (magic == 0 || hold.status.st_size == 0)) {
          Remove(name, hold);
          return;
        }
        break;
      }
      default:
        break;
    }
    result_->problems.push_back(error.what);
    if (IsOld(status)) {
      remains_.push_back({name, static_cast<uint32_t>(status.st_uid), static_cast<uint64_t>(status.st_blocks) * 512,
                          Nanoseconds(status.st_mtim)});
    }
  }

  // Removes the oldest remains of each user who has more than the cap.
  void RemoveBeyond(uint64_t cap_bytes) {
    std::sort(remains_.begin(), remains_.end(),
              [](const Remains& a, const Remains& b) { return a.born_ns < b.born_ns; });
    std::map<uint32_t, uint64_t> held;
    for (const Remains& one : remains_) held[one.uid] += one.bytes;
    for (const Remains& one : remains_) {
      if (held[one.uid] <= cap_bytes || one.bytes == 0) continue;
      struct stat status {};
      Hold hold;
      if (!IsOurs(one.name, &status) || !Take(one.name, status, &hold)) continue;
      Remove(one.name, hold);
      held[one.uid] -= one.bytes;
    }
  }

  // A control file whose ledger is gone.
  void LookAtControl(const std::string& name) {
    struct stat status {};
    if (!IsOurs(name, &status) || !IsOld(status)) return;
    const std::string ledger = name.substr(0, name.size() - kControlSuffix.size()) + std::string(kLedgerSuffix);
    struct stat ledger_status {};
    if (fstatat(at_.get(), ledger.c_str(), &ledger_status, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) return;
    reader::HeldDescriptor descriptor;
    if (descriptor.Open(PathOf(name)) != 0) return;
    const reader::LockHolder holder = reader::AskLock(descriptor.get());
    if (holder.held || holder.held_by_description) return;  // a recorder that has not finished
    RemoveControl(name, status);
  }

  std::string directory_;
  CleanUpResult* result_;
  base::Fd at_;
  std::vector<std::string> ledgers_;
  std::vector<std::string> controls_;
  std::vector<Remains> remains_;
};

}  // namespace

CleanUpResult CleanUpDeadLedgers(uint64_t cap_bytes) {
  CleanUpResult result;
  try {
    CleanUp(reader::LedgerDirectory(), &result).Run(cap_bytes);
  } catch (const std::exception&) {
    // What was done so far is whole in itself; the next clean-up goes on.
  }
  return result;
}

bool reader::RemoveIfWithoutEvidence(const std::string& path) {
  CleanUpResult result;
  try {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return false;
    CleanUp(path.substr(0, slash), &result).RunFor(path.substr(slash + 1));
  } catch (const std::exception&) {
    // Nobody minds: the next clean-up removes it.
  }
  return result.removed_files != 0;
}

}  // namespace memtally
