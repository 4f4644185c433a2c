// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_reader.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>

#include "collect/snapshot.hpp"
#include "tools/terminal_text.hpp"
#include "tools/trace_file.hpp"

namespace memtally::tools {
namespace {

constexpr uint64_t kVersion = 1;
constexpr size_t kMaxLineBytes = size_t{1} << 20;
constexpr size_t kMaxErrors = 100;  // with keep_going; more are of no use to anybody

struct LineError {
  std::string expected;
  std::string_view found;
};

std::string LowerCase(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// The kind whose banks a kind has that no line describes; "" if it stands alone.
std::string_view MemoryOf(std::string_view kind) {
  if (kind == "cb" || kind == "dfb" || kind == "kernel" || kind == "l1_small") return "l1";
  return kind == "trace" ? "dram" : "";
}

// The fields of one line, one after the other.  Throws LineError, which never leaves this file.
class Fields {
 public:
  explicit Fields(std::string_view line) : rest_(line) {}

  bool empty() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  std::string_view Word(const char* expected) {
    const size_t end = std::min(rest_.find(' '), rest_.size());
    const std::string_view word = rest_.substr(0, end);
    if (word.empty()) throw LineError{expected, rest_.empty() ? "the end of the line" : rest_};
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return word;
  }

  template <typename Number>
  Number Value(const char* expected) {
    const std::string_view word = Word(expected);
    Number value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size()) throw LineError{expected, word};
    return value;
  }
  uint64_t Number(const char* expected) { return Value<uint64_t>(expected); }

  void End() const {
    if (!rest_.empty()) throw LineError{"the end of the line", rest_};
  }

 private:
  std::string_view rest_;
};

}  // namespace

struct TraceParser::State {
  std::string file;
  bool keep_going = false;
  bool stopped = false;
  bool usable = true;
  std::string carried;  // the beginning of a line whose end has not come yet
  uint32_t line = 0;
  std::vector<std::string> errors;
  Trace trace;

  std::unordered_map<uint64_t, uint16_t> thread_index;
  std::vector<uint32_t> tag_depth;  // by thread index
  std::unordered_map<int32_t, uint16_t> chip_index;
  std::unordered_map<std::string, uint16_t> kind_index;
  std::unordered_map<std::string, uint32_t> tag_index;
  std::map<std::pair<uint16_t, uint16_t>, uint32_t> described;  // (chip, kind) -> item of kinds
  uint64_t last_time_ns = 0;
  uint16_t last_thread = 0;

  void Report(std::string text) {
    errors.push_back(fmt::format("{}:{}: {}", file, line, text));
    if (!keep_going || errors.size() >= kMaxErrors) stopped = true;
    if (!keep_going) usable = false;
  }

  uint16_t IndexOfKind(std::string_view spelled) {
    std::string name = LowerCase(spelled);
    if (name.size() > 39) throw LineError{"a kind's name of at most 39 bytes", spelled};
    const auto found = kind_index.find(name);
    if (found != kind_index.end()) return found->second;
    if (trace.kind_names.size() >= MEMTALLY_MAX_ACCOUNTS) throw LineError{"fewer different kinds", spelled};
    const auto index = static_cast<uint16_t>(trace.kind_names.size());
    trace.kind_names.push_back(name);
    kind_index.emplace(std::move(name), index);
    return index;
  }

  uint16_t Chip(Fields* fields) {
    const std::string_view found = fields->rest();
    const auto chip = fields->Value<int32_t>("a chip (a number)");
    const auto index = chip_index.find(chip);
    if (index == chip_index.end()) throw LineError{"a chip that an earlier device line names", found};
    return index->second;
  }

  TraceRecord& Append(TraceOperation operation) {
    TraceRecord& record = trace.records.emplace_back();
    record.operation = operation;
    record.line = line;
    record.time_ns = last_time_ns;
    record.thread = last_thread;
    return record;
  }

  void FirstLine(std::string_view text) {
    Fields fields(text);
    const char* expected = "'memtally-trace' and a version";
    try {
      if (fields.Word(expected) != "memtally-trace") throw LineError{expected, text};
      const uint64_t version = fields.Number("a version (a number)");
      fields.End();
      if (version <= kVersion && version != 0) return;
      Report(fmt::format("expected version 1, found version {}; a newer memtally may read it", version));
    } catch (const LineError& error) {
      Report(fmt::format("expected {}, found '{}'", error.expected, TerminalText(error.found, 60)));
    }
    stopped = true;
    usable = false;
  }

