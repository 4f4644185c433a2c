// SPDX-License-Identifier: Apache-2.0
#include "tools/tag_paths.hpp"

#include <regex.h>

#include <algorithm>
#include <utility>

namespace memtally::tools {
namespace {

constexpr size_t kMaxTagPathBytes = 64 << 10;

}  // namespace

struct TagPattern::State {
  regex_t expression{};
  bool compiled = false;
};

TagPattern::TagPattern() : state_(std::make_unique<State>()) {}

TagPattern::~TagPattern() {
  if (state_->compiled) regfree(&state_->expression);
}

std::unique_ptr<TagPattern> TagPattern::Compile(const std::string& expression, std::string* error) {
  std::unique_ptr<TagPattern> pattern(new TagPattern);
  State& state = *pattern->state_;
  const int code = regcomp(&state.expression, expression.c_str(), REG_EXTENDED | REG_NOSUB);
  if (code != 0) {
    char text[256];
    regerror(code, &state.expression, text, sizeof(text));
    *error = text;
    return nullptr;
  }
  state.compiled = true;
  return pattern;
}

bool TagPattern::Matches(const std::string& text) const {
  return regexec(&state_->expression, text.c_str(), 0, nullptr, 0) == 0;
}

TagPaths::TagPaths(const LedgerView& facts, const TagPattern* pattern)
    : facts_(facts), pattern_(pattern), paths_(facts.tags.size() + 1), matches_(paths_.size(), -1) {}

size_t TagPaths::PlaceOf(uint32_t tag) const { return std::min<size_t>(tag, paths_.size() - 1); }

const std::string& TagPaths::Of(uint32_t tag) {
  std::unique_ptr<const std::string>& path = paths_[PlaceOf(tag)];
  if (!path) {
    std::string text = facts_.tag_path(tag);
    if (text.size() > kMaxTagPathBytes) text.resize(kMaxTagPathBytes);
    path = std::make_unique<const std::string>(std::move(text));
  }
  return *path;
}

bool TagPaths::Matches(uint32_t tag) {
  if (pattern_ == nullptr) return true;
  signed char& matches = matches_[PlaceOf(tag)];
  if (matches < 0) matches = pattern_->Matches(Of(tag)) ? 1 : 0;
  return matches != 0;
}

}  // namespace memtally::tools
