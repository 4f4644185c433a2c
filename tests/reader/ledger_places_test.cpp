// SPDX-License-Identifier: Apache-2.0
//
// Where ledgers are found, and what becomes of those of the dead.
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/ledger_reader.hpp>

#include "base/proc.hpp"
#include "ledger/reader/ledger_name.hpp"
#include "ledger_builder.hpp"

namespace memtally::test {
namespace {

class LedgerPlacesTest : public testing::Test {
 protected:
  void SetUp() override { setenv("MEMTALLY_DIR", directory_.path().c_str(), 1); }
  void TearDown() override { unsetenv("MEMTALLY_DIR"); }

  static bool Exists(const std::string& path) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0;
  }
  static uint64_t BytesOf(const std::string& path) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0 ? static_cast<uint64_t>(status.st_blocks) * 512 : 0;
  }
  bool IsFound(const std::string& path) const {
    const auto places = FindLedgers();
    return std::any_of(places.begin(), places.end(), [&](const LedgerPlace& p) { return p.path == path; });
  }

  TemporaryDirectory directory_;
  LedgerBuilder builder_;
};

TEST_F(LedgerPlacesTest, NamesOfLedgers) {
  const std::string run = "0123456789abcdef0123456789abcdef";
  reader::LedgerName name;
  EXPECT_TRUE(reader::ParseLedgerName("/a/b/memtally-1000-77-" + run + ".ledger", &name));
  EXPECT_EQ(name.uid, 1000u);
  EXPECT_EQ(name.pid, 77u);
  EXPECT_FALSE(name.is_control);
  EXPECT_TRUE(reader::ParseLedgerName("memtally-0-4294967295-" + run + ".control", &name));
  EXPECT_TRUE(name.is_control);
  for (const std::string& wrong :
       {"memtally-1000-77-" + run, "memtally-1000-77-" + run + ".ledger2", "memtally-1000-77-" + run + "0.ledger",
        "memtally-01-77-" + run + ".ledger", "memtally--1-77-" + run + ".ledger", "memtally-1-+7-" + run + ".ledger",
        "memtally-4294967296-7-" + run + ".ledger", "memtally-1-7-" + run.substr(1) + "G.ledger",
        "emtally-1-7-" + run + ".ledger", std::string("memtally-"), std::string("memtally-1"),
        std::string("memtally-1-"), std::string("memtally-1-7-"), std::string()}) {
    EXPECT_FALSE(reader::ParseLedgerName(wrong, &name)) << wrong;
  }
}

TEST_F(LedgerPlacesTest, FindsEachFileOnce) {
  builder_.Usual();
  const std::string path = directory_.Write(builder_, 1);
  ASSERT_EQ(link(path.c_str(), directory_.LedgerPath(2).c_str()), 0);
  ASSERT_EQ(symlink(path.c_str(), directory_.LedgerPath(3).c_str()), 0);
  ASSERT_EQ(mkdir(directory_.LedgerPath(4).c_str(), 0755), 0);
  const std::string other = directory_.Write(builder_, 5);
  TemporaryDirectory::WriteBytes(directory_.path() + "/memtally-notes.txt", {1});
  size_t here = 0;
  for (const LedgerPlace& place : FindLedgers())
    here += place.path.starts_with(directory_.path()) && !place.other_namespace;
  EXPECT_EQ(here, 2u);
  EXPECT_TRUE(IsFound(other));
}

TEST_F(LedgerPlacesTest, ReportsPlacesThatCannotBeLookedAt) {
  setenv("MEMTALLY_DIR", (directory_.path() + "/nowhere").c_str(), 1);
  std::vector<std::string> problems;
  FindLedgers(&problems);
  ASSERT_FALSE(problems.empty());
  EXPECT_NE(problems[0].find("nowhere"), std::string::npos);
}

