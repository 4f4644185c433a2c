// SPDX-License-Identifier: Apache-2.0
//
// A batch: several messages of one size that are claimed, published and released as one.  To a ring of bytes it is a
// message with a mark; in it
//
//   | bytes of each | how many || handed out | released | [pad] | message | [pad] | message | ...
//   ^ 32 bits each, written by the producer  ^ by the consumer   ^aligned         ^aligned
//
// So it costs one claim, one publication and one release, whatever the number of messages.  Messages are handed out one
// by one, or as many as one receive_batch() takes: the consumer says so in the batch before anybody sees them.  So the
// successor of one that died (or left) in the middle goes on with the next message, and knows how many were in the
// hands of the dead.
#pragma once

#include <cstdint>

#include <memtally/channel/access.hpp>

namespace memtally::channel {

struct BatchShape {
  uint32_t message_bytes = 0;
  uint32_t count = 0;
  uint64_t stride = 0;  // from one message to the next
  uint64_t first = 0;   // from the batch's start to the first message

  static constexpr uint64_t kHeader = 16;

  static BatchShape Of(uint64_t message_bytes, uint64_t count, uint64_t alignment) {
    const uint64_t stride = (message_bytes + alignment - 1) & ~(alignment - 1);
    return {static_cast<uint32_t>(message_bytes), static_cast<uint32_t>(count), stride == 0 ? alignment : stride,
            alignment < kHeader ? kHeader : alignment};
  }
  uint64_t bytes() const { return first + stride * count; }
  // How many fit in one message of the ring.
  static uint64_t MostIn(uint64_t max_bytes, uint64_t message_bytes, uint64_t alignment) {
    const BatchShape none = Of(message_bytes, 0, alignment);
    return max_bytes < none.first ? 0 : (max_bytes - none.first) / none.stride;
  }
  void Write(uint8_t* data) const {
    auto* words = reinterpret_cast<uint64_t*>(data);
    words[0] = uint64_t{count} << 32 | message_bytes;
    words[1] = 0;
  }
};

// The consumer's side of one batch.
template <typename Access = HardwareAccess>
class BatchReader {
 public:
  // False if the batch makes no sense.  `alone`: nobody else reads it, and a successor may go on; otherwise (broadcast)
  // nothing is read of, or said about, what was handed out.
  bool Open(const RawView& batch, uint64_t alignment, bool alone = true) {
    batch_ = batch;
    alone_ = alone;
    if (batch.bytes < BatchShape::kHeader) return false;
    const uint64_t word = Access::Load(Words(), std::memory_order_relaxed);
    shape_ = BatchShape::Of(static_cast<uint32_t>(word), word >> 32, alignment);
    handed_ = alone ? static_cast<uint32_t>(Access::Load(Words() + 1, std::memory_order_relaxed)) : 0;
    released_ = handed_;
    return shape_.bytes() <= batch.bytes && handed_ < shape_.count;
  }
  const RawView& batch() const { return batch_; }
  uint32_t left() const { return shape_.count - handed_; }
  uint64_t stride() const { return shape_.stride; }

  // Hands out the next `count` messages, stride() apart; the first one is returned.  REQUIRES: count <= left().
  RawView Next(uint32_t count = 1) {
    const uint8_t* data = batch_.data + shape_.first + shape_.stride * handed_;
    handed_ += count;
    Say();
    std::atomic_signal_fence(std::memory_order_seq_cst);  // said before anybody sees the messages
    return {data, shape_.message_bytes, true, batch_.position, batch_.end};
  }
  // True when that was the last one, and the batch is to be released.
  bool Release(uint32_t count) {
    released_ += count;
    if (released_ == shape_.count) return true;
    Say();
    return false;
  }

 private:
  uint64_t* Words() const { return reinterpret_cast<uint64_t*>(const_cast<uint8_t*>(batch_.data)); }
  void Say() {
    if (!alone_) return;
    Access::Store(Words() + 1, uint64_t{released_} << 32 | handed_, std::memory_order_relaxed);
  }

  RawView batch_;
  BatchShape shape_;
  uint32_t handed_ = 0;
  uint32_t released_ = 0;
  bool alone_ = true;
};

// For the successor of a consumer that had taken this message of the ring: how many messages were handed out and not
// released.  *rest: some are left, to be handed out yet; calling it again for those adds nothing.
template <typename Access>
uint64_t AbandonedIn(const uint8_t* data, uint32_t bytes, bool batch, bool* rest) {
  *rest = false;
  if (!batch || bytes < BatchShape::kHeader) return 1;
  auto* words = reinterpret_cast<uint64_t*>(const_cast<uint8_t*>(data));
  const uint64_t count = Access::Load(words, std::memory_order_relaxed) >> 32;
  const uint64_t state = Access::Load(words + 1, std::memory_order_relaxed);
  const uint64_t handed = static_cast<uint32_t>(state);
  const uint64_t released = state >> 32;
  *rest = handed < count;
  if (*rest) Access::Store(words + 1, handed << 32 | handed, std::memory_order_relaxed);
  return released < handed && handed <= count && count <= bytes ? handed - released : 0;
}

// How many messages a message of the ring is.
template <typename Access>
uint64_t MessagesIn(const uint8_t* data, uint32_t bytes, bool batch) {
  if (!batch || bytes < BatchShape::kHeader) return 1;
  const uint64_t count = Access::Load(reinterpret_cast<const uint64_t*>(data), std::memory_order_relaxed) >> 32;
  return count < bytes ? count : bytes;
}

}  // namespace memtally::channel
