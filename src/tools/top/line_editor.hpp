// SPDX-License-Identifier: Apache-2.0
//
// LineEditor: a line of text that a person types.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "tools/top/key.hpp"

namespace memtally::tools::top {

class LineEditor {
 public:
  static constexpr size_t kMaxBytes = 255;  // more are not taken

  LineEditor() = default;
  explicit LineEditor(std::string text) : text_(std::move(text)), cursor_(text_.size()) {}

  // Whether the key was one that edits.
  bool Take(const Key& key);

  const std::string& text() const { return text_; }                // UTF-8
  std::string before() const { return text_.substr(0, cursor_); }  // the cursor
  std::string after() const { return text_.substr(cursor_); }

 private:
  size_t Before(size_t at) const;
  size_t After(size_t at) const;

  std::string text_;
  size_t cursor_ = 0;  // bytes
};

}  // namespace memtally::tools::top
