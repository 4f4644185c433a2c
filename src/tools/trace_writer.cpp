// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_writer.hpp"

#include <iterator>
#include <string>

#include <fmt/format.h>

#include "collect/snapshot.hpp"

namespace memtally::tools {
namespace {

// Kinds are spelled as the framework spells them.
std::string Spelled(const std::string& kind) {
  std::string name = kind;
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return name;
}

void AppendRecord(const Trace& trace, const TraceRecord& record, fmt::memory_buffer* text) {
  const auto out = std::back_inserter(*text);
  const int32_t chip = trace.chips.empty() ? 0 : trace.chips[record.chip];
  const std::string kind = trace.kind_names.empty() ? std::string() : Spelled(trace.kind_names[record.kind]);
  const auto timed = [&] { fmt::format_to(out, "{} {} ", record.time_ns, trace.threads[record.thread]); };
  switch (record.operation) {
    case TraceOperation::kDevice: {
      const TraceDevice& device = trace.devices[record.item];
      fmt::format_to(out, "device {} {} {} {}\n", chip, device.vendor, device.architecture, device.unique_id);
      break;
    }
    case TraceOperation::kKind: {
      const TraceKind& described = trace.kinds[record.item];
      if (described.implied) break;
      fmt::format_to(out, "kind {} {} {} {} {}\n", chip, kind, described.capacity_bytes, described.banks,
                     described.capacity_bytes_per_bank);
      break;
    }
    case TraceOperation::kAlloc:
      timed();
      fmt::format_to(out, "a {} {} {} {} {} {}\n", chip, kind, record.id, record.address, record.bytes_requested,
                     record.bytes_per_bank);
      break;
    case TraceOperation::kFree:
      timed();
      fmt::format_to(out, "f {} {} {}\n", chip, kind, record.id);
      break;
    case TraceOperation::kFailed:
      timed();
      fmt::format_to(out, "x {} {} {} {}\n", chip, kind, record.bytes_requested, record.bytes_per_bank);
      break;
    case TraceOperation::kClose:
      timed();
      fmt::format_to(out, "c {}\n", chip);
      break;
    case TraceOperation::kPushTag:
      timed();
      fmt::format_to(out, "> {}\n", trace.tags[record.item]);
      break;
    case TraceOperation::kPopTag:
      timed();
      fmt::format_to(out, "<\n");
      break;
    case TraceOperation::kView: {
      const TraceView& view = trace.views[record.item];
      fmt::format_to(out, "view {}", view.name);
      for (const TraceView::Entry& entry : view.entries) {
        fmt::format_to(out, " {} {} {}", Spelled(trace.kind_names[entry.kind]), entry.bytes_per_bank, entry.banks);
      }
      fmt::format_to(out, "\n");
      break;
    }
    case TraceOperation::kAnomaly: {
      const TraceAnomaly& anomaly = trace.anomalies[record.item];
      fmt::format_to(out, "anomaly {} {}\n", collect::AnomalyName(anomaly.anomaly), anomaly.count);
      break;
    }
  }
}

}  // namespace

void WriteTrace(const Trace& trace, const std::function<void(std::string_view)>& sink) {
  constexpr size_t kPieceBytes = size_t{1} << 16;
  fmt::memory_buffer text;
  fmt::format_to(std::back_inserter(text), "memtally-trace 1\n");
  for (const TraceRecord& record : trace.records) {
    AppendRecord(trace, record, &text);
    if (text.size() < kPieceBytes) continue;
    sink({text.data(), text.size()});
    text.clear();
  }
  sink({text.data(), text.size()});
}

}  // namespace memtally::tools
