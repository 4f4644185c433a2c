// SPDX-License-Identifier: Apache-2.0
//
// Which files a reader takes for ledgers, whether their processes live, and that looking does no harm.
#include <sys/stat.h>

#include <filesystem>
#include <iterator>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include <memtally/ledger_reader.hpp>

#include "base/proc.hpp"
#include "ledger_builder.hpp"

namespace memtally::test {
namespace {

class LedgerOpenTest : public testing::Test {
 protected:
  bool Read(ReadLevel level) {
    path_ = directory_.Write(builder_);
    LedgerError error;
    const auto reader = LedgerReader::Open(path_, &error);
    EXPECT_NE(reader, nullptr) << error.what;
    if (!reader) return false;
    const bool read = reader->Read(level, &view_, &error);
    EXPECT_TRUE(read) << error.what;
    return read;
  }
  LedgerError::Code ErrorOf(const std::string& path, LedgerError* error = nullptr) {
    LedgerError mine;
    if (error == nullptr) error = &mine;
    EXPECT_EQ(LedgerReader::Open(path, error), nullptr);
    EXPECT_NE(error->what.find(path), std::string::npos) << error->what;
    EXPECT_FALSE(error->hint.empty());
    return error->code;
  }

  TemporaryDirectory directory_;
  LedgerBuilder builder_;
  std::string path_;
  LedgerView view_;
};

TEST_F(LedgerOpenTest, AsksTheLockWhetherTheProcessLives) {
  builder_.Usual();
  path_ = directory_.Write(builder_);
  LockHolderProcess holder(path_);
  LedgerError error;
  const auto reader = LedgerReader::Open(path_, &error);
  ASSERT_NE(reader, nullptr);
  uint32_t pid = 0;
  EXPECT_EQ(reader->liveness(&pid), Liveness::kAlive);
  EXPECT_EQ(pid, static_cast<uint32_t>(holder.pid()));
  ASSERT_TRUE(reader->Read(ReadLevel::kTotals, &view_, &error));
  EXPECT_EQ(view_.liveness, Liveness::kAlive);
  EXPECT_EQ(view_.visible_pid, pid);
  holder.Kill();
  EXPECT_EQ(reader->liveness(&pid), Liveness::kDead);
  EXPECT_EQ(pid, 0u);
}

TEST_F(LedgerOpenTest, AProcessWithoutItsLockIsDetached) {
  builder_.Usual();
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const auto pid = static_cast<uint32_t>(child);
  const auto boot = base::BootId();
  for (uint64_t i = 0; i < 16; ++i) builder_.Put<uint8_t>(kBootIdAt + i, boot[i]);
  builder_.Put<uint32_t>(kPidAt, pid);
  builder_.Put<uint64_t>(kPidNamespaceAt, base::OwnPidNamespace());
  builder_.Put<uint64_t>(kStartTicksAt, base::StatProcess(pid).start_ticks);
  EXPECT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_EQ(view_.liveness, Liveness::kDetached);
  EXPECT_EQ(view_.visible_pid, pid);
  builder_.Add<uint64_t>(kStartTicksAt, 1);  // another process with that pid
  EXPECT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_EQ(view_.liveness, Liveness::kDead);
  builder_.Add<uint64_t>(kStartTicksAt, ~0ull);
  builder_.Add<uint64_t>(kPidNamespaceAt, 1);
  EXPECT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_EQ(view_.liveness, Liveness::kDead);
  kill(child, SIGKILL);
  builder_.Add<uint64_t>(kPidNamespaceAt, ~0ull);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_TRUE(Read(ReadLevel::kTotals));
  EXPECT_EQ(view_.liveness, Liveness::kDead) << "a zombie";
  waitpid(child, nullptr, 0);
}

// A process that looks at its own ledger keeps its lock.
TEST_F(LedgerOpenTest, ReadingOnesOwnLedgerKeepsTheLock) {
  builder_.Usual();
  for (const bool by_name : {true, false}) {
    builder_.Put<uint32_t>(kPidAt, static_cast<uint32_t>(getpid()));
    const std::string path = TemporaryDirectory::WriteBytes(
        directory_.LedgerPath(3, by_name ? static_cast<uint32_t>(getpid()) : 5), builder_.bytes());
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_len = 1;
    ASSERT_EQ(fcntl(fd, F_SETLK, &lock), 0);
    ptrdiff_t descriptors = 0;
    for (int i = 0; i < 5; ++i) {
      LedgerError error;
      const auto reader = LedgerReader::Open(path, &error);
      ASSERT_NE(reader, nullptr) << error.what;
      EXPECT_EQ(reader->liveness(), Liveness::kAlive);
      namespace fs = std::filesystem;
      const ptrdiff_t now = std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
      if (i == 0) descriptors = now;
      EXPECT_EQ(now, descriptors) << "they do not pile up";
    }
    // The lock is still there, as another process sees it.
    const pid_t child = fork();
    if (child == 0) {
      const int own = open(path.c_str(), O_RDWR);
      struct flock probe {};
      probe.l_type = F_WRLCK;
      probe.l_len = 1;
      fcntl(own, F_GETLK, &probe);
      _exit(probe.l_type == F_WRLCK && probe.l_pid == getppid() ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(LedgerOpenTest, RefusesWhatIsNoLedger) {
  builder_.Usual();
  path_ = directory_.Write(builder_);
  using Code = LedgerError::Code;
  EXPECT_EQ(ErrorOf(directory_.path() + "/nothing"), Code::kNotFound);
  EXPECT_EQ(ErrorOf(directory_.path()), Code::kNotALedger);
  const std::string link = directory_.path() + "/link";
  ASSERT_EQ(symlink(path_.c_str(), link.c_str()), 0);
  EXPECT_EQ(ErrorOf(link), Code::kNotALedger);
  const std::string fifo = directory_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0644), 0);
  EXPECT_EQ(ErrorOf(fifo), Code::kNotALedger);
  EXPECT_EQ(ErrorOf("/dev/null"), Code::kNotALedger);
  EXPECT_EQ(ErrorOf(TemporaryDirectory::WriteBytes(directory_.path() + "/text", std::vector<uint8_t>(5000, 'x'))),
            Code::kNotALedger);
  EXPECT_EQ(ErrorOf(TemporaryDirectory::WriteBytes(directory_.path() + "/empty", {})), Code::kBeingMade);

  LedgerError error;
  builder_.Put<uint32_t>(kVersionAt, 7);
  EXPECT_EQ(ErrorOf(directory_.Write(builder_), &error), Code::kNewerVersion);
  EXPECT_NE(error.what.find("version 7"), std::string::npos);
  EXPECT_NE(error.what.find("up to 1"), std::string::npos);
  builder_.Put<uint32_t>(kVersionAt, 0);
  EXPECT_EQ(ErrorOf(directory_.Write(builder_)), Code::kCorrupt);
  builder_.Put<uint32_t>(kVersionAt, 1);
  builder_.Put<uint32_t>(kHeaderBytesAt, 1312);
  EXPECT_EQ(ErrorOf(directory_.Write(builder_)), Code::kCorrupt);
  builder_.Put<uint32_t>(kHeaderBytesAt, 1304);
  builder_.Put<uint32_t>(kUidAt, geteuid() + 1);
  EXPECT_EQ(ErrorOf(directory_.Write(builder_)), Code::kForged);
  builder_.Put<uint32_t>(kUidAt, geteuid());
  EXPECT_NE(LedgerReader::Open(directory_.Write(builder_), &error), nullptr) << error.what;
}

TEST_F(LedgerOpenTest, RefusesAnotherOwnersFile) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  builder_.Usual();
  path_ = directory_.Write(builder_);
  ASSERT_EQ(chown(path_.c_str(), 65534, 65534), 0);
  EXPECT_EQ(ErrorOf(path_), LedgerError::Code::kForged);
}

TEST_F(LedgerOpenTest, SaysThatItMayNot) {
  builder_.Usual();
  path_ = directory_.Write(builder_);
  ASSERT_EQ(chmod(path_.c_str(), 0), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && seteuid(65534) != 0) _exit(3);
    LedgerError error;
    _exit(LedgerReader::Open(path_, &error) == nullptr && error.code == LedgerError::Code::kNoPermission ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(LedgerOpenTest, ReadsAFileThatVanished) {
  builder_.Usual();
  builder_.Alloc(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  path_ = directory_.Write(builder_);
  LedgerError error;
  const auto reader = LedgerReader::Open(path_, &error);
  ASSERT_NE(reader, nullptr);
  unlink(path_.c_str());
  ASSERT_TRUE(reader->Read(ReadLevel::kAll, &view_, &error));
  EXPECT_EQ(view_.buffers.size(), 1u);
}

}  // namespace
}  // namespace memtally::test
