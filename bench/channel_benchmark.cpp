// SPDX-License-Identifier: Apache-2.0
//
// Channels beside their peers, as memtally bench channels measures them, for people who change the rings: the whole
// run, or the rows whose names have the text of the first argument in them.  A second argument, whatever it is, makes
// the run a quick one.
#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include "tools/channel_bench/channel_bench.hpp"

int main(int argc, char** argv) {
  const nlohmann::json document = memtally::tools::MeasureChannels(
      argc > 2, argc > 1 ? argv[1] : "",
      [](const std::string& what) { std::fprintf(stderr, "measuring: %s\n", what.c_str()); });
  std::fputs(memtally::tools::ChannelBenchTable(document).c_str(), stdout);
  return 0;
}
