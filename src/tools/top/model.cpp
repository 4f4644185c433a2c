// SPDX-License-Identifier: Apache-2.0
#include "tools/top/model.hpp"

#include <algorithm>
#include <utility>

namespace memtally::tools::top {
namespace {

// The selection follows its process; when that is gone, the line stays.
void SettleSelection(const ProcessList& list, TopState* state) {
  const std::optional<size_t> line = state->selected ? list.LineOf(*state->selected) : std::nullopt;
  size_t& cursor = state->list.cursor;
  if (line) cursor = *line;
  cursor = std::min(cursor, list.lines.empty() ? 0 : list.lines.size() - 1);
  if (line || list.lines.empty()) return;
  // Headings cannot be selected.
  size_t at = cursor;
  while (at < list.lines.size() && !list.lines[at].row) ++at;
  if (at == list.lines.size()) {
    at = cursor;
    while (at > 0 && !list.lines[at].row) --at;
  }
  cursor = at;
  if (state->selected && list.lines[at].row) state->selected = list.rows[*list.lines[at].row].process->key();
}

}  // namespace

void Model::Update(std::shared_ptr<const collect::Snapshot> snapshot, TopState* state) {
  ListRequest request;
  request.sort = state->sort;
  request.tree = state->tree;
  request.all_dead = state->all_dead;
  request.show_path = state->show_path;
  request.devices = state->devices;
  request.filter = state->filter.get();
  list_ = ListProcesses(*snapshot, request);
  banner_ = BuildBanner(*snapshot);
  SettleSelection(list_, state);

  opened_ = state->opened ? collect::FindProcess(*snapshot, *state->opened) : nullptr;
  DetailKey key{state->opened, state->tab, state->folds};
  if (opened_ == nullptr) {
    detail_ = {};
    detail_key_ = {};
  } else if (key != detail_key_ || snapshot != snapshot_) {
    detail_ = BuildDetail(*snapshot, *opened_, state->tab, state->folds);
    detail_key_ = std::move(key);
  }
  snapshot_ = std::move(snapshot);
  ListPlace& place = state->places[static_cast<size_t>(state->tab)];
  place.cursor = std::min(place.cursor, detail_.count == 0 ? 0 : detail_.count - 1);
}

const ProcessRow* SelectedRow(const Model& model, const TopState& state) {
  const ProcessList& list = model.list();
  if (state.list.cursor >= list.lines.size()) return nullptr;
  const std::optional<size_t> row = list.lines[state.list.cursor].row;
  return row ? &list.rows[*row] : nullptr;
}

}  // namespace memtally::tools::top
