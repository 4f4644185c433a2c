// SPDX-License-Identifier: Apache-2.0
#include "daemon/legacy/server_settings.hpp"

#include <stdlib.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <memtally/abi/legacy_protocol.h>
#include <memtally/abi/legacy_state.h>

namespace memtally::daemon {
namespace {

class TableReader {
 public:
  TableReader(const toml::table& table, std::string where, std::string* error)
      : table_(table), where_(std::move(where)), error_(error) {}

  void Text(const char* name, std::string* value) {
    const toml::node* node = Take(name);
    if (node == nullptr) return;
    if (const auto text = node->value_exact<std::string>()) {
      *value = *text;
    } else {
      Complain(*node, fmt::format("{} takes a text in quotes", name));
    }
  }

  template <typename Number>
  void Count(const char* name, Number* value) {
    const toml::node* node = Take(name);
    if (node == nullptr) return;
    const auto number = node->value_exact<int64_t>();
    constexpr auto kMost = static_cast<int64_t>(
        std::min<uint64_t>(std::numeric_limits<Number>::max(), std::numeric_limits<int64_t>::max()));
    if (number && *number >= 0 && *number <= kMost) {
      *value = static_cast<Number>(*number);
    } else {
      Complain(*node, fmt::format("{} takes a whole number from 0 to {}", name, kMost));
    }
  }

  const toml::node* Take(const char* name) {
    known_.emplace_back(name);
    return table_.get(name);
  }

  void Complain(const toml::node& node, const std::string& what) {
    if (error_->empty()) *error_ = fmt::format("line {}: {}{}", node.source().begin.line, where_, what);
  }

  // Names that nobody took are mistakes.
  void Finish() {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      Complain(node, fmt::format("there is no setting {}; there are: {}", name, fmt::join(known_, ", ")));
    }
  }

 private:
  const toml::table& table_;
  std::string where_;
  std::string* error_;
  std::vector<std::string> known_;
};

void ReadDevices(const toml::node& node, ServerSettings* settings, TableReader* outer, std::string* error) {
  const toml::array* array = node.as_array();
  if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
    outer->Complain(node, "devices are written as [[legacy.device]]");
    return;
  }
  for (const toml::node& element : *array) {
    TableReader reader(*element.as_table(), "device: ", error);
    DeviceFacts& device = settings->devices.emplace_back();
    uint32_t number = 0;
    reader.Count("number", &number);
    device.device = static_cast<int32_t>(std::min<uint32_t>(number, 65535));
    reader.Count("dram_bytes", &device.dram_bytes);
    reader.Count("l1_bytes", &device.l1_bytes);
    reader.Count("architecture", &device.architecture);
    reader.Count("dram_channels", &device.dram_channels);
    reader.Count("l1_bytes_per_core", &device.l1_bytes_per_core);
    reader.Finish();
  }
}

void ReadLegacy(const toml::table& table, ServerSettings* settings, std::string* error) {
  TableReader reader(table, "legacy: ", error);
  reader.Text("socket", &settings->socket);
  reader.Text("state_socket", &settings->state_socket);
  reader.Text("group", &settings->group);
  reader.Count("most_connections", &settings->most_connections);
  reader.Count("most_connections_of_user", &settings->most_connections_of_user);
  reader.Count("most_messages_a_second", &settings->most_messages_a_second);
  reader.Count("most_buffers", &settings->most_buffers);
  reader.Count("idle_seconds", &settings->idle_seconds);
  reader.Count("statistics_seconds", &settings->statistics_seconds);
  reader.Count("keep_dead", &settings->keep_dead);
  if (const toml::node* devices = reader.Take("device")) ReadDevices(*devices, settings, &reader, error);
  reader.Finish();
}

}  // namespace

ServerSettings DefaultSettings() {
  ServerSettings settings;
  settings.socket = MEMTALLY_LEGACY_SOCKET;
  const char* directory = getenv("MEMTALLY_DIR");
  settings.state_socket = directory != nullptr && *directory != 0 ? directory : "/dev/shm";
  settings.state_socket += "/" MEMTALLY_LEGACY_STATE_SOCKET;
  return settings;
}

bool ReadSettings(const std::string& path, ServerSettings* settings, std::string* error) {
  error->clear();
  try {
    const toml::table file = toml::parse_file(path);
    TableReader reader(file, "", error);
    reader.Text("log_level", &settings->log_level);
    if (const toml::node* legacy = reader.Take("legacy")) {
      if (const toml::table* table = legacy->as_table()) {
        ReadLegacy(*table, settings, error);
      } else {
        reader.Complain(*legacy, "legacy is a table: [legacy]");
      }
    }
    reader.Finish();
    constexpr std::string_view kLevels[] = {"debug", "info", "warning", "error", "off"};
    if (error->empty() && std::find(std::begin(kLevels), std::end(kLevels), settings->log_level) == std::end(kLevels)) {
      *error = fmt::format("log_level takes one of: {}", fmt::join(kLevels, ", "));
    }
  } catch (const toml::parse_error& wrong) {
    *error = fmt::format("line {}: {}", wrong.source().begin.line, wrong.description());
  }
  if (!error->empty()) *error = fmt::format("{}: {}", path, *error);
  return error->empty();
}

}  // namespace memtally::daemon
