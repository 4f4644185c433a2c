// SPDX-License-Identifier: Apache-2.0
#include "tools/run/command_inspection.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "tools/near_miss.hpp"
#include "tools/output.hpp"
#include "tools/run/elf_inspection.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

namespace fs = std::filesystem;

constexpr int kMostScripts = 4;
constexpr size_t kFirstLineBytes = 255;  // that the kernel looks at
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

std::string Shown(const std::string& text) { return TerminalText(text, 200, Cut::kBegin); }

std::vector<std::string> Folders(const std::string& search) {
  std::vector<std::string> folders;
  for (size_t begin = 0; begin <= search.size();) {
    const size_t end = std::min(search.find(':', begin), search.size());
    folders.push_back(end == begin ? "." : search.substr(begin, end - begin));
    begin = end + 1;
  }
  return folders;
}

// The name in PATH that may have been meant, "" if none is near.
std::string Suggestion(const std::string& name, const std::string& search) {
  std::vector<std::string> names;
  for (const std::string& folder : Folders(search)) {
    std::error_code ignored;
    for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
      if (access(entry->path().c_str(), X_OK) == 0) names.push_back(entry->path().filename().string());
    }
  }
  return NearestWord(name, names);
}

class Inspection {
 public:
  Inspection(const CommandQuestion& question, CommandFacts* facts) : question_(question), facts_(facts) {}

  void Run() {
    std::string path = question_.command;
    if (path.find('/') == std::string::npos) path = LookInPath(path);
    if (path.empty()) return;
    facts_->path = path;
    Follow(path);
  }

 private:
  void Fail(int failure, const char* code, std::string what, std::string hint = "") {
    facts_->failure = failure;
    facts_->findings.push_back({code, std::move(what), std::move(hint)});
  }

  void CannotPreload(const char* code, std::string what, std::string hint) {
    facts_->can_preload = false;
    facts_->findings.push_back({code, std::move(what), std::move(hint)});
  }

  std::string LookInPath(const std::string& name) {
    std::string forbidden;
    if (name.empty()) {
      Fail(kNotFound, "not_found", "the command is empty");
      return "";
    }
    std::string path = FindInPath(name, question_.search, &forbidden);
    if (!path.empty()) return path;
    if (!forbidden.empty()) {
      Fail(kNotExecutable, "not_executable", fmt::format("{}: may not be executed", Shown(forbidden)),
           "look at its permissions (chmod +x), and at the mount option noexec");
      return "";
    }
    std::error_code ignored;
    std::string hint;
    if (fs::is_regular_file(name, ignored)) {
      hint = fmt::format("there is one in this folder: ./{}", Shown(name));
    } else if (const std::string near = Suggestion(name, question_.search); !near.empty()) {
      hint = fmt::format("is '{}' meant?", Shown(near));
    }
    Fail(kNotFound, "not_found", fmt::format("{}: command not found in PATH", Shown(name)), hint);
    return "";
  }

