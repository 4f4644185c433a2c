// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/mount_table.hpp"

#include <string_view>
#include <vector>

#include "base/proc.hpp"

namespace memtally::reader {

namespace {

constexpr size_t kMostBytes = size_t{1} << 20;

std::string_view TakeField(std::string_view* line) {
  const size_t space = line->find(' ');
  const std::string_view field = line->substr(0, space);
  line->remove_prefix(space == std::string_view::npos ? line->size() : space + 1);
  return field;
}

// File systems whose answers come from this kernel's memory or a local disk.
bool AnswersByItself(std::string_view type) {
  for (const std::string_view known : {"tmpfs", "ramfs", "devtmpfs", "rootfs", "overlay", "ext2", "ext3", "ext4", "xfs",
                                       "btrfs", "zfs", "f2fs", "squashfs", "erofs", "bcachefs", "aufs"}) {
    if (type == known) return true;
  }
  return false;
}

}  // namespace

bool IsSafeToEnter(const std::string& process, const std::string& directory, std::string* why) {
  why->clear();
  std::vector<char> text(kMostBytes);
  const size_t bytes = base::ReadSmallFile((process + "/mountinfo").c_str(), text.data(), text.size());
  if (bytes == 0) return false;
  if (bytes == text.size()) {
    *why = "not looked at: its table of mounts is too long";
    return false;
  }
  // "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"; a later mount at the same place lies on top.
  std::string_view rest(text.data(), bytes);
  std::vector<std::pair<std::string_view, std::string_view>> on_the_way;  // place, type
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    for (int i = 0; i < 4; ++i) TakeField(&line);
    const std::string_view place = TakeField(&line);
    const bool is_above =
        place == "/" || place == directory ||
        (directory.starts_with(place) && directory.size() > place.size() && directory[place.size()] == '/');
    if (!is_above) continue;
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    line.remove_prefix(dash + 3);
    const std::string_view type = TakeField(&line);
    bool found = false;
    for (auto& [known_place, known_type] : on_the_way) {
      if (known_place != place) continue;
      known_type = type;
      found = true;
    }
    if (!found) on_the_way.emplace_back(place, type);
  }
  for (const auto& [place, type] : on_the_way) {
    if (AnswersByItself(type)) continue;
    *why = "not looked at: " + std::string(place) + " is on a file system of type " + std::string(type) +
           ", which may not answer";
    return false;
  }
  return true;
}

}  // namespace memtally::reader
