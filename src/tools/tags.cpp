// SPDX-License-Identifier: Apache-2.0
//
// memtally tags: what is held, as a tree of the programs' own tags.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collect/collector.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/buffer_list.hpp"
#include "tools/number_option.hpp"
#include "tools/process_choice.hpp"
#include "tools/screen_units.hpp"
#include "tools/subcommand.hpp"
#include "tools/table_printer.hpp"
#include "tools/tag_option.hpp"
#include "tools/tag_tree.hpp"
#include "tools/terminal_text.hpp"
#include "tools/view.hpp"

namespace memtally::tools {
namespace {

using collect::JsonWriter;
using collect::Process;
using Align = TablePrinter::Align;

struct Arguments {
  ViewOptions view;
  ProcessChoice choice;
  BufferFilter filter;
  std::string order = "size";
  std::optional<uint64_t> depth;
  bool merge = false;
  bool bars = false;
};

// In the order of enum TagOrder.
const std::vector<std::string> kOrders = {"size", "name", "count"};

// A tree, and what it is of.
struct Forest {
  TagTree tree;
  std::optional<uint32_t> process;  // index of the set's processes; none: merged
  bool exact = true;
  uint64_t imported = 0;
  std::map<std::string, Amount> left_out;  // kinds that take up no bytes of a device memory of their own
};

// Whether buffers of the account are bytes of a device memory, each its own.
bool AddsUp(const LedgerView& facts, const LedgerAccount& account) {
  const LedgerKind* kind = facts.kind(account.kind);
  return kind == nullptr || (!kind->overlaps && !kind->inside && !kind->on_host);
}

std::vector<Forest> Grow(const ProcessSet& set, const Arguments& arguments) {
  const BufferList list(set.processes, arguments.filter);
  std::vector<Forest> forests(arguments.merge ? 1 : set.processes.size());
  for (uint32_t i = 0; i < set.processes.size(); ++i) {
    Forest& forest = forests[arguments.merge ? 0 : i];
    if (!arguments.merge) forest.process = i;
    forest.exact = forest.exact && set.processes[i]->facts.buffers_exact;
  }
  for (const BufferRow& row : list.rows()) {
    const LedgerView& facts = set.processes[row.process]->facts;
    Forest& forest = forests[arguments.merge ? 0 : row.process];
    const Amount amount = {1, row.buffer->bytes_requested, row.bytes_reserved};
    if (row.buffer->imported) {
      ++forest.imported;
    } else if (arguments.filter.kind.empty() && !AddsUp(facts, *row.account)) {
      Amount& sum = forest.left_out[collect::KindName(facts, row.account->kind)];
      sum.count += 1;
      sum.bytes_requested += amount.bytes_requested;
      sum.bytes_reserved += amount.bytes_reserved;
    } else {
      forest.tree.Add(facts, row.buffer->tag, amount);
    }
  }
  const auto order =
      static_cast<TagOrder>(std::find(kOrders.begin(), kOrders.end(), arguments.order) - kOrders.begin());
  for (Forest& forest : forests) forest.tree.Finish(order);
  return forests;
}

// ---- screen ----

class TreeTable {
 public:
  TreeTable(const Forest& forest, const Arguments& arguments)
      : forest_(forest), arguments_(arguments), table_(Columns(arguments.bars)) {
    const TagTree::Node& root = forest.tree.root();
    for (const uint32_t child : root.children) AddNode(child, 0);
    if (root.own.count != 0) AddRow(root.own, root.own, "-");
  }

  std::string Text(const ScreenFormat& format) const { return table_.Text(format); }

 private:
  static std::vector<TablePrinter::Column> Columns(bool bars) {
    std::vector<TablePrinter::Column> columns = {{"RESERVED", Align::kRight},
                                                 {"%", Align::kRight},
                                                 {"ITSELF", Align::kRight},
                                                 {"REQUESTED", Align::kRight},
                                                 {"BUFFERS", Align::kRight}};
    if (bars) columns.push_back({"SHARE"});
    columns.push_back({"TAG", Align::kLeft, 12});
    return columns;
  }

  void AddNode(uint32_t place, uint64_t depth) {
    const TagTree::Node& node = forest_.tree.nodes()[place];
    const bool folded = arguments_.depth && depth + 1 >= *arguments_.depth && !node.children.empty();
    std::string name = TerminalText(node.name, 200);
    name.insert(0, 2 * depth, ' ');
    if (folded) name += fmt::format(" (+{})", forest_.tree.DescendantsOf(place));
    AddRow(node.total, node.own, std::move(name));
    if (folded) return;
    for (const uint32_t child : node.children) AddNode(child, depth + 1);
  }

  void AddRow(const Amount& total, const Amount& own, std::string name) {
    const uint64_t whole = forest_.tree.root().total.bytes_reserved;
    const bool inexact = !forest_.exact;
    std::vector<TablePrinter::Cell> cells = {
        ScreenBytes(total.bytes_reserved, inexact), ScreenPercent(total.bytes_reserved, whole, inexact),
        own.count == 0 ? "-" : ScreenBytes(own.bytes_reserved, inexact), ScreenBytes(total.bytes_requested, inexact),
        ScreenCount(total.count, inexact)};
    if (arguments_.bars) {
      constexpr double kBarColumns = 20;
      const double share =
          whole == 0 ? 0 : static_cast<double>(total.bytes_reserved) / static_cast<double>(whole) * kBarColumns;
      cells.emplace_back(std::string(static_cast<size_t>(std::lround(share)), '#'));
    }
    cells.emplace_back(std::move(name));
    table_.AddRow(std::move(cells));
  }

