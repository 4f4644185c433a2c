// SPDX-License-Identifier: Apache-2.0
//
// A program instrumented with the original allocation client.  It compiles unchanged with the header of either
// implementation; which way its reports go is said in the environment:
//
//   legacy_client                               the process's ledger
//   TT_ALLOC_TRANSPORT=blocking legacy_client   memtallyd, or the original server: also hybrid, async, batch
//
// With an argument it ends at once; otherwise it stays until its standard input ends, to be looked at with memtally
// top.
#include <cstdint>
#include <cstdio>

#include <allocation_client.hpp>

namespace {

using tt::tt_metal::AllocationClient;
using tt::tt_metal::ScopedTrackingControl;

enum BufferType : uint8_t { kDram, kL1, kSystemMemory, kL1Small, kTrace };

constexpr uint64_t kMiB = uint64_t{1} << 20;

void LoadModel(int device) {
  for (uint64_t layer = 0; layer < 16; ++layer) {
    AllocationClient::report_allocation(device, 24 * kMiB, kDram, 0x1000'0000 + layer * 24 * kMiB);
    AllocationClient::report_kernel_load(device, 4096, 0x5000 + layer, 0);
  }
  AllocationClient::report_allocation(device, 2 * kMiB, kTrace, 0x9000'0000);
  AllocationClient::report_allocation(device, 16384, kL1Small, 0x2000);
}

void RunStep(int device, uint64_t step) {
  const uint64_t activation = 0x10'0000 + (step % 8) * 65536;
  AllocationClient::report_allocation(device, 65536, kL1, activation);
  AllocationClient::report_cb_allocation(device, 8192, 0x300);
  {
    // A section in which nothing is to be reported.
    const ScopedTrackingControl quiet(false);
    AllocationClient::report_allocation(device, 1, kL1, 1);
    AllocationClient::report_deallocation(device, 1);
  }
  AllocationClient::report_cb_deallocation(device, 8192, 0x300);
  AllocationClient::report_deallocation(device, activation);
}

}  // namespace

int main(int argc, char**) {
  for (int device = 0; device < 2; ++device) {
    LoadModel(device);
    for (uint64_t step = 0; step < 100; ++step) RunStep(device, step);
    AllocationClient::report_allocation(device, kMiB, kL1, 0x8'0000);
  }
  std::printf("two devices: 384 MiB DRAM, 2 MiB trace, 1 MiB L1, 16 KiB L1_SMALL and 64 KiB of kernels each\n");
  std::fflush(stdout);
  if (argc == 1) {
    while (std::getchar() != EOF) continue;
  }
  return 0;
}
