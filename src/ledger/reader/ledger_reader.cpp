// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include <atomic>
#include <cstddef>
#include <exception>
#include <utility>

#include <memtally/ledger_reader.hpp>

#include "ledger/reader/liveness.hpp"
#include "ledger/reader/reader_access.hpp"
#include "ledger/reader/time_line.hpp"
#include "ledger/reader/view_builder.hpp"

namespace memtally {

namespace {

// A tag path names at most this many tags; those further out become "...".
constexpr int kMostTagsOfAPath = 64;

// The header's pair of clock readings, in one piece; 0 and 0 if there is none.
void ReadClockPair(reader::LedgerBytes& bytes, uint64_t* ticks, uint64_t* ns) {
  constexpr uint64_t kAt = offsetof(memtally_ledger_header, clock_pair_sequence);
  for (int i = 0; i < 8; ++i) {
    const auto before = bytes.ReadValue<uint64_t>(kAt);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    *ticks = bytes.ReadValue<uint64_t>(kAt + 8);
    *ns = bytes.ReadValue<uint64_t>(kAt + 16);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if ((before & 1) == 0 && bytes.ReadValue<uint64_t>(kAt) == before) return;
  }
  *ticks = *ns = 0;
}

void BuildView(ReadLevel level, uint32_t account, const reader::LedgerCopy& copy, reader::LedgerBytes& bytes,
               LedgerView* view) {
  const memtally_ledger_header& header = copy.header();
  const bool same_boot = reader::IsThisBoot(header.boot_id);
  // On the same boot the reader's own clocks serve, and the pair only if they look wrong.
  uint64_t pair_ticks = header.clock_pair_ticks;
  uint64_t pair_ns = header.clock_pair_ns;
  if (!same_boot && header.clock_kind != MEMTALLY_CLOCK_MONOTONIC) ReadClockPair(bytes, &pair_ticks, &pair_ns);
  const reader::TimeLine time(header, pair_ticks, pair_ns, same_boot);

  reader::ViewBuilder builder(copy, bytes, time, view);
  builder.AddIdentity();
  builder.AddCatalog();
  builder.AddTotals();
  builder.AddAnomalies();
  builder.AddCounters();
  view->buffers.clear();
  view->tags.clear();
  view->groups.clear();
  view->events.clear();
  if (level != ReadLevel::kTotals) {
    builder.AddTagsAndGroups();
    builder.AddBuffers(level == ReadLevel::kAccount, account);
  }
  if (level == ReadLevel::kAll) builder.AddEvents();
  builder.AddGaps();
  view->totals_exact = copy.exact();
  view->buffers_exact = copy.buffers_exact();
  view->file_bytes = bytes.allocated_bytes();
}

}  // namespace

const LedgerKind* LedgerView::kind(uint32_t number) const {
  for (const LedgerKind& kind : kinds) {
    if (kind.number == number) return &kind;
  }
  return nullptr;
}

std::string LedgerView::tag_path(uint32_t tag) const {
  std::string text;
  for (int i = 0; tag != 0 && tag < tags.size(); ++i) {
    if (i == kMostTagsOfAPath) return "... / " + text;
    text.insert(0, text.empty() ? tags[tag].name : tags[tag].name + " / ");
    if (tags[tag].parent >= tag) break;
    tag = tags[tag].parent;
  }
  return text;
}

ReaderMemory::ReaderMemory() : state_(std::make_unique<State>()) {}
ReaderMemory::~ReaderMemory() = default;

LedgerReader::LedgerReader() = default;
LedgerReader::~LedgerReader() = default;

const std::string& LedgerReader::path() const { return state_->path; }

Liveness LedgerReader::liveness(uint32_t* visible_pid) const {
  return reader::AskLiveness(state_->bytes.descriptor(), state_->first_page.header, visible_pid);
}

std::unique_ptr<LedgerReader> LedgerReader::Open(const std::string& path, LedgerError* error,
                                                 std::shared_ptr<ReaderMemory> memory) {
  try {
    reader::HeldDescriptor descriptor;
    const int error_number = descriptor.Open(path);
    if (error_number != 0) {
      reader::FailToOpen(error, path, error_number);
      return nullptr;
    }
    return reader::ReaderAccess::Open(std::move(descriptor), path, error, std::move(memory));
  } catch (const std::exception&) {
    reader::FailForMemory(error);
    return nullptr;
  }
}

std::unique_ptr<LedgerReader> reader::ReaderAccess::Open(HeldDescriptor descriptor, const std::string& path,
                                                         LedgerError* error, std::shared_ptr<ReaderMemory> memory) {
  if (error != nullptr) *error = {};
  std::unique_ptr<LedgerReader> reader(new LedgerReader);
  reader->state_ = std::make_unique<LedgerReader::State>(
      std::move(descriptor), memory != nullptr ? std::move(memory) : std::make_shared<ReaderMemory>());
  LedgerReader::State& state = *reader->state_;
  state.path = path;
  if (!state.bytes.Refresh()) {
    FailToOpen(error, path, errno);
    return nullptr;
  }
  if (!ReadFirstPage(state.bytes, path, &state.first_page, error)) return nullptr;
  if (IsOwnProcess(state.first_page.header)) state.bytes.KeepForGood();
  return reader;
}

bool LedgerReader::Read(ReadLevel level, LedgerView* view, LedgerError* error, uint32_t account) {
  try {
    if (error != nullptr) *error = {};
    State& state = *state_;
    if (!state.bytes.Refresh()) return reader::FailToOpen(error, state.path, errno);
    const bool buffers = level != ReadLevel::kTotals;
    reader::LedgerCopy& copy = reader::ReaderAccess::CopyOf(*state.memory);
    bool moving = false;
    view->liveness = liveness(&view->visible_pid);
    if (!copy.Collect(state.bytes, state.path, buffers, view->liveness == Liveness::kDead, &moving, error)) {
      return false;
    }
    if (moving && view->liveness != Liveness::kDead) {
      // Calls that do not end: perhaps because the process has ended meanwhile.
      view->liveness = liveness(&view->visible_pid);
      if (view->liveness == Liveness::kDead && !copy.Collect(state.bytes, state.path, buffers, true, &moving, error)) {
        return false;
      }
    }
    if (view->path != state.path) view->path = state.path;
    BuildView(level, account, copy, state.bytes, view);
    view->interrupted = view->liveness != Liveness::kAlive && copy.took_back();
    return true;
  } catch (const std::exception&) {
    return reader::FailForMemory(error);
  }
}

}  // namespace memtally