TEST_F(LedgerPlacesTest, RootSeesOtherMountNamespaces) {
  if (geteuid() != 0) GTEST_SKIP() << "for root only";
  builder_.Usual();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const std::string name = directory_.LedgerPath(9).substr(directory_.path().size());
  const pid_t child = fork();
  if (child == 0) {
    char ok = 'n';
    if (unshare(CLONE_NEWNS) == 0 && mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=4m") == 0) {
      TemporaryDirectory::WriteBytes("/dev/shm" + name, builder_.bytes());
      ok = 'y';
    }
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char ok = 'n';
  ASSERT_EQ(read(ready[0], &ok, 1), 1);
  if (ok == 'y') {
    const std::string path = "/proc/" + std::to_string(child) + "/root/dev/shm" + name;  // not-a-machine-path
    EXPECT_FALSE(IsFound(path)) << "MEMTALLY_DIR names another directory";
    unsetenv("MEMTALLY_DIR");
    EXPECT_TRUE(IsFound(path));
    LedgerError error;
    EXPECT_NE(LedgerReader::Open(path, &error), nullptr) << error.what;
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  if (ok != 'y') GTEST_SKIP() << "no mount namespaces here";
}

TEST_F(LedgerPlacesTest, RemovesWhatHasNothingToShow) {
  builder_.Usual();
  builder_.Alloc(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  builder_.Free(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  const std::string path = directory_.Write(builder_);
  const std::string control = directory_.LedgerPath(1, 4194000, ".control");
  TemporaryDirectory::WriteBytes(control, std::vector<uint8_t>(4096));
  const std::string alive = directory_.Write(builder_, 2);
  const LockHolderProcess holder(alive);
  const CleanUpResult result = CleanUpDeadLedgers();
  EXPECT_FALSE(Exists(path));
  EXPECT_FALSE(Exists(control));
  EXPECT_TRUE(Exists(alive));
  EXPECT_EQ(result.removed_files, 2u);
  EXPECT_GT(result.freed_bytes, 0u);
  EXPECT_TRUE(result.problems.empty()) << result.problems[0];
}

TEST_F(LedgerPlacesTest, KeepsEvidence) {
  builder_.Usual();
  LedgerBuilder leak = builder_;
  leak.Alloc(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  LedgerBuilder anomaly = builder_;
  anomaly.Put<uint64_t>(anomaly.LaneAt(0) + kAnomaliesAt, 1);
  LedgerBuilder loss = builder_;
  loss.Put<uint64_t>(kLostEventsAt, 1);
  LedgerBuilder released = leak;
  released.Put<uint64_t>(released.CatalogEntry(2) + 48, 9);
  LedgerBuilder newer = builder_;
  newer.Put<uint32_t>(kVersionAt, 2);
  uint32_t number = 0;
  for (const LedgerBuilder* builder : {&leak, &anomaly, &loss, &released, &newer}) directory_.Write(*builder, ++number);
  EXPECT_EQ(CleanUpDeadLedgers().removed_files, 0u);
  for (uint32_t i = 1; i <= number; ++i) EXPECT_TRUE(Exists(directory_.LedgerPath(i))) << i;
}

TEST_F(LedgerPlacesTest, GivesBackPagesWithoutLiveBuffers) {
  builder_.Usual();
  for (uint64_t slot = 0; slot < 50'000; ++slot) {
    const Buffer buffer{.id = slot, .address = slot, .requested = 100, .per_bank = 10};
    builder_.Alloc(0, 0, slot, buffer);
    if (slot % 10'000 != 0) builder_.Free(0, 0, slot, buffer);
  }
  // A live one whose extension lies far away.
  builder_.PutRecord(builder_.SlotAt(0, 5), 0,
                     {.id = 5, .address = 30'000, .requested = 1, .flags = kLive | kExtended});
  builder_.PutExtension(builder_.SlotAt(0, 30'000), 0xabc, 7, 0, 1, 0);
  builder_.PutRecord(builder_.SlotAt(0, 33'333), 0,
                     {.id = 30'000, .address = 30'000, .requested = 100, .per_bank = 10});
  const std::string path = directory_.Write(builder_);
  const auto read = [&] {
    LedgerError error;
    LedgerView view;
    const auto ledger = LedgerReader::Open(path, &error);
    EXPECT_TRUE(ledger && ledger->Read(ReadLevel::kAll, &view, &error)) << error.what;
    EXPECT_TRUE(view.gaps.empty());
    return view;
  };
  const uint64_t bytes_before = BytesOf(path);
  const LedgerView before = read();
  const CleanUpResult result = CleanUpDeadLedgers();
  const LedgerView after = read();
  if (BytesOf(path) == bytes_before) GTEST_SKIP() << "no holes on this file system";
  EXPECT_EQ(result.freed_bytes, bytes_before - BytesOf(path));
  EXPECT_LT(BytesOf(path), bytes_before / 4);
  EXPECT_EQ(after.accounts[0].live, before.accounts[0].live);
  ASSERT_EQ(after.buffers.size(), before.buffers.size());
  for (size_t i = 0; i < after.buffers.size(); ++i) {
    EXPECT_EQ(after.buffers[i].id, before.buffers[i].id);
    EXPECT_EQ(after.buffers[i].address, before.buffers[i].address);
    EXPECT_EQ(after.buffers[i].group, before.buffers[i].group);
  }
  EXPECT_EQ(CleanUpDeadLedgers().freed_bytes, 0u) << "a second time there is nothing to do";
}

TEST_F(LedgerPlacesTest, CapsWhatTheDeadKeepOldestFirst) {
  builder_.Usual();
  builder_.Alloc(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < 4; ++i) {
    builder_.Put<uint64_t>(96, 1000 - i);  // born before the one before it
    paths.push_back(directory_.Write(builder_, i));
  }
  CleanUpDeadLedgers(BytesOf(paths[0]) * 2);
  EXPECT_TRUE(Exists(paths[0]));
  EXPECT_TRUE(Exists(paths[1]));
  EXPECT_FALSE(Exists(paths[2]));
  EXPECT_FALSE(Exists(paths[3]));
  CleanUpDeadLedgers(0);
  EXPECT_FALSE(Exists(paths[0]));
}

TEST_F(LedgerPlacesTest, LeavesWhatIsBeingMade) {
  const std::string young = TemporaryDirectory::WriteBytes(directory_.LedgerPath(1), std::vector<uint8_t>(8192));
  const std::string young_control = directory_.LedgerPath(2, 4194000, ".control");
  TemporaryDirectory::WriteBytes(young_control, std::vector<uint8_t>(4096));
  const std::string own = TemporaryDirectory::WriteBytes(directory_.LedgerPath(3, static_cast<uint32_t>(getpid())), {});
  EXPECT_EQ(CleanUpDeadLedgers(0).removed_files, 0u);
  EXPECT_TRUE(Exists(young));
  EXPECT_TRUE(Exists(young_control));
  EXPECT_TRUE(Exists(own));
}

TEST_F(LedgerPlacesTest, RemovesWhatWasNeverFinished) {
  const std::string dead = TemporaryDirectory::WriteBytes(directory_.LedgerPath(1), std::vector<uint8_t>(8192));
  const std::string held = TemporaryDirectory::WriteBytes(directory_.LedgerPath(2), std::vector<uint8_t>(8192));
  const LockHolderProcess holder(held);
  const std::string control = directory_.LedgerPath(3, 4194000, ".control");
  TemporaryDirectory::WriteBytes(control, std::vector<uint8_t>(4096));
  sleep(11);
  EXPECT_EQ(CleanUpDeadLedgers().removed_files, 2u);
  EXPECT_FALSE(Exists(dead));
  EXPECT_TRUE(Exists(held));
  EXPECT_FALSE(Exists(control));
}

TEST_F(LedgerPlacesTest, TouchesNothingOfOthers) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  builder_.Usual();
  builder_.Put<uint32_t>(kUidAt, 12345);
  const std::string path = directory_.Write(builder_);
  ASSERT_EQ(chown(path.c_str(), 12345, 12345), 0);
  ASSERT_EQ(chmod(directory_.path().c_str(), 01777), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(2);
    const CleanUpResult result = CleanUpDeadLedgers(0);
    _exit(result.removed_files == 0 && result.problems.empty() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Exists(path));
  EXPECT_EQ(CleanUpDeadLedgers().removed_files, 1u) << "root may";
}

}  // namespace
}  // namespace memtally::test
