// SPDX-License-Identifier: Apache-2.0
//
// Text in buffers of fixed size: what the writer needs of string handling, async-signal-safe and without a locale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace memtally::writer {

// Appends to a buffer that always ends in a zero; what does not fit is cut and remembered.
class Text {
 public:
  Text(char* buffer, size_t bytes) : at_(buffer), end_(buffer + bytes - 1) { *at_ = 0; }
  Text& Add(const char* text) { return Add(text, strlen(text)); }
  Text& Add(const char* text, size_t bytes) {
    const size_t room = static_cast<size_t>(end_ - at_);
    if (bytes > room) {
      cut_ = true;
      bytes = room;
    }
    memcpy(at_, text, bytes);
    at_ += bytes;
    *at_ = 0;
    return *this;
  }
  Text& Number(uint64_t number) {
    char digits[20];
    size_t n = 0;
    do {
      digits[sizeof(digits) - ++n] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    return Add(digits + sizeof(digits) - n, n);
  }
  Text& Hex(const uint8_t* bytes, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const char pair[2] = {"0123456789abcdef"[bytes[i] >> 4], "0123456789abcdef"[bytes[i] & 15]};
      Add(pair, 2);
    }
    return *this;
  }
  bool cut() const { return cut_; }

 private:
  char* at_;
  char* end_;
  bool cut_ = false;
};

// Copies a string into a field of a file: cut if need be, always with a final zero.
template <size_t kBytes>
void CopyField(char (&field)[kBytes], const char* text) {
  Text out(field, kBytes);
  if (text != nullptr) out.Add(text);
}

}  // namespace memtally::writer
