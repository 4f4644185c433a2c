// SPDX-License-Identifier: Apache-2.0
#include <linux/membarrier.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gnu/libc-version.h>

#include <memtally/version.h>

#include "base/proc.hpp"
#include "collect/host.hpp"
#include "collect/place.hpp"
#include "tools/doctor/check.hpp"
#include "tools/screen_units.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

// The fixed part of a ledger, and the first lane; what a limit on sizes has to leave.
constexpr rlim_t kLedgerBytes = rlim_t{12} << 20;
constexpr rlim_t kAddressSpaceBytes = rlim_t{64} << 20;
constexpr rlim_t kDescriptors = 32;

// "6.1.0-17" as 6 and 1.
std::pair<int, int> VersionOf(std::string_view release) {
  int major = 0;
  int minor = 0;
  const char* end = release.data() + release.size();
  const auto first = std::from_chars(release.data(), end, major);
  if (first.ptr != end) std::from_chars(first.ptr + 1, end, minor);
  return {major, minor};
}

void CheckKernel(Checkup* checkup) {
  utsname names{};
  uname(&names);
  const std::string what = fmt::format("memtally {}, {} {}, {}, GNU C library {}", MEMTALLY_VERSION, names.sysname,
                                       TerminalText(names.release, 60), names.machine, gnu_get_libc_version());
  if (VersionOf(names.release) < std::pair(4, 14)) {
    checkup->Warn(
        "system", what,
        "Linux 4.14 or newer tells forked children apart more surely, and makes frees by other threads cheaper");
  } else {
    checkup->Ok("system", what);
  }
  const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  if (commands < 0 || (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) {
    checkup->Warn("membarrier", "the kernel (or a seccomp filter) does not offer membarrier to processes",
                  "tracked programs use plain locks instead; an event then costs more. Allow membarrier in the filter");
  } else {
    checkup->Ok("membarrier", "membarrier is there: threads report without atomic operations");
  }
}

void CheckIdentity(Checkup* checkup) {
  const collect::Host host = collect::ThisHost();
  constexpr std::array<uint8_t, 16> kUnknown{};
  if (host.boot_id == kUnknown) {
    checkup->Warn("identity",
                  "/proc/sys/kernel/random/boot_id cannot be read: ledgers do not know which boot they are of",
                  "mount /proc; without it, ledgers of the dead may pass for detached");
  } else if (host.machine_id == kUnknown) {
    checkup->Warn("identity", "/etc/machine-id is not there: ledgers and JSON do not name this machine",
                  "systemd-machine-id-setup makes one");
  } else {
    checkup->Ok("identity",
                fmt::format("host {}, machine {}", TerminalText(host.name, 60), collect::HexText(host.machine_id)));
  }
}

void CheckSight(Checkup* checkup) {
  // Any process that is not ours: the first one.
  const bool sees_others = access("/proc/1/stat", R_OK) == 0;
  if (!sees_others) {
    checkup->Warn("proc", "/proc hides other users' processes (hidepid) or is not mounted",
                  "names, containers and states of their processes may be missing; root sees them");
  } else if (geteuid() == 0) {
    checkup->Ok("proc", "runs as root: sees the ledgers of all users, and of containers with a /dev/shm of their own");
  } else {
    checkup->Ok("proc",
                "runs as a user: sees the public ledgers in this /dev/shm; root also sees private ones and "
                "those of containers with a /dev/shm of their own");
  }
  std::ifstream file("/proc/self/cgroup");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const collect::Place place = collect::PlaceOfCgroup(collect::CgroupPath(text));
  const bool marked = access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0;
  if (marked || !place.container.empty() || !place.pod.empty()) {
    const std::string name = collect::ShortPlace(place);
    checkup->Warn("container",
                  fmt::format("this is a container{}: processes outside it are not seen",
                              name.empty() ? "" : " (" + TerminalText(name, 60) + ")"),
                  "run memtally on the host, as root, to see all containers; or share /dev/shm and the pid namespace");
  }
}

void CheckLimit(const char* name, int resource, rlim_t least, const char* what, const char* how, Checkup* checkup) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      limit.rlim_cur >= least) {
    return;
  }
  const std::string now = resource == RLIMIT_NOFILE ? std::to_string(limit.rlim_cur) : ScreenBytes(limit.rlim_cur);
  checkup->Problem("limits", fmt::format("the limit on {} is {}: {}", name, now, what), how);
}

void CheckLimits(Checkup* checkup) {
  const size_t before = checkup->checks().size();
  CheckLimit("the size of files", RLIMIT_FSIZE, kLedgerBytes,
             "processes that are started from here cannot make a ledger", "ulimit -f unlimited", checkup);
  CheckLimit("address space", RLIMIT_AS, kAddressSpaceBytes,
             "processes that are started from here may have no room for a ledger", "ulimit -v unlimited", checkup);
  CheckLimit("open files", RLIMIT_NOFILE, kDescriptors, "tracked processes need two, high ones", "ulimit -n 1024",
             checkup);
  if (checkup->checks().size() == before) checkup->Ok("limits", "no limit of this shell is in the way of a ledger");
}

}  // namespace

void CheckMachine(Checkup* checkup) {
  CheckKernel(checkup);
  CheckIdentity(checkup);
  CheckSight(checkup);
  CheckLimits(checkup);
}

}  // namespace memtally::tools
