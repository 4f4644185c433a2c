// SPDX-License-Identifier: Apache-2.0
//
// The way of a message that does not wait: no allocation, and no system call, which a strict seccomp filter proves.
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <new>
#include <string>

#include <gtest/gtest.h>

#include <memtally/channel.hpp>

static uint64_t allocations = 0;
void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }

namespace memtally {
namespace {

// Sends and receives 1000 messages in every way; false if anything goes wrong.
bool MoveMessages(Channel& channel, Producer& producer, Consumer& consumer) {
  for (uint64_t i = 0; i < 1000; ++i) {
    if (producer.try_send(i) != Status::Ok) return false;
    uint64_t value = 0;
    if (consumer.try_receive(&value) != Status::Ok || value != i) return false;
    Loan loan = producer.try_claim(32);
    if (!loan || loan.commit() != Status::Ok) return false;
    if (!consumer.try_receive() || consumer.try_receive()) return false;
    if (producer.append(16) == nullptr) return false;
    producer.publish();
    if (consumer.receive_batch(5, [](const std::byte*, size_t) {}) != 1) return false;
    const uint64_t several[3] = {i, i + 1, i + 2};
    if (producer.try_send_batch(several, sizeof(uint64_t), 3) != 3) return false;
    if (!consumer.try_receive()) return false;
    if (consumer.receive_batch(5, [](const std::byte*, size_t) {}) != 2) return false;
  }
  return !channel.is_stopped();
}

TEST(Quiet, NoAllocationAndNoSystemCall) {
  for (const char* scheme : {"memory", "ipc"}) {
    for (const ChannelMode mode : {ChannelMode::SPSC, ChannelMode::MPSC, ChannelMode::MPMC}) {
      if (mode == ChannelMode::MPMC && std::string(scheme) == "ipc") continue;
      const pid_t child = fork();
      if (child == 0) {
        ChannelOptions options;
        options.mode = mode;
        options.metrics = true;
        const auto channel = create_channel(std::string(scheme) + "://quiet-" + std::to_string(getpid()), options);
        const auto producer = channel->make_producer();
        const auto consumer = channel->make_consumer();
        if (producer == nullptr || consumer == nullptr) _exit(1);
        const uint64_t before = allocations;
        if (!MoveMessages(*channel, *producer, *consumer)) _exit(2);
        if (allocations != before) _exit(3);
        const std::string path = "/dev/shm/memtally-channel.quiet-" + std::to_string(getpid());
        unlink(path.c_str());  // nobody will do it after the filter is on
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(77);
        const bool good = MoveMessages(*channel, *producer, *consumer);  // SIGKILL at the first system call
        syscall(SYS_exit, good ? 0 : 4);
      }
      int status = 0;
      waitpid(child, &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel has no strict seccomp";
      EXPECT_TRUE(WIFEXITED(status)) << scheme << ": a system call on the way of a message";
      EXPECT_EQ(WEXITSTATUS(status), 0) << scheme << ", mode " << static_cast<int>(mode);
    }
  }
}

}  // namespace
}  // namespace memtally
