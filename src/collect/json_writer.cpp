// SPDX-License-Identifier: Apache-2.0
#include "collect/json_writer.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

namespace memtally::collect {
namespace {

template <typename Integer>
void Append(Integer value, std::string* text) {
  char digits[24];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), value);
  text->append(digits, end.ptr);
}

// Printable ASCII that JSON takes as it is: nearly every text.
bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
}

}  // namespace

void JsonWriter::Indent() {
  if (compact_) return;
  text_ += '\n';
  text_.append(2 * has_items_.size(), ' ');
}

void JsonWriter::Separate() {
  if (std::exchange(after_key_, false) || has_items_.empty()) return;
  if (has_items_.back()) text_ += ',';
  has_items_.back() = true;
  Indent();
}

void JsonWriter::Begin(char bracket) {
  Separate();
  text_ += bracket;
  has_items_.push_back(false);
}

void JsonWriter::End(char bracket) {
  const bool had_items = has_items_.back();
  has_items_.pop_back();
  if (had_items) Indent();
  text_ += bracket;
}

void JsonWriter::Key(std::string_view key) {
  String(key);
  text_ += compact_ ? ":" : ": ";
  after_key_ = true;
}

void JsonWriter::Number(uint64_t value) {
  Separate();
  Append(value, &text_);
}

void JsonWriter::SignedNumber(int64_t value) {
  Separate();
  Append(value, &text_);
}

void JsonWriter::Bool(bool value) {
  Separate();
  text_ += value ? "true" : "false";
}

void JsonWriter::Null() {
  Separate();
  text_ += "null";
}

void JsonWriter::String(std::string_view text) {
  Separate();
  if (IsPlain(text)) {
    text_ += '"';
    text_ += text;
    text_ += '"';
  } else {
    text_ += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
}

std::string JsonWriter::Take() { return std::exchange(text_, std::string()) + '\n'; }

}  // namespace memtally::collect
