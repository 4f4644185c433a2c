// SPDX-License-Identifier: Apache-2.0
#include "tools/output.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "tools/subcommand.hpp"

namespace memtally::tools {

int WriteOutput(std::string_view text) {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (written) return kSuccess;
  if (errno != EPIPE) Complain(std::string("cannot write the result: ") + std::strerror(errno));
  return kFailure;
}

void Complain(std::string_view text) {
  std::string line = "memtally: ";
  line += text;
  line += '\n';
  (void)std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace memtally::tools
