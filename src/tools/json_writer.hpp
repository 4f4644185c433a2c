// SPDX-License-Identifier: Apache-2.0
//
// JSON, written as it goes: a list of a million buffers never is a tree in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace memtally::tools {

// Calls must nest as JSON does: in an object, a Key before each value.
class JsonWriter {
 public:
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

  // All of it, with a newline at the end.  REQUIRES: everything that began has ended.
  std::string Take();

 private:
  void Begin(char bracket);
  void End(char bracket);
  void Separate();
  void Indent();

  std::string text_;
  std::vector<bool> has_items_;  // of what is open now
  bool after_key_ = false;
};

}  // namespace memtally::tools
