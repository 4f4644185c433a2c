// SPDX-License-Identifier: Apache-2.0
//
// The calls that report no event: devices, kinds, tags, groups, pauses.
#include <errno.h>

#include "track/call_scope.hpp"
#include "track/process_state.hpp"
#include "track/registry.hpp"
#include "track/tracker.hpp"

namespace memtally::track {

namespace {

// One setup call of this thread.  No block: a handler interrupted another call, or there is no ledger.
class SetupScope {
 public:
  SetupScope() : saved_errno_(errno), block_(CallScope::EnterSlowly(Call::kNone, 0, 0, writer::BufferFacts{})) {}
  ~SetupScope() {
    if (block_ != nullptr) CallScope::LeaveSlowly(block_);
    errno = saved_errno_;
  }
  SetupScope(const SetupScope&) = delete;
  SetupScope& operator=(const SetupScope&) = delete;
  ThreadBlock* block() const { return block_; }

 private:
  int saved_errno_;
  ThreadBlock* block_;
};

}  // namespace

memtally_device Tracker::RegisterDevice(const memtally_device_info* info) {
  if (info == nullptr || info->size < sizeof(memtally_device_info)) return 0;
  const SetupScope scope;
  return scope.block() != nullptr ? Registry::AddDevice(scope.block(), *info) : 0;
}

void Tracker::RegisterKind(memtally_device device, uint32_t kind, uint64_t capacity_bytes, uint32_t banks,
                           uint64_t capacity_bytes_per_bank) {
  if (device == 0) return;
  const SetupScope scope;
  if (scope.block() == nullptr) return;
  Registry::SetKind(scope.block()->session, device, kind, capacity_bytes, banks, capacity_bytes_per_bank);
}

uint32_t Tracker::DefineKind(const char* name, uint32_t memory, uint32_t inside, uint32_t flags) {
  if (name == nullptr || *name == 0) return MEMTALLY_KIND_ANY;
  const SetupScope scope;
  if (scope.block() == nullptr) return MEMTALLY_KIND_ANY;
  return Registry::DefineKind(scope.block()->session, name, memory, inside, flags);
}

void Tracker::PushTag(const char* name) {
  if (name == nullptr) return;
  ThreadBlock* block = ProcessState::Block();
  if (block->state.load(std::memory_order_relaxed) == ThreadBlock::kBusy) {
    ++block->handler_depth;  // a handler inside a call: its allocations have the tag of what it interrupted
    return;
  }
  const SetupScope scope;
  block = scope.block();
  if (block == nullptr) return;
  if (block->depth < ThreadBlock::kTagDepth) {
    block->tags_before[block->depth] = block->tag;
    block->tag = block->session->tags.Intern(block->session->ledger, block->session->registry_lock, block->tag, name);
  }
  ++block->depth;
}

void Tracker::PopTag() {
  ThreadBlock* block = ProcessState::Block();
  switch (block->state.load(std::memory_order_relaxed)) {
    case ThreadBlock::kFresh:
      return;  // pushed before a fork, or never
    case ThreadBlock::kBusy:
      if (block->handler_depth != 0) --block->handler_depth;
      return;
    default:
      if (block->depth == 0) return;
      // A handler may come between the two and push at the depth that it finds: the tag first.
      const uint32_t depth = block->depth - 1;
      if (depth < ThreadBlock::kTagDepth) block->tag = block->tags_before[depth];
      std::atomic_signal_fence(std::memory_order_seq_cst);
      block->depth = depth;
      block->ReleaseToSuccessor();
  }
}

uint32_t Tracker::CurrentTag() {
  ThreadBlock* block = ProcessState::Block();
  if (block->state.load(std::memory_order_relaxed) == ThreadBlock::kFresh) return 0;
  const uint32_t tag = block->tag;
  block->ReleaseToSuccessor();
  return tag;
}

uint32_t Tracker::ExchangeTag(uint32_t tag) {
  const SetupScope scope;
  ThreadBlock* block = scope.block();
  if (block == nullptr) return 0;
  const uint32_t before = block->tag;
  const uint32_t known = __atomic_load_n(&block->session->ledger.header()->tags.count, __ATOMIC_ACQUIRE);
  block->tag = tag < known ? tag : 0;
  return before;
}

void Tracker::NameGroup(uint64_t group, const char* name) {
  if (name == nullptr) return;
  const SetupScope scope;
  if (scope.block() == nullptr) return;
  Session* session = scope.block()->session;
  const writer::RegistryGuard guard(session->registry_lock);
  if (guard.held()) session->ledger.NameGroup(guard, group, name);
}

void Tracker::ForgetGroup(uint64_t group) {
  if (group == 0) return;
  const SetupScope scope;
  if (scope.block() == nullptr) return;
  Session* session = scope.block()->session;
  const writer::RegistryGuard guard(session->registry_lock);
  if (guard.held()) session->ledger.ForgetGroup(guard, group);
}

void Tracker::Pause() {
  const SetupScope scope;
  if (scope.block() != nullptr) ++scope.block()->pauses;
}

void Tracker::Resume() {
  const SetupScope scope;
  if (scope.block() != nullptr && scope.block()->pauses != 0) --scope.block()->pauses;
}

const char* Tracker::LedgerPath() {
  const Session* session = ProcessState::SessionIfAny();
  return session != nullptr ? const_cast<Session*>(session)->ledger.file().path() : "";
}

}  // namespace memtally::track
