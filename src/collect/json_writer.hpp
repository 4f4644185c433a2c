// SPDX-License-Identifier: Apache-2.0
//
// JSON, written as it goes: a list of a million buffers never is a tree in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace memtally::collect {

// Calls must nest as JSON does: in an object, a Key before each value.
class JsonWriter {
 public:
  enum class Layout {
    kIndented,  // for people, too
    kCompact,   // one line, as JSON Lines has them
  };

  explicit JsonWriter(Layout layout = Layout::kIndented) : compact_(layout == Layout::kCompact) {}

  void BeginObject() { Begin('{'); }
  void EndObject() { End('}'); }
  void BeginArray() { Begin('['); }
  void EndArray() { End(']'); }
  void Key(std::string_view key);
  void Number(uint64_t value);
  void SignedNumber(int64_t value);
  void Bool(bool value);
  void Null();
  // Any bytes; what is not UTF-8 becomes U+FFFD.
  void String(std::string_view text);

  void Field(std::string_view key, uint64_t value) { Key(key), Number(value); }
  void Field(std::string_view key, std::string_view value) { Key(key), String(value); }
  void Field(std::string_view key, const char* value) { Key(key), String(value); }
  void Flag(std::string_view key, bool value) { Key(key), Bool(value); }
  void SignedField(std::string_view key, int64_t value) { Key(key), SignedNumber(value); }
  // The number, or null.  Takes a std::optional of any unsigned type.
  template <typename Optional>
  void OptionalField(std::string_view key, const Optional& value) {
    Key(key);
    value ? Number(*value) : Null();
  }

  // All of it, with a newline at the end; the writer is empty then.  REQUIRES: everything that began has ended.
  std::string Take();

 private:
  void Begin(char bracket);
  void End(char bracket);
  void Separate();
  void Indent();

  bool compact_;
  std::string text_;
  std::vector<bool> has_items_;  // of what is open now
  bool after_key_ = false;
};

}  // namespace memtally::collect
