// SPDX-License-Identifier: Apache-2.0
//
// Suppressions: leaks that are known and wanted, by tag.  docs/leaks.md is the format of the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace memtally::tools {

// Whether a glob matches all of `text`: * any bytes, ? one byte, [a-z] and [!a-z] one of them or none of them, a
// backslash takes the next as it is.  Takes time in proportion to the product of the lengths, whatever they hold.
bool GlobMatches(std::string_view glob, std::string_view text);

class Suppressions {
 public:
  struct Entry {
    std::string glob;
    uint32_t line = 0;  // of the file
    uint64_t buffers = 0;
    uint64_t bytes_reserved = 0;
  };

  // Adds the lines of a file.  Returns false and sets *error, which names the file and the line, if it cannot be read
  // or a line is no glob.
  bool Read(const std::string& path, std::string* error);
  // The same of a text.
  bool Parse(std::string_view text, const std::string& name, std::string* error);

  // The first entry for a tag path, null if there is none.  An entry matches a path, or its beginning up to a " / ".
  // The entry "-" is for what has no tag.  Stays valid until more is read.
  Entry* Find(const std::string& tag_path);

  const std::vector<Entry>& entries() const { return entries_; }
  void ForgetUses();

 private:
  std::vector<Entry> entries_;
};

}  // namespace memtally::tools