  // Whether a file is there and may be executed; says why not.
  bool IsExecutable(const std::string& path, const std::string& named_by) {
    const std::string by = named_by.empty() ? "" : fmt::format(", which {} names in its first line", Shown(named_by));
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) {
      const int error = errno;
      const bool missing = error == ENOENT || error == ENOTDIR;
      std::string hint;
      if (missing && path.ends_with('\r')) hint = "the file has line ends of DOS; convert it (dos2unix)";
      Fail(missing ? kNotFound : kNotExecutable, named_by.empty() ? "not_found" : "bad_interpreter",
           fmt::format("{}: {}{}", Shown(path), ErrorText(error), by), hint);
      return false;
    }
    if (S_ISDIR(status.st_mode)) {
      Fail(kNotExecutable, "not_executable", fmt::format("{}: is a folder{}", Shown(path), by));
      return false;
    }
    if (faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) {
      Fail(kNotExecutable, "not_executable", fmt::format("{}: {}{}", Shown(path), ErrorText(errno), by),
           "look at its permissions (chmod +x), and at the mount option noexec");
      return false;
    }
    return true;
  }

  void Follow(std::string path) {
    std::string named_by;
    for (int level = 0;; ++level) {
      if (!IsExecutable(path, named_by)) return;
      const base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      facts_->program = path;
      if (!fd.valid()) {
        LookAtPrivileges(path);
        facts_->findings.push_back(
            {"unreadable", fmt::format("{}: cannot be read, so whether it can be tracked is not known", Shown(path)),
             ""});
        return;
      }
      char line[kFirstLineBytes] = {};
      const ssize_t got = pread(fd.get(), line, sizeof(line), 0);
      const std::string_view head(line, got > 0 ? static_cast<size_t>(got) : 0);
      if (!head.starts_with("#!")) {
        LookAtProgram(path, fd.get());
        return;
      }
      facts_->scripts.push_back(path);
      if (level == kMostScripts) {
        Fail(kNotExecutable, "bad_interpreter",
             fmt::format("{}: is a script for a script, more than {} deep", Shown(path), kMostScripts));
        return;
      }
      named_by = path;
      path = Interpreter(head, named_by);
      if (path.empty()) return;
    }
  }

  // What the first line of a script names; through "env" to what that will look for.
  std::string Interpreter(std::string_view head, const std::string& script) {
    const size_t end = head.find('\n');
    if (end == std::string_view::npos && head.size() == kFirstLineBytes) {
      Fail(kNotExecutable, "bad_interpreter",
           fmt::format("{}: its first line is longer than {} bytes", Shown(script), kFirstLineBytes));
      return "";
    }
    std::string_view line = head.substr(2, end == std::string_view::npos ? end : end - 2);
    const auto next_word = [&line] {
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
      const std::string_view word = line.substr(0, line.find_first_of(" \t"));
      line.remove_prefix(word.size());
      return std::string(word);
    };
    std::string interpreter = next_word();
    if (interpreter.empty()) {
      Fail(kNotExecutable, "bad_interpreter", fmt::format("{}: names no interpreter in its first line", Shown(script)),
           "its first line should look like: #!/bin/sh");
      return "";
    }
    std::error_code ignored;
    if (fs::path(interpreter).filename() != "env" || !fs::exists(interpreter, ignored)) return interpreter;
    for (std::string word = next_word(); !word.empty(); word = next_word()) {
      if (word.starts_with('-') || word.find('=') != std::string::npos) continue;
      if (word.find('/') != std::string::npos) return word;
      std::string forbidden;
      std::string path = FindInPath(word, question_.search, &forbidden);
      if (!path.empty()) return path;
      Fail(kNotFound, "bad_interpreter",
           fmt::format("{}: its first line asks env for '{}', which is not in PATH", Shown(script), Shown(word)));
      return "";
    }
    return interpreter;
  }

  void LookAtPrivileges(const std::string& path) {
    struct stat status {};
    struct statvfs mount {};
    if (!question_.use_ids || stat(path.c_str(), &status) != 0) return;
    if (statvfs(path.c_str(), &mount) == 0 && (mount.f_flag & ST_NOSUID) != 0) return;
    constexpr const char* kHint = "give this program its rights in another way, or run memtally with them";
    const char* why = nullptr;
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) why = "set-user-id";
    if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getegid())
      why = "set-group-id";
    if (geteuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0) why = "file capabilities";
    if (why == nullptr) return;
    CannotPreload("privileged",
                  fmt::format("{}: gets other rights than yours when it starts ({}), and then preloads nothing",
                              Shown(path), why),
                  kHint);
  }

  void LookAtProgram(const std::string& path, int fd) {
    const ElfFacts elf = InspectElf([fd](uint64_t offset, void* buffer, size_t bytes) -> size_t {
      if (offset > static_cast<uint64_t>(INT64_MAX)) return 0;
      const ssize_t got = pread(fd, buffer, bytes, static_cast<off_t>(offset));
      return got > 0 ? static_cast<size_t>(got) : 0;
    });
    const std::string name = Shown(path);
    if (!elf.is_elf) {
      facts_->findings.push_back(
          {"no_program",
           fmt::format("{}: is neither a program nor a script with a first line like #!/bin/sh; it "
                       "is given to /bin/sh",
                       name),
           ""});
      return;
    }
    LookAtPrivileges(path);  // those of a script mean nothing
    if (!question_.library.empty()) {
      const ElfFacts library = InspectFile(question_.library);
      if (library.is_elf && (library.machine != elf.machine || library.is_64_bit != elf.is_64_bit)) {
        CannotPreload("architecture",
                      fmt::format("{}: is a program for {}, and libmemtally is for {}", name, MachineName(elf),
                                  MachineName(library)),
                      "use a memtally that was built for the same machine as the program");
        return;
      }
    }
    if (!elf.damage.empty()) {
      facts_->findings.push_back({"damaged", fmt::format("{}: {}", name, elf.damage), ""});
    }
    if (elf.interpreter.empty()) {
      CannotPreload("static",
                    fmt::format("{}: is statically linked: no loader runs in it that could preload anything", name),
                    "link it dynamically");
      return;
    }
    if (fs::path(elf.interpreter).filename().string().starts_with("ld-musl")) {
      CannotPreload("other_libc", fmt::format("{}: runs on musl, and libmemtally needs the GNU C library", name),
                    "build the program for the GNU C library");
      return;
    }
    for (const std::string& library : elf.needed) {
      if (!library.starts_with("libasan.so") && !library.starts_with("libclang_rt.asan")) continue;
      facts_->needs_asan_order = true;
      facts_->findings.push_back(
          {"address_sanitizer",
           fmt::format("{}: is built with AddressSanitizer, whose run-time refuses to come after a preloaded library",
                       name),
           "verify_asan_link_order=0 is added to ASAN_OPTIONS; libmemtally replaces nothing of what it watches"});
      break;
    }
  }

  static ElfFacts InspectFile(const std::string& path) {
    const base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return {};
    return InspectElf([&fd](uint64_t offset, void* buffer, size_t bytes) -> size_t {
      const ssize_t got = pread(fd.get(), buffer, bytes, static_cast<off_t>(offset));
      return got > 0 ? static_cast<size_t>(got) : 0;
    });
  }

  const CommandQuestion& question_;
  CommandFacts* facts_;
};

}  // namespace

std::string FindInPath(const std::string& name, const std::string& search, std::string* forbidden) {
  forbidden->clear();
  for (const std::string& folder : Folders(search)) {
    std::string path = folder;
    path += '/';
    path += name;
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || S_ISDIR(status.st_mode)) continue;
    if (faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0) return path;
    if (forbidden->empty()) *forbidden = path;
  }
  return "";
}

CommandFacts InspectCommand(const CommandQuestion& question) {
  CommandFacts facts;
  Inspection(question, &facts).Run();
  return facts;
}

}  // namespace memtally::tools
