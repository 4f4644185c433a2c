// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_generator.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "tools/trace_model.hpp"

namespace memtally::tools {
namespace {

constexpr uint16_t kDram = 0;
constexpr uint16_t kL1 = 1;
constexpr uint32_t kViews = 8;

// Hands out addresses in one memory, the same in every bank.  Live buffers never overlap; addresses come again soon.
class BankAllocator {
 public:
  BankAllocator(uint64_t banks, uint64_t bytes_per_bank) : banks_(banks), end_(bytes_per_bank) {}

  uint64_t banks() const { return banks_; }

  std::optional<uint64_t> Allocate(uint64_t bytes_per_bank) {
    std::vector<uint64_t>& free = free_[bytes_per_bank];
    if (!free.empty()) {
      const uint64_t address = free.back();
      free.pop_back();
      return address;
    }
    if (end_ - next_ < bytes_per_bank) return std::nullopt;
    return std::exchange(next_, next_ + bytes_per_bank);
  }
  void Free(uint64_t address, uint64_t bytes_per_bank) { free_[bytes_per_bank].push_back(address); }

 private:
  uint64_t banks_;
  uint64_t next_ = 0;
  uint64_t end_;
  std::map<uint64_t, std::vector<uint64_t>> free_;  // by size
};

struct LiveBuffer {
  uint64_t id = 0;
  uint64_t address = 0;
  uint64_t bytes_per_bank = 0;
  uint16_t kind = 0;
  uint16_t thread = 0;
};

class Generator {
 public:
  explicit Generator(const GeneratorOptions& options);
  Trace Generate();

 private:
  // Below `limit`, the same on every machine (standard distributions are not).
  uint64_t Random(uint64_t limit) { return random_() % limit; }
  bool Chance(uint64_t percent) { return Random(100) < percent; }

  TraceRecord& Append(TraceOperation operation, uint16_t thread);
  void Describe(uint16_t kind, uint64_t banks, uint64_t bytes_per_bank);
  void EnterTag(uint16_t thread);
  void Allocate(uint16_t thread);
  void AllocateAgain(uint16_t thread);
  void Free(uint16_t thread);
  void FreeUnknown(uint16_t thread);
  void Claim(const std::string& name);
  void Close();
  void Step();
  size_t PickToFree(uint16_t thread);

