// SPDX-License-Identifier: Apache-2.0
#include "collect/place.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "base/proc.hpp"

namespace memtally::collect {
namespace {

constexpr size_t kContainerDigits = 64;

bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsHex(std::string_view text) { return std::all_of(text.begin(), text.end(), IsHexDigit); }

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// Takes `end` off the text.  False if it does not end so.
bool TakeSuffix(std::string_view* text, std::string_view end) {
  if (!text->ends_with(end)) return false;
  text->remove_suffix(end.size());
  return true;
}

bool TakePrefix(std::string_view* text, std::string_view begin) {
  if (!text->starts_with(begin)) return false;
  text->remove_prefix(begin.size());
  return true;
}

std::vector<std::string_view> Components(std::string_view path) {
  std::vector<std::string_view> components;
  while (!path.empty()) {
    const std::string_view component = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), component.size() + 1));
    if (!component.empty() && component != "." && component != "..") components.push_back(component);
  }
  return components;
}

// "a\x2db" as systemd writes names, to "a-b".  What is no such escape stays.
std::string Unescape(std::string_view name) {
  std::string text;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i).starts_with("\\x") && i + 4 <= name.size() && IsHex(name.substr(i + 2, 2))) {
      const auto value = [](char c) { return IsDigit(c) ? c - '0' : c - 'a' + 10; };
      text += static_cast<char>(value(name[i + 2]) * 16 + value(name[i + 3]));
      i += 3;
    } else {
      text += name[i];
    }
  }
  return text;
}

struct Container {
  std::string runtime;
  std::string name;
};

// The runtime that names a container's cgroup so: "docker" of docker-5e2b....scope.  "" for an unknown one.
std::string RuntimeOfPrefix(std::string_view prefix) {
  constexpr std::array<std::pair<std::string_view, const char*>, 10> kPrefixes = {{{"docker", "docker"},
                                                                                   {"libpod", "podman"},
                                                                                   {"libpod-conmon", "podman"},
                                                                                   {"libpod-payload", "podman"},
                                                                                   {"cri-containerd", "containerd"},
                                                                                   {"containerd", "containerd"},
                                                                                   {"nerdctl", "containerd"},
                                                                                   {"crio", "cri-o"},
                                                                                   {"crio-conmon", "cri-o"},
                                                                                   {"lxc", "lxc"}}};
  for (const auto& [known, runtime] : kPrefixes) {
    if (prefix == known) return runtime;
  }
  return "";
}

// The runtime that keeps its containers' cgroups, named by bare identifiers, in a folder of this name.
std::string RuntimeOfFolder(std::string_view folder) {
  if (folder == "docker") return "docker";
  if (folder == "libpod_parent") return "podman";
  if (folder == "default" || folder == "k8s.io") return "containerd";  // its namespaces
  return "";
}

// docker-ID.scope, crio-ID, kubepods-podX.slice:cri-containerd:ID, ID.  `in_kubernetes`: some folder above belongs to
// it.
std::optional<Container> ContainerById(std::string_view parent, std::string_view component, bool in_kubernetes) {
  TakeSuffix(&component, ".scope");
  if (component.size() < kContainerDigits) return std::nullopt;
  const std::string_view id = component.substr(component.size() - kContainerDigits);
  if (!IsHex(id)) return std::nullopt;
  component.remove_suffix(kContainerDigits);
  Container container;
  container.name = id;
  if (component.empty()) {
    container.runtime = in_kubernetes ? "kubernetes" : RuntimeOfFolder(parent);
    return container;
  }
  const char separator = component.back();
  if (separator != '-' && separator != ':') return std::nullopt;
  component.remove_suffix(1);
  if (separator == ':') component.remove_prefix(component.rfind(':') + 1);  // all of it if there is none
  container.runtime = RuntimeOfPrefix(component);
  if (container.runtime.empty() && in_kubernetes) container.runtime = "kubernetes";
  return container;
}

