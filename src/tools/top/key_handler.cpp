// SPDX-License-Identifier: Apache-2.0
#include "tools/top/key_handler.hpp"

#include <algorithm>
#include <utility>

#include "tools/terminal_text.hpp"
#include "tools/top/kill_process.hpp"
#include "tools/top/list_keys.hpp"

namespace memtally::tools::top {
namespace {

constexpr const char* kDefaultFile = "memtally-top.txt";

class Handler {
 public:
  Handler(const Model& model, const ScreenMap& map, TopState* state) : model_(model), map_(map), state_(*state) {}

  Effect Handle(const Key& key) {
    state_.message.clear();
    state_.message_is_bad = false;
    if (key.code == KeyCode::kControlL) return {Effect::Kind::kRedraw, "", {}};
    if (state_.question != Question::kNone) return Answer(key);
    if (state_.help) return InHelp(key);
    if (key.Is(U'q') || key.Is(U'Q') || key.code == KeyCode::kF10) return {Effect::Kind::kQuit, "", {}};
    if (Anywhere(key)) return {};
    if (state_.view == View::kProcess) {
      InProcess(key);
    } else {
      InMachine(key);
    }
    return {};
  }

 private:
  // ---- questions ----

  void Ask(Question question, std::string text = "") {
    state_.question = question;
    state_.line = LineEditor(std::move(text));
  }

  void Say(std::string text, bool bad) {
    state_.message = std::move(text);
    state_.message_is_bad = bad;
  }

  Effect Answer(const Key& key) {
    if (state_.question == Question::kKill) return AnswerKill(key);
    if (key.code == KeyCode::kEscape) {
      state_.question = Question::kNone;
      return {};
    }
    if (key.code != KeyCode::kEnter) {
      state_.line.Take(key);
      return {};
    }
    const std::string answer = state_.line.text();
    if (state_.question == Question::kFile) {
      state_.question = Question::kNone;
      if (answer.empty()) return {};
      return {Effect::Kind::kSave, answer, {}};
    }
    if (answer.empty()) {
      state_.filter = nullptr;
      state_.question = Question::kNone;
      return {};
    }
    std::string error;
    std::shared_ptr<const RowFilter> filter = RowFilter::Compile(answer, &error);
    if (filter == nullptr) {
      Say("not a regular expression: " + error, true);
      return {};
    }
    state_.filter = std::move(filter);
    state_.question = Question::kNone;
    return {};
  }

  // Only a plain yes sends anything.
  Effect AnswerKill(const Key& key) {
    const size_t count = kKillSignals.size();
    size_t& signal = state_.kill.signal;
    if (key.code == KeyCode::kTab || key.code == KeyCode::kRight) {
      signal = (signal + 1) % count;
      return {};
    }
    if (key.code == KeyCode::kBackTab || key.code == KeyCode::kLeft) {
      signal = (signal + count - 1) % count;
      return {};
    }
    // The mouse may move while a person reads.
    if (key.code == KeyCode::kWheelUp || key.code == KeyCode::kWheelDown) return {};
    state_.question = Question::kNone;
    if (key.Is(U'y') || key.Is(U'Y')) return {Effect::Kind::kKill, "", state_.kill};
    Say("Nothing was sent.", false);
    return {};
  }

  void AskToKill() {
    if (state_.read_only) return Say("Started with --readonly: nothing is sent to any process.", true);
    const ProcessRow* row = SelectedRow(model_, state_);
    const collect::Process* process = row == nullptr ? nullptr : row->process;
    if (state_.view == View::kProcess) process = model_.opened();
    if (process == nullptr) return Say("No process is chosen.", true);
    const std::string why_not = WhyNotKill(*process);
    if (!why_not.empty()) return Say("It cannot be sent a signal: " + why_not + ".", true);
    state_.kill = MakeKillOrder(*process);
    Ask(Question::kKill);
  }

  // ---- keys ----

