// SPDX-License-Identifier: Apache-2.0
//
// Makes traces of what recordings of well-behaved programs lack.  Every trace claims what an allocator and the anomaly
// counts must be at several points, computed by TraceModel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/trace.hpp"

namespace memtally::tools {

enum class GeneratedKind {
  kChurn,              // short-lived buffers below changing tags; ids are addresses and come again; ends with a close
  kCrossThreadFrees,   // most buffers are freed by another thread than the one that allocated them
  kDoubleAllocations,  // live ids are allocated again, and ids are freed that nobody has
  kFailures,           // a small memory that is full again and again
};

struct GeneratorOptions {
  GeneratedKind kind = GeneratedKind::kChurn;
  uint64_t events = 10'000;  // at least; a few more close the trace
  uint32_t threads = 1;      // at least 1
  uint64_t seed = 1;
};

// The names of kinds on the command line, in the order of the enum.
const std::vector<std::string>& GeneratedKindNames();

// The same options give the same trace on every machine.
Trace GenerateTrace(const GeneratorOptions& options);

}  // namespace memtally::tools
