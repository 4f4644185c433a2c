// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/message_framer.hpp"

#include <string.h>

#include <algorithm>

namespace memtally::daemon {
namespace {

constexpr std::array<uint32_t, 4> kGenerations{MEMTALLY_LEGACY_72, MEMTALLY_LEGACY_112, MEMTALLY_LEGACY_128,
                                               MEMTALLY_LEGACY_144};

enum class Fit : uint8_t { kNo, kPerhaps, kYes };

// Types that clients send.
bool IsRequest(uint8_t type) {
  switch (type) {
    case MEMTALLY_LEGACY_ALLOC:
    case MEMTALLY_LEGACY_FREE:
    case MEMTALLY_LEGACY_QUERY:
    case MEMTALLY_LEGACY_DUMP_REMAINING:
    case MEMTALLY_LEGACY_DEVICE_INFO_QUERY:
    case MEMTALLY_LEGACY_CB_ALLOC:
    case MEMTALLY_LEGACY_CB_FREE:
    case MEMTALLY_LEGACY_KERNEL_LOAD:
    case MEMTALLY_LEGACY_KERNEL_UNLOAD:
    case MEMTALLY_LEGACY_DUMP_KERNELS:
    case MEMTALLY_LEGACY_RESYNCHRONISE:
      return true;
    default:
      return false;
  }
}

// Whether a request can begin with these bytes.  Padding may hold anything.
Fit BeginsMessage(std::span<const uint8_t> bytes) {
  constexpr size_t kHead = offsetof(memtally_legacy_head, buffer_id);
  if (bytes.empty()) return Fit::kPerhaps;
  if (!IsRequest(bytes[0])) return Fit::kNo;
  if (bytes.size() < kHead) return Fit::kPerhaps;
  memtally_legacy_head head{};
  memcpy(&head, bytes.data(), kHead);
  if (head.device_id < -1 || head.device_id > 65535) return Fit::kNo;
  if (head.type == MEMTALLY_LEGACY_ALLOC && head.buffer_type >= MEMTALLY_LEGACY_BUFFER_TYPES) return Fit::kNo;
  if (head.process_id < 0) return Fit::kNo;
  return Fit::kYes;
}

}  // namespace

size_t MessageFramer::AddToOpening(std::span<const uint8_t> bytes, uint32_t sender) {
  const size_t taken = std::min(bytes.size(), kOpening - opening_size_);
  if (changes_ == 0 || change_[changes_ - 1].sender != sender) {
    const size_t place = std::min(changes_, change_.size() - 1);
    change_[place] = {opening_size_, sender};
    changes_ = place + 1;
  }
  memcpy(opening_.data() + opening_size_, bytes.data(), taken);
  opening_size_ += taken;
  return taken;
}

size_t MessageFramer::AddToPartial(std::span<const uint8_t> bytes, uint32_t sender) {
  const size_t taken = std::min(bytes.size(), size_t{generation_} - partial_size_);
  if (partial_size_ == 0) partial_sender_ = sender;
  memcpy(partial_.data() + partial_size_, bytes.data(), taken);
  partial_size_ += taken;
  return taken;
}

MessageFramer::Verdict MessageFramer::Recognise() {
  const auto opening = std::span<const uint8_t>(opening_).first(opening_size_);
  if (BeginsMessage(opening) == Fit::kNo) return Verdict::kNothing;
  for (const uint32_t generation : kGenerations) {
    if (opening.size() < generation) return Verdict::kWait;
    if (opening.size() == generation && generation != kMost) return Verdict::kWait;
    // The largest is what remains, whatever follows.
    if (generation != kMost) {
      const Fit fit = BeginsMessage(opening.subspan(generation));
      if (fit == Fit::kNo) continue;
      if (fit == Fit::kPerhaps) return Verdict::kWait;
    }
    generation_ = generation;
    return Verdict::kKnown;
  }
  return Verdict::kWait;
}

uint32_t MessageFramer::WholeMessage(bool at_end) const {
  if (generation_ != 0) return 0;
  const auto opening = std::span<const uint8_t>(opening_).first(opening_size_);
  for (const uint32_t generation : kGenerations) {
    if (opening.size() == generation) return generation;
    if (opening.size() < generation) return 0;
    const Fit fit = BeginsMessage(opening.subspan(generation));
    if (fit == Fit::kPerhaps && at_end) return generation;
    if (fit != Fit::kNo) return 0;
  }
  return 0;
}

size_t MessageFramer::pending_bytes() const {
  if (confirmed_) return partial_size_;
  return opening_size_ > generation_ ? opening_size_ - generation_ : 0;
}

uint32_t MessageFramer::SenderAt(size_t offset) const {
  uint32_t sender = change_[0].sender;
  for (size_t i = 1; i < changes_ && change_[i].offset <= offset; ++i) sender = change_[i].sender;
  return sender;
}

bool MessageFramer::IsPlausible(const uint8_t* bytes) {
  memtally_legacy_head head{};
  memcpy(&head, bytes, sizeof(head));
  const int padding = head.pad_0[0] | head.pad_0[1] | head.pad_0[2] | head.pad_1[0] | head.pad_1[1] | head.pad_1[2];
  return padding == 0 && head.process_id > 0 && BeginsMessage({bytes, sizeof(head)}) == Fit::kYes;
}

void MessageFramer::BeginSearch() {
  lost_ = true;
  ++damage_.messages;
}

bool MessageFramer::Search() {
  size_t at = 0;
  for (; at < partial_size_; ++at) {
    const auto rest = std::span<const uint8_t>(partial_).subspan(at, partial_size_ - at);
    const Fit fit = BeginsMessage(rest);
    if (fit == Fit::kNo) continue;
    if (fit == Fit::kPerhaps) break;
    int32_t process_id = 0;
    memcpy(&process_id, rest.data() + offsetof(memtally_legacy_head, process_id), sizeof(process_id));
    if (process_id != process_id_) continue;
    lost_ = false;
    break;
  }
  damage_.bytes += at;
  partial_size_ -= at;
  memmove(partial_.data(), partial_.data() + at, partial_size_);
  return !lost_;
}

}  // namespace memtally::daemon
