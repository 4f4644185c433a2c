// SPDX-License-Identifier: Apache-2.0
#include "ledger/reader/lane_copy.hpp"

#include <algorithm>
#include <atomic>

namespace memtally::reader {

namespace {

constexpr uint64_t kUndoOffset = offsetof(memtally_lane, undo);

std::string LaneText(uint32_t lane) { return "lane " + std::to_string(lane); }

// Loads of the words before this line happen before those after it, also on machines that reorder them.
void Order() { std::atomic_thread_fence(std::memory_order_seq_cst); }

}  // namespace

void LaneCopy::Reset() {
  offset_ = sequence_ = 0;
  fresh_ = taken_back_ = went_on_ = false;
  header_ = {};
  body_.clear();
  more_.clear();
  ring_offset_ = 0;
  ring_capacity_ = 0;
  layout_ = {};
  layout_cut_ = slots_cut_ = false;
  slots_.Clear();
  loads_ = 0;
  loaded_bytes_ = left_out_ = refused_words_ = 0;
  slots_events_ = 0;
  buffers_complete_ = true;
  old_words_.clear();
}

void LaneCopy::Copy(LedgerBytes& bytes, const Wish& wish, Claims& claims, Gaps& gaps, uint64_t* budget,
                    bool* words_changed) {
  if (fresh_ && offset_ == wish.offset) {
    CheckLayout(bytes, wish, claims, gaps);  // claims and gaps begin anew with each try
    AddGaps(wish, gaps);
    return;
  }
  offset_ = wish.offset;
  const uint64_t sequence = bytes.ReadValue<uint64_t>(offset_);
  if (taken_back_ && (went_on_ || sequence != sequence_)) {  // it went on after all
    taken_back_ = went_on_ = false;
    const bool had_words = !old_words_.empty();
    old_words_.clear();
    slots_.Clear();
    loads_ = 0;
    if (had_words) {
      *words_changed = true;  // which another lane may have set, too: never back to false
      return;
    }
  }
  const bool stopped = sequence == sequence_;
  sequence_ = sequence;
  Order();
  CopyBody(bytes, wish);
  CheckLayout(bytes, wish, claims, gaps);
  const bool take_back =
      wish.take_back == Wish::TakeBack::kAll || (wish.take_back == Wish::TakeBack::kStopped && stopped);
  if (is_odd() && take_back && !taken_back_) {
    taken_back_ = true;
    slots_.Clear();
    loads_ = 0;
    if (BuildOldWords(wish)) {
      *words_changed = true;
      return;
    }
  }
  if (wish.buffers) UpdateSlots(bytes, wish, budget);
  AddGaps(wish, gaps);
  fresh_ = true;
}

void LaneCopy::CopyBody(LedgerBytes& bytes, const Wish& wish) {
  body_.resize(MEMTALLY_LANE_SUMS_OFFSET + size_t{wish.accounts} * sizeof(memtally_sums));
  bytes.Read(offset_, body_.data(), body_.size());
  memcpy(&header_, body_.data(), sizeof(header_));
  more_.resize(size_t{wish.accounts} * sizeof(memtally_more_sums));
  bytes.Read(offset_ + MEMTALLY_LANE_MORE_SUMS_OFFSET, more_.data(), more_.size());
}

// Sets ring and slots to what is credible.  All of a lane's parts are inside the file and overlap nothing.
void LaneCopy::CheckLayout(const LedgerBytes& bytes, const Wish& wish, Claims& claims, Gaps& gaps) {
  ring_offset_ = 0;
  ring_capacity_ = 0;
  layout_ = {};
  layout_cut_ = false;
  if (!wish.buffers) return;  // totals need neither
  const uint64_t size = bytes.size();
  if (header_.ring_capacity != 0) {
    const uint64_t begin = header_.ring_offset;
    if (begin >= size) layout_cut_ = true;
    const uint64_t ring_bytes = uint64_t{header_.ring_capacity} * sizeof(memtally_event);
    if (begin % 8 != 0 || begin < MEMTALLY_PAGE_BYTES || begin >= size || header_.ring_capacity > kMostRingEvents) {
      gaps.Add(LaneText(wish.lane) + ": its flight recorder is said to be at " + std::to_string(begin) + " with " +
               std::to_string(header_.ring_capacity) + " events, which cannot be");
    } else if (!claims.Take(begin, std::min(size, begin + ring_bytes))) {
      gaps.Add(LaneText(wish.lane) + ": its flight recorder overlaps another part of the file");
    } else {
      ring_offset_ = begin;
      ring_capacity_ = header_.ring_capacity;
      if (ring_bytes > size - begin) gaps.Add(LaneText(wish.lane) + ": the file ends within its flight recorder");
    }
  }
  if (header_.slots_used > kMostSlots) {
    gaps.Add(LaneText(wish.lane) + ": more slots in use than the format has (" + std::to_string(header_.slots_used) +
             ")");
  }
  for (uint32_t k = 0; k < MEMTALLY_SEGMENTS; ++k) {
    const uint64_t begin = header_.segment_offset[k];
    if (begin == 0) {
      if (header_.slots_used > FirstSlotOf(k) && header_.slots_used <= kMostSlots) {
        gaps.Add(LaneText(wish.lane) + ": segment " + std::to_string(k) + " of its buffers is missing");
      }
      continue;
    }
    if (begin >= size || (size - begin) / sizeof(memtally_record) < SlotsOf(k)) layout_cut_ = true;
    if (begin % 8 != 0 || begin < MEMTALLY_PAGE_BYTES || begin >= size) {
      gaps.Add(LaneText(wish.lane) + ": segment " + std::to_string(k) + " of its buffers is said to be at " +
               std::to_string(begin) + ", which cannot be");
      continue;
    }
    const uint64_t slots = std::min(SlotsOf(k), (size - begin) / sizeof(memtally_record));
    if (!claims.Take(begin, begin + slots * sizeof(memtally_record))) {
      gaps.Add(LaneText(wish.lane) + ": segment " + std::to_string(k) +
               " of its buffers overlaps another part of the file");
      continue;
    }
    if (slots < SlotsOf(k)) {
      gaps.Add(LaneText(wish.lane) + ": the file ends within segment " + std::to_string(k) + " of its buffers");
    }
    layout_.segment[k] = {begin, slots};
  }
}

// What the interrupted call had found, in the order in which it is written back.  False if it had changed nothing.
bool LaneCopy::BuildOldWords(const Wish& wish) {
  old_words_.clear();
  refused_words_ = 0;
  const memtally_undo& undo = header_.undo;
  if (undo.sequence != sequence_) return false;

  const uint64_t lane_end = offset_ + MEMTALLY_LANE_RING_OFFSET;
  const auto may_change = [&](uint64_t at) {
    if (at % 8 != 0) return false;
    if (at > offset_ && at < lane_end) {
      return at < offset_ + kUndoOffset || at >= offset_ + MEMTALLY_LANE_SUMS_OFFSET;
    }
    if (at >= wish.catalog_begin && at < wish.catalog_end) return true;
    for (uint32_t k = 0; k < MEMTALLY_SEGMENTS; ++k) {
      const uint64_t begin = header_.segment_offset[k];
      if (begin % 8 == 0 && begin >= MEMTALLY_PAGE_BYTES && at >= begin &&
          at - begin < SlotsOf(k) * sizeof(memtally_record)) {
        return true;
      }
    }
    return false;
  };

  for (uint32_t i = std::min<uint32_t>(undo.words, MEMTALLY_UNDO_WORDS); i-- > 0;) {
    if (may_change(undo.word[i].offset)) {
      old_words_.push_back({undo.word[i].offset, undo.word[i].old_value});
    } else {
      ++refused_words_;
    }
  }
  if (undo.words > MEMTALLY_UNDO_WORDS) refused_words_ += undo.words - MEMTALLY_UNDO_WORDS;
  if (undo.slot != MEMTALLY_NONE) {
    uint64_t at = 0;
    if (undo.slot < kMostSlots) {
      const uint32_t k = SegmentOf(undo.slot);
      const uint64_t begin = header_.segment_offset[k];
      if (begin != 0) at = begin + (undo.slot - FirstSlotOf(k)) * sizeof(memtally_record);
    }
    at += offsetof(memtally_record, size_account_flags);
    if (may_change(at)) {
      old_words_.push_back({at, undo.old_size_account_flags});
    } else {
      ++refused_words_;
    }
  }
  if (undo.account != MEMTALLY_NONE) {
    if (undo.account < MEMTALLY_MAX_ACCOUNTS) {
      const uint64_t at = offset_ + MEMTALLY_LANE_SUMS_OFFSET + uint64_t{undo.account} * sizeof(memtally_sums);
      uint64_t words[sizeof(memtally_sums) / 8];
      memcpy(words, &undo.old_sums, sizeof(words));
      for (size_t i = 0; i < std::size(words); ++i) old_words_.push_back({at + 8 * i, words[i]});
    } else {
      ++refused_words_;
    }
  }
  return !old_words_.empty();
}

void LaneCopy::AddGaps(const Wish& wish, Gaps& gaps) const {
  if (taken_back_ && refused_words_ != 0) {
    gaps.Add(LaneText(wish.lane) + ": " + std::to_string(refused_words_) +
             " words of the call that was taken back lie where no call changes anything; left as they are");
  }
  if (left_out_ != 0) {
    gaps.Add(LaneText(wish.lane) + ": " + std::to_string(left_out_) + " slots left out, more than the file can hold");
  }
}

void LaneCopy::UpdateSlots(LedgerBytes& bytes, const Wish& wish, uint64_t* budget) {
  const bool was_cut = slots_cut_;
  slots_cut_ = layout_cut_;
  if (loads_ != 0 && loaded_devices_ == wish.devices && !was_cut && !slots_.overflowed() &&
      FollowEvents(bytes, slots_events_, events())) {
    slots_events_ = events();
    return;
  }
  if (loads_ < kMostLoads) {
    ++loads_;
    slots_events_ = events();
    loaded_devices_ = wish.devices;
    *budget += loaded_bytes_;  // of the load that this one replaces
    const uint64_t before = *budget;
    left_out_ = slots_.Load(bytes, layout_, header_.slots_used, budget);
    loaded_bytes_ = before - *budget;
    buffers_complete_ = left_out_ == 0;
    return;
  }
  buffers_complete_ = false;
  slots_events_ = events();
}

// Copies again the slots that events number `from` to `to` - 1 have changed.  False if that cannot be told from the
// ring.
bool LaneCopy::FollowEvents(LedgerBytes& bytes, uint64_t from, uint64_t to) {
  if (from == to) return true;
  if (to < from || ring_capacity_ == 0 || to - from >= ring_capacity_) return false;
  const auto count = static_cast<size_t>(to - from);
  events_.resize(count);
  const uint64_t first = from % ring_capacity_;
  const auto before_wrap = static_cast<size_t>(std::min<uint64_t>(count, ring_capacity_ - first));
  bytes.Read(ring_offset_ + first * sizeof(memtally_event), events_.data(), before_wrap * sizeof(memtally_event));
  bytes.Read(ring_offset_, events_.data() + before_wrap, (count - before_wrap) * sizeof(memtally_event));
  Order();
  // The call that is under way now writes event `last`, over event `last` - capacity.
  const uint64_t last = bytes.ReadValue<uint64_t>(offset_) >> 1;
  if (last < to || last - from >= ring_capacity_) return false;

  changed_.clear();
  for (const memtally_event& event : events_) {
    switch (OperationOf(event.record)) {
      case MEMTALLY_OP_ALLOC_FAILED:
      case MEMTALLY_OP_MARK:
      case MEMTALLY_OP_UNKNOWN_FREE:
      case MEMTALLY_OP_INHERITED_FREE:
      case MEMTALLY_OP_DUPLICATE_REPORTER:
      case MEMTALLY_OP_NO_ROOM:
      case MEMTALLY_OP_CLOSE:  // changes the catalog; the records stay as they are
      case MEMTALLY_OP_OPEN:
      case MEMTALLY_OP_BOOKKEEPING:  // takes released records away; what that does is seen by Wish::devices
        break;
      case MEMTALLY_OP_REPLACE:
        changed_.push_back(SecondOf(event));
        [[fallthrough]];
      case MEMTALLY_OP_ALLOC:
      case MEMTALLY_OP_FREE:
      case MEMTALLY_OP_AMBIGUOUS_FREE:
      case MEMTALLY_OP_AFTER_CLOSE:
        changed_.push_back(SlotOf(event));
        break;
      default:  // not kept
        return false;
    }
  }
  slots_.Reload(bytes, layout_, &changed_);
  return true;
}

bool LaneCopy::StillTrue(LedgerBytes& bytes) {
  if (!fresh_) return false;
  const bool same = bytes.ReadValue<uint64_t>(offset_) == sequence_;
  fresh_ = same && (!is_odd() || taken_back_);
  if (fresh_ && taken_back_) {
    // A call that was only asleep may have moved on without ending.
    memtally_undo undo;
    bytes.Read(offset_ + kUndoOffset, &undo, sizeof(undo));
    fresh_ = memcmp(&undo, &header_.undo, sizeof(undo)) == 0;
    went_on_ = !fresh_;
  }
  return fresh_;
}

}  // namespace memtally::reader
