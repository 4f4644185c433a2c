// SPDX-License-Identifier: Apache-2.0
#include "tools/top/top_loop.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/proc.hpp"
#include "collect/collector.hpp"
#include "tools/output.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/curses_screen.hpp"
#include "tools/top/draw.hpp"
#include "tools/top/key_handler.hpp"
#include "tools/top/kill_process.hpp"
#include "tools/top/screen_file.hpp"
#include "tools/top/signal_source.hpp"

namespace memtally::tools::top {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kDiscoverEveryNs = 1000 * kMillisecond;
// Of the time, at most a fifth goes into snapshots, however large the processes are.
constexpr uint64_t kRestFactor = 4;
constexpr int kPlainColumns = 120;

constexpr std::array<int, 7> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};

// Snapshots and what is made of them.
class Watch {
 public:
  explicit Watch(const TopOptions& options) {
    state.devices = options.devices;
    state.read_only = options.read_only;
    state.refresh_ms = options.refresh_ms;
  }

  // Takes a snapshot, of what the state wants to see.  `record`: it is the next value of the history.
  void Take(bool record) {
    const uint64_t begin = base::MonotonicNs();
    if (begin >= next_discovery_ns_) {
      collector_.Discover();
      next_discovery_ns_ = begin + kDiscoverEveryNs;
    }
    collect::SnapshotRequest request;
    request.extents = true;
    if (state.opened) {
      request.level = collect::Level::kProcess;
      request.process = state.opened;
    }
    snapshot_ = collector_.Take(request);
    if (record) state.history.Record(*snapshot_);
    const uint64_t end = base::MonotonicNs();
    next_take_ns_ = std::max(begin + state.refresh_ms * kMillisecond, end + kRestFactor * (end - begin));
  }

  void Update() {
    model.Update(snapshot_, &state);
    if (!state.opened) asked_.reset();
    // A process that was opened just now has not been read yet.
    if (model.opened() == nullptr || model.opened()->has_buffers || asked_ == state.opened) return;
    asked_ = state.opened;
    Take(false);
    model.Update(snapshot_, &state);
  }

  uint64_t next_take_ns() const { return next_take_ns_; }

  TopState state;
  Model model;

 private:
  collect::Collector collector_;
  std::shared_ptr<const collect::Snapshot> snapshot_;
  std::optional<collect::ProcessKey> asked_;
  uint64_t next_take_ns_ = 0;
  uint64_t next_discovery_ns_ = 0;
};

class TerminalLoop {
 public:
  TerminalLoop(const TopOptions& options, Charset charset, CursesScreen* screen, SignalSource* signals)
      : watch_(options), charset_(charset), screen_(*screen), signals_(*signals), frames_(options.frames) {}

  // Returns the signal that asked for an end, 0 if a person did.
  int Run() {
    watch_.Take(true);
    Show();
    while (!done_ && frames_ != 0) {
      Wait();
      while (const std::optional<int> signal = signals_.Next()) Take(*signal);
      ReadKeys();
      if (done_) break;
      const bool is_due = !watch_.state.paused && base::MonotonicNs() >= watch_.next_take_ns();
      if (is_due) watch_.Take(true);
      if (is_due || changed_) Show();
    }
    return ended_by_;
  }

