// SPDX-License-Identifier: Apache-2.0
#include "tools/top/screen_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "base/fd.hpp"
#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools::top {

std::string WriteScreenFile(const CellGrid& grid, const std::string& path) {
  const std::string name = TerminalText(path, 60, Cut::kBegin);
  base::Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666));
  if (!file.valid()) {
    return name + ": " + (errno == EEXIST ? "is there already; nothing was written" : ErrorText(errno));
  }
  const std::string text = grid.Text();
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = write(file.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return name + ": " + ErrorText(errno);
    rest.remove_prefix(static_cast<size_t>(written));
  }
  if (close(file.release()) != 0) return name + ": " + ErrorText(errno);
  return "";
}

}  // namespace memtally::tools::top
