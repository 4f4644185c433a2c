// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/live_show.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/proc.hpp"
#include "collect/collector.hpp"
#include "tools/demo/caption.hpp"
#include "tools/demo/stage.hpp"
#include "tools/demo/story.hpp"
#include "tools/demo/storyteller.hpp"
#include "tools/subcommand.hpp"
#include "tools/terminal_text.hpp"
#include "tools/top/curses_screen.hpp"
#include "tools/top/draw.hpp"
#include "tools/top/key_handler.hpp"
#include "tools/top/kill_process.hpp"
#include "tools/top/model.hpp"
#include "tools/top/screen_file.hpp"
#include "tools/top/signal_source.hpp"

namespace memtally::tools::demo {
namespace {

// Between frames.  A story in a hurry has more of them, or it would have to wait for them.
constexpr double kRefreshMs = 250;
constexpr double kLeastRefreshMs = 50;
constexpr uint64_t kHistoryEveryNs = 1'000'000'000;
constexpr std::array<int, 7> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};

top::Tab TabOf(Scene scene) {
  switch (scene) {
    case Scene::kChatFailed:
      return top::Tab::kFailed;
    case Scene::kChatOldest:
      return top::Tab::kOldest;
    default:
      return top::Tab::kTags;
  }
}

class LiveShow {
 public:
  LiveShow(double hurry, double linger_seconds, top::Charset charset, top::CursesScreen* screen,
           top::SignalSource* signals)
      : teller_(&stage_, hurry, linger_seconds), charset_(charset), screen_(*screen), signals_(*signals) {
    frame_ms_ = static_cast<uint64_t>(std::clamp(2 * kRefreshMs / hurry, kLeastRefreshMs, kRefreshMs));
    state_.refresh_ms = frame_ms_;
  }

  // Returns the signal that asked for an end, 0 if a person or the story did.
  int Run() {
    while (!done_ && !teller_.is_over()) {
      facts_ = stage_.Look();
      if (teller_.Advance(facts_, base::MonotonicNs())) SetScene();
      TakeSnapshot();
      Show();
      Wait();
    }
    return ended_by_;
  }

 private:
  void TakeSnapshot() {
    collect::SnapshotRequest request;
    request.extents = true;
    if (state_.opened) {
      request.level = collect::Level::kProcess;
      request.process = state_.opened;
    }
    collector_.Discover();
    snapshot_ = collector_.Take(request);
    const uint64_t now_ns = base::MonotonicNs();
    if (teller_.paused() || now_ns < next_history_ns_) return;
    next_history_ns_ = now_ns + kHistoryEveryNs;
    state_.history.Record(*snapshot_);
  }

  // Points the view at what the step is about.
  void SetScene() {
    const Scene scene = teller_.step()->scene;
    state_.help = false;
    state_.question = top::Question::kNone;
    state_.view = top::View::kMachine;
    state_.opened.reset();
    if (facts_.chat != nullptr && scene != Scene::kMachine) {
      state_.view = top::View::kProcess;
      state_.opened = facts_.chat->key();
      state_.selected = state_.opened;
      state_.tab = TabOf(scene);
      state_.places = {};
      state_.folds = {};
      if (scene == Scene::kChatOldest) {
        // With some of what is older above it.
        constexpr size_t kAbove = 3;
        const size_t line = OlderThanTag(*facts_.chat, kLeakTag);
        state_.places[static_cast<size_t>(state_.tab)] = {line, line - std::min(line, kAbove)};
      }
    }
  }

