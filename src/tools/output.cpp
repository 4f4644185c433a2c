// SPDX-License-Identifier: Apache-2.0
#include "tools/output.hpp"

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "tools/subcommand.hpp"

namespace memtally::tools {

int WriteOutput(std::string_view text, bool* reader_gone) {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (written) return kSuccess;
  if (reader_gone != nullptr) *reader_gone = errno == EPIPE;
  if (errno != EPIPE) Complain("cannot write the result: " + ErrorText(errno));
  return kFailure;
}

void Complain(std::string_view text) {
  std::string line = "memtally: ";
  line += text;
  line += '\n';
  (void)std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string ErrorText(int error) { return std::generic_category().message(error); }

}  // namespace memtally::tools
