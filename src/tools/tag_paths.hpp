// SPDX-License-Identifier: Apache-2.0
//
// Paths of tags, and patterns that match them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

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

// The paths of one ledger's tags, each made when it is first wanted.  Points into the view, which must outlive it.
class TagPaths {
 public:
  // `pattern` may be null, and must outlive it.
  explicit TagPaths(const LedgerView& facts, const TagPattern* pattern = nullptr);

  // "" for no tag and for what is no tag of this ledger.  Stays where it is.  At most 64 KiB: deeper is nobody's tag,
  // and a hostile ledger must not cost more.
  const std::string& Of(uint32_t tag);
  // Whether the pattern matches; true without one.
  bool Matches(uint32_t tag);

 private:
  size_t PlaceOf(uint32_t tag) const;

  const LedgerView& facts_;
  const TagPattern* pattern_;
  std::vector<std::unique_ptr<const std::string>> paths_;  // the last for what is no tag
  std::vector<signed char> matches_;                       // -1 not yet known
};

}  // namespace memtally::tools
