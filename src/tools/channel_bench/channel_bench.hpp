// SPDX-License-Identifier: Apache-2.0
//
// memtally bench channels: what channels do on this machine, beside the queues that Debian ships, in the same run.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace memtally::tools {

// Whether there are rows with that in their names.
bool ChannelBenchHas(const std::string& only);

// The whole document.  `only`: rows with that in their names ("memory SPSC 64 bytes"); `says` is told what is measured.
nlohmann::json MeasureChannels(bool quick, const std::string& only,
                               const std::function<void(const std::string&)>& says);
// The same as a table for people.
std::string ChannelBenchTable(const nlohmann::json& document);

}  // namespace memtally::tools
