// SPDX-License-Identifier: Apache-2.0
//
// The buffers of some processes that a user asked for, sorted, and their sums.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "collect/snapshot.hpp"
#include "tools/tag_paths.hpp"

namespace memtally::tools {

enum class BufferOrder { kSize, kAge, kId, kAddress };

struct BufferFilter {
  std::optional<int32_t> device;    // the program's own number
  std::string kind;                 // "" any
  std::unique_ptr<TagPattern> tag;  // null any
};

struct BufferRow {
  uint32_t process = 0;  // index of the list's processes
  const LedgerBuffer* buffer = nullptr;
  const LedgerAccount* account = nullptr;
  const std::string* tag_path = nullptr;  // "" for no tag
  uint64_t bytes_reserved = 0;
};

// What sums are made of: rows of one process, device and kind, and then those that also have this in common.
enum class Grouping {
  kKind,  // nothing more
  kTag,
  kSize,  // bytes requested
};

struct BufferSum {
  uint32_t process = 0;
  const LedgerAccount* account = nullptr;
  const std::string* tag_path = nullptr;  // by tag
  uint64_t size = 0;                      // by size: of each buffer
  uint64_t count = 0;                     // imported buffers left out, here and below
  uint64_t bytes_requested = 0;
  uint64_t bytes_reserved = 0;
  uint64_t imported = 0;
  uint64_t lowest_address = UINT64_MAX;  // start to end is the extent
  uint64_t highest_end = 0;
};

// Points into the processes, which must outlive it.
class BufferList {
 public:
  BufferList(const std::vector<const collect::Process*>& processes, const BufferFilter& filter);

  void Sort(BufferOrder order);
  const std::vector<BufferRow>& rows() const { return rows_; }
  // By process, device, kind; otherwise the largest first within a process.
  std::vector<BufferSum> Sums(Grouping grouping) const;

 private:
  std::vector<BufferRow> rows_;
  std::vector<std::unique_ptr<TagPaths>> tag_paths_;  // by process
};

}  // namespace memtally::tools