  // Until it is time for the next frame, or somebody did something.
  void Wait() {
    const uint64_t end_ns = base::MonotonicNs() + frame_ms_ * 1'000'000;
    while (!done_) {
      const uint64_t now_ns = base::MonotonicNs();
      if (now_ns >= end_ns) return;
      std::array<pollfd, 2> fds = {{{STDIN_FILENO, POLLIN, 0}, {signals_.fd(), POLLIN, 0}}};
      const int timeout_ms = static_cast<int>((end_ns - now_ns) / 1'000'000) + 1;
      if (poll(fds.data(), fds.size(), timeout_ms) <= 0) continue;
      // The terminal is gone.
      if ((fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) done_ = true;
      bool changed = false;
      while (const std::optional<int> signal = signals_.Next()) {
        TakeSignal(*signal);
        changed = true;
      }
      while (const std::optional<top::Key> key = done_ ? std::nullopt : screen_.ReadKey()) {
        TakeKey(*key);
        changed = true;
      }
      if (changed) return;
    }
  }

  void TakeSignal(int signal) {
    switch (signal) {
      case SIGWINCH:
        return;
      case SIGTSTP: {
        const bool was_paused = teller_.paused();
        teller_.SetPaused(true);
        screen_.Suspend();
        top::SignalSource::Obey(SIGTSTP);
        screen_.Resume();
        teller_.SetPaused(was_paused);
        return;
      }
      case SIGCONT:
        screen_.Resume();
        return;
      default:
        done_ = true;
        ended_by_ = signal == SIGINT ? 0 : signal;
    }
  }

  void TakeKey(const top::Key& key) {
    const bool is_plain = state_.question == top::Question::kNone;
    if (is_plain && key.Is(U'n')) return teller_.WantNext();
    if (is_plain && key.Is(U' ')) return teller_.SetPaused(!teller_.paused());
    const top::Effect effect = top::HandleKey(key, model_, map_, &state_);
    // Whoever looks around is not called away.
    if (effect.kind != top::Effect::Kind::kRedraw) teller_.Hold();
    Obey(effect);
    Update();
  }

  void Obey(const top::Effect& effect) {
    switch (effect.kind) {
      case top::Effect::Kind::kNone:
        return;
      case top::Effect::Kind::kQuit:
        done_ = true;
        return;
      case top::Effect::Kind::kRedraw:
        screen_.Forget();
        return;
      case top::Effect::Kind::kSave: {
        const std::string problem = top::WriteScreenFile(grid_, effect.file);
        Say(problem.empty() ? "Written to " + TerminalText(effect.file, 60, Cut::kBegin) : problem, !problem.empty());
        return;
      }
      case top::Effect::Kind::kKill: {
        const std::string problem = top::SendSignal(effect.order);
        Say(problem.empty() ? "The signal was sent." : "Nothing was sent: " + problem, !problem.empty());
        return;
      }
    }
  }

  void Say(std::string text, bool bad) {
    state_.message = std::move(text);
    state_.message_is_bad = bad;
  }

  void Update() {
    model_.Update(snapshot_, &state_);
    if (model_.opened() == nullptr || model_.opened()->has_buffers || asked_ == state_.opened) return;
    asked_ = state_.opened;  // not read yet, since it was opened just now
    TakeSnapshot();
    model_.Update(snapshot_, &state_);
  }

  // The view above, the caption below.
  void Show() {
    Update();
    const auto [width, height] = screen_.Resize();
    grid_ = top::CellGrid(width, height, charset_);
    const int lines = CaptionLines(width, height);
    top::CellGrid view(width, height - lines, charset_);
    map_ = top::Draw(model_, state_, &view);
    for (int y = 0; y < view.height(); ++y) {
      for (int x = 0; x < width; ++x) {
        const top::Cell& cell = view.at(x, y);
        if (cell.width == 0) continue;
        grid_.Put(x, y, cell.text, cell.style);
        if (cell.style.selected) grid_.Select(x, y, cell.width);
      }
    }
    const top::Pane all(&grid_);
    DrawCaption(teller_, facts_, all.Sub(0, view.height(), width, lines));
    screen_.Show(grid_);
  }

  Stage stage_;
  Storyteller teller_;
  Facts facts_;
  // What others publish of the machine is nobody's business here.
  collect::Collector collector_{{.passive_directory = ""}};
  std::shared_ptr<const collect::Snapshot> snapshot_;
  std::optional<collect::ProcessKey> asked_;
  top::TopState state_;
  top::Model model_;
  top::ScreenMap map_;
  top::CellGrid grid_{0, 0};
  const top::Charset charset_;
  top::CursesScreen& screen_;
  top::SignalSource& signals_;
  uint64_t frame_ms_ = 0;
  uint64_t next_history_ns_ = 0;
  bool done_ = false;
  int ended_by_ = 0;
};

}  // namespace

int ShowLive(double hurry, double linger_seconds, bool* drawn, int* signal) {
  const top::Charset charset = top::SetLocale();
  const char* no_color = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): one thread
  const bool colors = no_color == nullptr || *no_color == 0;
  top::SignalSource signals(kSignals);
  std::string error;
  const std::unique_ptr<top::CursesScreen> screen = top::CursesScreen::Open(colors, &error);
  *drawn = screen != nullptr;
  if (screen == nullptr) return kFailure;
  *signal = LiveShow(hurry, linger_seconds, charset, screen.get(), &signals).Run();
  return kSuccess;
}

}  // namespace memtally::tools::demo
