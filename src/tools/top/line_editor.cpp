// SPDX-License-Identifier: Apache-2.0
#include "tools/top/line_editor.hpp"

#include <cstdint>

namespace memtally::tools::top {
namespace {

std::string Utf8(char32_t character) {
  const auto byte = [](char32_t bits) { return static_cast<char>(bits); };
  std::string text;
  if (character < 0x80) {
    text += byte(character);
  } else if (character < 0x800) {
    text += byte(0xc0 | character >> 6);
    text += byte(0x80 | (character & 0x3f));
  } else if (character < 0x10000) {
    text += byte(0xe0 | character >> 12);
    text += byte(0x80 | (character >> 6 & 0x3f));
    text += byte(0x80 | (character & 0x3f));
  } else {
    text += byte(0xf0 | character >> 18);
    text += byte(0x80 | (character >> 12 & 0x3f));
    text += byte(0x80 | (character >> 6 & 0x3f));
    text += byte(0x80 | (character & 0x3f));
  }
  return text;
}

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xc0u) == 0x80u; }

bool IsText(char32_t character) {
  const bool control = character < 0x20 || (character >= 0x7f && character < 0xa0);
  const bool surrogate = character >= 0xd800 && character <= 0xdfff;
  return !control && !surrogate && character <= 0x10ffff;
}

}  // namespace

bool LineEditor::Take(const Key& key) {
  switch (key.code) {
    case KeyCode::kCharacter: {
      if (!IsText(key.character)) return false;
      const std::string typed = Utf8(key.character);
      if (text_.size() + typed.size() > kMaxBytes) return true;
      text_.insert(cursor_, typed);
      cursor_ += typed.size();
      return true;
    }
    case KeyCode::kLeft:
      cursor_ = Before(cursor_);
      return true;
    case KeyCode::kRight:
      cursor_ = After(cursor_);
      return true;
    case KeyCode::kHome:
      cursor_ = 0;
      return true;
    case KeyCode::kEnd:
      cursor_ = text_.size();
      return true;
    case KeyCode::kBackspace: {
      const size_t from = Before(cursor_);
      text_.erase(from, cursor_ - from);
      cursor_ = from;
      return true;
    }
    case KeyCode::kDelete:
      text_.erase(cursor_, After(cursor_) - cursor_);
      return true;
    case KeyCode::kControlU:
      text_.erase(0, cursor_);
      cursor_ = 0;
      return true;
    default:
      return false;
  }
}

size_t LineEditor::Before(size_t at) const {
  if (at != 0) --at;
  while (at != 0 && IsContinuation(text_[at])) --at;
  return at;
}

size_t LineEditor::After(size_t at) const {
  if (at < text_.size()) ++at;
  while (at < text_.size() && IsContinuation(text_[at])) ++at;
  return at;
}

}  // namespace memtally::tools::top
