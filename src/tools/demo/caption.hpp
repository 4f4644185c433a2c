// SPDX-License-Identifier: Apache-2.0
//
// The part of the screen that tells what is happening.
#pragma once

#include "tools/demo/storyteller.hpp"
#include "tools/top/pane.hpp"

namespace memtally::tools::demo {

// How many lines the caption takes of a screen of that size: always the same, so that nothing above it moves.
int CaptionLines(int width, int height);

void DrawCaption(const Storyteller& teller, const Facts& facts, const top::Pane& pane);

}  // namespace memtally::tools::demo
