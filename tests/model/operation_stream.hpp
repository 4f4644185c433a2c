// SPDX-License-Identifier: Apache-2.0
//
// Streams of operations that depend on their seed alone, and the devices that they use, in the tracker and in a Model.
#pragma once

#include <cstdint>
#include <vector>

#include <memtally/track.h>

#include "reference_model.hpp"

namespace memtally::model {

// xorshift64*, so that a seed means the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du) {
    if (state_ == 0) state_ = 1;
    for (int i = 0; i < 4; ++i) Next();
  }
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  uint64_t Below(uint64_t limit) { return (Next() >> 11) % limit; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

enum class Ids : uint8_t { kSequential, kAddresses, kRandom, kTiny };

struct StreamOptions {
  Ids ids = Ids::kSequential;
  uint32_t thread = 0;  // ids of different threads differ in their upper bits (but those of kTiny)
  uint64_t most_live = 3000;
  uint32_t close_in = 1500;  // one operation in so many closes a device; 0 none
  bool plain = false;        // only what leaves anomalies and extensions alone
};

class OperationStream {
 public:
  OperationStream(uint64_t seed, const StreamOptions& options) : random_(seed), options_(options) {}
  Operation Next();

 private:
  struct Known {
    uint32_t device;
    uint32_t reporter;
    uint32_t kind;
    uint64_t id;
  };
  uint64_t NewId();
  Operation Alloc();
  Operation Free(Action action);

  Random random_;
  StreamOptions options_;
  uint64_t next_id_ = 0;
  uint32_t tag_depth_ = 0;
  std::vector<Known> known_;  // what may be live
};

std::vector<Operation> MakeOperations(uint64_t seed, const StreamOptions& options, size_t count);

// The devices of all tests: three, with seven accounts; the second reporter of device 0 owns its kind `trace`.
class World {
 public:
  static constexpr uint32_t kDevices = 3;
  static constexpr uint32_t kReporters = 2;
  static constexpr uint32_t kPoolKind = 32;  // the program's own

  // Registers them with the tracker.
  void Register();
  // The same in a model.
  static Model MakeModel();
  // Carries out one operation.
  void Perform(const Operation& operation) const;

 private:
  void RegisterDevice(uint32_t device, uint32_t reporter);

  memtally_device handle_[kDevices][kReporters] = {};
};

}  // namespace memtally::model