  const Forest& forest_;
  const Arguments& arguments_;
  TablePrinter table_;
};

std::string HeadLine(const ProcessSet& set, const Forest& forest) {
  const Amount& total = forest.tree.root().total;
  std::string who = fmt::format("{} process{}", set.processes.size(), set.processes.size() == 1 ? "" : "es");
  if (forest.process) {
    const Process& process = *set.processes[*forest.process];
    who = fmt::format("{} {} {}", process.pid, collect::StateName(process.facts.liveness),
                      TerminalText(process.facts.identity.comm, 64));
  }
  return fmt::format("{}: {} in {} buffer{}", who, ScreenBytes(total.bytes_reserved, !forest.exact),
                     ScreenCount(total.count, !forest.exact), total.count == 1 ? "" : "s");
}

std::string ScreenText(const ProcessSet& set, const std::vector<Forest>& forests, const Arguments& arguments,
                       const ScreenFormat& format) {
  std::string text;
  for (const Forest& forest : forests) {
    if (forest.tree.root().total.count == 0 && forest.left_out.empty() && forest.imported == 0) continue;
    if (!text.empty()) text += '\n';
    AppendLine(HeadLine(set, forest), Style::kBold, format, &text);
    if (forest.tree.root().total.count != 0) text += TreeTable(forest, arguments).Text(format);
    for (const auto& [kind, sum] : forest.left_out) {
      const std::string name = TerminalText(kind, 40);
      text +=
          fmt::format("left out: {} {} buffers, whose bytes are no device memory of their own; --kind {} shows them\n",
                      sum.count, name, name);
    }
    if (forest.imported != 0) {
      AppendLine(fmt::format("left out: {} imported buffers", forest.imported), Style::kPlain, format, &text);
    }
  }
  return text.empty() ? "No live buffers.\n" : text;
}

// ---- JSON ----

void WriteNode(const TagTree& tree, uint32_t place, uint64_t depth, const Arguments& arguments, JsonWriter* json) {
  const TagTree::Node& node = tree.nodes()[place];
  json->BeginObject();
  json->Field("name", node.name);
  json->Key("own");
  collect::WriteAmount(node.own, json);
  json->Key("total");
  collect::WriteAmount(node.total, json);
  const bool folded = arguments.depth && depth >= *arguments.depth;
  json->Field("folded", folded ? tree.DescendantsOf(place) : 0);
  json->Key("children");
  json->BeginArray();
  if (!folded) {
    for (const uint32_t child : node.children) WriteNode(tree, child, depth + 1, arguments, json);
  }
  json->EndArray();
  json->EndObject();
}

std::string JsonText(const ProcessSet& set, const std::vector<Forest>& forests, const Arguments& arguments,
                     JsonWriter::Layout layout) {
  JsonWriter json(layout);
  json.BeginObject();
  collect::WriteHead("memtally.tags", *set.machine, &json);
  json.Key("processes");
  json.BeginArray();
  for (const Process* process : set.processes) {
    collect::WriteProcess(*process, {.accounts = false, .contents = false}, &json);
  }
  json.EndArray();
  json.Key("trees");
  json.BeginArray();
  for (const Forest& forest : forests) {
    json.BeginObject();
    json.OptionalField("process", forest.process);
    json.Flag("exact", forest.exact);
    json.Field("imported_count", forest.imported);
    json.Key("left_out");
    json.BeginArray();
    for (const auto& [kind, sum] : forest.left_out) {
      json.BeginObject();
      json.Field("kind", kind);
      json.Key("amount");
      collect::WriteAmount(sum, &json);
      json.EndObject();
    }
    json.EndArray();
    json.Key("root");
    WriteNode(forest.tree, 0, 0, arguments, &json);
    json.EndObject();
  }
  json.EndArray();
  collect::WriteProblems(*set.machine, &json);
  json.EndObject();
  return json.Take();
}

int Run(const Arguments& arguments) {
  collect::Collector collector(CollectorOptions(arguments.choice));
  return RunView(arguments.view, "memtally tags", [&](const FrameFormat& format) {
    Frame frame;
    const ProcessSet set = TakeChosen(&collector, arguments.choice, &frame);
    if (frame.result != kSuccess && !arguments.view.watch_seconds) return frame;
    const std::vector<Forest> forests = Grow(set, arguments);
    frame.text = format.json ? JsonText(set, forests, arguments, format.layout)
                             : ScreenText(set, forests, arguments, format.screen);
    return frame;
  });
}

}  // namespace

void AddTags(CLI::App* app, Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* tags = app->add_subcommand("tags", "Shows what is held as a tree of the programs' own tags");
  AddProcessOptions(tags, &arguments->choice);
  AddOwnerOptions(tags, &arguments->choice);
  tags->add_option("--device", arguments->filter.device, "On this device only, by the program's own number")
      ->type_name("N");
  tags->add_option("--kind", arguments->filter.kind,
                   "Of this kind only (default: all that are device memory of their own)")
      ->type_name("KIND");
  AddTagOption(tags, &arguments->filter.tag);
  tags->add_flag("--merge", arguments->merge, "One tree for all processes, not one for each");
  tags->add_option("--depth", arguments->depth, "At most so many levels; what is below is counted in")
      ->check(NotNegative())
      ->check(CLI::Range(uint64_t{1}, std::numeric_limits<uint64_t>::max()).description(""))
      ->type_name("N");
  tags->add_option("--sort", arguments->order, "size (the default), name or count")
      ->check(CLI::IsMember(kOrders).description(""))
      ->type_name("ORDER");
  tags->add_flag("--bars", arguments->bars, "Draw each share");
  AddViewOptions(tags, "memtally.tags", &arguments->view);
  tags->callback([arguments, action] { *action = [arguments] { return Run(*arguments); }; });
}

}  // namespace memtally::tools
