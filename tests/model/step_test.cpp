// SPDX-License-Identifier: Apache-2.0
//
// Every instruction of the tracker's calls is a moment at which the process may die.  A child is stepped through a few
// operations of each sort; after each instruction that changed the file, a copy of the file is read as that of a dead
// process, and must say what the model says before or after the call.
//
// The copy has another start time in its header, so that the stopped, living child does not count as its process.
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "child_process.hpp"

namespace memtally::model {
namespace {

// Keeps a copy of a growing file: only pages that changed are copied, and holes stay holes.
class DeadCopy {
 public:
  DeadCopy(const std::string& path, const std::string& copy) : copy_path_(copy) {
    source_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    copy_ = open(copy.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  }
  ~DeadCopy() {
    close(source_);
    close(copy_);
    unlink(copy_path_.c_str());
    if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
  }
  DeadCopy(const DeadCopy&) = delete;
  DeadCopy& operator=(const DeadCopy&) = delete;

  const std::string& path() const { return copy_path_; }

  // Copies what changed.  Returns whether anything had.
  bool Update() {
    struct stat status {};
    if (fstat(source_, &status) != 0) return false;
    bool changed = false;
    const auto bytes = static_cast<size_t>(status.st_size);
    if (bytes != mapped_bytes_) {
      if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
      mapped_ = static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ, MAP_SHARED, source_, 0));
      mapped_bytes_ = bytes;
      changed = ftruncate(copy_, status.st_size) == 0;
    }
    FindPages();
    for (Page& page : pages_) {
      if (memcmp(page.bytes.data(), mapped_ + page.offset, kPage) == 0 && page.copied) continue;
      memcpy(page.bytes.data(), mapped_ + page.offset, kPage);
      page.copied = true;
      std::vector<uint8_t> bytes_of_page = page.bytes;
      if (page.offset == 0) {
        uint64_t start = 0;
        uint8_t* at = bytes_of_page.data() + offsetof(memtally_ledger_header, process_start_ticks);
        memcpy(&start, at, sizeof(start));
        start += 1;
        memcpy(at, &start, sizeof(start));
      }
      if (pwrite(copy_, bytes_of_page.data(), kPage, static_cast<off_t>(page.offset)) != ssize_t{kPage}) abort();
      changed = true;
    }
    return changed;
  }

 private:
  static constexpr size_t kPage = MEMTALLY_PAGE_BYTES;
  struct Page {
    uint64_t offset;
    std::vector<uint8_t> bytes;
    bool copied;
  };

  // Adds the pages that are no holes any more: reserved ones are until they are written.
  void FindPages() {
    for (off_t at = 0; (at = lseek(source_, at, SEEK_DATA)) >= 0;) {
      const off_t end = lseek(source_, at, SEEK_HOLE);
      for (; at < end; at += kPage) {
        const auto offset = static_cast<uint64_t>(at);
        if (known_.emplace(offset, true).second) pages_.push_back({offset, std::vector<uint8_t>(kPage), false});
      }
    }
  }

  std::string copy_path_;
  int source_ = -1;
  int copy_ = -1;
  uint8_t* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  std::map<uint64_t, bool> known_;
  std::vector<Page> pages_;
};

struct Tally {
  uint64_t steps = 0;
  uint64_t states = 0;      // different files that were read
  uint64_t taken_back = 0;  // of those
};

struct Scenario {
  std::vector<Operation> before;   // not stepped
  std::vector<Operation> stepped;  // by thread 0
  // By another thread, before; it then sleeps, with its lane.
  std::vector<Operation> of_other;
  bool first_event = false;  // steps through the registration, too
};

[[noreturn]] void SleepForever() {
  for (;;) pause();
}

[[noreturn]] void RunChild(const Scenario& scenario, Progress* progress) {
  World world;
  // A stop now and then: at the first, the parent begins to look.
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(77);
  if (scenario.first_event) raise(SIGSTOP);
  world.Register();
  if (!scenario.of_other.empty()) {
    std::atomic<bool> done{false};
    std::thread([&] {
      for (const Operation& operation : scenario.of_other) world.Perform(operation);
      done.store(true);
      SleepForever();
    }).detach();
    while (!done.load()) usleep(100);
  }
  for (const Operation& operation : scenario.before) world.Perform(operation);
  progress->ready.store(1);
  if (!scenario.first_event) raise(SIGSTOP);
  for (const Operation& operation : scenario.stepped) progress->Perform(world, 0, operation);
  _exit(0);
}

class Stepper {
 public:
  Stepper(const Scenario& scenario, const Wanted& wanted)
      : scenario_(scenario), wanted_(wanted), progress_(Progress::Make()), model_(World::MakeModel()) {
    for (const Operation& operation : scenario.of_other) model_.Apply(operation);
    for (const Operation& operation : scenario.before) model_.Apply(operation);
  }

