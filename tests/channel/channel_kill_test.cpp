// SPDX-License-Identifier: Apache-2.0
//
// Kills at random instants over ipc, with every message accounted for: delivered, or known to have been in the hands of
// somebody who was killed.  MEMTALLY_CHANNEL_KILLS=10000: the long run.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <memtally/channel.hpp>

#include "channel/ipc_file.hpp"

namespace memtally {
namespace {

using std::chrono::seconds;

std::string Name() {
  static std::atomic<int> next{0};
  return "ipc://memtally-kill-" + std::to_string(getpid()) + "-" + std::to_string(next.fetch_add(1));
}

uint64_t Kills(uint64_t usual) {
  const char* asked = getenv("MEMTALLY_CHANNEL_KILLS");
  return asked != nullptr ? strtoull(asked, nullptr, 10) : usual;
}

constexpr uint64_t kNames = 4096;  // producers, one after the other

// A page that all processes share: what each has done, said before and after.
struct Ledger {
  std::atomic<uint64_t> begun[kNames];      // messages that this producer began
  std::atomic<uint64_t> committed[kNames];  // messages that it committed
  std::atomic<uint64_t> next[kNames];       // receiver: first number of this producer's that was not delivered
  std::atomic<uint64_t> taken;              // messages that receivers took
  std::atomic<uint64_t> released;
  std::atomic<uint64_t> wrong;
  std::atomic<uint64_t> skipped;  // messages of which a receiver saw that they are missing
  std::atomic<uint32_t> ready;
  static Ledger* Make() {
    void* memory = mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : new (memory) Ledger{};
  }
};

struct Message {
  uint64_t producer;
  uint64_t number;
  uint64_t check;
};

uint64_t CheckOf(uint64_t producer, uint64_t number) { return (producer << 32 ^ number) * 0x9e3779b97f4a7c15ull; }

// Sends until it is killed, messages of many sizes.
[[noreturn]] void RunProducer(const std::string& uri, ChannelMode mode, Ledger* ledger, uint64_t name) {
  const auto channel = create_channel(uri, 0, mode);
  const auto producer = channel->make_producer();
  if (producer == nullptr) _exit(2);
  ledger->ready.fetch_add(1);
  for (uint64_t number = 0;; ++number) {
    const size_t bytes = sizeof(Message) + number * 37 % 300;
    ledger->begun[name].store(number + 1);
    Loan loan = producer->claim(bytes);
    if (!loan) {
      if (loan.status() != Status::PeerGone) _exit(3);
      --number;
      continue;
    }
    const Message message{name, number, CheckOf(name, number)};
    memcpy(loan.data(), &message, sizeof(message));
    memset(loan.data() + sizeof(message), static_cast<int>(number & 255), bytes - sizeof(message));
    loan.commit();
    ledger->committed[name].store(number + 1);
  }
}

void Take(const View& view, Ledger* ledger) {
  Message message;
  if (view.size() < sizeof(message)) {
    ledger->wrong.fetch_add(1);
    return;
  }
  memcpy(&message, view.data(), sizeof(message));
  bool good = message.producer < kNames && message.check == CheckOf(message.producer, message.number) &&
              (view.size() == sizeof(message) || view.size() == sizeof(message) + message.number * 37 % 300);
  for (size_t i = sizeof(message); good && i < view.size(); ++i) {
    good = view.data()[i] == static_cast<std::byte>(message.number & 255);
  }
  const uint64_t next = good ? ledger->next[message.producer].load() : 0;
  if (!good || message.number < next) {  // delivered twice
    ledger->wrong.fetch_add(1);
    return;
  }
  if (message.number > next) ledger->skipped.fetch_add(message.number - next);
  ledger->next[message.producer].store(message.number + 1);
}

// Receives until it is killed.
[[noreturn]] void RunConsumer(const std::string& uri, ChannelMode mode, Ledger* ledger) {
  const auto channel = create_channel(uri, 0, mode);
  const auto consumer = channel->make_consumer();
  if (consumer == nullptr) _exit(2);
  ledger->ready.fetch_add(1);
  for (;;) {
    View view = consumer->receive();
    if (view.status() == Status::PeerGone) continue;
    if (!view) _exit(3);
    ledger->taken.fetch_add(1);
    Take(view, ledger);
    view.release();
    ledger->released.fetch_add(1);
  }
}

template <typename Run>
pid_t Fork(Run&& run) {
  const pid_t child = fork();
  if (child == 0) run();
  return child;
}

void Kill(pid_t child) {
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << "ended by itself with status " << WEXITSTATUS(status);
}

void Nap(std::mt19937* random) {
  const timespec time{0, static_cast<long>((*random)() % 1'500'000)};
  nanosleep(&time, nullptr);
}

// ---- producers are killed; the test receives

void KillProducers(ChannelMode mode, uint64_t at_once, uint64_t kills) {
  const std::string uri = Name();
  Ledger* ledger = Ledger::Make();
  ASSERT_NE(ledger, nullptr);
  const auto channel = create_channel(uri, 8192, mode);
  const auto consumer = channel->make_consumer();
  std::mt19937 random(static_cast<uint32_t>(getpid()));
  std::vector<std::pair<pid_t, uint64_t>> living;
  uint64_t name = 0;
  const auto start = [&] {
    const uint64_t mine = name++ % kNames;
    ledger->begun[mine] = ledger->committed[mine] = ledger->next[mine] = 0;
    living.emplace_back(Fork([&] { RunProducer(uri, mode, ledger, mine); }), mine);
  };
  for (uint64_t i = 0; i < at_once; ++i) start();
  std::atomic<bool> end{false};
  std::atomic<uint64_t> gone{0};
  std::thread receiver([&] {
    while (!end) {
      const View view = consumer->receive(std::chrono::milliseconds(100));
      if (view) Take(view, ledger);
      if (view.status() == Status::PeerGone) ++gone;
      if (view.status() == Status::Corrupt) ledger->wrong.fetch_add(1);
    }
    // What is left: nobody produces any more.
    for (View view; (view = consumer->receive(seconds(2)), view || view.status() == Status::PeerGone);) {
      if (view) Take(view, ledger);
    }
  });
  std::vector<uint64_t> dead;
  for (uint64_t k = 0; k < kills; ++k) {
    Nap(&random);
    const size_t which = random() % living.size();
    Kill(living[which].first);
    dead.push_back(living[which].second);
    living.erase(living.begin() + static_cast<std::ptrdiff_t>(which));
    start();
  }
  for (const auto& [pid, mine] : living) {
    Kill(pid);
    dead.push_back(mine);
  }
  end = true;
  receiver.join();
  // Every message that a producer saw committed was delivered, and at most the one in its hands besides.
  uint64_t all = 0;
  for (const uint64_t one : dead) {
    const uint64_t next = ledger->next[one];
    all += next;
    EXPECT_GE(next, ledger->committed[one].load()) << "lost";
    EXPECT_LE(next, ledger->begun[one].load());
  }
  EXPECT_EQ(ledger->skipped, 0u) << "the numbers of each producer came without a gap";
  EXPECT_EQ(ledger->wrong, 0u);
  EXPECT_LE(channel->get_metrics().abandoned, dead.size());
  EXPECT_GT(all, 0u);
  munmap(ledger, sizeof(Ledger));
}

TEST(ChannelKill, SpscProducer) { KillProducers(ChannelMode::SPSC, 1, Kills(150)); }
TEST(ChannelKill, MpscProducers) { KillProducers(ChannelMode::MPSC, 3, Kills(300)); }

// ---- consumers are killed; the test sends

// `batch`: how many messages are sent at once.
void KillConsumers(ChannelMode mode, uint64_t kills, size_t batch = 1) {
  const std::string uri = Name();
  Ledger* ledger = Ledger::Make();
  ASSERT_NE(ledger, nullptr);
  const auto channel = create_channel(uri, 8192, mode);
  std::atomic<bool> end{false};
  uint64_t sent = 0;
  std::thread sender([&] {
    const auto producer = channel->make_producer();
    while (!end && batch > 1) {
      BatchLoan loan = producer->claim_batch(sizeof(Message), batch);
      if (!loan) {
        if (loan.status() == Status::Stopped) break;
        EXPECT_EQ(loan.status(), Status::PeerGone);
        continue;
      }
      for (size_t i = 0; i < loan.size(); ++i) {
        const Message message{0, sent + i, CheckOf(0, sent + i)};
        memcpy(loan[i], &message, sizeof(message));
      }
      sent += loan.size();
      loan.commit();
    }
    while (!end) {
      const size_t bytes = sizeof(Message) + sent * 37 % 300;
      Loan loan = producer->claim(bytes);
      if (!loan) {
        if (loan.status() == Status::Stopped) break;
        EXPECT_EQ(loan.status(), Status::PeerGone);
        continue;
      }
      const Message message{0, sent, CheckOf(0, sent)};
      memcpy(loan.data(), &message, sizeof(message));
      memset(loan.data() + sizeof(message), static_cast<int>(sent & 255), bytes - sizeof(message));
      loan.commit();
      ++sent;
    }
  });
  std::mt19937 random(static_cast<uint32_t>(getpid()));
  for (uint64_t k = 0; k < kills; ++k) {
    const uint32_t ready = ledger->ready;
    const pid_t child = Fork([&] { RunConsumer(uri, mode, ledger); });
    if (k % 4 != 0) {
      while (ledger->ready == ready) std::this_thread::yield();
    }
    Nap(&random);
    Kill(child);
  }
  end = true;
  channel->stop();
  sender.join();
  const auto consumer = channel->make_consumer();
  for (View view; (view = consumer->try_receive());) Take(view, ledger);
  EXPECT_EQ(ledger->wrong, 0u) << "delivered twice, or damaged";
  EXPECT_EQ(ledger->next[0], sent) << "the last one was delivered";
  // What is missing was in the hands of the killed, one each at most; and the channel knows about them.
  EXPECT_LE(ledger->skipped, kills);
  EXPECT_LE(ledger->skipped, channel->get_metrics().abandoned);
  EXPECT_LE(channel->get_metrics().abandoned, kills);
  EXPECT_LE(channel->get_metrics().consumer_deaths, kills);
  munmap(ledger, sizeof(Ledger));
}

TEST(ChannelKill, SpscConsumer) { KillConsumers(ChannelMode::SPSC, Kills(120)); }
TEST(ChannelKill, MpscConsumer) { KillConsumers(ChannelMode::MPSC, Kills(120)); }
TEST(ChannelKill, SpscConsumerOfBatches) { KillConsumers(ChannelMode::SPSC, Kills(120), 20); }
TEST(ChannelKill, MpscConsumerOfBatches) { KillConsumers(ChannelMode::MPSC, Kills(120), 20); }

// ---- broadcast: both sides are killed; one consumer lives through it all

TEST(ChannelKill, Broadcast) {
  const std::string uri = Name();
  ChannelOptions options;
  options.bytes = 8192;
  options.pattern = Pattern::Broadcast;
  const auto channel = create_channel(uri, options);
  const auto consumer = channel->make_consumer();
  Ledger* ledger = Ledger::Make();
  ASSERT_NE(ledger, nullptr);
  std::atomic<bool> end{false};
  std::thread receiver([&] {
    while (!end) {
      const View view = consumer->receive(std::chrono::milliseconds(100));
      if (view) Take(view, ledger);
      if (view.status() == Status::Corrupt) ledger->wrong.fetch_add(1);
    }
  });
  std::mt19937 random(static_cast<uint32_t>(getpid()));
  const auto listen = [&] {
    const auto here = create_channel(uri, options);
    const auto mine = here->make_consumer();
    for (;;) {
      View view = mine->receive();
      if (view && view.size() < sizeof(Message)) _exit(4);
    }
  };
  const auto speak = [&](uint64_t name) {
    const auto here = create_channel(uri, options);
    const auto producer = here->make_producer();
    if (producer == nullptr) _exit(2);
    for (uint64_t number = 0;; ++number) {
      std::array<std::byte, sizeof(Message) + 300> bytes{};
      const Message message{name, number, CheckOf(name, number)};
      memset(bytes.data(), static_cast<int>(number & 255), bytes.size());
      memcpy(bytes.data(), &message, sizeof(message));
      ledger->begun[name].store(number + 1);
      if (producer->send(bytes.data(), sizeof(message) + number * 37 % 300) != Status::Ok) _exit(3);
      ledger->committed[name].store(number + 1);
    }
  };
  const uint64_t kills = Kills(100);
  pid_t listener = Fork(listen);
  for (uint64_t k = 0; k < kills; ++k) {
    const uint64_t name = k % kNames;
    ledger->begun[name] = ledger->committed[name] = ledger->next[name] = 0;
    const pid_t speaker = Fork([&] { speak(name); });
    Nap(&random);
    if (k % 2 == 0) {
      Kill(listener);
      listener = Fork(listen);
    }
    Nap(&random);
    Kill(speaker);
  }
  Kill(listener);
  end = true;
  receiver.join();
  for (View view; (view = consumer->try_receive());) Take(view, ledger);
  for (uint64_t name = 0; name < std::min(kills, kNames); ++name) {
    EXPECT_GE(ledger->next[name].load(), ledger->committed[name].load()) << "lost";
    EXPECT_LE(ledger->next[name].load(), ledger->begun[name].load());
  }
  EXPECT_EQ(ledger->wrong, 0u);
  EXPECT_EQ(ledger->skipped, 0u);
  munmap(ledger, sizeof(Ledger));
}

// ---- what the living are told

TEST(ChannelKill, AWaitingConsumerHearsThatItsProducerDied) {
  for (const WaitStrategy wait : {WaitStrategy::Spin, WaitStrategy::Park}) {
    ChannelOptions options;
    options.bytes = 4096;
    options.wait = wait;
    const std::string uri = Name();
    const auto channel = create_channel(uri, options);
    const auto consumer = channel->make_consumer();
    Ledger* ledger = Ledger::Make();
    const pid_t child = Fork([&] {
      const auto here = create_channel(uri, options);
      const auto producer = here->make_producer();
      producer->send(uint64_t{5});
      ledger->ready = 1;
      for (;;) pause();
    });
    while (ledger->ready == 0) std::this_thread::yield();
    Kill(child);
    uint64_t value = 0;
    EXPECT_EQ(consumer->try_receive(&value), Status::Ok) << "what it sent is there";
    EXPECT_EQ(consumer->receive().status(), Status::PeerGone);
    EXPECT_EQ(channel->get_metrics().last_dead_pid, static_cast<uint32_t>(child));
    EXPECT_EQ(channel->get_metrics().producer_deaths, 1u);
    EXPECT_EQ(consumer->receive(std::chrono::milliseconds(1)).status(), Status::Timeout) << "said once";
    EXPECT_NE(create_channel(uri, options)->make_producer(), nullptr) << "its place is free";
    munmap(ledger, sizeof(Ledger));
  }
}

TEST(ChannelKill, ABlockedProducerHearsThatItsConsumerDied) {
  const std::string uri = Name();
  const auto channel = create_channel(uri, 4096);
  Ledger* ledger = Ledger::Make();
  const pid_t child = Fork([&] {
    const auto here = create_channel(uri, 4096);
    const auto consumer = here->make_consumer();
    ledger->ready = 1;
    for (;;) pause();
  });
  while (ledger->ready == 0) std::this_thread::yield();
  const auto producer = channel->make_producer();
  while (producer->try_send(uint64_t{1}) == Status::Ok) continue;
  Kill(child);
  EXPECT_EQ(producer->send(uint64_t{2}), Status::PeerGone);
  munmap(ledger, sizeof(Ledger));
}

// a producer that dies mid-write spins the reader forever

TEST(ChannelKill, AHoleOfTheDeadIsSkippedAndCounted) {
  const std::string uri = Name();
  const auto channel = create_channel(uri, 8192, ChannelMode::MPSC);
  const auto consumer = channel->make_consumer();
  const auto producer = channel->make_producer();
  Ledger* ledger = Ledger::Make();
  const pid_t child = Fork([&] {
    const auto here = create_channel(uri, 8192, ChannelMode::MPSC);
    const auto mine = here->make_producer();
    Loan loan = mine->claim(1000);
    ledger->ready = 1;
    for (;;) pause();
  });
  while (ledger->ready == 0) std::this_thread::yield();
  ASSERT_EQ(producer->send(uint64_t{7}), Status::Ok);
  EXPECT_EQ(consumer->try_receive().status(), Status::Empty) << "the living keep their place";
  EXPECT_EQ(consumer->receive(std::chrono::milliseconds(200)).status(), Status::Timeout);
  Kill(child);
  const View view = consumer->receive();
  uint64_t value = 0;
  ASSERT_EQ(view.size(), 8u);
  memcpy(&value, view.data(), 8);
  EXPECT_EQ(value, 7u);
  EXPECT_EQ(channel->get_metrics().abandoned, 1u);
  EXPECT_EQ(channel->get_metrics().last_dead_pid, static_cast<uint32_t>(child));
  munmap(ledger, sizeof(Ledger));
}

// a mutex in shared memory is not robust: whoever dies with the setup lock leaves it open

TEST(ChannelKill, JoiningAndLeavingSurvivesKills) {
  const std::string uri = Name();
  std::mt19937 random(static_cast<uint32_t>(getpid()));
  for (uint64_t k = 0; k < Kills(100); ++k) {
    std::array<pid_t, 3> children{};
    for (pid_t& child : children) {
      child = Fork([&] {
        for (;;) {
          const auto channel = create_channel(uri, 4096, ChannelMode::MPSC);
          const auto producer = channel->make_producer();
          producer->try_send(uint64_t{1});
        }
      });
    }
    Nap(&random);
    for (const pid_t child : children) Kill(child);
    const auto channel = create_channel(uri, 4096, ChannelMode::MPSC);
    ASSERT_EQ(channel->send(uint64_t{k}), Status::Ok);
    ASSERT_EQ(channel->receive<uint64_t>(), k) << "a stale channel is made anew";
  }
  EXPECT_NE(access(channel::ChannelPath(uri.substr(6)).c_str(), F_OK), 0);
}

TEST(ChannelKill, AForkedChildIsNoParticipant) {
  const std::string uri = Name();
  const auto channel = create_channel(uri, 4096);
  ASSERT_EQ(channel->send(uint64_t{1}), Status::Ok);
  const pid_t child = Fork([&] {
    if (channel->send(uint64_t{2}) != Status::Forked) _exit(1);
    if (channel->receive().status() != Status::Forked) _exit(2);
    if (channel->receive(std::chrono::milliseconds(1)).status() != Status::Forked) _exit(5);
    const auto own = create_channel(uri, 4096);
    if (own->send(uint64_t{3}) != Status::Busy) _exit(4);
    _exit(0);
  });
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(channel->receive<uint64_t>(), 1u);
  EXPECT_FALSE(channel->try_receive<uint64_t>());
}

}  // namespace
}  // namespace memtally
