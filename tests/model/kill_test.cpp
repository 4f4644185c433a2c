// SPDX-License-Identifier: Apache-2.0
//
// Children are killed at random instants, very often.  What their ledgers then say must be what the model says before
// or after the one call in which each thread was.
//
// MEMTALLY_KILLS: how many kills in all.  MEMTALLY_SEED: the first seed.
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include <gtest/gtest.h>

#include "child_process.hpp"

namespace memtally::model {
namespace {

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

void SpinFor(uint64_t ns) {
  for (const uint64_t until = NowNs() + ns; NowNs() < until;) {
  }
}

// Waits until `reached()`; naps when it takes long.  False after 20 s.
template <typename Reached>
bool WaitUntil(Reached&& reached) {
  const uint64_t begin = NowNs();
  for (uint64_t spins = 0; !reached(); ++spins) {
    if (spins % 256 == 255) sched_yield();
    if (spins % 1024 == 1023 && NowNs() - begin > 20'000'000'000) return false;
  }
  return true;
}

[[noreturn]] void SleepForever() {
  for (;;) pause();
}

// What a child does, as a function of the seed alone.
struct Plan {
  enum class Kind { kOneThread, kOwnIds, kTurns };
  Kind kind = Kind::kOneThread;
  std::vector<std::vector<Operation>> of_thread;  // kTurns: one list, which names the thread of each operation
  uint32_t threads = 1;
  std::vector<uint64_t> targets;  // moments of interest, if any
};

Plan OneThread(uint64_t seed) {
  Random random(seed);
  constexpr Ids kIds[] = {Ids::kSequential, Ids::kAddresses, Ids::kRandom, Ids::kTiny};
  const Ids ids = kIds[random.Below(4)];
  Plan plan;
  plan.of_thread.push_back(
      MakeOperations(seed, {.ids = ids, .most_live = 20 + random.Below(300), .close_in = 60}, 300 + random.Below(500)));
  return plan;
}

// Little but allocations, killed near the moments at which the file grows.
Plan Growth(uint64_t seed) {
  Plan plan;
  plan.of_thread.push_back(MakeOperations(seed, {.ids = Ids::kSequential, .most_live = 1 << 20, .close_in = 0}, 1900));
  Model model = World::MakeModel();
  uint64_t most = 0;
  for (size_t i = 0; i < plan.of_thread[0].size(); ++i) {
    model.Apply(plan.of_thread[0][i]);
    // Slots, roughly: buffers, and extensions of some of them.
    const uint64_t live = model.live().size();
    if (live > most && live % 32 == 0) plan.targets.push_back(i);
    if (live > most) most = live;
    if (i % 1365 == 84 || i % 1365 == 1364) plan.targets.push_back(i);  // the recorder's pages
  }
  return plan;
}

Plan OwnIds(uint64_t seed) {
  Random random(seed);
  Plan plan;
  plan.kind = Plan::Kind::kOwnIds;
  plan.threads = 2 + static_cast<uint32_t>(random.Below(2));
  for (uint32_t t = 0; t < plan.threads; ++t) {
    const Ids ids = random.OneIn(2) ? Ids::kSequential : Ids::kAddresses;
    plan.of_thread.push_back(
        MakeOperations(seed * 8 + t, {.ids = ids, .thread = t + 1, .most_live = 100, .close_in = 0}, 400));
  }
  return plan;
}

Plan Turns(uint64_t seed) {
  Random random(seed);
  Plan plan;
  plan.kind = Plan::Kind::kTurns;
  plan.threads = 2;
  plan.of_thread.push_back(MakeOperations(seed, {.ids = Ids::kAddresses, .most_live = 100, .close_in = 100}, 350));
  uint32_t thread = 0;
  for (Operation& operation : plan.of_thread[0]) {
    if (random.OneIn(12)) thread = static_cast<uint32_t>(random.Below(plan.threads));
    operation.thread = thread;
  }
  return plan;
}

// When and by whom a child is killed.
struct Moment {
  enum class By { kTimer, kParent, kParentEarly };
  By by = By::kTimer;
  uint64_t operation = 0;  // of the first list: shortly after it begins
  uint64_t delay_ns = 0;
};

// Lets the kernel kill this process, whatever it does then.
void DieIn(uint64_t ns) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer{};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) abort();
  itimerspec when{};
  when.it_value.tv_nsec = static_cast<long>(ns + 1);
  timer_settime(timer, 0, &when, nullptr);
}

[[noreturn]] void RunChild(const Plan& plan, const Moment& moment, Progress* progress) {
  World world;
  world.Register();
  progress->ready.store(1);
  std::atomic<uint32_t> running{plan.threads};
  const bool times_itself = moment.by == Moment::By::kTimer;
  const auto run_own = [&](uint32_t t) {
    progress->thread[t].id.store(static_cast<uint32_t>(syscall(SYS_gettid)));
    const std::vector<Operation>& operations = plan.of_thread[t];
    for (size_t i = 0; i < operations.size(); ++i) {
      if (t == 0 && times_itself && i == moment.operation) DieIn(moment.delay_ns);
      progress->Perform(world, t, operations[i]);
    }
  };
  const auto run_turns = [&](uint32_t t) {
    const std::vector<Operation>& operations = plan.of_thread[0];
    for (size_t i = 0; i < operations.size(); ++i) {
      if (operations[i].thread != t) continue;
      while (progress->turn.load() != i) sched_yield();
      if (times_itself && i == moment.operation) DieIn(moment.delay_ns);
      progress->Perform(world, 0, operations[i]);
      progress->turn.store(i + 1);
    }
  };
  const auto end = [&] {
    // The last one need not wait for the killer.
    if (running.fetch_sub(1) == 1 && times_itself) kill(getpid(), SIGKILL);
    SleepForever();
  };
  if (plan.kind == Plan::Kind::kOneThread) {
    run_own(0);
    end();
  }
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < plan.threads; ++t) {
    threads.emplace_back([&, t] {
      if (plan.kind == Plan::Kind::kOwnIds) {
        run_own(t);
      } else {
        run_turns(t);
      }
      end();
    });
  }
  SleepForever();
}

