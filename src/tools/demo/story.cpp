// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/story.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "collect/address_map.hpp"
#include "tools/screen_units.hpp"

namespace memtally::tools::demo {
namespace {

using Commands = std::vector<std::vector<std::string>>;

std::string PidOf(const collect::Process* process) { return process ? std::to_string(process->pid) : "0"; }

// "550 buffers, 11.9 GiB".
std::string Text(const Amount& amount) {
  return fmt::format("{} buffer{}, {}", amount.count, amount.count == 1 ? "" : "s", ScreenBytes(amount.bytes_reserved));
}

double ChatPart(const Facts& facts) {
  const Holding dram = HoldingOf(facts.chat, "dram");
  if (dram.capacity_bytes == 0) return 0;
  return static_cast<double>(dram.live.bytes_reserved) / static_cast<double>(dram.capacity_bytes);
}

bool IsReady(const Facts& /*facts*/) { return true; }
std::string NothingAwaited(const Facts& /*facts*/) { return ""; }
Commands ShowPs(const Facts& /*facts*/) { return {{"ps", "--no-clean-up"}}; }

// ---- start

bool AllHoldMemory(const Facts& facts) {
  constexpr uint64_t kWeights = uint64_t{1} << 30;
  return HoldingOf(facts.llama, "dram").live.bytes_reserved > kWeights &&
         HoldingOf(facts.resnet, "dram").live.count != 0 &&
         HoldingOf(facts.chat, "dram").live.bytes_reserved > kWeights;
}

std::string AwaitStart(const Facts& /*facts*/) { return "the programs load their weights"; }

std::string TellStart(const Facts& /*facts*/) {
  return "A Llama-3.2-1B decoder, ResNet-50 and a chat server, each on a Wormhole card of its own. They replay what "
         "real "
         "models did to the memory of an n150, so no card is needed here. No daemon runs and nothing is sent: each "
         "process keeps a ledger in shared memory, and memtally reads it.";
}

// ---- read

std::string TellRead(const Facts& facts) {
  return fmt::format(
      "Llama holds {} of DRAM: weights and cache. Activations come and go in L1, the fast memory of the cores. "
      "Circular "
      "and dataflow buffers (cb, dfb) share addresses there, so they are never added up. Reserved is what a memory "
      "really lost; peak, what it lost at most.",
      ScreenBytes(HoldingOf(facts.llama, "dram").live.bytes_reserved));
}

// ---- growth

bool ChatHasGrown(const Facts& facts) {
  constexpr double kMuch = 0.4;
  return ChatPart(facts) > kMuch;
}

std::string AwaitGrowth(const Facts& facts) {
  return fmt::format("the chat server grows: {:.0f}% of its card", 100 * ChatPart(facts));
}

std::string TellGrowth(const Facts& facts) {
  return fmt::format(
      "From step to step Llama stays as it is. The chat server only grows: {} by now, {:.0f}% of its card. There is "
      "something that it never gives back. What?",
      Text(HoldingOf(facts.chat, "dram").live), 100 * ChatPart(facts));
}

// ---- tags

std::string TellTags(const Facts& facts) {
  return fmt::format(
      "The same process by the tags that the program itself put around its work. Weights stay as they are, requests "
      "give back what they take; what grows is '{}': {}.",
      kLeakTag, Text(facts.chat->has_buffers ? HoldingWithTag(*facts.chat, kLeakTag) : Amount{}));
}

Commands ShowTags(const Facts& facts) {
  return {{"buffers", "--pid", PidOf(facts.chat), "--kind", "dram", "--by-tag", "--limit", "6"}};
}

// ---- out-of-memory

bool MemoryRanOut(const Facts& facts) { return HoldingOf(facts.chat, "dram").failed_allocations != 0; }

std::string TellOutOfMemory(const Facts& facts) {
  const Holding dram = HoldingOf(facts.chat, "dram");
  const uint64_t free = dram.capacity_bytes - std::min(dram.capacity_bytes, dram.live.bytes_reserved);
  return fmt::format(
      "The chat server asked for {} more and did not get them{}. The failure is counted, and who held the memory at "
      "that moment can be seen: {}.",
      ScreenBytes(dram.failed_requested),
      free < dram.failed_requested ? "" : fmt::format(", although {} are free", ScreenBytes(free)), Text(dram.live));
}

// ---- why

// The chat server's account of which an allocation failed; null if there is none.
const LedgerAccount* FailedAccount(const Facts& facts) {
  for (const LedgerAccount& account : facts.chat->facts.accounts) {
    if (account.failed_allocations != 0) return &account;
  }
  return nullptr;
}

std::string TellWhy(const Facts& facts) {
  const LedgerAccount* account = FailedAccount(facts);
  const LedgerAnomaly& failures = facts.chat->facts.anomalies[MEMTALLY_ANOMALY_FAILED_ALLOC];
  if (account == nullptr || failures.last.empty()) return "Nothing had failed before the chat server died.";
  const collect::AddressMap map(facts.chat->facts, *account);
  std::string text = fmt::format(
      "A buffer takes the same addresses in each of {} banks. The largest free block of a bank has {}, and {} were "
      "needed: free memory in pieces.",
      account->banks, ScreenBytes(map.largest_free()), ScreenBytes(failures.last.back().bytes_per_bank));
  for (const collect::TagShare& share : map.Tags()) {
    if (share.tag.find(kLeakTag) == std::string::npos) continue;
    text += fmt::format(" Without the debug copies that block would have {}; 'memtally oom' says so.",
                        ScreenBytes(share.largest_free_without));
  }
  return text;
}

Commands ShowWhy(const Facts& facts) { return {{"oom", "--pid", PidOf(facts.chat)}}; }

// ---- kill

std::string AwaitDeath(const Facts& /*facts*/) { return "the chat server dies"; }

std::string TellKill(const Facts& facts) {
  return fmt::format(
      "The chat server was killed{}: it could not say a word, and no clean-up ran. Its ledger outlives it. It died "
      "holding {}; its card is free again, and what it held stays listed among the dead.",
      facts.was_killed ? ", with SIGKILL" : "", Text(HoldingOf(facts.chat, "dram").live));
}

// ---- autopsy

std::string TellAutopsy(const Facts& facts) {
  const Amount all = HoldingOf(facts.chat, "dram").live;
  const Amount leak = HoldingWithTag(*facts.chat, kLeakTag);
  return fmt::format("What the dead one held, by tag. The debug copies are the leak: {} of {}.", Text(leak),
                     ScreenBytes(all.bytes_reserved));
}

Commands ShowAutopsy(const Facts& facts) {
  return {{"buffers", "--pid", PidOf(facts.chat), "--by-tag", "--limit", "8"}};
}

// ---- oldest

std::string TellOldest(const Facts& /*facts*/) {
  return "The oldest debug copies lead to the first request that was affected: when they were allocated, at which "
         "address, by which thread. Their tag leads to the line of code.";
}

Commands ShowOldest(const Facts& facts) {
  return {{"buffers", "--pid", PidOf(facts.chat), "--tag", kLeakTag, "--sort", "age", "--limit", "4"}};
}

// ---- end

std::string TellEnd(const Facts& /*facts*/) {
  return "That was all. The other two ran on and noticed nothing. The programs and their ledgers vanish when this "
         "ends.";
}

std::vector<Step> MakeStory() {
  return {
      {"start", "Three programs, three cards", StepAction::kStartPrograms, 10, AllHoldMemory, AwaitStart, TellStart,
       Scene::kMachine, ShowPs},
      {"read", "How to read it", StepAction::kNothing, 10, IsReady, NothingAwaited, TellRead, Scene::kMachine, nullptr},
      {"growth", "One of them only grows", StepAction::kNothing, 8, ChatHasGrown, AwaitGrowth, TellGrowth,
       Scene::kMachine, ShowPs},
      {"tags", "Who holds that?", StepAction::kNothing, 9, IsReady, NothingAwaited, TellTags, Scene::kChatByTag,
       ShowTags},
      {"out-of-memory", "Out of memory", StepAction::kNothing, 10, MemoryRanOut, AwaitGrowth, TellOutOfMemory,
       Scene::kMachine, ShowPs},
      {"why", "Why it did not fit", StepAction::kNothing, 9, IsReady, NothingAwaited, TellWhy, Scene::kChatFailed,
       ShowWhy},
      {"kill", "Killed", StepAction::kKillChatServer, 10, IsChatServerDead, AwaitDeath, TellKill, Scene::kMachine,
       ShowPs},
      {"autopsy", "What the dead held", StepAction::kNothing, 9, IsReady, NothingAwaited, TellAutopsy,
       Scene::kChatByTag, ShowAutopsy},
      {"oldest", "Where it began", StepAction::kNothing, 9, IsReady, NothingAwaited, TellOldest, Scene::kChatOldest,
       ShowOldest},
      {"end", "That was all", StepAction::kNothing, 0, IsReady, NothingAwaited, TellEnd, Scene::kMachine, nullptr},
  };
}

}  // namespace

const std::vector<Step>& Story() {
  static const std::vector<Step> story = MakeStory();
  return story;
}

double StorySeconds() {
  const std::vector<Step>& story = Story();
  return std::accumulate(story.begin(), story.end(), 0.0,
                         [](double sum, const Step& step) { return sum + step.seconds; });
}

std::string WhatNext() {
  return "What next?\n"
         "\n"
         "  memtally run -- COMMAND  your program: what it held at most, what it leaked\n"
         "  memtally top             the live view of this machine\n"
         "  memtally ps              who holds device memory; --json for scripts\n"
         "  memtally replay NAME     plays one recording, as this demonstration did\n"
         "  man memtally             everything else\n";
}

}  // namespace memtally::tools::demo
