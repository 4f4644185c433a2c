// SPDX-License-Identifier: Apache-2.0
//
// FindLedgers: where ledgers lie.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <exception>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "base/fd.hpp"
#include "ledger/reader/ledger_name.hpp"
#include "ledger/reader/mount_table.hpp"

namespace memtally {

namespace {

using DirectoryStream = std::unique_ptr<DIR, int (*)(DIR*)>;

class Discovery {
 public:
  Discovery(std::vector<LedgerPlace>* places, std::vector<std::string>* problems)
      : places_(places), problems_(problems) {}

  void LookAt(const std::string& directory) {
    base::Fd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) {
      Problem(directory, errno);
      return;
    }
    LookAtOpen(std::move(fd), directory, false);
  }

  // /dev/shm of every mount namespace in which a process lives, other than our own.
  void LookAtOtherNamespaces() {
    struct stat own {};
    if (stat("/proc/self/ns/mnt", &own) != 0) return;
    std::set<ino_t> seen{own.st_ino};
    const DirectoryStream proc(opendir("/proc"), closedir);
    if (!proc) {
      Problem("/proc", errno);
      return;
    }
    while (const dirent* entry = readdir(proc.get())) {
      if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
      const std::string process = std::string("/proc/") + entry->d_name;
      struct stat status {};
      if (stat((process + "/ns/mnt").c_str(), &status) != 0) continue;  // it has ended, or is none of our business
      if (!seen.insert(status.st_ino).second) continue;
      if (!LookAtProcess(process)) seen.erase(status.st_ino);  // perhaps through another process
    }
  }

 private:
  // False if the process has gone.
  bool LookAtProcess(const std::string& process) {
    const std::string directory = process + "/root/dev/shm";  // not-a-machine-path
    std::string why;
    if (!reader::IsSafeToEnter(process, "/dev/shm", &why)) {
      if (!why.empty()) AddLine(directory + ": " + why);
      return !why.empty();
    }
    const base::Fd root(open((process + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root.valid()) return errno != ENOENT && errno != ESRCH;
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
    base::Fd fd(static_cast<int>(syscall(SYS_openat2, root.get(), "dev/shm", &how, sizeof(how))));
    if (!fd.valid()) {
      if (errno != ENOENT && errno != ENOTDIR) Problem(directory, errno);
      return true;
    }
    LookAtOpen(std::move(fd), directory, true);
    return true;
  }

  void LookAtOpen(base::Fd fd, const std::string& directory, bool other_namespace) {
    const int at = fd.get();
    const DirectoryStream stream(fdopendir(at), closedir);
    if (!stream) {
      Problem(directory, errno);
      return;
    }
    (void)fd.release();  // the stream's
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(stream.get());
      if (entry == nullptr) break;
      reader::LedgerName name;
      if (!reader::ParseLedgerName(entry->d_name, &name) || name.is_control) continue;
      struct stat status {};
      if (fstatat(at, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) continue;
      if (!seen_.insert({status.st_dev, status.st_ino}).second) continue;
      places_->push_back({directory + "/" + entry->d_name, other_namespace});
    }
    if (errno != 0) Problem(directory, errno);
  }

  void Problem(const std::string& place, int error_number) {
    if (error_number == ESRCH) return;
    AddLine(place + ": cannot be looked at: " + strerror(error_number));
  }
  void AddLine(std::string line) {
    if (problems_ != nullptr) problems_->push_back(std::move(line));
  }

  std::vector<LedgerPlace>* places_;
  std::vector<std::string>* problems_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

}  // namespace

std::vector<LedgerPlace> FindLedgers(std::vector<std::string>* problems) {
  std::vector<LedgerPlace> places;
  try {
    Discovery discovery(&places, problems);
    discovery.LookAt(reader::LedgerDirectory());
    if (geteuid() == 0 && !reader::LedgerDirectoryIsNamed()) discovery.LookAtOtherNamespaces();
  } catch (const std::exception&) {
    // What was found so far is still true.
    if (problems != nullptr && problems->size() < problems->capacity()) problems->emplace_back("out of memory");
  }
  return places;
}

}  // namespace memtally
