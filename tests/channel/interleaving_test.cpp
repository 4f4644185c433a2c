// SPDX-License-Identifier: Apache-2.0
//
// Every interleaving of each ring's protocol at a tiny size, with deaths at every step.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include <memtally/channel/ring_broadcast.hpp>
#include <memtally/channel/ring_mpmc.hpp>
#include <memtally/channel/ring_mpsc.hpp>
#include <memtally/channel/ring_spsc.hpp>

#include "interleaving_explorer.hpp"

namespace memtally::channel {
namespace {

constexpr uint64_t kMostRuns = 5'000'000;

struct alignas(64) Memory {
  std::array<uint64_t, 24> ring;
  std::array<uint64_t, 16> descriptors;
  std::array<uint64_t, 2> freed;
  uint64_t head, taken, tail, dequeue;
  std::array<uint64_t, 3> claims;
  std::array<uint64_t, 4> cursors;
  uint64_t asleep, message;
};
Memory memory;
std::array<uint64_t, 8> received;
size_t received_count;

void ResetMemory() {
  memory = {};
  received = {};
  received_count = 0;
}

uint64_t* Words(uint8_t* data) { return reinterpret_cast<uint64_t*>(data); }
const uint64_t* Words(const uint8_t* data) { return reinterpret_cast<const uint64_t*>(data); }

Explorer::Scenario Empty() {
  Explorer::Scenario scenario;
  scenario.reset = ResetMemory;
  scenario.memory = {{reinterpret_cast<uint64_t*>(&memory), sizeof(memory) / 8},
                     {received.data(), received.size()},
                     {reinterpret_cast<uint64_t*>(&received_count), 1}};
  return scenario;
}

void RunAll(Explorer& explorer, const Explorer::Scenario& scenario) {
  const uint64_t runs = explorer.Explore(scenario, kMostRuns);
  EXPECT_EQ(explorer.failure(), "");
  std::printf("%llu runs, %zu states\n", static_cast<unsigned long long>(runs), explorer.states());
  EXPECT_GT(explorer.states(), 50u);
}

template <typename Ring>
bool SendOne(Ring& ring, Explorer& explorer, uint64_t value) {
  const RawLoan loan = ring.Claim(8);
  if (loan.data == nullptr) return false;
  explorer.WritePlain(Words(loan.data), value);
  ring.Commit(loan, 8);
  return true;
}

template <typename Ring>
bool ReceiveOne(Ring& ring, Explorer& explorer) {
  RawView view;
  const ReadResult result = ring.Read(&view);
  if (result == ReadResult::kCorrupt) explorer.Fail("corrupt");
  if (result != ReadResult::kMessage) return false;
  if (view.bytes != 8) explorer.Fail("wrong size");
  received[received_count++] = explorer.ReadPlain(Words(view.data));
  ring.Release(view);
  return true;
}

// ---- SPSC: the ring wraps several times; the producer may die at any step

// Both sides have a short way, which they try first, and a long one, which they can do alone.
enum class Way { kLong, kShort };

bool SendOne(SpscProducer<ExplorerAccess>& ring, Explorer& explorer, uint64_t value, Way way) {
  const auto fill = [&](uint8_t* room) { explorer.WritePlain(Words(room), value); };
  return (way == Way::kShort && ring.Put(8, fill)) || SendOne(ring, explorer, value);
}

bool ReceiveOne(SpscConsumer<ExplorerAccess>& ring, Explorer& explorer, Way way) {
  const auto note = [&](const uint8_t* data, uint64_t bytes) {
    if (bytes != 8) explorer.Fail("wrong size");
    received[received_count++] = explorer.ReadPlain(Words(data));
  };
  return (way == Way::kShort && ring.Take(note)) || ReceiveOne(ring, explorer);
}

SpscMemory TinySpsc() {
  return {.bytes = reinterpret_cast<uint8_t*>(memory.ring.data()),
          .capacity = 64,
          .alignment = 8,
          .head = &memory.head,
          .taken = &memory.taken};
}

TEST(Interleavings, Spsc) {
  for (const auto& [way, kills] : {std::pair{Way::kLong, 0}, {Way::kLong, 1}, {Way::kShort, 0}, {Way::kShort, 1}}) {
    Explorer explorer;
    Explorer::Scenario scenario = Empty();
    scenario.threads = {[&, way = way] {
                          SpscProducer<ExplorerAccess> producer(TinySpsc());
                          for (uint64_t i = 1; i <= 5; ++i) SendOne(producer, explorer, i, way);
                        },
                        [&, way = way] {
                          SpscConsumer<ExplorerAccess> consumer(TinySpsc());
                          for (int i = 0; i < 6; ++i) ReceiveOne(consumer, explorer, way);
                        }};
    scenario.killable = {0};
    scenario.most_kills = kills;
    scenario.finish = [&] {
      // A successor of each goes on; what arrives is in order, and once.
      SpscProducer<ExplorerAccess> producer(TinySpsc());
      SpscConsumer<ExplorerAccess> consumer(TinySpsc());
      while (ReceiveOne(consumer, explorer)) continue;
      SendOne(producer, explorer, 9);
      ReceiveOne(consumer, explorer);
      if (received_count == 0 || received[received_count - 1] != 9) explorer.Fail("stalled");
      for (size_t i = 1; i < received_count; ++i) {
        if (received[i] <= received[i - 1]) explorer.Fail("out of order, or twice");
      }
    };
    RunAll(explorer, scenario);
  }
}

void ExploreSpscConsumerDies(Way way) {
  Explorer explorer;
  Explorer::Scenario scenario = Empty();
  scenario.threads = {[&] {
                        SpscProducer<ExplorerAccess> producer(TinySpsc());
                        uint64_t sent = 0;
                        for (int i = 0; i < 4; ++i) sent += SendOne(producer, explorer, sent + 1, way) ? 1 : 0;
                      },
                      [&] {
                        SpscConsumer<ExplorerAccess> consumer(TinySpsc());
                        for (int i = 0; i < 4; ++i) ReceiveOne(consumer, explorer, way);
                      }};
  scenario.killable = {1};
  scenario.most_kills = 1;
  scenario.finish = [&] {
    uint64_t abandoned = 0;
    SpscConsumer<ExplorerAccess> consumer(TinySpsc(), &abandoned);
    const size_t before = received_count;
    const uint64_t last = before > 0 ? received[before - 1] : 0;
    while (ReceiveOne(consumer, explorer)) continue;
    if (abandoned > 1) explorer.Fail("more than the one in its hands");
    for (size_t i = before; i < received_count; ++i) {
      if (received[i] <= last) explorer.Fail("twice");
      if (i > before && received[i] != received[i - 1] + 1) explorer.Fail("lost");
    }
    // What is missing at the seam was in the hands of the dead one.
    if (received_count > before && received[before] > last + 1 + abandoned) explorer.Fail("lost at the seam");
  };
  RunAll(explorer, scenario);
}
TEST(Interleavings, SpscConsumerDies) { ExploreSpscConsumerDies(Way::kLong); }
TEST(Interleavings, SpscConsumerDiesTheShortWay) { ExploreSpscConsumerDies(Way::kShort); }

// A batch of four, of which two are handed out at once and come back in either order.  Whoever comes after one that
// died goes on with the next message, and knows how many were in the hands of the dead.
TEST(Interleavings, ConsumerDiesWithinABatch) {
  Explorer explorer;
  Explorer::Scenario scenario = Empty();
  const auto ring = [] {
    SpscMemory tiny = TinySpsc();
    tiny.capacity = 128;
    return tiny;
  };
  const auto note = [&](const RawView& view) { received[received_count++] = explorer.ReadPlain(Words(view.data)); };
  scenario.threads = {[&] {
                        SpscProducer<ExplorerAccess> producer(ring());
                        const BatchShape shape = BatchShape::Of(8, 4, 8);
                        const RawLoan loan = producer.Claim(shape.bytes());
                        if (loan.data == nullptr) return explorer.Fail("an empty ring is full");
                        shape.Write(loan.data);
                        for (uint64_t i = 0; i < 4; ++i) {
                          explorer.WritePlain(Words(loan.data + shape.first + i * shape.stride), i + 1);
                        }
                        producer.Commit(loan, shape.bytes(), true);
                      },
                      [&] {
                        SpscConsumer<ExplorerAccess> consumer(ring());
                        RawView batch;
                        if (consumer.Read(&batch) != ReadResult::kMessage) return;
                        BatchReader<ExplorerAccess> reader;
                        if (!reader.Open(batch, 8)) explorer.Fail("corrupt");
                        note(reader.Next());
                        note(reader.Next());
                        reader.Release(1);
                        reader.Release(1);
                        while (reader.left() != 0) {
                          note(reader.Next());
                          if (reader.Release(1)) consumer.Release(batch);
                        }
                      }};
  scenario.killable = {1};
  scenario.most_kills = 1;
  scenario.finish = [&] {
    uint64_t abandoned = 0;
    // Two successors: the first one leaves before it takes anything.
    for (int i = 0; i < 2; ++i) SpscConsumer<ExplorerAccess>(ring(), &abandoned);
    SpscConsumer<ExplorerAccess> consumer(ring(), &abandoned);
    const size_t before = received_count;
    RawView batch;
    BatchReader<ExplorerAccess> reader;
    if (consumer.Read(&batch) == ReadResult::kMessage) {
      if (!reader.Open(batch, 8)) explorer.Fail("corrupt");
      while (reader.left() != 0) {
        note(reader.Next());
        if (reader.Release(1)) consumer.Release(batch);
      }
    }
    for (size_t i = 1; i < received_count; ++i) {
      if (received[i] <= received[i - 1]) explorer.Fail("twice");
    }
    if (abandoned > 2) explorer.Fail("more than the two in its hands");
    if (received_count > before) {
      if (received[received_count - 1] != 4) explorer.Fail("the end was lost");
      if (received_count + abandoned < 4) explorer.Fail("lost, and nobody knows");
    }
    if (!consumer.Empty()) explorer.Fail("stalled");
  };
  RunAll(explorer, scenario);
}

// ---- MPSC: two producers, of which one or both may die at any step; the consumer fills their holes

MpscMemory TinyMpsc() {
  return {.bytes = reinterpret_cast<uint8_t*>(memory.ring.data()),
          .descriptors = memory.descriptors.data(),
          .units = 4,
          .unit_bytes = 8,
          .descriptor_count = 4,
          .tail = &memory.tail,
          .head = &memory.head,
          .taken = &memory.taken};
}

void ExploreMpsc(int kills, uint64_t first_messages, uint64_t second_messages) {
  Explorer explorer;
  Explorer::Scenario scenario = Empty();
  scenario.reset = [] {
    ResetMemory();
    memory.claims = {kNoClaim, kNoClaim, kNoClaim};
    // Numbers and positions are about to wrap.
    const MpscPlace place{0xfffffffcu, 0xfffffffeu};
    memory.tail = memory.head = memory.taken = place.Word();
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t index = place.index - 4 + i;
      memory.descriptors[2 * (index & 3)] = uint64_t{index + 1} << 32;
    }
  };
  const auto send = [&](uint64_t who, uint64_t messages) {
    MpscProducer<ExplorerAccess> producer(TinyMpsc(), &memory.claims[who]);
    for (uint64_t i = 1; i <= messages; ++i) {
      const uint64_t bytes = who == 0 ? 8 : 16;
      const RawLoan loan = producer.Claim(bytes);
      if (loan.data == nullptr) continue;
      explorer.WritePlain(Words(loan.data), 10 * who + i);
      producer.Commit(loan, 8);
    }
  };
  std::array<const uint64_t*, 2> claims{&memory.claims[0], &memory.claims[1]};
  scenario.threads = {[&] { send(0, first_messages); }, [&] { send(1, second_messages); },
                      [&] {
                        MpscConsumer<ExplorerAccess> consumer(TinyMpsc());
                        for (int i = 0; i < 3; ++i) {
                          if (ReceiveOne(consumer, explorer) || kills == 0) continue;
                          consumer.FillHole(claims.data(), 2, [&](int who) { return !explorer.Killed(who); });
                        }
                      }};
  scenario.killable = {0, 1};
  scenario.most_kills = kills;
  scenario.finish = [&] {
    MpscConsumer<ExplorerAccess> consumer(TinyMpsc());
    const auto drain = [&] {
      for (int i = 0; i < 8; ++i) {
        if (ReceiveOne(consumer, explorer)) continue;
        consumer.FillHole(claims.data(), 2, [&](int who) { return !explorer.Killed(who); });
      }
    };
    drain();
    if (!consumer.Empty() || consumer.AtHole()) explorer.Fail("a hole of the dead stays");
    for (const uint64_t* claim : claims) {
      if (*claim != kNoClaim && !ClaimIsSettled<ExplorerAccess>(TinyMpsc(), *claim)) explorer.Fail("unsettled claim");
    }
    MpscProducer<ExplorerAccess> producer(TinyMpsc());
    for (uint64_t i = 0; i < 3; ++i) {
      SendOne(producer, explorer, 99);
      const size_t before = received_count;
      ReceiveOne(consumer, explorer);
      if (received_count != before + 1 || received[before] != 99) explorer.Fail("stalled");
      received_count = before;
    }
    for (size_t i = 0; i < received_count; ++i) {
      for (size_t j = i + 1; j < received_count; ++j) {
        if (received[i] / 10 == received[j] / 10 && received[j] <= received[i]) explorer.Fail("out of order, or twice");
      }
    }
  };
  RunAll(explorer, scenario);
}

TEST(Interleavings, Mpsc) { ExploreMpsc(0, 2, 1); }
// MEMTALLY_CHANNEL_EXPLORE=1: a message more, a minute longer.
TEST(Interleavings, MpscOneDies) { ExploreMpsc(1, getenv("MEMTALLY_CHANNEL_EXPLORE") != nullptr ? 2 : 1, 1); }
TEST(Interleavings, MpscBothDie) { ExploreMpsc(2, 1, 1); }

// ---- slots

TEST(Interleavings, Slots) {
  for (const bool one_producer : {true, false}) {
    Explorer explorer;
    Explorer::Scenario scenario = Empty();
    const SlotsMemory slots{.slots = reinterpret_cast<uint8_t*>(memory.ring.data()),
                            .freed = memory.freed.data(),
                            .count = 2,
                            .stride = 24,
                            .enqueue = &memory.tail,
                            .dequeue = &memory.dequeue,
                            .one_producer = one_producer};
    scenario.reset = [&] {
      ResetMemory();
      SlotRing<ExplorerAccess>::Prepare(slots);
    };
    const auto send = [&](uint64_t value) {
      SlotRing<ExplorerAccess> ring(slots);
      const RawLoan loan = ring.Claim();
      if (loan.data == nullptr) return;
      explorer.WritePlain(Words(loan.data), value);
      ring.Commit(loan, 8);
    };
    const auto receive = [&] {
      SlotRing<ExplorerAccess> ring(slots);
      ReceiveOne(ring, explorer);
    };
    if (one_producer) {
      scenario.threads = {[&] { send(1), send(2), send(3); }, [&] { receive(), receive(); }, receive};
    } else {
      scenario.threads = {[&] { send(1), send(2); }, [&] { send(3); }, [&] { receive(), receive(); }};
    }
    scenario.finish = [&] {
      SlotRing<ExplorerAccess> ring(slots);
      while (ReceiveOne(ring, explorer)) continue;
      uint64_t once = 0;
      for (size_t i = 0; i < received_count; ++i) {
        if ((once & 1u << received[i]) != 0 || received[i] == 0) explorer.Fail("twice, or never sent");
        once |= 1u << received[i];
      }
      const RawLoan loan = ring.Claim();
      if (loan.data == nullptr) explorer.Fail("an empty ring is full");
    };
    RunAll(explorer, scenario);
  }
}

TEST(Interleavings, SlotsSeveralAtOnce) {
  Explorer explorer;
  Explorer::Scenario scenario = Empty();
  const SlotsMemory slots{.slots = reinterpret_cast<uint8_t*>(memory.ring.data()),
                          .freed = memory.freed.data(),
                          .count = 2,
                          .stride = 24,
                          .enqueue = &memory.tail,
                          .dequeue = &memory.dequeue};
  scenario.reset = [&] {
    ResetMemory();
    SlotRing<ExplorerAccess>::Prepare(slots);
  };
  const auto send = [&](uint64_t value, uint64_t most) {
    SlotRing<ExplorerAccess> ring(slots);
    const RawLoan loan = ring.Claim(most);
    if (loan.data == nullptr) return;
    for (uint64_t i = loan.position; i != loan.end; ++i) explorer.WritePlain(Words(ring.Payload(i)), value++);
    ring.Commit(loan, 8);
  };
  const auto receive = [&](uint64_t most) {
    SlotRing<ExplorerAccess> ring(slots);
    return ring.ReadBatch(
        most, [&](const uint8_t* data, uint32_t) { received[received_count++] = explorer.ReadPlain(Words(data)); });
  };
  scenario.threads = {[&] { send(1, 2); }, [&] { send(4, 1), send(5, 1); }, [&] { receive(2), receive(1); }};
  scenario.finish = [&] {
    while (receive(3) != 0) continue;
    uint64_t once = 0;
    for (size_t i = 0; i < received_count; ++i) {
      if ((once & 1u << received[i]) != 0 || received[i] == 0) explorer.Fail("twice, or never sent");
      once |= 1u << received[i];
    }
    const RawLoan loan = SlotRing<ExplorerAccess>(slots).Claim(5);
    if (loan.end - loan.position != 2) explorer.Fail("an empty ring is full");
  };
  RunAll(explorer, scenario);
}

// ---- broadcast: a consumer joins while the producer runs

TEST(Interleavings, Broadcast) {
  for (const bool overrun : {false, true}) {
    Explorer explorer;
    Explorer::Scenario scenario = Empty();
    const BroadcastMemory broadcast{.ring = TinySpsc(),
                                    .tail = &memory.tail,
                                    .cursors = reinterpret_cast<uint8_t*>(memory.cursors.data()),
                                    .cursor_stride = 16,
                                    .cursor_count = 2,
                                    .overrun = overrun};
    scenario.reset = [] {
      ResetMemory();
      memory.cursors = {kNoCursor, 0, kNoCursor, 0};
    };
    scenario.threads = {[&] {
                          BroadcastProducer<ExplorerAccess> producer(broadcast);
                          uint64_t sent = 0;
                          for (int i = 0; i < 5; ++i) sent += SendOne(producer, explorer, sent + 1) ? 1 : 0;
                        },
                        [&] {
                          BroadcastConsumer<ExplorerAccess> consumer(broadcast, 0);
                          for (int i = 0; i < 3; ++i) ReceiveOne(consumer, explorer);
                          consumer.Leave();
                        }};
    scenario.finish = [&] {
      for (size_t i = 1; i < received_count; ++i) {
        if (received[i] <= received[i - 1]) explorer.Fail("out of order, or twice");
        if (!overrun && received[i] != received[i - 1] + 1) explorer.Fail("one was missed");
      }
    };
    RunAll(explorer, scenario);
  }
}

// ---- Event, as a model of its steps: whoever sleeps for good has nothing to wait for

TEST(Interleavings, NoWakeUpIsLost) {
  Explorer explorer;
  Explorer::Scenario scenario = Empty();
  std::array<uint64_t, 2> slept{};
  const auto fetch_or_1 = [] {
    uint64_t seen = ExplorerAccess::Load(&memory.asleep, std::memory_order_relaxed);
    while (!ExplorerAccess::CompareExchange(&memory.asleep, &seen, seen | 1)) continue;
    return seen | 1;
  };
  // Two sleepers, each wanting one of two messages.
  const auto sleeper = [&](size_t who) {
    for (int tries = 0; tries < 2; ++tries) {
      const uint64_t seen = fetch_or_1();
      uint64_t there = ExplorerAccess::Load(&memory.message, std::memory_order_seq_cst);
      while (there != 0) {
        if (ExplorerAccess::CompareExchange(&memory.message, &there, there - 1)) return;
      }
      slept[who] = 1;
      if (ExplorerAccess::Load(&memory.asleep, std::memory_order_seq_cst) == seen) return;  // for good, unless woken
      slept[who] = 0;
    }
  };
  scenario.threads = {[&] {
                        for (int i = 0; i < 2; ++i) {
                          uint64_t there = ExplorerAccess::Load(&memory.message, std::memory_order_relaxed);
                          while (!ExplorerAccess::CompareExchange(&memory.message, &there, there + 1)) continue;
                          uint64_t word = ExplorerAccess::Load(&memory.asleep, std::memory_order_seq_cst);
                          while ((word & 1) != 0) {
                            if (!ExplorerAccess::CompareExchange(&memory.asleep, &word, word + 1)) continue;
                            slept = {};  // wakes all that sleep by now
                            break;
                          }
                        }
                      },
                      [&] { sleeper(0); }, [&] { sleeper(1); }};
  scenario.reset = [&] {
    ResetMemory();
    slept = {};
  };
  scenario.finish = [&] {
    if ((slept[0] != 0 || slept[1] != 0) && memory.message != 0) explorer.Fail("asleep beside a message");
  };
  scenario.memory.emplace_back(slept.data(), slept.size());
  RunAll(explorer, scenario);
}

}  // namespace
}  // namespace memtally::channel