 private:
  void Wait() {
    std::array<pollfd, 2> fds = {{{STDIN_FILENO, POLLIN, 0}, {signals_.fd(), POLLIN, 0}}};
    int timeout_ms = -1;
    if (!watch_.state.paused) {
      const uint64_t now = base::MonotonicNs();
      const uint64_t next = watch_.next_take_ns();
      timeout_ms = next <= now ? 0 : static_cast<int>((next - now + kMillisecond - 1) / kMillisecond);
    }
    const int ready = poll(fds.data(), fds.size(), timeout_ms);
    if (ready <= 0) return;
    // The terminal is gone.
    if ((fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) done_ = true;
    int waiting = 0;
    if ((fds[0].revents & POLLIN) != 0 && ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting == 0) done_ = true;
  }

  void Take(int signal) {
    switch (signal) {
      case SIGWINCH:
        changed_ = true;
        return;
      case SIGTSTP:
        screen_.Suspend();
        SignalSource::Obey(SIGTSTP);
        screen_.Resume();
        changed_ = true;
        return;
      case SIGCONT:
        // Perhaps after a stop that could not be caught: others may have drawn since.
        screen_.Resume();
        changed_ = true;
        return;
      default:
        done_ = true;
        ended_by_ = signal == SIGINT ? 0 : signal;
    }
  }

  // Many at once where a terminal sends them faster than screens can be drawn.
  void ReadKeys() {
    for (int i = 0; i < 200 && !done_; ++i) {
      const std::optional<Key> key = screen_.ReadKey();
      if (!key) return;
      changed_ = true;
      Obey(HandleKey(*key, watch_.model, map_, &watch_.state));
      // The next key is for what a person would see after this one.
      watch_.Update();
      Draw();
    }
  }

  void Obey(const Effect& effect) {
    switch (effect.kind) {
      case Effect::Kind::kNone:
        return;
      case Effect::Kind::kQuit:
        done_ = true;
        return;
      case Effect::Kind::kRedraw:
        screen_.Forget();
        return;
      case Effect::Kind::kSave: {
        // Without the question.
        Draw();
        const std::string problem = WriteScreenFile(grid_, effect.file);
        Say(problem.empty() ? "Written to " + TerminalText(effect.file, 60, Cut::kBegin) : problem, !problem.empty());
        return;
      }
      case Effect::Kind::kKill: {
        const std::string name = kKillSignals[effect.order.signal].name;
        const std::string problem = SendSignal(effect.order);
        const std::string to = fmt::format("{} {}", effect.order.pid, effect.order.command);
        Say(problem.empty() ? fmt::format("{} was sent to {}.", name, to)
                            : fmt::format("Nothing was sent to {}: {}.", to, problem),
            !problem.empty());
        return;
      }
    }
  }

  void Say(std::string text, bool bad) {
    watch_.state.message = std::move(text);
    watch_.state.message_is_bad = bad;
  }

  void Draw() {
    const auto [width, height] = screen_.Resize();
    grid_ = CellGrid(width, height, charset_);
    map_ = top::Draw(watch_.model, watch_.state, &grid_);
  }

  void Show() {
    watch_.Update();
    Draw();
    screen_.Show(grid_);
    changed_ = false;
    if (frames_ && *frames_ != 0) --*frames_;
  }

  Watch watch_;
  Charset charset_;
  CursesScreen& screen_;
  SignalSource& signals_;
  std::optional<uint64_t> frames_;
  CellGrid grid_{0, 0};
  ScreenMap map_;
  bool changed_ = false;
  bool done_ = false;
  int ended_by_ = 0;
};

int RunOnTerminal(const TopOptions& options, Charset charset) {
  int ended_by = 0;
  {
    SignalSource signals(kSignals);
    std::string error;
    const std::unique_ptr<CursesScreen> screen = CursesScreen::Open(StandardFormat().color, &error);
    if (screen == nullptr) {
      Complain(error);
      return kFailure;
    }
    ended_by = TerminalLoop(options, charset, screen.get(), &signals).Run();
  }
  // Whoever sent it sees that it was obeyed.
  if (ended_by != 0) SignalSource::Obey(ended_by);
  return kSuccess;
}

int PlainColumns() {
  winsize size{};
  if (isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) {
    return size.ws_col;
  }
  const char* columns = std::getenv("COLUMNS");
  const long chosen = columns == nullptr ? 0 : std::strtol(columns, nullptr, 10);
  return chosen > 0 && chosen <= CellGrid::kMaxSide ? static_cast<int>(chosen) : kPlainColumns;
}

int PrintFrames(const TopOptions& options, Charset charset) {
  Watch watch(options);
  for (uint64_t left = options.frames.value_or(1); left != 0; --left) {
    watch.Take(true);
    watch.Update();
    std::string text = DrawPlain(watch.model, watch.state, PlainColumns(), charset).Text();
    if (left > 1) text += "\n";
    const int result = WriteOutput(text);
    if (result != kSuccess) return result;
    const uint64_t now = base::MonotonicNs();
    if (left > 1 && watch.next_take_ns() > now) {
      poll(nullptr, 0, static_cast<int>((watch.next_take_ns() - now) / kMillisecond));
    }
  }
  return kSuccess;
}

}  // namespace

int RunTop(const TopOptions& options) {
  const Charset of_locale = SetLocale();
  const Charset charset = options.ascii ? Charset::kAscii : of_locale;
  const bool on_terminal = !options.once && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  return on_terminal ? RunOnTerminal(options, charset) : PrintFrames(options, charset);
}

}  // namespace memtally::tools::top
