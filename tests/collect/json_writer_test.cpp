// SPDX-License-Identifier: Apache-2.0
#include "collect/json_writer.hpp"

#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace memtally::collect {
namespace {

TEST(JsonWriter, WritesWhatWasSaid) {
  JsonWriter json;
  json.BeginObject();
  json.Field("n", UINT64_MAX);
  json.Key("s");
  json.SignedNumber(INT64_MIN);
  json.Key("list");
  json.BeginArray();
  json.Bool(true);
  json.Null();
  json.String("a\"\n\x1b\xff");
  json.EndArray();
  json.Key("none");
  json.BeginArray();
  json.EndArray();
  json.EndObject();
  EXPECT_EQ(json.Take(),
            "{\n"
            "  \"n\": 18446744073709551615,\n"
            "  \"s\": -9223372036854775808,\n"
            "  \"list\": [\n"
            "    true,\n"
            "    null,\n"
            "    \"a\\\"\\n\\u001b\uFFFD\"\n"
            "  ],\n"
            "  \"none\": []\n"
            "}\n");
}

TEST(JsonWriter, CompactIsOneLine) {
  JsonWriter json(JsonWriter::Layout::kCompact);
  json.BeginObject();
  json.Field("text", "a\nb");
  json.Key("list");
  json.BeginArray();
  json.Number(1);
  json.Number(2);
  json.EndArray();
  json.OptionalField("none", std::optional<uint32_t>());
  json.OptionalField("some", std::optional<uint32_t>(7));
  json.EndObject();
  EXPECT_EQ(json.Take(), "{\"text\":\"a\\nb\",\"list\":[1,2],\"none\":null,\"some\":7}\n");
}

// Whatever bytes a stranger chose, a parser takes what is written, and valid text comes back as it was.
TEST(JsonWriter, AnyBytesMakeJson) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string text(random() % 20, ' ');
    const bool ascii = i % 2 == 0;
    for (char& c : text) c = static_cast<char>(random() % (ascii ? 128 : 256));
    JsonWriter json;
    json.String(text);
    const nlohmann::json read = nlohmann::json::parse(json.Take());
    ASSERT_TRUE(read.is_string());
    if (ascii) {
      ASSERT_EQ(read.get<std::string>(), text);
    }
  }
}

}  // namespace
}  // namespace memtally::collect
