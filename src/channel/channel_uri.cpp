// SPDX-License-Identifier: Apache-2.0
#include "channel/channel_uri.hpp"

#include <algorithm>

namespace memtally::channel {

namespace {

constexpr size_t kLongestName = 200;
constexpr size_t kMostBytes = size_t{1} << 33;

const char* CodecName(compression::CompressionType type) {
  switch (type) {
    case compression::CompressionType::None:
      return "none";
    case compression::CompressionType::LZ4:
      return "LZ4";
    case compression::CompressionType::Zstd:
      return "Zstd";
    case compression::CompressionType::Snappy:
      return "Snappy";
  }
  return "unknown";
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

}  // namespace

ChannelUri ParseChannelUri(std::string_view uri) {
  const std::string text(uri);
  const size_t colon = uri.find("://");
  if (colon == std::string_view::npos) {
    throw ChannelError("'" + text + "' names no transport; write memory://NAME or ipc://NAME");
  }
  const std::string scheme(uri.substr(0, colon));
  ChannelUri parsed;
  parsed.name = uri.substr(colon + 3);
  if (scheme == "memory") {
    parsed.scheme = ChannelUri::Scheme::kMemory;
  } else if (scheme == "ipc") {
    parsed.scheme = ChannelUri::Scheme::kIpc;
  } else if (scheme == "tcp" || scheme == "udp" || scheme == "rdma") {
    throw ChannelError("the transport '" + scheme + "' of '" + text + "' is not there yet; there are memory and ipc");
  } else {
    throw ChannelError("'" + text + "': there is no transport '" + scheme + "'; there are memory and ipc");
  }
  if (parsed.name.empty() || parsed.name.size() > kLongestName ||
      !std::all_of(parsed.name.begin(), parsed.name.end(), IsNameCharacter)) {
    throw ChannelError("'" + text + "': a channel's name has 1 to 200 letters, digits, '-', '_' and '.'");
  }
  return parsed;
}

void CheckOptions(const ChannelUri& uri, const ChannelOptions& options) {
  const auto refuse = [](const std::string& why) { throw ChannelError(why); };
  if (options.compression.type != compression::CompressionType::None) {
    refuse(std::string("the codec ") + CodecName(options.compression.type) +
           " is not there yet; there is none but None");
  }
  const bool slots = options.mode == ChannelMode::SPMC || options.mode == ChannelMode::MPMC;
  if (options.mode < ChannelMode::SPSC || options.mode > ChannelMode::MPMC) refuse("no mode has that number");
  if (options.bytes > kMostBytes) {
    refuse("a ring of " + std::to_string(options.bytes) + " bytes is too large; 8 GiB is the most");
  }
  if (options.alignment != 8 && options.alignment != 64) {
    refuse("an alignment of " + std::to_string(options.alignment) + " cannot be had; there are 8 and 64");
  }
  if (options.pattern == Pattern::Broadcast && options.mode != ChannelMode::SPSC && options.mode != ChannelMode::SPMC) {
    refuse("broadcast has one producer: its mode is SPSC or SPMC, not MPSC or MPMC");
  }
  if (options.pattern == Pattern::Queue && slots && uri.scheme == ChannelUri::Scheme::kIpc) {
    refuse(
        std::string(options.mode == ChannelMode::SPMC ? "SPMC" : "MPMC") +
        " works within one process only, since a slot whose owner was killed cannot be told from a slow one; over ipc "
        "there are SPSC, MPSC and broadcast");
  }
  if (options.pattern == Pattern::Queue && slots && options.alignment != 8) {
    refuse("SPMC and MPMC align payloads to 16 bytes, always; leave the alignment at 8");
  }
  if (options.pattern == Pattern::Queue && slots &&
      (options.message_bytes == 0 || options.message_bytes > size_t{1} << 26)) {
    refuse("message_bytes of SPMC and MPMC is the largest message: 1 byte to 64 MiB");
  }
  if (options.pattern == Pattern::Queue && options.when_slow != WhenSlow::Block) {
    refuse("WhenSlow is about broadcast; a queue's consumers are never overrun (see WhenFull)");
  }
}

}  // namespace memtally::channel
