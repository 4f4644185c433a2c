// SPDX-License-Identifier: Apache-2.0
//
// Place: where a process runs, as cgroups and its ledger tell it: container, pod, batch job, service.
//
// A process in a container often sees its own cgroup as "/"; the reader sees the whole path.  So what the reader finds
// in /proc goes before what the process wrote.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <memtally/ledger_reader.hpp>

namespace memtally::collect {

struct Place {
  std::string cgroup;  // path, as far as known
  // "docker", "podman", "containerd", "cri-o", "lxc", "systemd-nspawn"; "kubernetes" if that is all one can tell; ""
  // none or unknown
  std::string runtime;
  std::string container;  // identifier, 64 hex digits or a name; "" none
  std::string pod;        // Kubernetes pod, 8-4-4-4-12 hex digits, 32 of a static pod; "" none
  std::string job;        // "slurm:123", "pbs:...", ...; "" none
  std::string service;    // systemd unit, "name.service" or "name.scope", inside the container if it is in one; "" none
  bool operator==(const Place&) const = default;
};

// What a cgroup path says.  The formats are those of systemd and cgroupfs drivers, cgroup v1 and v2.  Of containers in
// containers it is the innermost.  A path that was cut off tells what is whole in it.
Place PlaceOfCgroup(std::string_view path);

// The path in the text of a /proc/<pid>/cgroup: of a hierarchy that tells a container, pod or job, else of one that is
// not at its root; the unified one goes before the others, then the first.  "" if there is none.
std::string CgroupPath(std::string_view proc_cgroup);

// Of a process: from /proc/<pid>/cgroup if `pid` is not 0 and it can be read, completed by what it wrote of itself.
Place PlaceOfProcess(uint32_t pid, const Identity& identity);

// The shortest that tells people where it runs: "slurm:123", "pod 0f3a...", "docker 5e2b1c", "nginx.service", "".
std::string ShortPlace(const Place& place);

}  // namespace memtally::collect
