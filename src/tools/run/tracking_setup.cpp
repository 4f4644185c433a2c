// SPDX-License-Identifier: Apache-2.0
#include "tools/run/tracking_setup.hpp"

#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "collect/host.hpp"
#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultDirectory = "/dev/shm";
constexpr size_t kLongestDirectory = 255;  // that the tracker takes

std::string Shown(const std::string& text) { return TerminalText(text, 200, Cut::kBegin); }

bool IsZero(const char* variable) {
  const char* value = getenv(variable);
  return value != nullptr && strcmp(value, "0") == 0;
}

// The tracker's own rule: see track/settings.cpp.
std::string DirectoryOfTracker(std::vector<Finding>* warnings) {
  const char* named = getenv("MEMTALLY_DIR");
  if (named == nullptr || *named == 0) return kDefaultDirectory;
  if (*named != '/') {
    warnings->push_back({"directory",
                         fmt::format("MEMTALLY_DIR is '{}', which does not begin with '/': tracked processes use {} "
                                     "instead",
                                     Shown(named), kDefaultDirectory),
                         "name the whole path"});
    return kDefaultDirectory;
  }
  if (strlen(named) > kLongestDirectory) {
    warnings->push_back({"directory",
                         fmt::format("MEMTALLY_DIR is longer than {} bytes: tracked processes use {} instead",
                                     kLongestDirectory, kDefaultDirectory),
                         "use a shorter path"});
    return kDefaultDirectory;
  }
  return named;
}

bool DirectoryServes(const std::string& directory, std::vector<Finding>* warnings) {
  struct stat status {};
  const char* hint = "make it, or name another one in MEMTALLY_DIR";
  if (stat(directory.c_str(), &status) != 0) {
    warnings->push_back(
        {"directory", fmt::format("{}: ledgers cannot be made there: {}", Shown(directory), ErrorText(errno)), hint});
    return false;
  }
  if (!S_ISDIR(status.st_mode)) {
    warnings->push_back(
        {"directory", fmt::format("{}: ledgers cannot be made there: it is no folder", Shown(directory)), hint});
    return false;
  }
  if (access(directory.c_str(), W_OK | X_OK) != 0) {
    warnings->push_back({"directory",
                         fmt::format("{}: ledgers cannot be made there: {}", Shown(directory), ErrorText(errno)),
                         "change its permissions, or name another one in MEMTALLY_DIR"});
    return false;
  }
  return true;
}

// The entries of a list that the dynamic loader separates by colons and spaces.
bool Lists(std::string_view list, std::string_view entry) {
  while (!list.empty()) {
    const size_t end = std::min(list.find_first_of(": "), list.size());
    if (list.substr(0, end) == entry) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

void Set(std::vector<std::string>* environment, const std::string& name, const std::string& value) {
  const std::string prefix = name + "=";
  std::erase_if(*environment, [&](const std::string& entry) { return entry.starts_with(prefix); });
  environment->push_back(prefix + value);
}

// The first that is there: `name` in the folder where installed libraries are, seen from the command, or `built`.
std::string FindLibrary(const char* name, const char* built, std::vector<std::string>* looked) {
  std::error_code ignored;
  const fs::path executable = fs::read_symlink("/proc/self/exe", ignored);
  std::vector<fs::path> places;
  if (!executable.empty()) places.push_back(executable.parent_path() / MEMTALLY_INSTALLED_LIBRARIES / name);
  places.emplace_back(built);
  for (const fs::path& place : places) {
    looked->push_back(place.lexically_normal().string());
    if (fs::is_regular_file(place, ignored)) return looked->back();
  }
  return "";
}

// Whether LD_PRELOAD can name it: the loader takes spaces and colons for separators.
bool CanPreload(const std::string& path) { return path.find_first_of(": ") == std::string::npos; }

}  // namespace

std::string FindTracker(std::vector<std::string>* looked) {
  return FindLibrary("libmemtally.so.0", MEMTALLY_BUILT_LIBRARY, looked);
}

TrackingSetup LookAtTracking() {
  TrackingSetup setup;
  std::vector<std::string> looked;
  setup.library = FindTracker(&looked);
  if (setup.library.empty()) {
    setup.tracks = false;
    setup.warnings.push_back({"library",
                              fmt::format("libmemtally.so.0 is not where it was installed: {}", Shown(looked.front())),
                              "install memtally again"});
  } else if (!CanPreload(setup.library)) {
    setup.tracks = false;
    setup.warnings.push_back(
        {"library", fmt::format("{}: LD_PRELOAD cannot name a path with a space or a colon", Shown(setup.library)),
         "install memtally elsewhere"});
    setup.library.clear();
  } else {
    std::vector<std::string> ignored;
    std::string hook = FindLibrary("libmemtally_ttmetal.so", MEMTALLY_BUILT_TTMETAL_HOOK, &ignored);
    if (!hook.empty() && CanPreload(hook)) setup.hooks.push_back(std::move(hook));
  }
  for (const char* variable : {"MEMTALLY", "TT_ALLOC_TRACKING_ENABLED"}) {
    if (!IsZero(variable)) continue;
    setup.tracks = false;
    setup.warnings.push_back({"disabled", fmt::format("{}=0 is set: nothing is tracked", variable), "unset it"});
  }
  setup.ledger_directory = DirectoryOfTracker(&setup.warnings);
  if (!DirectoryServes(setup.ledger_directory, &setup.warnings)) setup.tracks = false;
  return setup;
}

std::vector<std::string> LaunchEnvironment(const TrackingSetup& setup, const CommandFacts& command,
                                           const LaunchId& launch) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  Set(&environment, "MEMTALLY_LAUNCH", collect::HexText(launch));
  // Loaders of other machines and libraries would complain, or worse.
  const bool harmful = std::any_of(command.findings.begin(), command.findings.end(), [](const Finding& finding) {
    return finding.code == "architecture" || finding.code == "other_libc";
  });
  if (!setup.library.empty() && !harmful) {
    const char* before = getenv("LD_PRELOAD");
    const std::string_view list = before != nullptr ? before : "";
    std::vector<std::string_view> added;
    if (!Lists(list, setup.library)) added.push_back(setup.library);
    for (const std::string& hook : setup.hooks) {
      if (!Lists(list, hook)) added.push_back(hook);
    }
    if (!added.empty()) {
      if (!list.empty()) added.push_back(list);
      Set(&environment, "LD_PRELOAD", fmt::format("{}", fmt::join(added, ":")));
    }
  }
  if (!setup.hooks.empty() && !harmful && getenv("MEMTALLY_OOM_REPORT") == nullptr && setup.reports_shortages) {
    Set(&environment, "MEMTALLY_OOM_REPORT", "stderr");
  }
  if (command.needs_asan_order && command.can_preload) {
    const char* before = getenv("ASAN_OPTIONS");
    const std::string options = before != nullptr && *before != 0 ? std::string(before) + ":" : "";
    Set(&environment, "ASAN_OPTIONS", options + "verify_asan_link_order=0");
  }
  return environment;
}

LaunchId NewLaunchId() {
  LaunchId id{};
  size_t done = 0;
  while (done < id.size()) {
    const ssize_t got = getrandom(id.data() + done, id.size() - done, 0);
    if (got > 0) done += static_cast<size_t>(got);
    if (got < 0 && errno != EINTR) break;
  }
  if (id == LaunchId{}) id[0] = 1;
  return id;
}

bool MayGainRights() { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0; }

}  // namespace memtally::tools