  Effect InHelp(const Key& key) {
    state_.help_place.first = map_.first_line;
    if (key.Is(U'q') || key.code == KeyCode::kEscape || key.Is(U'h') || key.Is(U'?') || key.code == KeyCode::kF1 ||
        key.code == KeyCode::kEnter || key.code == KeyCode::kF10) {
      state_.help = false;
      return {};
    }
    ScrollByKey(key, map_, &state_.help_place.first);
    return {};
  }

  // Whether the key means the same in all views.
  bool Anywhere(const Key& key) {
    if (key.Is(U'h') || key.Is(U'?') || key.code == KeyCode::kF1) {
      state_.help = true;
      state_.help_place = {};
    } else if (key.Is(U' ')) {
      state_.paused = !state_.paused;
    } else if (key.Is(U's')) {
      Ask(Question::kFile, kDefaultFile);
    } else if (key.Is(U'k') || key.code == KeyCode::kF9) {
      AskToKill();
    } else {
      return false;
    }
    return true;
  }

  void InMachine(const Key& key) {
    state_.list.first = map_.first_line;
    if (key.code == KeyCode::kClick) return Click(key);
    const Target* under =
        key.code == KeyCode::kWheelUp || key.code == KeyCode::kWheelDown ? map_.At(key.x, key.y) : nullptr;
    if (under != nullptr && under->kind == Target::Kind::kDevices) {
      return ScrollDevices(key.code == KeyCode::kWheelDown ? 1 : -1);
    }
    if (MoveByKey(key, map_, &state_.list.cursor)) return SelectLine(key);
    if (key.code == KeyCode::kEnter) return Open();
    if (key.code == KeyCode::kEscape) {
      state_.filter = nullptr;
      return;
    }
    if (key.code == KeyCode::kF4) return Ask(Question::kFilter, FilterText());
    if (key.code == KeyCode::kF5) return Toggle(&state_.tree);
    if (key.code == KeyCode::kF6) return SortBeside(1);
    if (key.code == KeyCode::kCharacter) Letter(key.character);
  }

  void Letter(char32_t letter) {
    switch (letter) {
      case U'/':
        return Ask(Question::kFilter, FilterText());
      case U'<':
      case U',':
        return SortBeside(-1);
      case U'>':
      case U'.':
        return SortBeside(1);
      case U'I':
        return Toggle(&state_.sort.descending);
      case U'M':
        return SortBy({Column::kReserved, "", false});
      case U'N':
        return SortBy({Column::kPid, "", true});
      case U'A':
        return SortBy({Column::kAnomalies, "", false});
      case U'B':
        return SortBy({Column::kBuffers, "", false});
      case U't':
        return Toggle(&state_.tree);
      case U'm':
        return Toggle(&state_.by_memory);
      case U'c':
        return Toggle(&state_.show_path);
      case U'a':
        return Toggle(&state_.all_dead);
      case U'[':
        return ScrollDevices(-1);
      case U']':
        return ScrollDevices(1);
      default:
        return;
    }
  }

  void InProcess(const Key& key) {
    ListPlace& place = state_.places[static_cast<size_t>(state_.tab)];
    place.first = map_.first_line;
    if (key.code == KeyCode::kEscape || key.code == KeyCode::kBackspace) {
      state_.view = View::kMachine;
      state_.opened.reset();
      return;
    }
    if (key.code == KeyCode::kClick) return Click(key);
    if (key.code == KeyCode::kTab) return ChooseTab((static_cast<size_t>(state_.tab) + 1) % kTabs);
    if (key.code == KeyCode::kBackTab) return ChooseTab((static_cast<size_t>(state_.tab) + kTabs - 1) % kTabs);
    if (key.code == KeyCode::kCharacter && key.character >= U'1' && key.character < U'1' + kTabs) {
      return ChooseTab(key.character - U'1');
    }
    if (MoveByKey(key, map_, &place.cursor)) return;
    FoldByKey(key, model_.detail(), &place.cursor, &state_.folds);
  }