  const GeneratorOptions options_;
  std::mt19937_64 random_;
  Trace trace_;
  std::vector<BankAllocator> memories_;  // by kind
  std::vector<LiveBuffer> live_;
  std::vector<bool> tagged_;  // by thread
  uint64_t time_ns_ = 0;
  uint64_t next_id_ = 1;
  uint64_t max_live_ = 500;  // which fit, except into the small memory
};

Generator::Generator(const GeneratorOptions& options) : options_(options), random_(options.seed) {
  trace_.name = GeneratedKindNames()[static_cast<size_t>(options.kind)];
  for (uint32_t i = 0; i < options.threads; ++i) trace_.threads.push_back(i + 1);
  tagged_.resize(options.threads);
  trace_.chips.push_back(0);
  trace_.kind_names = {"dram", "l1"};
  trace_.devices.push_back({"tenstorrent", "wormhole_b0", 0});
  Append(TraceOperation::kDevice, 0);
  const bool small = options.kind == GeneratedKind::kFailures;
  if (small) max_live_ = UINT64_MAX;
  Describe(kDram, 12, small ? 16 << 20 : 1'072'693'184);
  Describe(kL1, 64, small ? 256 << 10 : 1'393'312);
  for (int i = 0; i < 32; ++i) trace_.tags.push_back(fmt::format("step {}", i));
}

TraceRecord& Generator::Append(TraceOperation operation, uint16_t thread) {
  if (IsEvent(operation) || operation == TraceOperation::kPushTag) time_ns_ += 200 + Random(3000);
  if (IsEvent(operation)) ++trace_.events;
  TraceRecord& record = trace_.records.emplace_back();
  record.operation = operation;
  record.thread = thread;
  record.time_ns = time_ns_;
  return record;
}

void Generator::Describe(uint16_t kind, uint64_t banks, uint64_t bytes_per_bank) {
  TraceRecord& record = Append(TraceOperation::kKind, 0);
  record.kind = kind;
  record.item = static_cast<uint32_t>(trace_.kinds.size());
  trace_.kinds.push_back({banks * bytes_per_bank, bytes_per_bank, static_cast<uint32_t>(banks), false});
  memories_.emplace_back(banks, bytes_per_bank);
}

// A new tag for this thread, in the place of the one it had.
void Generator::EnterTag(uint16_t thread) {
  if (tagged_[thread]) Append(TraceOperation::kPopTag, thread);
  tagged_[thread] = true;
  Append(TraceOperation::kPushTag, thread).item = static_cast<uint32_t>(Random(trace_.tags.size()));
}

void Generator::Allocate(uint16_t thread) {
  const uint16_t kind = Chance(30) ? kL1 : kDram;
  BankAllocator& memory = memories_[kind];
  const uint64_t bytes_per_bank = uint64_t{1024} << Random(kind == kL1 ? 4 : 9);
  const uint64_t bytes_requested = bytes_per_bank * memory.banks() - Random(1024);
  const std::optional<uint64_t> address = memory.Allocate(bytes_per_bank);
  TraceRecord& record = Append(address ? TraceOperation::kAlloc : TraceOperation::kFailed, thread);
  record.kind = kind;
  record.bytes_requested = bytes_requested;
  record.bytes_per_bank = bytes_per_bank;
  if (!address) return;
  record.address = *address;
  record.id = options_.kind == GeneratedKind::kDoubleAllocations ? next_id_++ : *address;
  live_.push_back({record.id, *address, bytes_per_bank, kind, thread});
}

// The id of a live buffer, with another size and place: somebody missed the free.
void Generator::AllocateAgain(uint16_t thread) {
  if (live_.empty()) return Allocate(thread);
  LiveBuffer& buffer = live_[Random(live_.size())];
  BankAllocator& memory = memories_[buffer.kind];
  memory.Free(buffer.address, buffer.bytes_per_bank);
  const uint64_t bytes_per_bank = uint64_t{1024} << Random(4);
  const std::optional<uint64_t> address = memory.Allocate(bytes_per_bank);
  buffer.bytes_per_bank = address ? bytes_per_bank : buffer.bytes_per_bank;
  buffer.address = address ? *address : *memory.Allocate(buffer.bytes_per_bank);
  buffer.thread = thread;
  TraceRecord& record = Append(TraceOperation::kAlloc, thread);
  record.kind = buffer.kind;
  record.id = buffer.id;
  record.address = buffer.address;
  record.bytes_per_bank = buffer.bytes_per_bank;
  record.bytes_requested = buffer.bytes_per_bank * memory.banks();
}

// The buffer that `thread` frees next.
size_t Generator::PickToFree(uint16_t thread) {
  size_t pick = Random(live_.size());
  if (options_.kind != GeneratedKind::kCrossThreadFrees) return pick;
  for (int i = 0; i < 8 && live_[pick].thread == thread; ++i) pick = Random(live_.size());
  return pick;
}

void Generator::Free(uint16_t thread) {
  if (live_.empty()) return Allocate(thread);
  const size_t pick = PickToFree(thread);
  const LiveBuffer buffer = live_[pick];
  live_[pick] = live_.back();
  live_.pop_back();
  memories_[buffer.kind].Free(buffer.address, buffer.bytes_per_bank);
  TraceRecord& record = Append(TraceOperation::kFree, thread);
  record.kind = buffer.kind;
  record.id = buffer.id;
}

void Generator::FreeUnknown(uint16_t thread) {
  TraceRecord& record = Append(TraceOperation::kFree, thread);
  record.kind = Chance(50) ? kL1 : kDram;
  record.id = (uint64_t{1} << 40) + Random(1000);
}

void Generator::Step() {
  const auto thread = static_cast<uint16_t>(Random(options_.threads));
  if (Chance(5)) EnterTag(thread);
  if (options_.kind == GeneratedKind::kDoubleAllocations && Chance(10)) {
    if (Chance(50)) return AllocateAgain(thread);
    return FreeUnknown(thread);
  }
  const bool full = live_.size() >= max_live_;
  const uint64_t growing = options_.kind == GeneratedKind::kFailures ? 60 : 52;
  if (!full && Chance(growing)) return Allocate(thread);
  Free(thread);
}

// Views and anomaly counts as the model has them now.  They are filled in at the end.
void Generator::Claim(const std::string& name) {
  Append(TraceOperation::kView, trace_.records.back().thread).item = static_cast<uint32_t>(trace_.views.size());
  trace_.views.push_back({name, {}});
  for (const uint32_t anomaly : {MEMTALLY_ANOMALY_UNKNOWN_FREE, MEMTALLY_ANOMALY_REPLACED, MEMTALLY_ANOMALY_AFTER_CLOSE,
                                 MEMTALLY_ANOMALY_FAILED_ALLOC}) {
    const auto item = static_cast<uint32_t>(trace_.anomalies.size());
    Append(TraceOperation::kAnomaly, trace_.records.back().thread).item = item;
    trace_.anomalies.push_back({0, anomaly});
  }
}

// Closes the device, and then frees some of what that released.
void Generator::Close() {
  Append(TraceOperation::kClose, 0);
  for (size_t i = 0; i < 10 && !live_.empty(); ++i) Free(0);
  live_.clear();
}

Trace Generator::Generate() {
  uint32_t claimed = 0;
  while (trace_.events < options_.events) {
    Step();
    if (trace_.events * (kViews + 1) / options_.events > claimed) Claim(fmt::format("after-{}", ++claimed));
  }
  for (uint16_t thread = 0; thread < options_.threads; ++thread) {
    if (tagged_[thread]) Append(TraceOperation::kPopTag, thread);
  }
  if (options_.kind == GeneratedKind::kChurn) Close();
  Claim("end");

  TraceModel model(trace_);
  for (size_t i = 0; i < trace_.records.size(); ++i) {
    const TraceRecord& record = trace_.records[i];
    if (!IsClaim(record.operation)) continue;
    model.AdvanceTo(i);
    if (record.operation == TraceOperation::kAnomaly) {
      TraceAnomaly& anomaly = trace_.anomalies[record.item];
      anomaly.count = model.anomaly(anomaly.anomaly);
      continue;
    }
    for (const auto& [key, account] : model.accounts()) {
      trace_.views[record.item].entries.push_back(
          {account.live_total.bytes_per_bank, static_cast<uint32_t>(account.banks), key.second});
    }
  }
  return std::move(trace_);
}

}  // namespace

const std::vector<std::string>& GeneratedKindNames() {
  static const std::vector<std::string> names = {"churn", "cross-thread-frees", "double-allocations", "failures"};
  return names;
}

Trace GenerateTrace(const GeneratorOptions& options) { return Generator(options).Generate(); }

}  // namespace memtally::tools