struct Tally {
  uint64_t kills = 0;
  uint64_t in_a_call = 0;    // begun and not completed
  uint64_t interrupted = 0;  // the reader took something back
  uint64_t early = 0;        // before the first operation
  uint64_t seen_before = 0;  // of those in a call
  uint64_t seen_after = 0;
};

// The states that a thread may be seen in: after `completed` operations, and within and after the next.
struct State {
  Model model;
  bool is_before = false;
  bool opens_a_device = false;  // the step that comes next
};

std::vector<State> StatesOf(const std::vector<Operation>& operations, uint64_t completed, uint64_t begun) {
  std::vector<State> states(1, {World::MakeModel()});
  Model& model = states[0].model;
  for (uint64_t i = 0; i < completed; ++i) model.Apply(operations[i]);
  if (begun == completed) return states;
  for (const Operation& step : model.StepsOf(operations[completed])) {
    states.back().is_before = true;
    states.back().opens_a_device = step.action == Action::kReopen;
    State next{states.back().model};
    next.model.ApplyStep(step);
    states.push_back(std::move(next));
  }
  return states;
}

// "" if one of the states is what the view says; else how the first and the last differ.
std::string MatchOne(const std::vector<State>& states, const LedgerView& view, Wanted wanted, Tally* tally) {
  std::string text;
  for (const State& state : states) {
    wanted.released_may_be_missing = state.opens_a_device;
    wanted.empty_accounts_may_show = state.is_before;
    const std::vector<std::string> differences = Differences(state.model, view, wanted);
    if (differences.empty()) {
      if (states.size() > 1) ++(state.is_before ? tally->seen_before : tally->seen_after);
      return "";
    }
    if (&state == &states.front()) text += "before the call:\n" + Join(differences);
    if (&state == &states.back() && states.size() > 1) text += "after the call:\n" + Join(differences);
  }
  return text;
}

std::string CheckOwnIds(const Plan& plan, const Progress& progress, const LedgerView& view, Tally* tally) {
  Model merged = World::MakeModel();
  for (uint32_t t = 0; t < plan.threads; ++t) {
    const Progress::Thread& thread = progress.thread[t];
    const std::vector<State> states = StatesOf(plan.of_thread[t], thread.completed.load(), thread.begun.load());
    const uint64_t events = EventsOf(view, thread.id.load());
    const State* seen = nullptr;
    for (const State& state : states) {
      if (state.model.event_count() == events) seen = &state;
    }
    if (seen == nullptr) {
      return "thread " + std::to_string(t) + " has " + std::to_string(events) + " events instead of " +
             std::to_string(states.front().model.event_count()) + " or " +
             std::to_string(states.back().model.event_count()) + "\n" +
             Join(EventDifferences(states.back().model, view, thread.id.load()));
    }
    if (states.size() > 1) ++(seen->is_before ? tally->seen_before : tally->seen_after);
    const std::vector<std::string> differences = EventDifferences(seen->model, view, thread.id.load());
    if (!differences.empty()) return "thread " + std::to_string(t) + ":\n" + Join(differences);
    merged.MergeFrom(seen->model);
  }
  return Join(Differences(
      merged, view,
      {.peaks = Wanted::Peaks::kIgnore, .events = Wanted::Events::kIgnore, .empty_accounts_may_show = true}));
}

