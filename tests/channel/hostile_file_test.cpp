// SPDX-License-Identifier: Apache-2.0
//
// Files that pretend to be ipc channels: each is refused in words, or replaced if nobody has it; none crashes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/channel.hpp>

#include "channel/ipc_file.hpp"

namespace memtally {
namespace {

class HostileFile : public testing::Test {
 protected:
  void TearDown() override { unlink(path_.c_str()); }

  void Write(const std::vector<char>& bytes, mode_t mode = 0600) {
    unlink(path_.c_str());
    const int fd = open(path_.c_str(), O_CREAT | O_WRONLY | O_EXCL, mode);
    ASSERT_GE(fd, 0);
    fchmod(fd, mode);
    ASSERT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    close(fd);
  }
  // A good file of a channel that somebody has had.
  std::vector<char> Good() {
    unlink(path_.c_str());
    const auto channel = create_channel(uri_, 4096, ChannelMode::MPSC);
    const int fd = open(path_.c_str(), O_RDONLY);
    std::vector<char> bytes(1 << 20);
    const ssize_t got = read(fd, bytes.data(), bytes.size());
    close(fd);
    bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return bytes;
  }
  std::string Open() {
    try {
      create_channel(uri_, 4096, ChannelMode::MPSC);
    } catch (const ChannelError& error) {
      return error.what();
    }
    return "";
  }

  std::string uri_ = "ipc://memtally-hostile-" + std::to_string(getpid());
  std::string path_ = channel::ChannelPath(uri_.substr(6));
};

TEST_F(HostileFile, IsRefusedInWords) {
  Write(std::vector<char>(5000, 'x'));
  EXPECT_NE(Open().find("is not a channel"), std::string::npos);
  std::vector<char> good = Good();
  Write({good.begin(), good.begin() + 20'000});
  EXPECT_NE(Open().find("truncated"), std::string::npos);
  std::vector<char> newer = good;
  newer[8] = 9;
  Write(newer);
  EXPECT_NE(Open().find("version 9"), std::string::npos);
  Write(good, 0666);
  EXPECT_NE(Open().find("others"), std::string::npos);
  unlink(path_.c_str());
  ASSERT_EQ(symlink("/dev/null", path_.c_str()), 0);
  EXPECT_NE(Open(), "");
  unlink(path_.c_str());
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_NE(Open().find("regular file"), std::string::npos);
}

TEST_F(HostileFile, WhatNobodyHasIsMadeAnew) {
  Write(std::vector<char>(8192, 0));  // a maker that died in the middle
  EXPECT_EQ(Open(), "");
  Write(Good());  // all who had it died
  EXPECT_EQ(Open(), "");
}

// Any bytes of the header changed: an error or a channel, and the list shows either.
TEST_F(HostileFile, AnyHeader) {
  const std::vector<char> good = Good();
  ASSERT_GT(good.size(), 4096u);
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::vector<char> bytes = good;
    for (uint32_t n = random() % 4 + 1; n > 0; --n) bytes[8 + random() % 120] = static_cast<char>(random());
    Write(bytes);
    std::string problem;
    channel::ListIpcChannels(&problem);
    Open();
  }
}

// The bytes under a live channel changed by somebody with the right to: statuses, no crash.
TEST_F(HostileFile, AnyRing) {
  std::mt19937 random(11);
  for (const ChannelMode mode : {ChannelMode::SPSC, ChannelMode::MPSC}) {
    for (int round = 0; round < 300; ++round) {
      ChannelOptions options;
      options.bytes = 4096;
      options.mode = mode;
      options.when_full = WhenFull::Fail;
      const auto channel = create_channel(uri_, options);
      for (uint64_t i = 0; i < 20; ++i) channel->send(i);
      const int fd = open(path_.c_str(), O_RDWR);
      ASSERT_GE(fd, 0);
      struct stat file {};
      fstat(fd, &file);
      for (int n = 0; n < 400; ++n) {
        const uint64_t word = random() % 3 == 0 ? ~0ull : random() % 4096;
        // The words of both sides, descriptors and ring; not the participants.
        const off_t where = n < 8 ? 320 + static_cast<off_t>(random() % 16) * 8
                                  : 36864 + static_cast<off_t>(random() % static_cast<uint64_t>(file.st_size - 36872));
        ASSERT_EQ(pwrite(fd, &word, 8, where & ~7), 8);
      }
      close(fd);
      for (int i = 0; i < 200; ++i) {
        std::vector<char> copy;
        const View view = channel->try_receive();
        if (view)
          copy.assign(reinterpret_cast<const char*>(view.data()),
                      reinterpret_cast<const char*>(view.data()) + view.size());
        channel->try_send(&i, sizeof(i));
      }
      const auto other = create_channel(uri_, options);
      const auto producer = other->make_producer();
      const auto consumer = other->make_consumer();
    }
  }
}

}  // namespace
}  // namespace memtally
