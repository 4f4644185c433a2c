// SPDX-License-Identifier: Apache-2.0
//
// The buffers of some ledgers that a user asked for, sorted, and their sums.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

#include "tools/ledger_survey.hpp"

namespace memtally::tools {

// Matches POSIX extended regular expressions; text from strangers may be long and strange.
class TagPattern {
 public:
  // Returns null and sets *error if `expression` is none.
  static std::unique_ptr<TagPattern> Compile(const std::string& expression, std::string* error);
  ~TagPattern();
  TagPattern(const TagPattern&) = delete;
  TagPattern& operator=(const TagPattern&) = delete;

  // Whether it matches anywhere in `text`.
  bool Matches(const std::string& text) const;

 private:
  TagPattern();
  struct State;
  std::unique_ptr<State> state_;
};

enum class BufferOrder { kSize, kAge, kId, kAddress };

struct BufferFilter {
  std::optional<int32_t> device;    // the program's own number
  std::string kind;                 // "" any
  std::unique_ptr<TagPattern> tag;  // null any
};

struct BufferRow {
  uint32_t process = 0;  // index of the survey's ledgers
  const LedgerBuffer* buffer = nullptr;
  const LedgerAccount* account = nullptr;
  const std::string* tag_path = nullptr;  // "" for no tag
  uint64_t bytes_reserved = 0;
};

// A sum over rows of one process, device and kind, and one tag where tags are told apart.
struct BufferSum {
  uint32_t process = 0;
  const LedgerAccount* account = nullptr;
  const std::string* tag_path = nullptr;
  uint64_t count = 0;  // imported buffers left out, here and below
  uint64_t bytes_requested = 0;
  uint64_t bytes_reserved = 0;
  uint64_t imported = 0;
  uint64_t lowest_address = UINT64_MAX;  // start to end is the extent
  uint64_t highest_end = 0;
};

// Points into the survey, which must outlive it.
class BufferList {
 public:
  BufferList(const LedgerSurvey& survey, const BufferFilter& filter);

  void Sort(BufferOrder order);
  const std::vector<BufferRow>& rows() const { return rows_; }
  // By process, device, kind; largest first within a process if by tag.
  std::vector<BufferSum> Sums(bool by_tag) const;

 private:
  std::vector<BufferRow> rows_;
  std::vector<std::vector<std::unique_ptr<const std::string>>> tag_paths_;  // by process, tag; made when first wanted
};

}  // namespace memtally::tools
