// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "tools/doctor/check.hpp"
#include "tools/near_miss.hpp"
#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

const std::vector<std::string>& KnownVariables() {
  static const std::vector<std::string> known = {
      "MEMTALLY",        "MEMTALLY_DIR",   "MEMTALLY_PRIVATE",           "MEMTALLY_LOG",       "MEMTALLY_LAUNCH",
      "MEMTALLY_TRACES", "MEMTALLY_PAGER", "MEMTALLY_LEAK_SUPPRESSIONS", "MEMTALLY_OOM_REPORT"};
  return known;
}

constexpr size_t kLongestReportFolder = 255;  // that hooks take

std::string Shown(std::string_view text) { return TerminalText(text, 120); }

class Settings {
 public:
  explicit Settings(Checkup* checkup) : checkup_(checkup) {}

  void Look(const std::string& name, const std::string& value) {
    if (name == "MEMTALLY" || name == "TT_ALLOC_TRACKING_ENABLED") {
      LookAtSwitch(name, value);
    } else if (name == "MEMTALLY_PRIVATE") {
      LookAtPrivate(value);
    } else if (name == "MEMTALLY_LOG") {
      LookAtLog(value);
    } else if (name == "MEMTALLY_LAUNCH") {
      checkup_->Ok("settings", "MEMTALLY_LAUNCH: this shell runs under a memtally run, which has its processes");
    } else if (name == "MEMTALLY_OOM_REPORT") {
      LookAtOomReport(value);
    } else if (name == "MEMTALLY_DIR") {
      // Looked at with the directory.
    } else if (name.starts_with("MEMTALLY_") || name == "MEMTALLY") {
      LookAtOther(name, value);
    }
  }

 private:
  void LookAtSwitch(const std::string& name, const std::string& value) {
    if (value == "0") {
      checkup_->Problem("settings", name + "=0: nothing that is started from here is tracked", "unset " + name);
    } else if (!value.empty() && value != "1") {
      checkup_->Warn("settings", fmt::format("{}={}: has no effect; only 0 has one", name, Shown(value)),
                     "set it to 0 to turn tracking off, or unset it");
    }
  }

  void LookAtPrivate(const std::string& value) {
    if (value == "1") {
      checkup_->Ok("settings", "MEMTALLY_PRIVATE=1: ledgers are for their user and root alone");
    } else if (!value.empty() && value != "0") {
      checkup_->Warn("settings", fmt::format("MEMTALLY_PRIVATE={}: has no effect, ledgers stay public", Shown(value)),
                     "only 1 makes them private");
    }
  }

  void LookAtLog(const std::string& value) {
    if (value.empty() || value == "0") return;
    if (value == "1" || value == "stderr") {
      checkup_->Ok("settings", "MEMTALLY_LOG: the tracker writes what it does to the standard error of programs");
      return;
    }
    struct stat status {};
    const std::string folder = value.substr(0, value.find_last_of('/') + 1);
    const bool is_there = lstat(value.c_str(), &status) == 0;
    if (is_there && S_ISLNK(status.st_mode)) {
      checkup_->Warn("settings",
                     fmt::format("MEMTALLY_LOG={}: is a symbolic link, to which nothing is written", Shown(value)),
                     "name a file");
    } else if (is_there ? access(value.c_str(), W_OK) != 0 : access(folder.empty() ? "." : folder.c_str(), W_OK) != 0) {
      checkup_->Warn("settings", fmt::format("MEMTALLY_LOG={}: cannot be written: {}", Shown(value), ErrorText(errno)),
                     "name a file that can");
    } else {
      checkup_->Ok("settings", fmt::format("MEMTALLY_LOG: the tracker writes what it does to {}", Shown(value)));
    }
  }

  void LookAtOomReport(const std::string& value) {
    if (value.empty() || value == "0") return;
    struct stat status {};
    if (value == "stderr") {
      checkup_->Ok("settings", "MEMTALLY_OOM_REPORT: what does not fit is reported on the standard error of programs");
    } else if (value.front() != '/' || value.size() > kLongestReportFolder) {
      checkup_->Warn(
          "settings", fmt::format("MEMTALLY_OOM_REPORT={}: has no effect", Shown(value)),
          fmt::format("set it to stderr, or to the whole path of a folder, of at most {} bytes", kLongestReportFolder));
    } else if (stat(value.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) ||
               access(value.c_str(), W_OK | X_OK) != 0) {
      checkup_->Warn("settings",
                     fmt::format("MEMTALLY_OOM_REPORT={}: is no folder that can be written to", Shown(value)),
                     "make it, or name another one");
    } else {
      checkup_->Ok("settings", fmt::format("MEMTALLY_OOM_REPORT: what does not fit is reported in {}", Shown(value)));
    }
  }

  void LookAtOther(const std::string& name, const std::string& value) {
    for (const std::string& known : KnownVariables()) {
      if (name == known) {
        checkup_->Ok("settings", fmt::format("{}={}", name, Shown(value)));
        return;
      }
    }
    const std::string near = NearestWord(name, KnownVariables());
    checkup_->Warn("settings", fmt::format("{} is set, which nothing looks at", Shown(name)),
                   near.empty() ? "unset it" : fmt::format("is {} meant?", near));
  }

  Checkup* checkup_;
};

}  // namespace

void CheckSettings(Checkup* checkup) {
  const size_t before = checkup->checks().size();
  Settings settings(checkup);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) settings.Look(text.substr(0, equals), text.substr(equals + 1));
  }
  if (checkup->checks().size() == before) checkup->Ok("settings", "no variable changes what memtally does");
}

}  // namespace memtally::tools