  void Device(Fields fields) {
    const std::string_view found = fields.rest();
    const auto chip = fields.Value<int32_t>("a chip (a number)");
    if (chip < 0) throw LineError{"a chip from 0 on", found};
    TraceDevice device;
    device.vendor = fields.Word("the vendor of the device");
    device.architecture = fields.Word("the architecture of the device");
    device.unique_id = fields.Number("the unique id of the device (a number, 0 if unknown)");
    fields.End();
    if (!chip_index.contains(chip)) {
      if (trace.chips.size() >= 128) throw LineError{"at most 128 chips", found};
      chip_index.emplace(chip, static_cast<uint16_t>(trace.chips.size()));
      trace.chips.push_back(chip);
    }
    TraceRecord& record = Append(TraceOperation::kDevice);
    record.chip = chip_index[chip];
    record.item = static_cast<uint32_t>(trace.devices.size());
    trace.devices.push_back(std::move(device));
  }

  void AppendKind(uint16_t chip, uint16_t kind, const TraceKind& described_as) {
    TraceRecord& record = Append(TraceOperation::kKind);
    record.chip = chip;
    record.kind = kind;
    record.item = static_cast<uint32_t>(trace.kinds.size());
    described[{chip, kind}] = record.item;
    trace.kinds.push_back(described_as);
  }

  void Kind(Fields fields) {
    const uint16_t chip = Chip(&fields);
    const uint16_t kind = IndexOfKind(fields.Word("a kind"));
    TraceKind described_as;
    described_as.capacity_bytes = fields.Number("the capacity in bytes (a number)");
    const std::string_view found = fields.rest();
    described_as.banks = fields.Value<uint32_t>("the number of banks");
    if (described_as.banks == 0) throw LineError{"at least one bank", found};
    described_as.capacity_bytes_per_bank = fields.Number("the bytes a bank (a number)");
    fields.End();
    AppendKind(chip, kind, described_as);
  }

  // Kinds that no line describes get the banks of the memory that they lie in.
  void DescribeIfUnknown(uint16_t chip, uint16_t kind) {
    if (described.contains({chip, kind})) return;
    TraceKind implied;
    implied.implied = true;
    const auto memory = kind_index.find(std::string(MemoryOf(trace.kind_names[kind])));
    if (memory != kind_index.end()) {
      const auto account = described.find({chip, memory->second});
      if (account != described.end()) implied.banks = trace.kinds[account->second].banks;
    }
    AppendKind(chip, kind, implied);
  }

  void View(Fields fields) {
    TraceView view;
    view.name = fields.Word("the name of the view");
    while (!fields.empty()) {
      TraceView::Entry entry;
      entry.kind = IndexOfKind(fields.Word("a kind"));
      entry.bytes_per_bank = fields.Number("allocated bytes a bank (a number)");
      entry.banks = fields.Value<uint32_t>("the number of banks");
      view.entries.push_back(entry);
    }
    Append(TraceOperation::kView).item = static_cast<uint32_t>(trace.views.size());
    trace.views.push_back(std::move(view));
  }

  void Anomaly(Fields fields) {
    TraceAnomaly anomaly;
    const std::string_view name = fields.Word("the name of an anomaly");
    while (anomaly.anomaly < MEMTALLY_ANOMALIES && name != collect::AnomalyName(anomaly.anomaly)) ++anomaly.anomaly;
    if (anomaly.anomaly == MEMTALLY_ANOMALIES) throw LineError{"the name of an anomaly, such as unknown_free", name};
    anomaly.count = fields.Number("how often it was counted (a number)");
    fields.End();
    Append(TraceOperation::kAnomaly).item = static_cast<uint32_t>(trace.anomalies.size());
    trace.anomalies.push_back(anomaly);
  }

  uint16_t Thread(uint64_t thread, std::string_view found) {
    const auto known = thread_index.find(thread);
    if (known != thread_index.end()) return known->second;
    if (trace.threads.size() >= 65535) throw LineError{"at most 65535 threads", found};
    const auto index = static_cast<uint16_t>(trace.threads.size());
    thread_index.emplace(thread, index);
    trace.threads.push_back(thread);
    tag_depth.push_back(0);
    return index;
  }

  void Tag(std::string_view name) {
    if (name.empty()) throw LineError{"a tag", "the end of the line"};
    if (name.find('\0') != std::string_view::npos) throw LineError{"a tag without zero bytes", name};
    const auto [entry, is_new] = tag_index.emplace(name, static_cast<uint32_t>(trace.tags.size()));
    if (is_new) trace.tags.emplace_back(name);
    ++tag_depth[last_thread];
    Append(TraceOperation::kPushTag).item = entry->second;
  }

