// SPDX-License-Identifier: Apache-2.0
//
// Gaps: what a reader could not read or believe, in words.  Bounded, however much is wrong with a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace memtally::reader {

class Gaps {
 public:
  static constexpr size_t kMost = 200;

  void Clear() {
    lines_.clear();
    beyond_ = 0;
  }

  void Add(std::string line) {
    if (lines_.size() < kMost) {
      lines_.push_back(std::move(line));
    } else {
      ++beyond_;
    }
  }

  // "<number> <what>", nothing if the number is 0.
  void Count(uint64_t number, const char* what) {
    if (number != 0) Add(std::to_string(number) + " " + what);
  }

  void AppendTo(std::vector<std::string>* out) const {
    out->insert(out->end(), lines_.begin(), lines_.end());
    if (beyond_ != 0) out->push_back("and " + std::to_string(beyond_) + " more");
  }

 private:
  std::vector<std::string> lines_;
  uint64_t beyond_ = 0;
};

}  // namespace memtally::reader
