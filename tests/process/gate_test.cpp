// SPDX-License-Identifier: Apache-2.0
//
// How the tracker gets into a process: not at all, by link, by preload, by dlopen before or after its callers, twice.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "host_process.hpp"

namespace memtally::testing {
namespace {

using Command = std::vector<std::string>;

const std::string kLibrary = MEMTALLY_TEST_LIBRARY;
const std::string kLinked = MEMTALLY_TEST_LINKED_PROGRAM;
const std::string kGatedObject = MEMTALLY_TEST_GATED_OBJECT;

// The same program, compiled as what it may be compiled as, without the library.
const std::array<std::string, 3> kBare = {MEMTALLY_TEST_BARE_GNU11, MEMTALLY_TEST_BARE_C11, MEMTALLY_TEST_BARE_CPP};

std::vector<uint64_t> LiveIds(const LedgerView& view) {
  std::vector<uint64_t> ids;
  for (const LedgerBuffer& buffer : view.buffers) ids.push_back(buffer.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

using Ids = std::vector<uint64_t>;

std::string OutputOf(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  for (int c; pipe != nullptr && (c = fgetc(pipe)) != EOF;) text.push_back(static_cast<char>(c));
  if (pipe != nullptr) pclose(pipe);
  return text;
}

TEST(Gate, HeaderAloneDoesNothing) {
  for (const std::string& program : kBare) {
    SCOPED_TRACE(program);
    const Place place;
    const Outcome outcome =
        RunProgram(place, {program, "every", "report", "1", "enabled", "gate", kGatedObject, "2", "status", "9"});
    EXPECT_TRUE(outcome.Exited(9)) << outcome.Describe();
    EXPECT_EQ(outcome.out, "0");
    EXPECT_EQ(outcome.err, "");
    EXPECT_TRUE(place.Files().empty());
  }
}

TEST(Gate, OpenedLaterByPath) {
  for (const std::string& program : kBare) {
    for (const std::string mode : {"local", "global"}) {
      SCOPED_TRACE(program + " " + mode);
      const Place place;
      const Outcome outcome = RunProgram(
          place, {program, "enabled", "report", "1", mode, kLibrary, "enabled", "report", "2", "every", "status", "9"});
      EXPECT_TRUE(outcome.Exited(9)) << outcome.Describe();
      EXPECT_EQ(outcome.out, "01");
      EXPECT_EQ(outcome.err, "");
      const LedgerView view = ReadOnlyLedger(place);
      ExpectExact(view);
      EXPECT_EQ(AllocatedOf(view).count, 1u + 3000 + 2);
    }
  }
}

TEST(Gate, ObjectsWithGatesOfTheirOwn) {
  for (const std::string& program : kBare) {
    for (const std::string mode : {"local", "global"}) {
      SCOPED_TRACE(program + " " + mode);
      const Place place;
      // The object before the library (nothing is recorded yet), and again after it.
      const Outcome outcome = RunProgram(
          place, {program, "gate", kGatedObject, "1", mode, kLibrary, "gate", kGatedObject, "2", "report", "3"});
      EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
      EXPECT_EQ(LiveIds(ReadOnlyLedger(place)), (Ids{2, 3}));
      const Place other;
      const Outcome after = RunProgram(other, {program, mode, kLibrary, "gate", kGatedObject, "1", "report", "2"});
      EXPECT_TRUE(after.Exited(0)) << after.Describe();
      EXPECT_EQ(LiveIds(ReadOnlyLedger(other)), (Ids{1, 2}));
    }
  }
}

TEST(Gate, Preloaded) {
  for (const std::string& program : kBare) {
    SCOPED_TRACE(program);
    const Place place;
    HostOptions options;
    options.environment = {{"LD_PRELOAD", kLibrary}};
    const Outcome outcome =
        RunProgram(place, {program, "enabled", "report", "1", "gate", kGatedObject, "2", "status", "9"}, options);
    EXPECT_TRUE(outcome.Exited(9)) << outcome.Describe();
    EXPECT_EQ(outcome.out, "1");
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(LiveIds(ReadOnlyLedger(place)), (Ids{1, 2}));
  }
}

TEST(Gate, PreloadedIntoAProgramThatReportsNothing) {
  const Place place;
  HostOptions options;
  options.environment = {{"LD_PRELOAD", kLibrary}};
  const Outcome outcome = RunProgram(place, {"/bin/sh", "-c", "echo hello; exit 17"}, options);
  EXPECT_TRUE(outcome.Exited(17)) << outcome.Describe();
  EXPECT_EQ(outcome.out, "hello\n");
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(place.Files().empty());
}

TEST(Gate, Linked) {
  const Place place;
  const Outcome outcome =
      RunProgram(place, {kLinked, "enabled", "report", "1", "gate", kGatedObject, "2", "every", "status", "8"});
  EXPECT_TRUE(outcome.Exited(8)) << outcome.Describe();
  EXPECT_EQ(outcome.out, "1");
  EXPECT_EQ(outcome.err, "");
  const LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  EXPECT_EQ(AllocatedOf(view).count, 3002u + 2);
}

// A second copy of the library forwards to the first: one process, one ledger.
TEST(Gate, TwoCopiesOneLedger) {
  const Place place;
  const std::string copy = place.path() + "/libanother.so";
  std::filesystem::copy_file(kLibrary, copy);
  const std::array<Command, 4> commands = {{
      {kBare[0], "local", kLibrary, "report", "1", "again", copy, "2", "report", "3", "gate", kGatedObject, "4"},
      {kBare[0], "local", copy, "report", "1", "again", kLibrary, "2", "report", "3", "gate", kGatedObject, "4"},
      {kBare[2], "global", copy, "global", kLibrary, "report", "1", "again", copy, "2", "again", kLibrary, "3", "gate",
       kGatedObject, "4"},
      {kLinked, "report", "1", "global", copy, "again", copy, "2", "report", "3", "gate", kGatedObject, "4"},
  }};
  for (const Command& command : commands) {
    const Place own;
    const Outcome outcome = RunProgram(own, command);
    EXPECT_TRUE(outcome.Exited(0)) << outcome.Describe();
    const LedgerView view = ReadOnlyLedger(own);
    ExpectExact(view);
    EXPECT_EQ(LiveIds(view), (Ids{1, 2, 3, 4}));
    EXPECT_EQ(view.devices.size(), 1u);
  }
}

TEST(Gate, TurnedOff) {
  for (const std::string variable : {"MEMTALLY", "TT_ALLOC_TRACKING_ENABLED"}) {
    SCOPED_TRACE(variable);
    HostOptions options;
    options.environment = {{variable, "0"}};
    const Place place;
    for (const Command& command :
         {Command{kLinked, "enabled", "every", "report", "1", "status", "9"},
          Command{kBare[0], "local", kLibrary, "enabled", "every", "report", "1", "status", "9"}}) {
      const Outcome outcome = RunProgram(place, command, options);
      EXPECT_TRUE(outcome.Exited(9)) << outcome.Describe();
      EXPECT_EQ(outcome.out, "0");
      EXPECT_EQ(outcome.err, "");
    }
    EXPECT_TRUE(place.Files().empty());
    options.environment = {{variable, "1"}};
    EXPECT_EQ(RunProgram(place, {kLinked, "enabled"}, options).out, "1");
  }
}

TEST(Gate, SpeaksOnlyWhenAsked) {
  const Place place;
  for (const std::string where : {"1", "stderr"}) {
    HostOptions options;
    options.environment = {{"MEMTALLY_LOG", where}};
    const Outcome outcome = RunProgram(place, {kLinked, "enabled", "every"}, options);
    EXPECT_TRUE(outcome.Exited(0));
    EXPECT_EQ(outcome.out, "1");
    EXPECT_NE(outcome.err.find("memtally["), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find(place.path()), std::string::npos) << outcome.err;
  }
  const std::string file = place.path() + "/log";
  HostOptions options;
  options.environment = {{"MEMTALLY_LOG", file}};
  options.directory = place.path() + "/missing";
  const Outcome outcome = RunProgram(place, {kLinked, "enabled", "every"}, options);
  EXPECT_TRUE(outcome.Exited(0));
  EXPECT_EQ(outcome.err, "");
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  EXPECT_NE(text.str().find("does not exist"), std::string::npos) << text.str();
  options.environment = {{"MEMTALLY_LOG", "0"}};
  EXPECT_EQ(RunProgram(place, {kLinked, "every"}, options).err, "");
}

TEST(Gate, NeedsLibcAloneAndShowsOneSymbol) {
  const std::string needed = OutputOf("readelf -dW " + kLibrary + " | sed -n 's/.*(NEEDED).*\\[\\(.*\\)\\]/\\1/p'");
  if (needed.empty()) GTEST_SKIP() << "needs readelf";
  std::istringstream lines(needed);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line == "libc.so.6" || line.starts_with("ld-linux")) << line;
  }
  const std::string symbols =
      OutputOf("readelf --dyn-syms -W " + kLibrary +
               " | awk '$7 != \"UND\" && $7 != \"ABS\" && $5 != \"LOCAL\" && NR > 4 {print $8}'");
  EXPECT_EQ(symbols, "memtally_get_api@@MEMTALLY_0\n");
  const std::string dynamic = OutputOf("readelf -dW " + kLibrary);
  EXPECT_NE(dynamic.find("libmemtally.so.0"), std::string::npos);
  EXPECT_NE(dynamic.find("NODELETE"), std::string::npos);
  EXPECT_EQ(dynamic.find("TEXTREL"), std::string::npos);
}

// Static objects of the program and of a shared object report before main and after it; some after the tracker said
// goodbye.  Every event is in the one ledger that is left, or in a later one.
TEST(StaticObjects, ReportBeforeAndAfterMain) {
  for (const bool preload : {false, true}) {
    SCOPED_TRACE(preload);
    const Place place;
    HostOptions options;
    if (preload) options.environment = {{"LD_PRELOAD", kLibrary}};
    const Outcome outcome = RunProgram(place, {MEMTALLY_TEST_STATIC_PROGRAM}, options);
    EXPECT_TRUE(outcome.Exited(33)) << outcome.Describe();
    EXPECT_EQ(outcome.err, "");
    const LedgerView view = ReadOnlyLedger(place);
    ExpectExact(view);
    EXPECT_EQ(LiveIds(view), (Ids{2, 3, 101}));
    EXPECT_TRUE(view.exited_normally);
    EXPECT_EQ(view.counters.lost_events, 0u);
  }
}

}  // namespace
}  // namespace memtally::testing
