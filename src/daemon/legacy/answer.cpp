// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/answer.hpp"

namespace memtally::daemon {
namespace {

template <typename Message>
void Append(const Message& message, std::vector<uint8_t>* bytes) {
  const auto* begin = reinterpret_cast<const uint8_t*>(&message);
  bytes->insert(bytes->end(), begin, begin + sizeof(message));
}

}  // namespace

void AppendAnswer(const Answer& answer, uint32_t generation, std::vector<uint8_t>* bytes) {
  switch (generation) {
    case MEMTALLY_LEGACY_112: {
      memtally_legacy_message_112 message{};
      message.head = answer.head;
      message.device = answer.device;
      return Append(message, bytes);
    }
    case MEMTALLY_LEGACY_128: {
      memtally_legacy_message_128 message{};
      message.head = answer.head;
      message.cb_allocated = answer.cb_allocated;
      message.kernel_allocated = answer.kernel_allocated;
      message.device = answer.device;
      return Append(message, bytes);
    }
    case MEMTALLY_LEGACY_144: {
      memtally_legacy_message_144 message{};
      message.head = answer.head;
      message.cb_allocated = answer.cb_allocated;
      message.kernel_allocated = answer.kernel_allocated;
      message.device = answer.device;
      message.num_programs = answer.programs;
      return Append(message, bytes);
    }
    default:
      return Append(answer.head, bytes);
  }
}

}  // namespace memtally::daemon
