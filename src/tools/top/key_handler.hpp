// SPDX-License-Identifier: Apache-2.0
//
// What keys and the mouse do: they change the state, and ask for what has effects outside.
#pragma once

#include <cstdint>
#include <string>

#include "tools/top/key.hpp"
#include "tools/top/model.hpp"
#include "tools/top/screen_map.hpp"
#include "tools/top/top_state.hpp"

namespace memtally::tools::top {

struct Effect {
  enum class Kind : uint8_t {
    kNone,
    kQuit,
    kRedraw,  // forget what the terminal shows, and draw all of it
    kSave,    // write the screen to `file`
    kKill,    // send what `order` says
  };
  Kind kind = Kind::kNone;
  std::string file;
  KillOrder order;
};

// `model` and `map` are those of the screen that the person saw.
Effect HandleKey(const Key& key, const Model& model, const ScreenMap& map, TopState* state);

}  // namespace memtally::tools::top
