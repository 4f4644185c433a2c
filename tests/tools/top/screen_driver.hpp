// SPDX-License-Identifier: Apache-2.0
//
// ScreenDriver: what the loop of memtally top does, without a terminal: keys in, grids out.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "collect/snapshot.hpp"
#include "tools/top/draw.hpp"
#include "tools/top/key_handler.hpp"

namespace memtally::tools::top {

class ScreenDriver {
 public:
  ScreenDriver(std::shared_ptr<const collect::Snapshot> snapshot, int width, int height,
               Charset charset = Charset::kUnicode)
      : snapshot_(std::move(snapshot)), width_(width), height_(height), charset_(charset) {
    Draw();
  }

  Effect Press(const Key& key) {
    const Effect effect = HandleKey(key, model, map, &state);
    Draw();
    return effect;
  }
  Effect Press(KeyCode code) { return Press(Key{code}); }
  // Each character of ASCII text.
  Effect Type(const std::string& text) {
    Effect effect;
    for (const char c : text) effect = Press(Character(static_cast<char32_t>(c)));
    return effect;
  }
  Effect Click(int x, int y) { return Press(Key{KeyCode::kClick, 0, x, y}); }

  void Resize(int width, int height) {
    width_ = width;
    height_ = height;
    Draw();
  }
  void Show(std::shared_ptr<const collect::Snapshot> snapshot) {
    snapshot_ = std::move(snapshot);
    Draw();
  }
  void Draw() {
    model.Update(snapshot_, &state);
    grid = CellGrid(width_, height_, charset_);
    map = top::Draw(model, state, &grid);
  }

  // Of the first line that holds `text`, -1 if none does.
  int LineOf(const std::string& text) const {
    for (int y = 0; y < grid.height(); ++y) {
      if (grid.Line(y).find(text) != std::string::npos) return y;
    }
    return -1;
  }
  bool Shows(const std::string& text) const { return LineOf(text) >= 0; }
  std::string SelectedLine() const {
    for (int y = 0; y < grid.height(); ++y) {
      if (grid.width() > 0 && grid.at(0, y).style.selected) return grid.Line(y);
    }
    return "";
  }

  TopState state;
  Model model;
  ScreenMap map;
  CellGrid grid{0, 0};

 private:
  std::shared_ptr<const collect::Snapshot> snapshot_;
  int width_;
  int height_;
  Charset charset_;
};

}  // namespace memtally::tools::top