// What the ledger of a killed child says wrongly, "" nothing.
std::string Check(const Plan& plan, const Progress& progress, pid_t child, Tally* tally) {
  const std::string path = LedgerOf(child);
  LedgerView view;
  const std::string error = path.empty() ? "no ledger" : ReadLedger(path, &view);
  if (progress.ready.load() == 0) {
    ++tally->early;
    if (!error.empty()) return "";  // it died while it made the ledger
    return view.buffers.empty() ? Join(BrokenInvariants(view)) : "buffers before the first operation\n";
  }
  if (!error.empty()) return error;
  if (view.liveness != Liveness::kDead) return "not dead\n";
  if (view.interrupted) ++tally->interrupted;
  std::string text = Join(BrokenInvariants(view));
  bool in_a_call = false;
  for (uint32_t t = 0; t < plan.threads; ++t) {
    in_a_call = in_a_call || progress.thread[t].begun.load() != progress.thread[t].completed.load();
  }
  if (in_a_call) ++tally->in_a_call;
  if (view.interrupted && !in_a_call) text += "interrupted, but no call was under way\n";
  const Progress::Thread& first = progress.thread[0];
  switch (plan.kind) {
    case Plan::Kind::kOneThread:
      return text + MatchOne(StatesOf(plan.of_thread[0], first.completed.load(), first.begun.load()), view,
                             {.peaks = Wanted::Peaks::kExact, .events = Wanted::Events::kOneLane}, tally);
    case Plan::Kind::kTurns:
      return text + MatchOne(StatesOf(plan.of_thread[0], first.completed.load(), first.begun.load()), view,
                             {.peaks = Wanted::Peaks::kWithinSlack, .events = Wanted::Events::kByTime}, tally);
    case Plan::Kind::kOwnIds:
      return text + CheckOwnIds(plan, progress, view, tally);
  }
  return text;
}

Moment RandomMoment(const Plan& plan, Random* random) {
  Moment moment;
  moment.operation = random->Below(plan.of_thread[0].size());
  if (!plan.targets.empty() && !random->OneIn(4)) {
    moment.operation = plan.targets[random->Below(plan.targets.size())];
    moment.operation -= moment.operation > 1 ? random->Below(2) : 0;
  }
  // Mostly within the first calls from there on; a timer that is due at once kills within its own system call.
  moment.delay_ns = 4000 + random->Below(uint64_t{1} << (11 + random->Below(5)));
  if (random->OneIn(12)) moment.by = Moment::By::kParent;
  if (random->OneIn(30)) {
    moment.by = Moment::By::kParentEarly;
    moment.delay_ns = random->Below(600'000);
  }
  return moment;
}

// Starts a child, has it killed at a random instant, and checks what it left.
std::string KillOnce(const Plan& plan, Progress* progress, Random* random, Tally* tally) {
  progress->Reset();
  const Moment moment = RandomMoment(plan, random);
  const pid_t child = fork();
  if (child < 0) return "fork failed\n";
  if (child == 0) RunChild(plan, moment, progress);
  bool reached = true;
  if (moment.by != Moment::By::kTimer) {
    const Progress::Thread& thread = progress->thread[0];
    if (moment.by == Moment::By::kParent) {
      reached = WaitUntil([&] { return thread.begun.load(std::memory_order_relaxed) > moment.operation; });
    }
    SpinFor(moment.delay_ns);
    kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ++tally->kills;
  std::string text = reached ? Check(plan, *progress, child, tally) : "the child does not go on\n";
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) text += "it did not die of the kill\n";
  if (text.empty()) RemoveFilesOf(child);
  return text;
}

struct Sort {
  const char* name;
  Plan (*plan)(uint64_t seed);
  uint64_t share;  // in percent of all kills
};

class Kill : public testing::TestWithParam<Sort> {};

TEST_P(Kill, LeavesTheStateBeforeOrAfterTheCall) {
  const Sort& sort = GetParam();
  const uint64_t kills = Scaled(FromEnvironment("MEMTALLY_KILLS", 4000)) * sort.share / 100;
  const uint64_t first_seed = FromEnvironment("MEMTALLY_SEED", 4711);
  Progress* progress = Progress::Make();
  Tally tally;
  Plan plan;
  int failures = 0;
  for (uint64_t i = 0; i < kills && failures < 5; ++i) {
    const uint64_t seed = first_seed + i / 16;
    if (i % 16 == 0) plan = sort.plan(seed);
    Random random(seed * 1000 + i);
    const std::string text = KillOnce(plan, progress, &random, &tally);
    if (text.empty()) continue;
    ++failures;
    const Progress::Thread& thread = progress->thread[0];
    const uint64_t at = thread.completed.load();
    ADD_FAILURE() << "seed " << seed << ", kill " << i << ", after " << at << " operations of thread 0"
                  << (thread.begun.load() != at ? ", in " + Describe(plan.of_thread[0][at]) : "") << ":\n"
                  << text;
  }
  printf("%s: %lu kills, %lu in a call (seen before it %lu, after it %lu), %lu with something taken back, %lu early\n",
         sort.name, tally.kills, tally.in_a_call, tally.seen_before, tally.seen_after, tally.interrupted, tally.early);
}

INSTANTIATE_TEST_SUITE_P(Random, Kill,
                         testing::Values(Sort{"OneThread", OneThread, 40}, Sort{"Growth", Growth, 12},
                                         Sort{"OwnIds", OwnIds, 24}, Sort{"Turns", Turns, 24}),
                         [](const testing::TestParamInfo<Sort>& sort) { return std::string(sort.param.name); });

}  // namespace
}  // namespace memtally::model
