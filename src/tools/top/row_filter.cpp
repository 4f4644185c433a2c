// SPDX-License-Identifier: Apache-2.0
#include "tools/top/row_filter.hpp"

#include <regex.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace memtally::tools::top {
namespace {

constexpr size_t kMaxTextBytes = 4096;
constexpr uint64_t kMaxRepeats = 1000;

// What a back reference or counts inside counts would cost grows without bound; nobody filters names by them.
std::string Complaint(std::string_view expression) {
  uint64_t repeats = 1;
  bool in_set = false;
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (in_set) {
      in_set = c != ']';
      continue;
    }
    if (c == '\\' && i + 1 < expression.size()) {
      ++i;
      if (expression[i] >= '1' && expression[i] <= '9') return "back references are not taken";
      continue;
    }
    if (c == '[') {
      in_set = true;
      // A bracket that comes first is a member.
      if (i + 1 < expression.size() && expression[i + 1] == '^') ++i;
      if (i + 1 < expression.size() && expression[i + 1] == ']') ++i;
    }
    if (c != '{') continue;
    uint64_t most = 1;
    uint64_t number = 0;
    for (++i; i < expression.size() && expression[i] != '}'; ++i) {
      if (expression[i] == ',') number = 0;
      if (expression[i] >= '0' && expression[i] <= '9')
        number = std::min<uint64_t>(number * 10 + (expression[i] - '0'), 100000);
      most = std::max(most, number);
    }
    repeats = std::min<uint64_t>(repeats * most, 10 * kMaxRepeats);
    if (repeats > kMaxRepeats) return "counts in braces are too large";
  }
  return "";
}

}  // namespace

struct RowFilter::State {
  regex_t expression{};
  bool compiled = false;
};

RowFilter::RowFilter(std::string expression) : expression_(std::move(expression)), state_(std::make_unique<State>()) {}

RowFilter::~RowFilter() {
  if (state_->compiled) regfree(&state_->expression);
}

std::shared_ptr<const RowFilter> RowFilter::Compile(const std::string& expression, std::string* error) {
  if (expression.size() > kMaxBytes) {
    *error = "longer than " + std::to_string(kMaxBytes) + " bytes";
    return nullptr;
  }
  *error = Complaint(expression);
  if (!error->empty()) return nullptr;
  std::shared_ptr<RowFilter> filter(new RowFilter(expression));
  State& state = *filter->state_;
  const int code = regcomp(&state.expression, expression.c_str(), REG_EXTENDED | REG_NOSUB | REG_ICASE);
  if (code != 0) {
    char text[256];
    regerror(code, &state.expression, text, sizeof(text));
    *error = text;
    return nullptr;
  }
  state.compiled = true;
  return filter;
}

bool RowFilter::Matches(std::string_view text) const {
  const std::string cut(text.substr(0, kMaxTextBytes));
  return regexec(&state_->expression, cut.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace memtally::tools::top