  void Timed(Fields fields) {
    const uint64_t time_ns = fields.Number("nanoseconds since the start, or one of device, kind, view, anomaly");
    const std::string_view found = fields.rest();
    const uint16_t thread = Thread(fields.Number("a thread (a number)"), found);
    const std::string_view operation = fields.Word("one of a, f, x, c, >, <");
    last_time_ns = time_ns;
    last_thread = thread;
    if (operation == "a" || operation == "x") {
      const bool succeeded = operation == "a";
      const uint16_t chip = Chip(&fields);
      const uint16_t kind = IndexOfKind(fields.Word("a kind"));
      const uint64_t id = succeeded ? fields.Number("the id of the buffer (a number)") : 0;
      const uint64_t address = succeeded ? fields.Number("the address of the buffer (a number)") : 0;
      const uint64_t bytes_requested = fields.Number("the bytes that were requested (a number)");
      const uint64_t bytes_per_bank = fields.Number("the bytes a bank or core (a number)");
      fields.End();
      DescribeIfUnknown(chip, kind);
      TraceRecord& record = Append(succeeded ? TraceOperation::kAlloc : TraceOperation::kFailed);
      record.chip = chip;
      record.kind = kind;
      record.id = id;
      record.address = address;
      record.bytes_requested = bytes_requested;
      record.bytes_per_bank = bytes_per_bank;
    } else if (operation == "f") {
      const uint16_t chip = Chip(&fields);
      const uint16_t kind = IndexOfKind(fields.Word("a kind"));
      const uint64_t id = fields.Number("the id of the buffer (a number)");
      fields.End();
      DescribeIfUnknown(chip, kind);
      TraceRecord& record = Append(TraceOperation::kFree);
      record.chip = chip;
      record.kind = kind;
      record.id = id;
    } else if (operation == "c") {
      const uint16_t chip = Chip(&fields);
      fields.End();
      Append(TraceOperation::kClose).chip = chip;
    } else if (operation == ">") {
      Tag(fields.rest());
    } else if (operation == "<") {
      fields.End();
      if (tag_depth[thread] == 0) throw LineError{"a tag of this thread to leave", "a '<' without its '>'"};
      --tag_depth[thread];
      Append(TraceOperation::kPopTag);
    } else {
      throw LineError{"one of a, f, x, c, >, <", operation};
    }
  }

  void Line(std::string_view text) {
    ++line;
    if (line == 1) return FirstLine(text);
    try {
      Fields fields(text);
      const std::string_view first = text.substr(0, text.find(' '));
      const Fields rest(text.substr(std::min(first.size() + 1, text.size())));
      if (first == "device") {
        Device(rest);
      } else if (first == "kind") {
        Kind(rest);
      } else if (first == "view") {
        View(rest);
      } else if (first == "anomaly") {
        Anomaly(rest);
      } else {
        Timed(fields);
      }
    } catch (const LineError& error) {
      Report(fmt::format("expected {}, found '{}'", error.expected, TerminalText(error.found, 60)));
    }
  }
};

TraceParser::TraceParser(std::string file, bool keep_going) : state_(std::make_unique<State>()) {
  state_->file = std::move(file);
  state_->keep_going = keep_going;
}

TraceParser::~TraceParser() = default;

bool TraceParser::Add(std::string_view text) {
  while (!text.empty() && !state_->stopped) {
    const size_t end = text.find('\n');
    const std::string_view piece = text.substr(0, end);
    if (state_->carried.size() + piece.size() > kMaxLineBytes) {
      ++state_->line;
      state_->Report("expected lines of at most 1 MiB, found a longer one");
      state_->stopped = true;
      state_->usable = false;
      break;
    }
    if (end == std::string_view::npos) {
      state_->carried += piece;
      break;
    }
    if (state_->carried.empty()) {
      state_->Line(piece);
    } else {
      state_->carried += piece;
      state_->Line(std::exchange(state_->carried, std::string()));
    }
    text.remove_prefix(end + 1);
  }
  return !state_->stopped;
}

bool TraceParser::Finish(Trace* trace) {
  State& state = *state_;
  if (!state.stopped && !state.carried.empty()) state.Line(std::exchange(state.carried, std::string()));
  if (!state.stopped && state.line == 0) {
    state.line = 1;
    state.FirstLine({});
  }
  for (const TraceRecord& record : state.trace.records) {
    if (IsEvent(record.operation)) ++state.trace.events;
  }
  if (!state.usable) return false;
  *trace = std::move(state.trace);
  return true;
}

const std::vector<std::string>& TraceParser::errors() const { return state_->errors; }

bool ReadTrace(const std::string& path, bool keep_going, Trace* trace, std::vector<std::string>* errors) {
  TraceParser parser(path == "-" ? "standard input" : TerminalText(path), keep_going);
  std::string unreadable;
  const bool read = ReadTextFile(
      path, [&](std::string_view text) { return parser.Add(text); }, &unreadable);
  bool usable = parser.Finish(trace);
  *errors = parser.errors();
  if (!read) {
    // What was wrong with the text is a consequence, unless it came before.
    if (!usable) errors->clear();
    errors->push_back(unreadable);
    usable = usable && keep_going;
  }
  if (usable) trace->name = TraceStem(path);
  return usable;
}

}  // namespace memtally::tools
