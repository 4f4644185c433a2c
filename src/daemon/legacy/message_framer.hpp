// SPDX-License-Identifier: Apache-2.0
//
// MessageFramer: the bytes of one connection become messages of one generation, however they arrive.
//
// The rule (docs/formats/legacy-protocol.md): the smallest generation wins behind whose first message another one
// plausibly begins.  One message alone decides nothing below 144 bytes; if nothing follows for a while, Settle() takes
// it for what it is so far, and takes that back if what follows then says otherwise.  So the messages that come out
// depend on the bytes alone, not on how they were cut.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <memtally/abi/legacy_protocol.h>

namespace memtally::daemon {

// A message, and who sent it.
struct FramedMessage {
  memtally_legacy_head head;
  uint32_t generation = 0;  // bytes of a message on this connection
  uint32_t sender = 0;      // as given to Feed, of its first byte
};

class MessageFramer {
 public:
  // What came out of bytes that are no whole messages.
  struct Damage {
    uint64_t messages = 0;  // that did not begin with a type: bytes were passed over until one did
    uint64_t bytes = 0;     // passed over
  };

  // Calls sink(const FramedMessage&) for each message that is complete.  `sender` names who sent all of `bytes`.
  // Returns false if these bytes begin with no message of any generation: the connection is of no use.
  template <typename Sink>
  bool Feed(std::span<const uint8_t> bytes, uint32_t sender, Sink&& sink) {
    while (!bytes.empty()) {
      if (generation_ == 0 || !confirmed_) {
        bytes = bytes.subspan(AddToOpening(bytes, sender));
        if (!DrainOpening(sink)) return false;
      } else if (partial_size_ != 0 || lost_) {
        bytes = bytes.subspan(AddToPartial(bytes, sender));
        DrainPartial(sink);
      } else {
        size_t at = 0;
        while (bytes.size() - at >= generation_ && IsMessage(bytes.data() + at, sender)) {
          Emit(bytes.data() + at, sender, sink);
          at += generation_;
        }
        bytes = bytes.subspan(at);
        if (bytes.empty()) break;
        if (bytes.size() >= generation_ || !IsKnownType(bytes[0])) BeginSearch();
        bytes = bytes.subspan(AddToPartial(bytes, sender));
        DrainPartial(sink);
      }
    }
    return true;
  }

  // Nothing followed for a while, or nothing will (`at_end`): a first message that is complete as far as one can tell
  // is taken.
  template <typename Sink>
  void Settle(bool at_end, Sink&& sink) {
    if (const uint32_t whole = WholeMessage(at_end); whole != 0) {
      generation_ = whole;
      Emit(opening_.data(), SenderAt(0), sink);
    }
  }

  // A first message waits for Settle.
  bool IsUnsettled() const { return WholeMessage(false) != 0; }
  // 0 as long as it is not known.
  uint32_t generation() const { return generation_; }
  // Bytes of a message that is not complete.
  size_t pending_bytes() const;
  const Damage& damage() const { return damage_; }

 private:
  static constexpr size_t kMost = MEMTALLY_LEGACY_144;
  // What can be needed to recognise the generation: a first message, and what the next one begins with.
  static constexpr size_t kOpening = kMost + MEMTALLY_LEGACY_REQUEST_BYTES;

  enum class Verdict : uint8_t { kWait, kNothing, kKnown };

  static bool IsKnownType(uint8_t type) {
    return (type >= MEMTALLY_LEGACY_ALLOC && type <= MEMTALLY_LEGACY_DUMP_KERNELS) ||
           type == MEMTALLY_LEGACY_RESYNCHRONISE;
  }

  // Whether the bytes, of a whole message, are where one begins: it has the process_id of the first message, or of its
  // sender, or looks like one in every other respect.
  bool IsMessage(const uint8_t* bytes, uint32_t sender) const {
    if (!IsKnownType(bytes[0])) return false;
    int32_t process_id = 0;
    __builtin_memcpy(&process_id, bytes + offsetof(memtally_legacy_head, process_id), sizeof(process_id));
    return process_id == process_id_ || process_id == static_cast<int32_t>(sender) || IsPlausible(bytes);
  }
  static bool IsPlausible(const uint8_t* bytes);

  size_t AddToOpening(std::span<const uint8_t> bytes, uint32_t sender);
  size_t AddToPartial(std::span<const uint8_t> bytes, uint32_t sender);
  // Whether the opening tells the generation; sets it if so.
  Verdict Recognise();
  // The generation that a first message has for all that is known; 0 if it is not complete.
  uint32_t WholeMessage(bool at_end) const;
  uint32_t SenderAt(size_t offset) const;
  void BeginSearch();
  // Drops bytes of the partial message up to one with which a message plausibly begins.  False: more are needed.
  bool Search();

  template <typename Sink>
  void Emit(const uint8_t* bytes, uint32_t sender, Sink&& sink) {
    FramedMessage message;
    __builtin_memcpy(&message.head, bytes, sizeof(message.head));
    message.generation = generation_;
    message.sender = sender;
    if (!has_process_id_) process_id_ = message.head.process_id;
    has_process_id_ = true;
    sink(message);
  }

  template <typename Sink>
  bool DrainOpening(Sink&& sink) {
    const bool was_emitted = generation_ != 0;
    switch (Recognise()) {
      case Verdict::kWait:
        return true;
      case Verdict::kNothing:
        return false;
      case Verdict::kKnown:
        break;
    }
    confirmed_ = true;
    if (!was_emitted) Emit(opening_.data(), SenderAt(0), sink);
    const size_t size = opening_size_;
    const std::array<uint8_t, kOpening> opening = opening_;
    // What is behind the first message goes the usual way, sender by sender.
    for (size_t at = generation_; at < size;) {
      size_t end = at + 1;
      while (end < size && SenderAt(end) == SenderAt(at)) ++end;
      Feed(std::span(opening).subspan(at, end - at), SenderAt(at), sink);
      at = end;
    }
    opening_size_ = 0;
    return true;
  }

  template <typename Sink>
  void DrainPartial(Sink&& sink) {
    if (!lost_ && partial_size_ == generation_ && !IsMessage(partial_.data(), partial_sender_)) BeginSearch();
    if (lost_ && !Search()) return;
    if (partial_size_ < generation_) return;
    partial_size_ = 0;
    Emit(partial_.data(), partial_sender_, sink);
  }

  struct SenderChange {
    size_t offset = 0;
    uint32_t sender = 0;
  };

  uint32_t generation_ = 0;
  bool confirmed_ = false;  // what followed the first message fits
  bool lost_ = false;       // looking for the beginning of a message
  bool has_process_id_ = false;
  int32_t process_id_ = 0;  // in the first message
  uint32_t partial_sender_ = 0;
  size_t opening_size_ = 0;
  size_t partial_size_ = 0;
  size_t changes_ = 0;
  std::array<SenderChange, 8> change_{};  // senders of the opening, by offset; more than these are taken for the last
  std::array<uint8_t, kOpening> opening_{};
  std::array<uint8_t, kMost> partial_{};
  Damage damage_;
};

}  // namespace memtally::daemon