  void Click(const Key& key) {
    const Target* target = map_.At(key.x, key.y);
    if (target == nullptr) return;
    ListPlace& place = state_.places[static_cast<size_t>(state_.tab)];
    switch (target->kind) {
      case Target::Kind::kHeading:
        if (target->index < map_.columns.size()) SortBy(map_.columns[target->index]);
        return;
      case Target::Kind::kProcessLine: {
        const bool again = state_.list.cursor == target->index && state_.selected;
        state_.list.cursor = target->index;
        SelectLine(key);
        if (again) Open();
        return;
      }
      case Target::Kind::kTab:
        return ChooseTab(target->index);
      case Target::Kind::kDetailLine:
        if (place.cursor == target->index) {
          FoldByKey({KeyCode::kEnter}, model_.detail(), &place.cursor, &state_.folds);
        }
        place.cursor = target->index;
        return;
      case Target::Kind::kDevices:
        return;
    }
  }

  // ---- what they do ----

  static void Toggle(bool* flag) { *flag = !*flag; }

  std::string FilterText() const { return state_.filter == nullptr ? "" : state_.filter->expression(); }

  // The process on the cursor's line; headings are skipped in the direction of the key.
  void SelectLine(const Key& key) {
    const ProcessList& list = model_.list();
    if (list.lines.empty()) return;
    const bool upwards = key.code == KeyCode::kUp || key.code == KeyCode::kPageUp || key.code == KeyCode::kWheelUp;
    size_t& cursor = state_.list.cursor;
    cursor = std::min(cursor, list.lines.size() - 1);
    const auto skip = [&](bool up) {
      while (!list.lines[cursor].row && (up ? cursor > 0 : cursor + 1 < list.lines.size())) cursor += up ? -1 : 1;
    };
    skip(upwards);
    skip(!upwards);
    if (list.lines[cursor].row) state_.selected = list.rows[*list.lines[cursor].row].process->key();
  }

  void Open() {
    const ProcessRow* row = SelectedRow(model_, state_);
    if (row == nullptr) return;
    state_.selected = row->process->key();
    state_.opened = row->process->key();
    state_.view = View::kProcess;
    state_.tab = Tab::kTags;
    state_.places = {};
    state_.folds = {};
  }

  void ChooseTab(size_t tab) { state_.tab = static_cast<Tab>(std::min(tab, kTabs - 1)); }

  void SortBy(const ShownColumn& column) {
    const bool same = column.column == state_.sort.column && column.memory == state_.sort.memory;
    state_.sort = {column.column, column.memory, same ? !state_.sort.descending : !column.is_text};
  }

  void SortBeside(int step) {
    const std::vector<ShownColumn>& columns = map_.columns;
    if (columns.empty()) return;
    const auto now = std::find_if(columns.begin(), columns.end(), [&](const ShownColumn& column) {
      return column.column == state_.sort.column && column.memory == state_.sort.memory;
    });
    const auto at = static_cast<int>(now == columns.end() ? 0 : now - columns.begin());
    const auto count = static_cast<int>(columns.size());
    const ShownColumn& next = columns[static_cast<size_t>((at + step + count) % count)];
    state_.sort = {next.column, next.memory, !next.is_text};
  }

  void ScrollDevices(int step) {
    const size_t last = map_.device_lines > map_.device_page ? map_.device_lines - map_.device_page : 0;
    size_t& first = state_.first_device_line;
    if (step < 0) first -= std::min<size_t>(first, 1);
    if (step > 0) ++first;
    first = std::min(first, last);
  }

  const Model& model_;
  const ScreenMap& map_;
  TopState& state_;
};

}  // namespace

Effect HandleKey(const Key& key, const Model& model, const ScreenMap& map, TopState* state) {
  return Handler(model, map, state).Handle(key);
}

}  // namespace memtally::tools::top
