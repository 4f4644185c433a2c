// SPDX-License-Identifier: Apache-2.0
//
// ProgramClash: a program whose circular and dataflow buffers lie where L1 buffers are.  TT-Metal refuses to run it
// until these are gone: "statically allocated ... buffers in program P clash with L1 buffers".
//
//   base of L1                                                            top of L1
//     |######### buffers of the program ########|
//                                     |## L1 ###|....|######## L1 ########|      L1 buffers grow down from the top
//                                 lowest        end
//
// Programs in a cache keep their addresses while they do not run, and L1 buffers may lie there meanwhile: such a
// program clashes only if it is run now.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "collect/snapshot.hpp"

namespace memtally::tools {

struct ProgramClash {
  const collect::Process* process = nullptr;
  uint32_t device = 0;  // index of the process's devices
  uint64_t group = 0;   // the program's; 0: buffers without one, taken together
  std::string program;  // the group's name, "" none
  std::string memory;   // "l1"
  // Of the program's buffers: how many, and their extent on a core.
  uint64_t buffers = 0;
  uint64_t begin = 0, end = 0;
  // The buffers there, by address; of the process's facts.
  std::vector<const LedgerBuffer*> in_the_way;
  uint64_t bytes_per_bank = 0;  // of these

  uint64_t lowest() const { return in_the_way.front()->address; }
};

// By device, then group.  Only of `group` if one is named, and of `device` (the program's own number) likewise.
// REQUIRES: the process has its buffers and groups.  The result refers to it.
std::vector<ProgramClash> FindProgramClashes(const collect::Process& process, std::optional<int32_t> device,
                                             std::optional<uint64_t> group);

}  // namespace memtally::tools