  // "" or what was wrong; skip reason in *skip.
  std::string Run(std::string* skip, Tally* tally) {
    child_ = fork();
    if (child_ < 0) return "fork failed";
    if (child_ == 0) RunChild(scenario_, progress_);
    int status = 0;
    waitpid(child_, &status, 0);
    if (WIFEXITED(status)) {
      if (WEXITSTATUS(status) == 77) *skip = "ptrace is refused here (PTRACE_TRACEME)";
      return WEXITSTATUS(status) == 77 ? "" : "the child ended early";
    }
    std::string text;
    while (text.empty()) {
      text = Look(tally);
      if (!text.empty()) break;
      // Before there is a file, and while the tracker long does something else before the first operation, system calls
      // are steps enough.
      const bool is_idle = progress_->ready.load() == 0 && tally->steps - changed_at_ > kIdleSteps;
      const auto step = copy_ == nullptr || is_idle ? PTRACE_SYSCALL : PTRACE_SINGLESTEP;
      if (ptrace(step, child_, nullptr, nullptr) != 0) {
        if (tally->steps == 0) {
          *skip = "ptrace is refused here (PTRACE_SINGLESTEP)";
        } else {
          text = "the child cannot be stepped any more";
        }
        break;
      }
      ++tally->steps;
      if (waitpid(child_, &status, 0) != child_ || WIFEXITED(status)) break;
      if (WIFSIGNALED(status)) text = "the child died of signal " + std::to_string(WTERMSIG(status));
      if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP) {
        text = "the child got signal " + std::to_string(WSTOPSIG(status)) + "\n";
      }
    }
    if (text.empty() && skip->empty() && progress_->thread[0].completed.load() != scenario_.stepped.size()) {
      text = "the child did not do everything\n";
    }
    kill(child_, SIGKILL);
    waitpid(child_, &status, 0);
    copy_.reset();
    RemoveFilesOf(child_);
    return text;
  }

 private:
  // Looks at the file if it changed since the last instruction.
  std::string Look(Tally* tally) {
    if (copy_ == nullptr) {
      const std::string path = LedgerOf(child_);
      if (path.empty()) return "";
      copy_ = std::make_unique<DeadCopy>(path, LedgerDirectory() + "/copy-of-" + std::to_string(child_) + ".ledger");
    }
    const uint64_t completed = progress_->thread[0].completed.load();
    const uint64_t begun = progress_->thread[0].begun.load();
    const bool is_ready = progress_->ready.load() != 0;
    while (applied_ < completed) model_.Apply(scenario_.stepped[applied_++]);
    const bool progressed = completed != completed_ || begun != begun_ || is_ready != was_ready_;
    completed_ = completed;
    begun_ = begun;
    was_ready_ = is_ready;
    if (!copy_->Update() && !progressed) return "";
    changed_at_ = tally->steps;
    LedgerView view;
    const std::string error = ReadLedger(copy_->path(), &view);
    ++tally->states;
    if (!is_ready) {
      if (!error.empty()) {
        return error.find("nothing was recorded") != std::string::npos ||
                       error.find("is being made") != std::string::npos
                   ? ""
                   : error;
      }
      std::string text = Join(BrokenInvariants(view));
      if (!view.buffers.empty() || !view.events.empty()) text += "something before the first operation\n";
      return text;
    }
    if (!error.empty()) return error;
    std::string text = Join(BrokenInvariants(view));
    if (view.liveness != Liveness::kDead) text += "not dead\n";
    if (view.interrupted) ++tally->taken_back;
    if (view.interrupted && begun == completed) text += "interrupted outside a call\n";
    text += CheckPeaksRise(view);
    return text + Match(view, completed, begun);
  }

