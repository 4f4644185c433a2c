// SPDX-License-Identifier: Apache-2.0
#include "tools/suppressions.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>

#include <fmt/format.h>

#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

constexpr size_t kMaxFileBytes = size_t{16} << 20;
constexpr std::string_view kSeparator = " / ";
constexpr size_t kMaxDepth = 200;  // of the tags above one that are tried; deeper is nobody's program

// The bytes of the set after a '[', up to its ']'; npos if there is none.  A ']' that comes first belongs to the set.
size_t EndOfSet(std::string_view glob, size_t begin) {
  size_t at = begin;
  if (at < glob.size() && (glob[at] == '!' || glob[at] == '^')) ++at;
  if (at < glob.size() && glob[at] == ']') ++at;
  return glob.find(']', at);
}

bool IsInSet(std::string_view set, char wanted) {
  const bool inverted = !set.empty() && (set[0] == '!' || set[0] == '^');
  if (inverted) set.remove_prefix(1);
  const auto value = [](char c) { return static_cast<unsigned char>(c); };
  bool found = false;
  for (size_t i = 0; i < set.size(); ++i) {
    if (i + 2 < set.size() && set[i + 1] == '-') {
      found = found || (value(set[i]) <= value(wanted) && value(wanted) <= value(set[i + 2]));
      i += 2;
    } else {
      found = found || set[i] == wanted;
    }
  }
  return found != inverted;
}

// Matches one element of the glob, which is no star, at *at; moves *at behind it.
bool TakeOne(std::string_view glob, size_t* at, char c) {
  const char wanted = glob[*at];
  if (wanted == '[') {
    const size_t end = EndOfSet(glob, *at + 1);
    if (end != std::string_view::npos) {
      const std::string_view set = glob.substr(*at + 1, end - *at - 1);
      *at = end + 1;
      return IsInSet(set, c);
    }
  }
  if (wanted == '\\' && *at + 1 < glob.size()) {
    *at += 2;
    return glob[*at - 1] == c;
  }
  ++*at;
  return wanted == '?' || wanted == c;
}

// A line without the spaces around it; "" for a comment.
std::string_view Trimmed(std::string_view line) {
  constexpr std::string_view kSpaces = " \t\r";
  const size_t first = line.find_first_not_of(kSpaces);
  if (first == std::string_view::npos || line[first] == '#') return {};
  return line.substr(first, line.find_last_not_of(kSpaces) - first + 1);
}

}  // namespace

bool GlobMatches(std::string_view glob, std::string_view text) {
  size_t g = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;  // behind the last star
  size_t star_text = 0;                  // where what follows it was tried
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = ++g;
      star_text = t;
      continue;
    }
    if (g < glob.size() && TakeOne(glob, &g, text[t])) {
      ++t;
      continue;
    }
    if (star == std::string_view::npos) return false;
    g = star;
    t = ++star_text;
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

bool Suppressions::Read(const std::string& path, std::string* error) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  const std::string name = TerminalText(path, 200);
  std::string text;
  if (file) {
    char buffer[65536];
    size_t bytes = 0;
    while (text.size() <= kMaxFileBytes && (bytes = std::fread(buffer, 1, sizeof(buffer), file.get())) > 0) {
      text.append(buffer, bytes);
    }
  }
  if (!file || std::ferror(file.get()) != 0) {
    *error = fmt::format("{}: cannot be read: {}", name, ErrorText(errno));
    return false;
  }
  if (text.size() > kMaxFileBytes) {
    *error = fmt::format("{}: is larger than 16 MiB: it is no file of suppressions", name);
    return false;
  }
  return Parse(text, name, error);
}

bool Suppressions::Parse(std::string_view text, const std::string& name, std::string* error) {
  for (uint32_t line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    const std::string_view glob = Trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (glob.empty()) continue;
    if (glob.find('\0') != std::string_view::npos) {
      *error = fmt::format("{}:{}: a zero byte: it is no file of suppressions", name, line);
      return false;
    }
    for (size_t at = 0; at < glob.size(); ++at) {
      if (glob[at] == '\\') {
        ++at;
      } else if (glob[at] == '[') {
        at = EndOfSet(glob, at + 1);
        if (at != std::string_view::npos) continue;
        *error = fmt::format("{}:{}: '[' without ']' in {}; write \\[ for the character itself", name, line,
                             TerminalText(glob, 200));
        return false;
      }
    }
    entries_.push_back({std::string(glob), line});
  }
  return true;
}

Suppressions::Entry* Suppressions::Find(const std::string& tag_path) {
  const std::string_view path = tag_path;
  for (Entry& entry : entries_) {
    if (path.empty()) {
      if (entry.glob == "-") return &entry;
      continue;
    }
    if (GlobMatches(entry.glob, path)) return &entry;
    size_t end = path.find(kSeparator);
    for (size_t depth = 0; end != std::string_view::npos && depth < kMaxDepth; ++depth) {
      if (GlobMatches(entry.glob, path.substr(0, end))) return &entry;
      end = path.find(kSeparator, end + 1);
    }
  }
  return nullptr;
}

void Suppressions::ForgetUses() {
  for (Entry& entry : entries_) entry.buffers = entry.bytes_reserved = 0;
}

}  // namespace memtally::tools
