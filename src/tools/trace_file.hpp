// SPDX-License-Identifier: Apache-2.0
//
// Files of text that may be compressed with zstd, and where recordings lie.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace memtally::tools {

// Reads the whole file ("-": standard input), decompressed if its first bytes are those of zstd, and hands it to `sink`
// in pieces. The sink returns false to stop early, which is no error.  Returns false and sets *error if something could
// not be read.
bool ReadTextFile(const std::string& path, const std::function<bool(std::string_view)>& sink, std::string* error);

// Writes a file ("-": standard output), compressed if its name ends in ".zst".
class TextFileWriter {
 public:
  // Returns null and sets *error on failure.
  static std::unique_ptr<TextFileWriter> Open(const std::string& path, std::string* error);
  ~TextFileWriter();
  TextFileWriter(const TextFileWriter&) = delete;
  TextFileWriter& operator=(const TextFileWriter&) = delete;

  void Append(std::string_view text);
  // Returns false and sets *error if anything since Open could not be written.  REQUIRES: called at most once, last.
  bool Close(std::string* error);

 private:
  TextFileWriter();
  struct State;
  std::unique_ptr<State> state_;
};

// The file that a user means by `name`: the file itself, or a recording of that name in one of TraceFolders().  "" if
// there is none.
std::string FindTrace(const std::string& name);

// Where recordings are looked for, in this order: MEMTALLY_TRACES (several, separated by ":"), next to the installed
// command, and in the source tree that the command was built from.
std::vector<std::string> TraceFolders();

// Names that FindTrace finds in TraceFolders(), sorted, each once.
std::vector<std::string> TraceNames();

// "llama" for "recordings/llama.trace.zst".
std::string TraceStem(const std::string& path);

}  // namespace memtally::tools
