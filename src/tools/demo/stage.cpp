// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/stage.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <stdexcept>

#include <fmt/format.h>

#include "tools/output.hpp"

namespace memtally::tools::demo {
namespace {

constexpr const char* kLlama = "llama";
constexpr const char* kResnet = "resnet";
constexpr const char* kChatServer = "chat-server";

// Tracking would be off or elsewhere for programs that inherit these.
constexpr const char* kSettings[] = {"MEMTALLY", "TT_ALLOC_TRACKING_ENABLED", "MEMTALLY_PRIVATE", "MEMTALLY_LOG"};

std::unique_ptr<PrivateFolder> MakeFolder() {
  for (const char* setting : kSettings) unsetenv(setting);  // NOLINT(concurrency-mt-unsafe): before any thread
  std::string error;
  std::unique_ptr<PrivateFolder> folder = PrivateFolder::Make(&error);
  if (!folder) throw std::runtime_error(error);
  return folder;
}

const collect::Process* FindProgram(const collect::Snapshot& snapshot, const std::string& name) {
  for (const collect::Process& process : snapshot.processes) {
    if (process.facts.identity.comm == name) return &process;
  }
  return nullptr;
}

bool IsLive(const LedgerBuffer& buffer) { return !buffer.imported && !buffer.released; }

bool HasTag(const collect::Process& process, const LedgerBuffer& buffer, const std::string& tag) {
  return process.facts.tag_path(buffer.tag).find(tag) != std::string::npos;
}

}  // namespace

bool IsChatServerDead(const Facts& facts) {
  return facts.chat != nullptr && facts.chat->facts.liveness == Liveness::kDead;
}

Holding HoldingOf(const collect::Process* process, const std::string& kind) {
  Holding holding;
  if (process == nullptr) return holding;
  for (const LedgerAccount& account : process->facts.accounts) {
    if (collect::KindName(process->facts, account.kind) != kind) continue;
    holding.live.count += account.live.count;
    holding.live.bytes_requested += account.live.bytes_requested;
    holding.live.bytes_reserved += account.live.bytes_reserved;
    holding.capacity_bytes += account.capacity_bytes;
    holding.failed_allocations += account.failed_allocations;
    holding.failed_requested += account.failed_requested;
  }
  return holding;
}

Amount HoldingWithTag(const collect::Process& process, const std::string& tag) {
  Amount sum;
  for (const LedgerBuffer& buffer : process.facts.buffers) {
    if (!IsLive(buffer) || !HasTag(process, buffer, tag)) continue;
    const LedgerAccount* account = collect::AccountAt(process.facts, buffer.account);
    ++sum.count;
    sum.bytes_requested += buffer.bytes_requested;
    sum.bytes_reserved += buffer.bytes_per_bank * (account != nullptr ? account->banks : 1);
  }
  return sum;
}

size_t OlderThanTag(const collect::Process& process, const std::string& tag) {
  const std::vector<LedgerBuffer>& buffers = process.facts.buffers;
  uint64_t oldest_ns = UINT64_MAX;
  for (const LedgerBuffer& buffer : buffers) {
    if (IsLive(buffer) && HasTag(process, buffer, tag)) oldest_ns = std::min(oldest_ns, buffer.time_ns);
  }
  return static_cast<size_t>(std::count_if(buffers.begin(), buffers.end(), [&](const LedgerBuffer& buffer) {
    return IsLive(buffer) && buffer.time_ns < oldest_ns;
  }));
}

Stage::Stage() : folder_(MakeFolder()) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // of the processes that programs leave behind
}

Stage::~Stage() { programs_.clear(); }

void Stage::StartPrograms(double hurry) {
  // So slow that they can be watched: Llama and ResNet for more than a minute, the chat server until its memory runs
  // out after half of that.
  const ProgramPlan plans[] = {
      {.name = kLlama, .recording = "llama-1b-n150", .speed = 0.0085, .device = 0, .loop = true},
      {.name = kResnet, .recording = "resnet50-n150", .speed = 0.02, .device = 1, .loop = true},
      {.name = kChatServer, .recording = "leak-until-oom-n150", .speed = 0.0056, .device = 2, .loop = false},
  };
  for (ProgramPlan plan : plans) {
    plan.speed *= hurry;
    programs_.push_back(std::make_unique<Program>(std::move(plan), folder()));
  }
  collector_.Discover();
}

void Stage::KillChatServer() {
  const Facts facts = Look();
  if (facts.chat == nullptr || facts.chat->facts.liveness != Liveness::kAlive) return;
  was_killed_ = true;
  if (kill(static_cast<pid_t>(facts.chat->pid), SIGKILL) != 0) {
    throw std::runtime_error(fmt::format("cannot kill the chat server: {}", ErrorText(errno)));
  }
}

void Stage::SetStopped(bool stopped) {
  if (stopped == stopped_) return;
  stopped_ = stopped;
  for (const auto& program : programs_) program->SetStopped(stopped);
}

Facts Stage::Look() {
  collector_.Discover();
  Facts facts;
  facts.snapshot = collector_.Take();
  for (const auto& program : programs_) {
    const bool was_seen = FindProgram(*facts.snapshot, program->plan().name) != nullptr;
    if (was_seen || program->IsRunning()) continue;
    throw std::runtime_error(
        fmt::format("'memtally replay {}' has ended: {}", program->plan().recording, program->Said()));
  }
  facts.chat = FindProgram(*facts.snapshot, kChatServer);
  if (facts.chat != nullptr) {
    facts.snapshot = collector_.Take({.level = collect::Level::kProcess, .process = facts.chat->key()});
    facts.chat = FindProgram(*facts.snapshot, kChatServer);
  }
  facts.llama = FindProgram(*facts.snapshot, kLlama);
  facts.resnet = FindProgram(*facts.snapshot, kResnet);
  facts.was_killed = was_killed_;
  return facts;
}

}  // namespace memtally::tools::demo