// Containers that people name: LXC's and systemd-nspawn's.
std::optional<Container> ContainerByName(std::string_view parent, std::string_view component) {
  if (parent == "lxc" || parent == "lxc.payload" || parent == "lxc.monitor") {
    return Container{"lxc", std::string(component)};
  }
  std::string_view name = component;
  if ((TakePrefix(&name, "lxc.payload.") || TakePrefix(&name, "lxc.monitor.")) && !name.empty()) {
    return Container{"lxc", std::string(name)};
  }
  if (TakePrefix(&name, "systemd-nspawn@") && TakeSuffix(&name, ".service") && !name.empty()) {
    return Container{"systemd-nspawn", Unescape(name)};
  }
  name = component;
  if (parent != "machine.slice" || !TakePrefix(&name, "machine-") || !TakeSuffix(&name, ".scope")) return std::nullopt;
  std::string machine = Unescape(name);
  // libvirt calls its own "qemu-NUMBER-NAME", which are no containers, and "lxc-NUMBER-NAME".
  const auto libvirt_name = [&](std::string_view driver) -> std::optional<std::string> {
    std::string_view rest = machine;
    if (!TakePrefix(&rest, driver)) return std::nullopt;
    const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    if (digits == 0 || !rest.substr(digits).starts_with('-')) return std::nullopt;
    return std::string(rest.substr(digits + 1));
  };
  if (libvirt_name("qemu-") || machine.empty()) return std::nullopt;
  if (const auto lxc = libvirt_name("lxc-")) return Container{"lxc", *lxc};
  return Container{"systemd-nspawn", std::move(machine)};
}

// ...pod12345678_1234_1234_1234_123456789abc, with or without ".slice" or another ending behind it.
std::string PodOf(std::string_view component) {
  component = component.substr(0, component.find(':'));
  TakeSuffix(&component, ".slice");
  const size_t at = component.rfind("pod");
  if (at == std::string_view::npos) return "";
  std::string pod(component.substr(at + 3));
  std::replace(pod.begin(), pod.end(), '_', '-');
  // Pods that a kubelet was given as files have a hash for an identifier.
  constexpr size_t kHashDigits = 32;
  if (pod.size() == kHashDigits && IsHex(pod)) return pod;
  constexpr std::array<size_t, 4> kDashes = {8, 13, 18, 23};
  constexpr size_t kLength = 36;
  if (pod.size() != kLength) return "";
  for (size_t i = 0; i < kLength; ++i) {
    const bool dash = std::find(kDashes.begin(), kDashes.end(), i) != kDashes.end();
    if (dash ? pod[i] != '-' : !IsHexDigit(pod[i])) return "";
  }
  return pod;
}

// "slurm:123" of job_123 below one of Slurm's folders, "pbs:123.host", "lsf:123"; "" if it is none of these.
std::string JobOf(const std::vector<std::string_view>& components, size_t at) {
  std::string_view name = components[at];
  const auto is_slurm = [](std::string_view folder) {
    return folder == "slurm" || folder.starts_with("slurm_") || folder.ends_with("slurmstepd.scope");
  };
  const auto above = components.begin() + static_cast<std::ptrdiff_t>(at);
  if (TakePrefix(&name, "job_") && !name.empty() && std::all_of(name.begin(), name.end(), IsDigit)) {
    return std::any_of(components.begin(), above, is_slurm) ? "slurm:" + std::string(name) : "";
  }
  if (at == 0) return "";
  name = components[at];
  const std::string_view parent = components[at - 1];
  const bool number_first = IsDigit(name.front());
  if (parent == "jobid" && at >= 2 && components[at - 2].starts_with("pbs") && number_first) {
    return "pbs:" + std::string(name);
  }
  if (parent == "pbspro" && number_first) return "pbs:" + std::string(name);
  if (parent == "pbspro.slice" && TakePrefix(&name, "pbspro-") && TakeSuffix(&name, ".slice")) {
    return "pbs:" + Unescape(name);
  }
  if (components.front() == "lsf" && TakePrefix(&name, "job.")) {
    name = name.substr(0, name.find('.'));
    if (!name.empty() && std::all_of(name.begin(), name.end(), IsDigit)) return "lsf:" + std::string(name);
  }
  return "";
}

