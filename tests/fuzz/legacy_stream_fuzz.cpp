// SPDX-License-Identifier: Apache-2.0
//
// Any bytes of a client, cut anywhere: the messages that come out do not depend on the cuts.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "daemon/legacy/client_process.hpp"
#include "daemon/legacy/message_framer.hpp"

namespace {

using memtally::daemon::ClientProcess;
using memtally::daemon::FramedMessage;
using memtally::daemon::MessageFramer;

struct Outcome {
  std::vector<FramedMessage> messages;
  bool usable = true;
};

// `step`: bytes at a time, 0 all.
Outcome Play(const uint8_t* data, size_t size, size_t step, bool settle) {
  Outcome outcome;
  MessageFramer framer;
  const auto sink = [&](const FramedMessage& message) { outcome.messages.push_back(message); };
  for (size_t at = 0; at < size && outcome.usable;) {
    const size_t part = step == 0 ? size : std::min(step, size - at);
    outcome.usable = framer.Feed({data + at, part}, 1, sink);
    if (settle && outcome.usable) framer.Settle(false, sink);
    at += part;
  }
  if (outcome.usable) framer.Settle(true, sink);
  return outcome;
}

}  // namespace

// The fuzzer calls it by this name.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = 1 + data[0];
  ++data;
  --size;
  const Outcome whole = Play(data, size, 0, false);
  for (const bool settle : {false, true}) {
    const Outcome cut = Play(data, size, step, settle);
    // A first message that was taken early, and whose rest then never came.
    if (settle && cut.messages.size() == 1 && whole.messages.empty()) continue;
    if (cut.usable != whole.usable || cut.messages.size() != whole.messages.size()) abort();
    for (size_t i = 0; i < cut.messages.size(); ++i) {
      if (memcmp(&cut.messages[i].head, &whole.messages[i].head, sizeof(whole.messages[i].head)) != 0) abort();
    }
  }
  ClientProcess process({}, 0);
  for (const FramedMessage& message : whole.messages) process.Apply(message.head, 1, 100);
  if (process.buffers().size() > 100) abort();
  uint64_t live = 0;
  for (const auto& account : process.accounts()) live += account.live_count;
  if (live != process.buffers().size()) abort();
  return 0;
}
