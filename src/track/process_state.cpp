// SPDX-License-Identifier: Apache-2.0
#include "track/process_state.hpp"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <new>

#include "ledger/writer/pages.hpp"
#include "track/settings.hpp"

namespace memtally::track {

namespace {

using writer::FutexGuard;
using writer::FutexLock;
using writer::Lane;

// In wiped pages: all zero in a forked child.
struct WipedPage {
  std::atomic<uint32_t> session_is_ours;
  FutexLock session_lock;
};

constexpr uint32_t kBlocksAtOnce = 16;
constexpr uint64_t kRetryNs = 1'000'000'000;
constexpr int kBlocksLookedAt = 32;
constexpr uint32_t kNoLane = RegionDirectory::kNone + 1;  // no number that the directory tells

std::atomic<WipedPage*> g_wiped{nullptr};
std::atomic<Session*> g_session{nullptr};
std::atomic<uint64_t> g_lost_events{0};  // while there is no session to count them in
std::atomic<uint64_t> g_lost_bytes{0};
std::atomic<uint64_t> g_next_try_ns{0};

ThreadBlock g_fresh_block{};  // what threads have that the tracker does not know; never written

// Set while PrepareThread runs: a signal handler that comes then is turned away.
[[gnu::tls_model("initial-exec")]] thread_local bool t_preparing = false;

uint32_t KernelThreadId() { return static_cast<uint32_t>(syscall(SYS_gettid)); }

bool ThreadIsGone(uint32_t process_id, uint32_t thread_id) {
  return syscall(SYS_tgkill, process_id, thread_id, 0) != 0 && errno == ESRCH;
}

void WipeInChild() {
  // Pages that the kernel has not wiped.
  WipedPage* page = g_wiped.load(std::memory_order_relaxed);
  if (page == nullptr || page->session_is_ours.load(std::memory_order_relaxed) == 0) return;
  page->session_is_ours.store(0, std::memory_order_relaxed);
  page->session_lock.ResetInChild();
  Session* session = g_session.load(std::memory_order_relaxed);
  if (session == nullptr) return;
  for (ThreadBlock* block = session->blocks.load(std::memory_order_relaxed); block != nullptr; block = block->next) {
    block->state.store(ThreadBlock::kFresh, std::memory_order_relaxed);
  }
}

void* MapWipedPages(size_t bytes) {
  void* pages = writer::MapPages(bytes);
  if (pages == nullptr) return nullptr;
  madvise(pages, writer::RoundUpToPages(bytes), MADV_WIPEONFORK);
  return pages;
}

WipedPage* Wiped() {
  WipedPage* page = g_wiped.load(std::memory_order_acquire);
  if (page != nullptr) return page;
  void* memory = MapWipedPages(sizeof(WipedPage));
  if (memory == nullptr) return nullptr;
  if (!g_wiped.compare_exchange_strong(page, new (memory) WipedPage, std::memory_order_acq_rel)) {
    writer::UnmapPages(memory, sizeof(WipedPage));
    return page;
  }
  return static_cast<WipedPage*>(memory);
}

// A block that nobody uses: of a thread that is gone, or a new one.  Sets its thread_id.
ThreadBlock* FindBlock(Session* session, const FutexGuard&) {
  const uint32_t self = KernelThreadId();
  int looked_at = 0;
  for (ThreadBlock* block = session->blocks.load(std::memory_order_acquire); block != nullptr; block = block->next) {
    const uint32_t owner = block->thread_id.load(std::memory_order_acquire);
    // A block of this very number can only be a former thread's.
    if (owner == 0 || owner == self ||
        (looked_at++ < kBlocksLookedAt && ThreadIsGone(session->ledger.header()->pid, owner))) {
      (void)block->state.load(std::memory_order_acquire);  // and with it what that thread wrote
      block->thread_id.store(self, std::memory_order_relaxed);
      return block;
    }
  }
  void* memory = MapWipedPages(writer::RoundUpToPages(sizeof(ThreadBlock)) * kBlocksAtOnce);
  if (memory == nullptr) return nullptr;
  ThreadBlock* first = nullptr;
  for (uint32_t i = 0; i < kBlocksAtOnce; ++i) {
    auto* block = new (static_cast<uint8_t*>(memory) + writer::RoundUpToPages(sizeof(ThreadBlock)) * i) ThreadBlock;
    if (i == 0) first = block;
    block->next = session->blocks.load(std::memory_order_relaxed);
    if (i == 0) block->thread_id.store(self, std::memory_order_relaxed);
    session->blocks.store(block, std::memory_order_release);
  }
  return first;
}

// Takes over the lane of a thread that is gone, unless that thread was lost inside it.
void AdoptLane(ThreadBlock* block) {
  block->lane = block->owned;
  if (block->lane == nullptr) {
    block->owned_number = kNoLane;
    return;
  }
  const writer::LaneEntry entry(block->lane->lock().EnterAsOther());
  if (!entry) {
    block->lane = block->owned = nullptr;
    block->owned_number = kNoLane;
    return;
  }
  block->lane->lock().TakeOwnership();
  block->lane->lock().Leave(entry.entry());
}

}  // namespace

__thread ThreadBlock* t_block __attribute__((tls_model("initial-exec"))) = &g_fresh_block;

Session* ProcessState::SessionIfAny() {
  WipedPage* page = g_wiped.load(std::memory_order_acquire);
  if (page == nullptr || page->session_is_ours.load(std::memory_order_acquire) == 0) return nullptr;
  return g_session.load(std::memory_order_acquire);
}

Session* ProcessState::CurrentSession() {
  WipedPage* page = Wiped();
  if (page == nullptr) return nullptr;
  if (page->session_is_ours.load(std::memory_order_acquire) != 0) return g_session.load(std::memory_order_acquire);
  const uint64_t now = writer::MonotonicNs();
  if (now < g_next_try_ns.load(std::memory_order_relaxed)) return nullptr;
  const FutexGuard guard(page->session_lock);
  if (!guard.held()) return nullptr;
  if (page->session_is_ours.load(std::memory_order_acquire) != 0) return g_session.load(std::memory_order_acquire);

  Session* before = g_session.load(std::memory_order_relaxed);
  if (before != nullptr && !before->ended) before->ledger.file().AbandonInChild();
  writer::LaneLock::RegisterProcess();
  writer::MakeResult result = writer::MakeResult::kMade;
  Session* session = Session::Make(GetSettings(), &result);
  if (session == nullptr) {
    Log("no ledger", writer::Describe(result));
    g_next_try_ns.store(now + kRetryNs, std::memory_order_relaxed);
    return nullptr;
  }
  if (before != nullptr) {
    session->Inherit(before);
    if (before->ended) {
      session->inherited = nullptr;
      // This very process is at its end: there will be no other End to say so.
      if (before->ledger.header()->pid == session->ledger.header()->pid) session->ledger.MarkExited();
    }
  }
  session->ledger.Count(&memtally_ledger_header::lost_events, g_lost_events.exchange(0));
  session->ledger.Count(&memtally_ledger_header::lost_bytes, g_lost_bytes.exchange(0));
  Log("ledger", session->ledger.file().path());
  g_session.store(session, std::memory_order_release);
  page->session_is_ours.store(1, std::memory_order_release);
  return session;
}

void ProcessState::WatchForks() { pthread_atfork(nullptr, nullptr, WipeInChild); }

ThreadBlock* ProcessState::PrepareThread() {
  if (t_preparing) return nullptr;
  t_preparing = true;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  ThreadBlock* block = PrepareThreadOnce();
  std::atomic_signal_fence(std::memory_order_seq_cst);
  t_preparing = false;
  return block;
}

ThreadBlock* ProcessState::PrepareThreadOnce() {
  Session* session = CurrentSession();
  if (session == nullptr) return nullptr;
  ThreadBlock* block = t_block;
  if (block->state.load(std::memory_order_relaxed) != ThreadBlock::kFresh && block->session == session) return block;
  const FutexGuard guard(session->registry_lock);
  if (!guard.held()) return nullptr;
  block = FindBlock(session, guard);
  if (block == nullptr) return nullptr;
  block->session = session;
  block->thread = 0;
  block->last_device = 0;
  block->tag = block->depth = block->pauses = block->handler_depth = 0;
  block->queued.store(0, std::memory_order_relaxed);
  AdoptLane(block);
  t_block = block;
  block->state.store(ThreadBlock::kIdle, std::memory_order_relaxed);
  return block;
}

void ProcessState::NumberThread(ThreadBlock* block) {
  Session* session = block->session;
  if (block->thread != 0 || session->ledger.ThreadsAreFull()) return;
  const FutexGuard guard(session->registry_lock);
  if (!guard.held()) return;
  block->thread = session->ledger.AddThread(guard, block->thread_id.load(std::memory_order_relaxed));
  if (block->owned != nullptr) block->owned->SetOwnerThread(block->thread);
}

Lane* ProcessState::OwnLane(ThreadBlock* block) {
  NumberThread(block);
  if (block->lane != nullptr) return block->lane;
  Session* session = block->session;
  const FutexGuard guard(session->registry_lock);
  if (!guard.held()) return nullptr;
  Lane* lane = session->ledger.AddLane(guard, session->accounts);
  if (lane != nullptr) {
    const writer::LaneEntry entry(lane->lock().EnterAsOther());
    lane->lock().TakeOwnership();
    lane->lock().Leave(entry.entry());
    lane->SetOwnerThread(block->thread);
    session->lanes[lane->number()].store(lane, std::memory_order_release);
    session->lane_count.store(lane->number() + 1, std::memory_order_release);
    block->owned = lane;
    block->owned_number = lane->number();
  } else if (const uint32_t lanes = session->lanes_made(); lanes != 0) {
    lane = session->lane(block->thread % lanes);  // shared with its owner
  }
  block->lane = lane;
  return lane;
}

void ProcessState::CountLoss(uint64_t bytes) {
  Session* session = SessionIfAny();
  if (session != nullptr) {
    session->ledger.Count(&memtally_ledger_header::lost_events);
    session->ledger.Count(&memtally_ledger_header::lost_bytes, bytes);
  } else {
    g_lost_events.fetch_add(1, std::memory_order_relaxed);
    g_lost_bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
}

void ProcessState::End() {
  Session* session = SessionIfAny();
  WipedPage* page = g_wiped.load(std::memory_order_acquire);
  if (session == nullptr || page == nullptr) return;
  memtally_ledger_header* header = session->ledger.header();
  if (header->pid != static_cast<uint32_t>(getpid())) return;  // a child that shares this memory is exiting
  session->ledger.MarkExited();
  bool evidence = (header->lost_events | header->lost_tags | header->lost_groups | header->lost_registrations |
                   header->signal_overflow | header->refused_pages) != 0;
  for (uint32_t i = 0; i < session->lanes_made(); ++i) {
    evidence = evidence || session->lane(i)->HasEvidence(session->ledger.account_count());
  }
  if (evidence) {
    Log("the process ends; what it held is in", session->ledger.file().path());
    return;
  }
  if (GetSettings().is_launched()) {
    Log("the process ends with nothing to show; its peaks are in", session->ledger.file().path());
    return;
  }
  Log("the process ends with nothing to show");
  const FutexGuard guard(page->session_lock);
  session->ended = true;
  session->ledger.file().Unlink();
  page->session_is_ours.store(0, std::memory_order_release);
  for (ThreadBlock* block = session->blocks.load(std::memory_order_acquire); block != nullptr; block = block->next) {
    uint32_t idle = ThreadBlock::kIdle;
    block->state.compare_exchange_strong(idle, ThreadBlock::kFresh, std::memory_order_acq_rel);
  }
}

}  // namespace memtally::track
