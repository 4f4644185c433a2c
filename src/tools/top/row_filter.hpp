// SPDX-License-Identifier: Apache-2.0
//
// RowFilter: which lines a person wants to see, by an extended regular expression (POSIX), capitals or not.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace memtally::tools::top {

class RowFilter {
 public:
  static constexpr size_t kMaxBytes = 200;  // of an expression

  // Null, and *error in words that fit on a line, if `expression` is none that can be matched in a short time: too
  // long, malformed, with a back reference, or with counts that multiply.
  static std::shared_ptr<const RowFilter> Compile(const std::string& expression, std::string* error);
  ~RowFilter();
  RowFilter(const RowFilter&) = delete;
  RowFilter& operator=(const RowFilter&) = delete;

  // Whether it matches anywhere in the first 4 KiB of `text`, up to its first zero byte.
  bool Matches(std::string_view text) const;
  const std::string& expression() const { return expression_; }

 private:
  explicit RowFilter(std::string expression);
  struct State;
  std::string expression_;
  std::unique_ptr<State> state_;
};

}  // namespace memtally::tools::top
