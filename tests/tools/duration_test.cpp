// SPDX-License-Identifier: Apache-2.0
#include "tools/duration.hpp"

#include <gtest/gtest.h>

namespace memtally::tools {
namespace {

TEST(ParseDuration, TakesWhatPeopleWrite) {
  EXPECT_EQ(ParseDuration("0"), 0u);
  EXPECT_EQ(ParseDuration("90"), 90'000'000'000u);
  EXPECT_EQ(ParseDuration("1.5"), 1'500'000'000u);
  EXPECT_EQ(ParseDuration("500ms"), 500'000'000u);
  EXPECT_EQ(ParseDuration("3us"), 3'000u);
  EXPECT_EQ(ParseDuration("7ns"), 7u);
  EXPECT_EQ(ParseDuration("15m"), 900'000'000'000u);
  EXPECT_EQ(ParseDuration("15min"), 900'000'000'000u);
  EXPECT_EQ(ParseDuration("1h30m"), 5'400'000'000'000u);
  EXPECT_EQ(ParseDuration("0.5d"), 43'200'000'000'000u);
  EXPECT_EQ(ParseDuration("1d2h3m4s"), 93'784'000'000'000u);
}

TEST(ParseDuration, RefusesTheRest) {
  for (const char* text :
       {"",       "s",   "x",   "1x",  "1h30", "-1",   "-1s", "+1",  "1 s",      " 1",
        "1s ",    "nan", "inf", "1e3", "0x10", "1..5", ".",   "1,5", "1000000d", "99999999999999999999",
        "1h-30m", "ms5"}) {
    EXPECT_FALSE(ParseDuration(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace memtally::tools
