// SPDX-License-Identifier: Apache-2.0
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <memtally/ledger_reader.hpp>

#include "collect/snapshot.hpp"
#include "tools/doctor/check.hpp"
#include "tools/output.hpp"
#include "tools/run/tracking_setup.hpp"
#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kTooLittleBytes = kMiB;  // not even one busy process fits
constexpr uint64_t kLittleBytes = 16 * kMiB;
constexpr uint64_t kLittleInodes = 100;
constexpr uint64_t kSmallBytes = 128 * kMiB;  // as containers have it: 64 MiB
constexpr size_t kMostUnreadable = 5;

std::string Shown(const std::string& text) { return TerminalText(text, 160, Cut::kBegin); }

void CheckFileSystem(const std::string& directory, Checkup* checkup) {
  struct statfs file_system {};
  struct statvfs room {};
  if (statfs(directory.c_str(), &file_system) != 0 || statvfs(directory.c_str(), &room) != 0) return;
  const auto type = static_cast<unsigned long>(file_system.f_type);
  if (type != TMPFS_MAGIC && type != RAMFS_MAGIC) {
    checkup->Warn("file_system",
                  fmt::format("{} is not in memory (tmpfs): ledgers there cost disk traffic, and outlive a boot",
                              Shown(directory)),
                  "use /dev/shm, or mount a tmpfs");
  }
  const uint64_t size = uint64_t{room.f_blocks} * room.f_frsize;
  const uint64_t free = uint64_t{room.f_bavail} * room.f_frsize;
  const std::string what = fmt::format("{} of {} free", ScreenBytes(free), ScreenBytes(size));
  // A tmpfs without a limit has neither blocks nor inodes to count.
  if (size == 0) {
    checkup->Ok("room", fmt::format("{} has no limit of its own", Shown(directory)));
  } else if (free < kTooLittleBytes) {
    checkup->Problem("room", fmt::format("{} is full: {}", Shown(directory), what),
                     "remove what is not needed there; what cannot be recorded is counted as lost");
  } else if (free < kLittleBytes) {
    checkup->Warn("room", fmt::format("{} is nearly full: {}", Shown(directory), what),
                  "a ledger takes 46 bytes a buffer and some 400 KiB for its flight recorder");
  } else if (size <= kSmallBytes) {
    checkup->Warn("room", fmt::format("{} is small, as in a container: {}", Shown(directory), what),
                  "start the container with a larger one (docker run --shm-size=1g), if processes have many buffers");
  } else {
    checkup->Ok("room", fmt::format("{}: {}", Shown(directory), what));
  }
  if (room.f_files != 0 && room.f_favail < kLittleInodes) {
    checkup->Problem("inodes",
                     fmt::format("{} has room for {} more files only", Shown(directory), uint64_t{room.f_favail}),
                     "remove files there; each tracked process makes two");
  }
}

}  // namespace

void CheckDirectory(const TrackingSetup& setup, Checkup* checkup) {
  bool serves = true;
  for (const Finding& warning : setup.warnings) {
    if (warning.code != "directory") continue;
    serves = false;
    checkup->Problem("directory", warning.what, warning.hint);
  }
  struct stat status {};
  if (stat(setup.ledger_directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return;
  if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0) {
    checkup->Warn("directory",
                  fmt::format("{}: anybody may remove anybody's ledgers there", Shown(setup.ledger_directory)),
                  "chmod +t it");
  } else if (serves) {
    checkup->Ok("directory", fmt::format("ledgers lie in {}, which can be written", Shown(setup.ledger_directory)));
  }
  CheckFileSystem(setup.ledger_directory, checkup);
}

void CheckLedgers(const TrackingSetup& setup, Checkup* checkup) {
  std::vector<std::string> problems;
  std::map<Liveness, uint64_t> count;
  uint64_t unreadable = 0;
  uint64_t other_places = 0;
  uint64_t own_dead_bytes = 0;
  for (const LedgerPlace& place : FindLedgers(&problems)) {
    LedgerError error;
    LedgerView view;
    const std::unique_ptr<LedgerReader> reader = LedgerReader::Open(place.path, &error);
    if (!reader || !reader->Read(ReadLevel::kTotals, &view, &error)) {
      // Ends and beginnings of processes while we look.
      if (error.code == LedgerError::Code::kNotFound || error.code == LedgerError::Code::kBeingMade) continue;
      if (unreadable++ < kMostUnreadable) {
        checkup->Warn("unreadable", TerminalText(error.what, 300), TerminalText(error.hint, 200));
      }
      continue;
    }
    ++count[view.liveness];
    other_places += place.other_namespace ? 1 : 0;
    if (view.liveness == Liveness::kDead && view.identity.uid == geteuid()) own_dead_bytes += view.file_bytes;
  }
  if (unreadable > kMostUnreadable) {
    checkup->Warn("unreadable", fmt::format("{} more ledgers cannot be read", unreadable - kMostUnreadable),
                  "memtally ps names them");
  }
  for (const std::string& problem : problems) {
    if (problem.find(setup.ledger_directory) == std::string::npos || setup.tracks) {
      checkup->Warn("places", TerminalText(problem, 300), "what lies there is not seen");
    }
  }
  checkup->Ok("ledgers", fmt::format("{} of living, {} of detached and {} of dead processes{}", count[Liveness::kAlive],
                                     count[Liveness::kDetached], count[Liveness::kDead],
                                     other_places != 0 ? fmt::format("; {} in containers", other_places) : ""));
  if (own_dead_bytes > kDeadLedgerCapBytes) {
    checkup->Warn(
        "remains", fmt::format("your dead processes' ledgers take {}", ScreenBytes(own_dead_bytes)),
        fmt::format("memtally ps reduces them to {}, the oldest first; look at them before, with memtally leaks",
                    ScreenBytes(kDeadLedgerCapBytes)));
  } else if (own_dead_bytes != 0) {
    checkup->Ok("remains", fmt::format("your dead processes' ledgers take {} of at most {}",
                                       ScreenBytes(own_dead_bytes), ScreenBytes(kDeadLedgerCapBytes)));
  }
}

}  // namespace memtally::tools
