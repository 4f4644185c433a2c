// SPDX-License-Identifier: Apache-2.0
//
// Threads that report by the async way to a server in the same process: what the server says at the end is right.
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/abi/legacy_protocol.h>
#include <memtally/allocation_client.hpp>

#include "base/fd.hpp"
#include "daemon/legacy/legacy_server.hpp"

namespace memtally::daemon {
namespace {

using tt::tt_metal::AllocationClient;

// What a query on a new connection says of the device.
memtally_legacy_message_144 Query(const std::string& path, int32_t device) {
  const base::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.c_str(), path.size());
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  memtally_legacy_message_144 message{};
  message.head.type = MEMTALLY_LEGACY_QUERY;
  message.head.device_id = device;
  message.head.process_id = getpid();
  EXPECT_EQ(send(fd.get(), &message, sizeof(message), MSG_NOSIGNAL), static_cast<ssize_t>(sizeof(message)));
  EXPECT_EQ(recv(fd.get(), &message, sizeof(message), MSG_WAITALL), static_cast<ssize_t>(sizeof(message)));
  return message;
}

TEST(LegacySenders, ThreadsOfOneProcess) {
  char folder[] = "/tmp/memtally-senders.XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  ServerSettings settings = DefaultSettings();
  settings.socket = std::string(folder) + "/s";
  settings.state_socket = std::string(folder) + "/t";
  setenv("TT_ALLOC_TRANSPORT", "async", 1);
  setenv("TT_ALLOC_SOCKET", settings.socket.c_str(), 1);
  setenv("TT_ALLOC_QUEUE", "300", 1);
  unsetenv("TT_ALLOC_TRACKING_ENABLED");
  const std::string path = settings.socket;
  LegacyServer server(std::move(settings));
  std::string error;
  ASSERT_TRUE(server.Start(&error)) << error;
  const base::Fd stop(eventfd(0, EFD_CLOEXEC));
  std::thread serving([&] { server.Run(stop.get()); });

  constexpr int kThreads = 4;
  constexpr uint64_t kBuffers = 2000;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([thread] {
      for (uint64_t i = 0; i < kBuffers; ++i) {
        const uint64_t id = (static_cast<uint64_t>(thread) << 32) + i;
        AllocationClient::report_allocation(thread % 2, 10, 1, id);
        if (i % 2 == 1) AllocationClient::report_deallocation(thread % 2, id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  constexpr uint64_t kExpected = kThreads / 2 * kBuffers / 2 * 10;
  for (int32_t device = 0; device < 2; ++device) {
    uint64_t seen = 0;
    for (int tries = 0; tries < 6000 && seen != kExpected; ++tries) {
      seen = Query(path, device).head.l1_allocated;
      if (seen != kExpected) usleep(10'000);
    }
    EXPECT_EQ(seen, kExpected);
  }
  const uint64_t one = 1;
  ASSERT_EQ(write(stop.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  serving.join();
  for (const char* name : {"/s.lock", "/t.lock"}) unlink((std::string(folder) + name).c_str());
  EXPECT_EQ(rmdir(folder), 0);
}

}  // namespace
}  // namespace memtally::daemon
