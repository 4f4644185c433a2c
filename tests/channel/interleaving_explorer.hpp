// SPDX-License-Identifier: Apache-2.0
//
// Explorer: runs a few threads step by step in every order, where a step is one access to a shared word.  The threads
// are the real rings over ExplorerAccess.  States that were seen before are not entered again, so the search is
// complete and ends.
//
// What is checked, besides what the scenario checks: that plain accesses (payloads) are ordered by the acquires and
// releases that the code names.  Each thread and word has a vector clock, which passes only through them: what works
// on x86 by luck is a race here.
//
// A killable thread can also die at any step, and is never heard of again.
#pragma once

#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace memtally::channel {

class Explorer {
 public:
  static constexpr int kThreads = 4;
  using Clock = std::array<uint32_t, kThreads>;

  struct Scenario {
    std::function<void()> reset;                       // before each run
    std::vector<std::function<void()>> threads;        // no object on their stacks is destroyed if they die
    std::function<void()> finish;                      // after each run, by the test itself; may look at Killed()
    std::vector<std::pair<uint64_t*, size_t>> memory;  // all shared words
    std::vector<int> killable;
    int most_kills = 0;
  };

  // Returns the number of runs.  `most`: gives up there (and says so in failure()).
  uint64_t Explore(const Scenario& scenario, uint64_t most);
  const std::string& failure() const { return failure_; }
  size_t states() const { return seen_.size(); }
  bool Killed(int thread) const { return killed_[static_cast<size_t>(thread)]; }
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  static Explorer* current() { return current_; }

  // ---- for ExplorerAccess and payloads
  uint64_t Load(const uint64_t* word, std::memory_order order);
  void Store(uint64_t* word, uint64_t value, std::memory_order order);
  bool CompareExchange(uint64_t* word, uint64_t* expected, uint64_t value);
  void WritePlain(uint64_t* word, uint64_t value);
  uint64_t ReadPlain(const uint64_t* word);

 private:
  struct Plain {
    Clock written{};
    Clock read{};
  };
  void Yield();
  void Remember(uint64_t value);
  uint64_t StateHash() const;
  bool RunOnce(const Scenario& scenario);
  static void Main();
  static bool Before(const Clock& a, const Clock& b);
  static void Join(Clock* clock, const Clock& other);

  static inline Explorer* current_ = nullptr;
  const Scenario* scenario_ = nullptr;
  std::vector<int> choices_;  // of this run; those of the last one that are to be repeated come first
  std::vector<int> options_;  // how many there were at each
  std::unordered_set<uint64_t> seen_;
  std::string failure_;

  int running_ = -1;
  std::array<bool, kThreads> done_{};
  std::array<bool, kThreads> killed_{};
  std::array<uint64_t, kThreads> history_{};  // of what each thread has seen
  std::array<Clock, kThreads> clocks_{};
  std::map<const uint64_t*, Clock> word_clocks_;
  std::map<const uint64_t*, Plain> plain_;
  ucontext_t scheduler_{};
  std::array<ucontext_t, kThreads> contexts_{};
  std::array<std::vector<char>, kThreads> stacks_;
};

struct ExplorerAccess {
  static uint64_t Load(const uint64_t* word, std::memory_order order) { return Explorer::current()->Load(word, order); }
  static void Store(uint64_t* word, uint64_t value, std::memory_order order) {
    Explorer::current()->Store(word, value, order);
  }
  static bool CompareExchange(uint64_t* word, uint64_t* expected, uint64_t value) {
    return Explorer::current()->CompareExchange(word, expected, value);
  }
};

}  // namespace memtally::channel
