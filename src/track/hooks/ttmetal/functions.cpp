// SPDX-License-Identifier: Apache-2.0
#include "track/hooks/ttmetal/functions.hpp"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include <memtally/hook.h>
#include <memtally/track.h>

#include "ledger/writer/syscall_scope.hpp"
#include "ledger/writer/text.hpp"
#include "track/hooks/ttmetal/failure_report.hpp"
#include "track/hooks/ttmetal/locks.hpp"

namespace memtally::track::ttmetal {

namespace {

constexpr FunctionRow kRows[kFunctionCount] = {
#define MEMTALLY_TT_ROW(identifier, use, need, instead, symbol, name, lost) \
  {Use::use, Need::need, Function::instead, symbol, name, lost},
    MEMTALLY_TT_FUNCTIONS(MEMTALLY_TT_ROW)
#undef MEMTALLY_TT_ROW
};

enum State : uint8_t { kNotLooked, kPassesOn, kReports };

std::atomic<uint8_t> state{kNotLooked};
void* found[kFunctionCount];

// Whether some code of this library is at `address`: then it is not the real function.
bool IsOurs(const void* address) {
  Dl_info there{};
  Dl_info here{};
  return dladdr(address, &there) != 0 && dladdr(&kRows, &here) != 0 && there.dli_fbase == here.dli_fbase;
}

// The paths of the objects in the process, one behind the other, each ended by a zero; an empty one is the last.
struct Paths {
  char* text;
  size_t bytes;
};

int AddPath(dl_phdr_info* info, size_t /*bytes*/, void* argument) {
  auto* paths = static_cast<Paths*>(argument);
  if (info->dlpi_name == nullptr || *info->dlpi_name == 0) return 0;
  const size_t length = strlen(info->dlpi_name) + 1;
  auto* longer = static_cast<char*>(realloc(paths->text, paths->bytes + length + 1));
  if (longer == nullptr) return 1;
  memcpy(longer + paths->bytes, info->dlpi_name, length);
  paths->text = longer;
  paths->bytes += length;
  longer[paths->bytes] = 0;
  return 0;
}

// An object of the process by its name, with a reference that is never given back; null if it is not there.
void* LoadedObject(const char* path) { return dlopen(path, RTLD_LAZY | RTLD_NOLOAD); }

// The object that has TT-Metal, or null.  Python loads it out of sight, so that RTLD_NEXT does not find it.
void* TtMetalObject() {
  if (void* object = LoadedObject("libtt_metal.so")) return object;
  Paths paths{};
  dl_iterate_phdr(AddPath, &paths);
  void* object = nullptr;
  for (const char* path = paths.text; path != nullptr && *path != 0; path += strlen(path) + 1) {
    void* candidate = LoadedObject(path);
    if (candidate == nullptr) continue;
    const void* table = dlsym(candidate, kRows[static_cast<unsigned>(Function::kMeshTable)].symbol);
    if (table != nullptr && !IsOurs(table)) {
      object = candidate;
      break;
    }
    dlclose(candidate);
  }
  free(paths.text);
  return object;
}

// Adds to the list of words of `text`, which began as `empty` bytes, unless it is there.
struct WordList {
  char text[700];
  size_t used;

