// SPDX-License-Identifier: Apache-2.0
#include "interleaving_explorer.hpp"

#include <algorithm>

namespace memtally::channel {

namespace {

constexpr size_t kStackBytes = 64 * 1024;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 12) + (hash >> 4);
  hash *= 0xff51afd7ed558ccdull;
  return hash ^ (hash >> 32);
}

bool Acquires(std::memory_order order) {
  return order == std::memory_order_acquire || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
bool Releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

}  // namespace

bool Explorer::Before(const Clock& a, const Clock& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
  }
  return true;
}

void Explorer::Join(Clock* clock, const Clock& other) {
  for (size_t i = 0; i < other.size(); ++i) (*clock)[i] = std::max((*clock)[i], other[i]);
}

void Explorer::Yield() {
  if (running_ < 0) return;
  swapcontext(&contexts_[static_cast<size_t>(running_)], &scheduler_);
}

void Explorer::Remember(uint64_t value) {
  if (running_ >= 0) history_[static_cast<size_t>(running_)] = Mix(history_[static_cast<size_t>(running_)], value + 1);
}

uint64_t Explorer::Load(const uint64_t* word, std::memory_order order) {
  if (running_ < 0) return *word;
  Yield();
  Clock& clock = clocks_[static_cast<size_t>(running_)];
  if (Acquires(order)) Join(&clock, word_clocks_[word]);
  Remember(*word);
  return *word;
}

void Explorer::Store(uint64_t* word, uint64_t value, std::memory_order order) {
  if (running_ >= 0) {
    Yield();
    Clock& clock = clocks_[static_cast<size_t>(running_)];
    ++clock[static_cast<size_t>(running_)];
    word_clocks_[word] = Releases(order) ? clock : Clock{};
    Remember(value);
  }
  *word = value;
}

bool Explorer::CompareExchange(uint64_t* word, uint64_t* expected, uint64_t value) {
  const bool in_thread = running_ >= 0;
  if (in_thread) {
    Yield();
    Join(&clocks_[static_cast<size_t>(running_)], word_clocks_[word]);
    Remember(*word);
  }
  if (*word != *expected) {
    *expected = *word;
    return false;
  }
  if (in_thread) {
    Clock& clock = clocks_[static_cast<size_t>(running_)];
    ++clock[static_cast<size_t>(running_)];
    Join(&word_clocks_[word], clock);
  }
  *word = value;
  return true;
}

void Explorer::WritePlain(uint64_t* word, uint64_t value) {
  if (running_ >= 0) {
    Yield();
    Clock& clock = clocks_[static_cast<size_t>(running_)];
    ++clock[static_cast<size_t>(running_)];
    Plain& plain = plain_[word];
    if (!Before(plain.written, clock) || !Before(plain.read, clock)) Fail("race: overwritten without an order");
    plain.written = clock;
    Remember(value);
  }
  *word = value;
}

uint64_t Explorer::ReadPlain(const uint64_t* word) {
  if (running_ >= 0) {
    Yield();
    Clock& clock = clocks_[static_cast<size_t>(running_)];
    ++clock[static_cast<size_t>(running_)];
    Plain& plain = plain_[word];
    if (!Before(plain.written, clock)) Fail("race: read without an order");
    Join(&plain.read, clock);
    Remember(*word);
  }
  return *word;
}

uint64_t Explorer::StateHash() const {
  uint64_t hash = 1;
  const auto add = [&](const Clock& clock) {
    for (const uint32_t part : clock) hash = Mix(hash, part);
  };
  for (const auto& [words, count] : scenario_->memory) {
    for (size_t i = 0; i < count; ++i) hash = Mix(hash, words[i]);
  }
  for (size_t i = 0; i < scenario_->threads.size(); ++i) {
    hash = Mix(hash, history_[i] * 4 + (done_[i] ? 1 : 0) + (killed_[i] ? 2 : 0));
    add(clocks_[i]);
  }
  for (const auto& [word, clock] : word_clocks_) {
    hash = Mix(hash, reinterpret_cast<uintptr_t>(word));
    add(clock);
  }
  for (const auto& [word, plain] : plain_) {
    hash = Mix(hash, reinterpret_cast<uintptr_t>(word));
    add(plain.written);
    add(plain.read);
  }
  return hash;
}

void Explorer::Main() {
  Explorer* self = current_;
  const int mine = self->running_;
  self->scenario_->threads[static_cast<size_t>(mine)]();
  self->done_[static_cast<size_t>(mine)] = true;
  swapcontext(&self->contexts_[static_cast<size_t>(mine)], &self->scheduler_);
}

// One run: along choices_, then wherever it has not been.  False if it came to where it had been.
bool Explorer::RunOnce(const Scenario& scenario) {
  const size_t repeated = choices_.size();
  options_.resize(repeated);
  done_ = killed_ = {};
  history_ = {};
  clocks_ = {};
  word_clocks_.clear();
  plain_.clear();
  running_ = -1;
  scenario.reset();
  const int count = static_cast<int>(scenario.threads.size());
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    stacks_[at].resize(kStackBytes);
    getcontext(&contexts_[at]);
    contexts_[at].uc_stack.ss_sp = stacks_[at].data();
    contexts_[at].uc_stack.ss_size = kStackBytes;
    contexts_[at].uc_link = nullptr;
    makecontext(&contexts_[at], &Explorer::Main, 0);
    running_ = i;  // up to its first step, before which nobody else sees anything of it
    swapcontext(&scheduler_, &contexts_[at]);
    running_ = -1;
  }
  for (size_t step = 0; failure_.empty(); ++step) {
    std::array<int, 2 * kThreads> what{};
    int choices = 0;
    int kills = 0;
    for (int i = 0; i < count; ++i) {
      kills += killed_[static_cast<size_t>(i)] ? 1 : 0;
      if (!done_[static_cast<size_t>(i)] && !killed_[static_cast<size_t>(i)]) what[static_cast<size_t>(choices++)] = i;
    }
    if (choices == 0) {
      scenario.finish();
      return true;
    }
    for (const int i : scenario.killable) {
      if (kills < scenario.most_kills && !done_[static_cast<size_t>(i)] && !killed_[static_cast<size_t>(i)]) {
        what[static_cast<size_t>(choices++)] = -1 - i;
      }
    }
    if (step >= repeated) {
      if (!seen_.insert(StateHash()).second) return false;
      choices_.push_back(0);
      options_.push_back(choices);
    } else {
      options_[step] = choices;
    }
    const int chosen = what[static_cast<size_t>(choices_[step])];
    if (chosen < 0) {
      killed_[static_cast<size_t>(-1 - chosen)] = true;
      continue;
    }
    running_ = chosen;
    swapcontext(&scheduler_, &contexts_[static_cast<size_t>(chosen)]);
    running_ = -1;
  }
  return true;
}

uint64_t Explorer::Explore(const Scenario& scenario, uint64_t most) {
  current_ = this;
  scenario_ = &scenario;
  choices_.clear();
  options_.clear();
  seen_.clear();
  failure_.clear();
  for (uint64_t runs = 1;; ++runs) {
    RunOnce(scenario);
    if (!failure_.empty()) return runs;
    while (!choices_.empty() && choices_.back() + 1 >= options_[choices_.size() - 1]) {
      choices_.pop_back();
      options_.pop_back();
    }
    if (choices_.empty()) return runs;
    ++choices_.back();
    if (runs >= most) {
      Fail("not done after " + std::to_string(runs) + " runs");
      return runs;
    }
  }
}

}  // namespace memtally::channel