  std::string Match(const LedgerView& view, uint64_t completed, uint64_t begun) {
    Wanted wanted = wanted_;
    wanted.empty_accounts_may_show = begun != completed;
    std::vector<Operation> steps;
    if (begun != completed) steps = model_.StepsOf(scenario_.stepped[completed]);
    Model model = model_;
    std::string first;
    for (size_t i = 0; i <= steps.size(); ++i) {
      if (i > 0) model.ApplyStep(steps[i - 1]);
      wanted.released_may_be_missing = i < steps.size() && steps[i].action == Action::kReopen;
      wanted.empty_accounts_may_show = i < steps.size();
      const std::vector<std::string> differences = Differences(model, view, wanted);
      if (differences.empty()) return "";
      if (i == 0) first = "before:\n" + Join(differences);
      if (i == steps.size()) {
        return "in operation " + std::to_string(completed) + " " +
               (begun != completed ? Describe(scenario_.stepped[completed]) : "(none)") + "\n" + first +
               (i > 0 ? "after:\n" + Join(differences) : "");
      }
    }
    return "";
  }

  // A peak that was once shown is shown for ever.
  std::string CheckPeaksRise(const LedgerView& view) {
    std::string text;
    for (const LedgerAccount& account : view.accounts) {
      auto& [requested, reserved] = peaks_[account.index];
      if (account.peak_requested < requested || account.peak_reserved < reserved) {
        text += "the peak of account " + std::to_string(account.index) + " fell from " + std::to_string(requested) +
                " to " + std::to_string(account.peak_requested) + "\n";
      }
      requested = std::max(requested, account.peak_requested);
      reserved = std::max(reserved, account.peak_reserved);
    }
    return text;
  }

  const Scenario& scenario_;
  Wanted wanted_;
  Progress* progress_;
  Model model_;
  static constexpr uint64_t kIdleSteps = 20'000;

  uint64_t applied_ = 0;
  uint64_t changed_at_ = 0;  // step
  uint64_t completed_ = ~uint64_t{0};
  uint64_t begun_ = 0;
  bool was_ready_ = false;
  pid_t child_ = -1;
  std::unique_ptr<DeadCopy> copy_;
  std::map<uint32_t, std::pair<uint64_t, uint64_t>> peaks_;
};

Operation Alloc(uint64_t id, uint64_t bytes, uint32_t kind = MEMTALLY_KIND_DRAM) {
  Operation o;
  o.action = Action::kAlloc;
  o.kind = kind;
  o.id = id;
  o.address = id * 64;
  o.bytes_requested = bytes;
  o.bytes_per_bank = bytes / 8;
  return o;
}

Operation Extended(Operation o) {
  o.group = 0x123456789;
  o.stack = 77;
  o.bytes_requested = (uint64_t{1} << 46) + o.id;
  return o;
}

Operation Imported(Operation o) {
  o.imported = true;
  return o;
}

Operation Free(uint64_t id, uint32_t kind = MEMTALLY_KIND_DRAM) {
  Operation o;
  o.action = kind == MEMTALLY_KIND_ANY ? Action::kFreeAnyKind : Action::kFree;
  o.kind = kind == MEMTALLY_KIND_ANY ? 0 : kind;
  o.id = id;
  return o;
}

Operation Do(Action action, const char* name = "") {
  Operation o;
  o.action = action;
  o.name = name;
  o.bytes_requested = action == Action::kFail ? 12345 : 0;
  return o;
}

void Step(const Scenario& scenario, const Wanted& wanted = {}) {
  std::string skip;
  Tally tally;
  Stepper stepper(scenario, wanted);
  const std::string text = stepper.Run(&skip, &tally);
  if (!skip.empty()) GTEST_SKIP() << skip;
  EXPECT_EQ(text, "") << "after " << tally.steps << " steps";
  printf("%lu instructions, %lu different files, %lu of them with a call taken back\n", tally.steps, tally.states,
         tally.taken_back);
}

TEST(Step, AllocationsAndFrees) {
  Scenario s;
  s.before = {Alloc(1, 100), Free(1)};
  s.stepped = {Alloc(2, 4096), Alloc(3, 8192), Alloc(3, 50), Free(2),
               Free(2),        Free(99),       Alloc(4, 0),  Free(3, MEMTALLY_KIND_ANY),
               Free(4),        Alloc(5, 1),    Free(1 << 20)};
  Step(s);
}

TEST(Step, FirstCallsOfAll) {
  Scenario s;
  s.stepped = {Alloc(2, 4096), Free(2)};
  Step(s);
}

