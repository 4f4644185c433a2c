// SPDX-License-Identifier: Apache-2.0
//
// ChannelUri: "scheme://name", and whether what is asked for can be had there.
#pragma once

#include <string>
#include <string_view>

#include <memtally/channel/options.hpp>

namespace memtally::channel {

struct ChannelUri {
  enum class Scheme { kMemory, kIpc };
  Scheme scheme = Scheme::kMemory;
  std::string name;
};

// Throws ChannelError, which names what it refuses.
ChannelUri ParseChannelUri(std::string_view uri);
void CheckOptions(const ChannelUri& uri, const ChannelOptions& options);

}  // namespace memtally::channel
