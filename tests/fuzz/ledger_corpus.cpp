// SPDX-License-Identifier: Apache-2.0
//
// Writes the first inputs of ledger_reader_fuzz into the directory that its argument names.
#include <cstdio>
#include <fstream>
#include <string>

#include "ledger_builder.hpp"
#include "ledger_sample.hpp"

namespace {

void Write(const std::string& path, char choice, const memtally::test::LedgerBuilder& builder) {
  std::ofstream file(path, std::ios::binary);
  file.put(choice);
  file.write(reinterpret_cast<const char*>(builder.bytes().data()),
             static_cast<std::streamsize>(builder.bytes().size()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  const std::string directory = argv[1];
  memtally::test::LedgerBuilder small;
  small.Usual();
  small.Alloc(0, 0, 0, {.id = 1, .requested = 100, .per_bank = 10});
  for (const char choice : {'\0', '\1', '\2', '\3'}) {
    const std::string suffix = std::to_string(static_cast<int>(choice));
    Write(directory + "/small" + suffix, choice, small);
    Write(directory + "/sample" + suffix, choice, memtally::test::SampleLedger(false));
    Write(directory + "/interrupted" + suffix, choice, memtally::test::SampleLedger(true));
  }
  return 0;
}