TEST(Step, RareBuffers) {
  Scenario s;
  s.before = {Alloc(1, 100), Free(1)};
  s.stepped = {Extended(Alloc(2, 10)),
               Imported(Alloc(3, 20)),
               Extended(Imported(Alloc(4, 30))),
               Extended(Alloc(2, 40)),
               Imported(Alloc(2, 50)),
               Alloc(2, 60),
               Extended(Alloc(3, 70)),
               Extended(Alloc(5, 80)),
               Free(5),
               Free(4),
               Free(3),
               Alloc(9, 5, MEMTALLY_KIND_L1_SMALL),
               Alloc(2, 10, MEMTALLY_KIND_L1),
               Free(2, MEMTALLY_KIND_ANY),
               Free(2, MEMTALLY_KIND_ANY)};
  Step(s);
}

TEST(Step, Anomalies) {
  Scenario s;
  s.before = {Alloc(1, 100), Do(Action::kFail)};
  Operation foreign = Alloc(7, 700);
  foreign.reporter = 1;
  Operation foreign_free = Free(1);
  foreign_free.reporter = 1;
  s.stepped = {foreign,
               foreign_free,
               Do(Action::kFail),
               Do(Action::kMark, "here"),
               Alloc(1, 1),
               Alloc(1, 2),
               Alloc(1, 3),
               Alloc(1, 4),
               Alloc(1, 5),
               Do(Action::kPushTag, "new tag"),
               Alloc(8, 9),
               Do(Action::kPopTag),
               Do(Action::kMark, "there"),
               Free(1000)};
  Step(s);
}

TEST(Step, ClosesAndOpenings) {
  Scenario s;
  s.before = {Alloc(1, 100), Alloc(2, 200, MEMTALLY_KIND_L1), Extended(Alloc(3, 300)), Imported(Alloc(4, 400)),
              Alloc(5, 500)};
  s.stepped = {Do(Action::kClose),
               Free(1),
               Free(3),
               Do(Action::kClose),
               Do(Action::kReopen),
               Alloc(1, 10),
               Imported(Alloc(6, 7)),
               Extended(Alloc(7, 70)),
               Do(Action::kClose),
               Alloc(1, 20),
               Do(Action::kClose),
               Do(Action::kReopen)};
  Step(s);
}

TEST(Step, Growth) {
  Scenario s;
  // Up to just before the second page of slots, of the recorder, and the second segment.
  for (uint64_t i = 0; i < 84; ++i) s.before.push_back(Alloc(i, i));
  for (uint64_t i = 84; i < 104; ++i) s.stepped.push_back(Alloc(i, i));
  Step(s);
  Scenario segment;
  for (uint64_t i = 0; i < 511; ++i) segment.before.push_back(Alloc(i, i));
  segment.stepped = {Alloc(1000, 1), Alloc(1001, 2), Extended(Alloc(1002, 3)), Alloc(1003, 4)};
  Step(segment);
}

TEST(Step, FullRecorder) {
  Scenario s;
  for (uint64_t i = 0; i < 4095; ++i) {
    s.before.push_back(Alloc(1, i));
    s.before.push_back(Free(1));
  }
  s.stepped = {Alloc(2, 1), Alloc(2, 2), Free(2), Alloc(3, 3), Do(Action::kMark, "wrapped")};
  Step(s);
}

// The other thread's lane has buffers of the same kind: its peak is collected with ours, and it is entered.
TEST(Step, TwoLanes) {
  const uint64_t far = uint64_t{1} << 40;
  Scenario s;
  s.of_other = {Alloc(far + 1, 1'000'000), Alloc(far + 2, 2'000'000), Free(far + 1)};
  for (Operation& o : s.of_other) o.thread = 1;
  s.stepped = {Alloc(1, 100),      Alloc(2, 1'500'000),  Alloc(3, 10'000'000), Free(far + 2),      Free(3),
               Alloc(far + 3, 50), Alloc(4, 20'000'000), Do(Action::kClose),   Do(Action::kReopen)};
  Step(s, {.peaks = Wanted::Peaks::kWithinSlack, .events = Wanted::Events::kByTime});
}

TEST(Step, SecondLaneImportsOnly) {
  const uint64_t far = uint64_t{1} << 40;
  Scenario s;
  s.of_other = {Alloc(far + 1, 1'000'000), Free(far + 1), Alloc(far + 2, 10)};
  for (Operation& o : s.of_other) o.thread = 1;
  s.stepped = {Imported(Alloc(1, 100)), Free(1), Imported(Alloc(2, 100))};
  Step(s, {.peaks = Wanted::Peaks::kExact, .events = Wanted::Events::kByTime});
}

TEST(Step, TheLedgerIsMade) {
  Scenario s;
  s.first_event = true;
  s.stepped = {Alloc(1, 100)};
  Step(s);
}

}  // namespace
}  // namespace memtally::model
