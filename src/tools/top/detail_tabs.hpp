// SPDX-License-Identifier: Apache-2.0
//
// The table of each tab; see detail_table.hpp, which says what is required of them.
#pragma once

#include <array>
#include <string>

#include "tools/top/detail_table.hpp"

namespace memtally::tools::top {

DetailTable TagsTable(const collect::Process& process, const TagFolds& folds);
DetailTable KindsTable(const collect::Process& process);
DetailTable SizesTable(const collect::Process& process);
enum class BufferOrder : uint8_t { kLargest, kOldest };
// At most the first kMostBuffers of them.
inline constexpr size_t kMostBuffers = 1000;
DetailTable BuffersTable(const collect::Snapshot& snapshot, const collect::Process& process, BufferOrder order);
DetailTable AnomaliesTable(const collect::Snapshot& snapshot, const collect::Process& process);
DetailTable FailedTable(const collect::Snapshot& snapshot, const collect::Process& process);
DetailTable EventsTable(const collect::Snapshot& snapshot, const collect::Process& process);

// ---- cells that several tabs have ----

// "dev 0", as the program numbers it.
std::string DeviceCell(const LedgerView& facts, uint32_t device);
std::string KindCell(const LedgerView& facts, uint32_t kind);
// How long ago, "-" if that cannot be known.
std::string AgeCell(const collect::Snapshot& snapshot, const LedgerView& facts, uint64_t time_ns);
// The end of its path, "-" without a tag.
std::string TagCell(const LedgerView& facts, uint32_t tag);
// An event, in full, in two lines that fit into 80 columns (but for long tags).
std::array<std::string, 2> EventTexts(const collect::Snapshot& snapshot, const LedgerView& facts,
                                      const LedgerEvent& event);

}  // namespace memtally::tools::top
