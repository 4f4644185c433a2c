// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "child_process.hpp"

int main(int argc, char** argv) {
  memtally::model::EnterOwnDirectory(argv);
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  memtally::model::LeaveOwnDirectory();
  return result;
}