// "" if the component is no unit that runs something.
std::string UnitOf(std::string_view component) {
  TakePrefix(&component, "_");  // systemd's mark on names that would clash with the kernel's files
  std::string_view name = component;
  const bool unit = TakeSuffix(&name, ".service") || TakeSuffix(&name, ".scope");
  return unit && !name.empty() ? std::string(component) : "";
}

// How much a path tells.
int Weight(std::string_view path) {
  if (path.empty()) return 0;
  if (path == "/") return 1;
  const Place place = PlaceOfCgroup(path);
  return place.container.empty() && place.pod.empty() && place.job.empty() ? 2 : 3;
}

std::string ReadProcCgroup(uint32_t pid) {
  constexpr size_t kMost = size_t{64} << 10;
  std::string text(kMost, '\0');
  text.resize(base::ReadSmallFile(("/proc/" + std::to_string(pid) + "/cgroup").c_str(), text.data(), text.size()));
  return text;
}

}  // namespace

Place PlaceOfCgroup(std::string_view path) {
  Place place;
  place.cgroup = path;
  const std::vector<std::string_view> components = Components(path);
  bool in_kubernetes = false;
  for (size_t i = 0; i < components.size(); ++i) {
    const std::string_view component = components[i];
    const std::string_view parent = i == 0 ? std::string_view() : components[i - 1];
    in_kubernetes = in_kubernetes || Contains(component, "kubepods");
    if (in_kubernetes) {
      if (std::string pod = PodOf(component); !pod.empty()) place.pod = std::move(pod);
    }
    if (std::string job = JobOf(components, i); !job.empty()) place.job = std::move(job);
    std::optional<Container> container = ContainerById(parent, component, in_kubernetes);
    if (!container) container = ContainerByName(parent, component);
    if (container) {
      place.container = std::move(container->name);
      place.runtime = std::move(container->runtime);
      place.service.clear();  // those above the container run the runtime, not the process
    } else if (std::string unit = UnitOf(component); !unit.empty()) {
      place.service = std::move(unit);
    }
  }
  if (place.runtime.empty() && !place.pod.empty()) place.runtime = "kubernetes";
  return place;
}

std::string CgroupPath(std::string_view proc_cgroup) {
  std::string_view best;
  int best_weight = -1;
  while (!proc_cgroup.empty()) {
    std::string_view line = proc_cgroup.substr(0, proc_cgroup.find('\n'));
    proc_cgroup.remove_prefix(std::min(proc_cgroup.size(), line.size() + 1));
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const bool unified = line.starts_with("0::");
    std::string_view path = line.substr(second + 1);
    if (!path.starts_with('/')) continue;
    TakeSuffix(&path, " (deleted)");
    const int weight = 2 * Weight(path) + (unified ? 1 : 0);
    if (weight <= best_weight) continue;
    best_weight = weight;
    best = path;
  }
  return std::string(best);
}

Place PlaceOfProcess(uint32_t pid, const Identity& identity) {
  std::string path;
  if (pid != 0) path = CgroupPath(ReadProcCgroup(pid));
  Place place = PlaceOfCgroup(path.empty() || path == "/" ? identity.cgroup : path);
  if (place.cgroup.empty()) place.cgroup = path;
  if (place.container.empty()) place.container = identity.container;
  if (place.pod.empty()) place.pod = identity.pod;
  if (place.job.empty()) place.job = identity.job;
  return place;
}

std::string ShortPlace(const Place& place) {
  constexpr size_t kPodDigits = 8;
  constexpr size_t kShownDigits = 12;  // as `docker ps` shows
  if (!place.job.empty()) return place.job;
  if (!place.pod.empty()) return "pod " + place.pod.substr(0, kPodDigits);
  if (!place.container.empty()) {
    const bool by_id = place.container.size() == kContainerDigits && IsHex(place.container);
    return (place.runtime.empty() ? "container" : place.runtime) + " " +
           (by_id ? place.container.substr(0, kShownDigits) : place.container);
  }
  return place.service;
}

}  // namespace memtally::collect