  void Add(const char* word) {
    const size_t length = strlen(word);
    if (length == 0 || strstr(text, word) != nullptr || used + length + 3 > sizeof(text)) return;
    if (used != 0) {
      memcpy(text + used, ", ", 2);
      used += 2;
    }
    memcpy(text + used, word, length + 1);
    used += length;
  }
};

// What is missing of the table.
struct Missing {
  WordList needed;    // without these nothing is recorded
  WordList optional;  // others that people should know about, and what is not recorded without them
  WordList lost;
};

// `there` says of each row whether the function is there.
Missing MissingOf(const bool (&there)[kFunctionCount]) {
  Missing missing{};
  for (unsigned i = 0; i < kFunctionCount; ++i) {
    const FunctionRow& row = kRows[i];
    if (there[i]) continue;
    const bool replaced = row.instead != Function::kNone && there[static_cast<unsigned>(row.instead)];
    if (row.need == Need::kRequired && !replaced) {
      missing.needed.Add(row.name);
    } else if (row.need != Need::kSilent && row.lost[0] != 0 && (row.need == Need::kRequired || !replaced)) {
      missing.optional.Add(row.name);
      missing.lost.Add(row.lost);
    }
  }
  return missing;
}

void Say(const char* first, const WordList& list, const char* second, const char* third) {
  char line[1600];
  writer::Text text(line, sizeof(line));
  text.Add("memtally: ").Add(first).Add(list.text).Add(second).Add(third).Add("\n");
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, strlen(line));
}

// Fills `found`, says what is missing, returns the new state.
State Look() {
  void* object = TtMetalObject();
  bool there[kFunctionCount];
  for (unsigned i = 0; i < kFunctionCount; ++i) {
    void* next = dlsym(RTLD_NEXT, kRows[i].symbol);
    if (next == nullptr && object != nullptr) next = dlsym(object, kRows[i].symbol);
    if (next != nullptr && kRows[i].use == Use::kFront && IsOurs(next)) next = nullptr;
    found[i] = next;
    there[i] = next != nullptr;
  }
  if (memtally_is_enabled() == 0) return kPassesOn;
  const Missing missing = MissingOf(there);
  if (missing.needed.used != 0) {
    Say("this version of TT-Metal has no ", missing.needed, ", so its buffers are not recorded", "");
    return kPassesOn;
  }
  if (missing.optional.used != 0) {
    Say("this version of TT-Metal has no ", missing.optional, "; not recorded: ", missing.lost.text);
  }
  return kReports;
}

uint8_t Looked() {
  uint8_t now = state.load(std::memory_order_acquire);
  if (__builtin_expect(now != kNotLooked, 1)) return now;
  const writer::SyscallScope scope;
  const Lock lock(LockName::kFunctions);
  now = state.load(std::memory_order_relaxed);
  if (now == kNotLooked) {
    ReadReportSettings();
    now = Look();
    WatchForks();
    state.store(now, std::memory_order_release);
  }
  return now;
}

}  // namespace

const FunctionRow& RowOf(Function function) { return kRows[static_cast<unsigned>(function)]; }

void* Real(Function function) {
  Looked();
  return __atomic_load_n(&found[static_cast<unsigned>(function)], __ATOMIC_ACQUIRE);
}

void Disown(Function function) {
  if (__atomic_exchange_n(&found[static_cast<unsigned>(function)], nullptr, __ATOMIC_ACQ_REL) == nullptr) return;
  const FunctionRow& row = RowOf(function);
  WordList name{};
  name.Add(row.name);
  if (row.need == Need::kRequired) {
    state.store(kPassesOn, std::memory_order_release);
    Say("this version of TT-Metal has another ", name, ", so its buffers are not recorded", "");
  } else {
    Say("this version of TT-Metal has another ", name, "; not recorded: ", row.lost);
  }
}

bool Reports() { return Looked() == kReports; }

extern "C" __attribute__((visibility("default"))) int memtally_hook_ask(memtally_hook_has has, void* context,
                                                                        memtally_hook_answer* answer) {
  if (answer->size < sizeof(*answer)) return -1;
  bool there[kFunctionCount];
  for (unsigned i = 0; i < kFunctionCount; ++i) there[i] = has(context, kRows[i].symbol) != 0;
  const Missing missing = MissingOf(there);
  answer->records = missing.needed.used == 0 ? 1 : 0;
  writer::CopyField(answer->framework, "TT-Metal");
  writer::CopyField(answer->needed, missing.needed.text);
  writer::CopyField(answer->missing, missing.optional.text);
  writer::CopyField(answer->not_recorded, missing.lost.text);
  return 0;
}

}  // namespace memtally::track::ttmetal
