// SPDX-License-Identifier: Apache-2.0
#include "tools/doctor/hook_checks.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <memtally/hook.h>

#include "tools/doctor/program_output.hpp"
#include "tools/run/tracking_setup.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

namespace fs = std::filesystem;

constexpr int kPatienceMs = 20'000;
constexpr std::string_view kLibraryName = "libtt_metal.so";

// Where the package's library is, without importing it.  A package in a tree of TT-Metal has it outside its folder.
constexpr const char* kPythonQuestion = R"(
import importlib.metadata, importlib.util, os
spec = importlib.util.find_spec("ttnn")
if spec is not None:
    print("package", os.path.dirname(spec.origin or "") or list(spec.submodule_search_locations or [""])[0])
    try:
        print("version", importlib.metadata.version("ttnn"))
    except importlib.metadata.PackageNotFoundError:
        pass
    places = list(spec.submodule_search_locations or [])
    places += [os.path.join(os.environ[name], "build", "lib") for name in ("TT_METAL_RUNTIME_ROOT", "TT_METAL_HOME")
               if os.environ.get(name)]
    found = [os.path.join(folder, "libtt_metal.so") for place in places for folder, _, files in os.walk(place)
             if "libtt_metal.so" in files]
    if found:
        print("library", found[0])
)";

std::string Shown(const std::string& text) { return TerminalText(text, 160, Cut::kBegin); }

// The rest of the first line that begins with `word` and a space, "" if there is none.
std::string LineOf(std::string_view text, std::string_view word) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.starts_with(word) && line.substr(word.size()).starts_with(' ')) {
      return std::string(line.substr(word.size() + 1));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return "";
}

// The Python interpreter that the command would be run by; "" if it is none.  By the name that was typed or that a
// script names: a link in a virtual environment is what makes Python use that.
std::string PythonOf(const CommandFacts& command) {
  for (const std::string* path : {&command.path, &command.program}) {
    if (fs::path(*path).filename().string().starts_with("python")) return *path;
  }
  return "";
}

struct Installation {
  std::string package;  // folder
  std::string version;
  std::string library;
};

// The library's path in what the loader lists: a line is "  NAME => PATH (0x00007f...)", or "  PATH (0x00007f...)".
std::string LoadedLibrary(std::string_view text) {
  const size_t name = text.find(fmt::format("/{} (0x", kLibraryName));
  if (name == std::string_view::npos) return "";
  const std::string_view before = text.substr(0, name);
  const size_t line = before.rfind('\n') + 1;  // 0 if there is none
  const size_t arrow = before.find("=> ", line);
  const size_t begin = arrow != std::string_view::npos ? arrow + 3 : before.find_first_not_of("\t ", line);
  return std::string(text.substr(begin, name + 1 + kLibraryName.size() - begin));
}

Installation InstallationOf(const CommandFacts& command) {
  Installation found;
  std::string text;
  if (const std::string python = PythonOf(command); !python.empty()) {
    if (!OutputOf({python, "-c", kPythonQuestion}, {"MEMTALLY=0"}, kPatienceMs, &text)) return found;
    found = {LineOf(text, "package"), LineOf(text, "version"), LineOf(text, "library")};
  } else if (command.can_preload && !command.program.empty() &&
             OutputOf({command.program}, {"LD_TRACE_LOADED_OBJECTS=1"}, kPatienceMs, &text)) {
    found.library = LoadedLibrary(text);
  }
  return found;
}

void Judge(const HookFinding& found, Checkup* checkup) {
  const std::string what =
      fmt::format("{}{}, {}", found.framework,
                  found.version.empty() ? "" : " of ttnn " + TerminalText(found.version, 40), Shown(found.library));
  if (!found.records) {
    checkup->Problem(
        "hooks", fmt::format("{}: has no {}, so its buffers are not recorded", what, found.needed),
        "what TT-Metal publishes by itself is shown all the same (memtally ps); docs/compatibility.md says "
        "which versions are known");
  } else if (!found.missing.empty()) {
    checkup->Warn("hooks", fmt::format("{}: has no {}; not recorded: {}", what, found.missing, found.not_recorded),
                  "docs/compatibility.md says which versions are known");
  } else {
    checkup->Ok("hooks", fmt::format("{}: has all that memtally's hook needs; its buffers are recorded", what));
  }
}

int HasSymbol(void* library, const char* symbol) { return dlsym(library, symbol) != nullptr ? 1 : 0; }

}  // namespace

std::vector<HookFinding> CheckHooks(const TrackingSetup& setup, const CommandFacts& command, Checkup* checkup) {
  std::vector<HookFinding> findings;
  if (setup.hooks.empty()) {
    checkup->Warn("hooks", "memtally's hook for TT-Metal (libmemtally_ttmetal.so) is not beside libmemtally.so",
                  "install memtally again, if models on TT-Metal are to be tracked");
    return findings;
  }
  Installation installation = InstallationOf(command);
  if (installation.library.empty()) {
    if (!installation.package.empty()) {
      checkup->Warn("hooks",
                    fmt::format("the package ttnn in {} has no {}, so what would be recorded is not known",
                                Shown(installation.package), kLibraryName),
                    "set TT_METAL_HOME to the tree that it was built in");
    } else {
      checkup->Ok("hooks", "it loads no framework that memtally has a hook for, as far as can be seen before it runs");
    }
    return findings;
  }
  for (const std::string& hook : setup.hooks) {
    std::string text;
    if (!OutputOf({"/proc/self/exe", "doctor", "--ask-hook", hook, installation.library}, {"MEMTALLY=0"}, kPatienceMs,
                  &text)) {
      const std::string why = LineOf(text, "error");
      checkup->Problem("hooks",
                       fmt::format("{}: cannot be looked at{}{}", Shown(installation.library), why.empty() ? "" : ": ",
                                   TerminalText(why, 200)),
                       "");
      continue;
    }
    findings.push_back({LineOf(text, "framework"), installation.version, installation.library,
                        LineOf(text, "records") == "1", LineOf(text, "needed"), LineOf(text, "missing"),
                        LineOf(text, "not_recorded")});
    Judge(findings.back(), checkup);
  }
  return findings;
}

int AskHook(const std::string& hook, const std::string& library) {
  void* hook_handle = dlopen(hook.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* handle = hook_handle != nullptr ? dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL) : nullptr;
  if (handle == nullptr) {
    const char* error = dlerror();
    std::printf("error %s\n", error != nullptr ? error : "");
    return 1;
  }
  const auto ask = reinterpret_cast<memtally_hook_ask_function>(dlsym(hook_handle, MEMTALLY_HOOK_ASK));
  memtally_hook_answer answer{};
  answer.size = sizeof(answer);
  if (ask == nullptr || ask(HasSymbol, handle, &answer) != 0) {
    std::printf("error %s is of another version of memtally\n", hook.c_str());
    return 1;
  }
  std::printf("framework %s\nrecords %u\nneeded %s\nmissing %s\nnot_recorded %s\n", answer.framework, answer.records,
              answer.needed, answer.missing, answer.not_recorded);
  return 0;
}

}  // namespace memtally::tools
