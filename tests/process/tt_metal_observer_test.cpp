// SPDX-License-Identifier: Apache-2.0
//
// memtally/tt_metal.hpp against classes with tt-metal's names.
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "host_process.hpp"

// In this order: the header expects tt-metal's own before it.
// clang-format off
#include "tt_metal_declarations.hpp"
#include <memtally/tt_metal.hpp>
// clang-format on

namespace memtally::testing {
namespace {

using tt::tt_metal::Buffer;
using tt::tt_metal::BufferAllocationObserver;
using tt::tt_metal::BufferType;
using tt::tt_metal::CoreRangeSet;
using tt::tt_metal::Device;
using tt::tt_metal::IGraphProcessor;
using tt::tt_metal::distributed::MeshDevice;

template <typename Body>
LedgerView ViewOf(Body body) {
  const Place place;
  Host host(place, [body] {
    body();
    Rest();
    _exit(0);
    return 0;
  });
  if (!host.AwaitRest()) return {};
  LedgerView view = ReadOnlyLedger(place);
  ExpectExact(view);
  host.Continue();
  EXPECT_TRUE(host.Wait().Exited(0));
  return view;
}

TEST(TtMetalObserver, BuffersOfEveryType) {
  const LedgerView view = ViewOf([] {
    Device device(3);
    const std::unique_ptr<BufferAllocationObserver> observer =
        std::make_unique<tt_metal::Observer<BufferAllocationObserver>>();
    Buffer dram(&device, 0, 0x1000, 5000, 512, BufferType::DRAM);
    Buffer l1(&device, 1, 0x2000, 600, 32, BufferType::L1);
    Buffer gone(&device, 2, 0x3000, 700, 32, BufferType::L1);
    Buffer host(&device, 3, 0x4000, 800, 800, BufferType::SYSTEM_MEMORY);
    for (const Buffer* buffer : {&dram, &l1, &gone, &host}) observer->track_allocate(buffer);
    // Off the thread that allocated it.
    std::thread([&] { observer->track_deallocate(&gone); }).join();
  });
  ASSERT_EQ(view.devices.size(), 1U);
  EXPECT_EQ(view.devices[0].local_index, 3);
  EXPECT_EQ(view.devices[0].vendor, "tenstorrent");
  const LedgerAccount* dram = FindAccount(view, 0, MEMTALLY_KIND_DRAM);
  ASSERT_NE(dram, nullptr);
  EXPECT_EQ(dram->live, (Amount{1, 5000, 512 * 12}));
  EXPECT_EQ(dram->capacity_bytes, uint64_t{12} << 20);
  EXPECT_EQ(dram->banks, 12U);
  EXPECT_EQ(FindAccount(view, 0, MEMTALLY_KIND_L1)->live, (Amount{1, 600, 32 * 64}));
  EXPECT_EQ(FindAccount(view, 0, MEMTALLY_KIND_L1)->freed.count, 1U);
  EXPECT_EQ(FindAccount(view, 0, MEMTALLY_KIND_SYSTEM_MEMORY)->live.bytes_requested, 800U);
  for (const LedgerAnomaly& anomaly : view.anomalies) EXPECT_EQ(anomaly.count, 0U);
}

TEST(TtMetalObserver, AMeshIsARecordAChip) {
  const LedgerView view = ViewOf([] {
    MeshDevice mesh({0, 5});
    tt_metal::Observer<BufferAllocationObserver> observer;
    Buffer first(&mesh, 0, 0x1000, 100, 16, BufferType::DRAM);
    Buffer second(&mesh, 1, 0x2000, 200, 32, BufferType::DRAM);
    observer.track_allocate(&first);
    observer.track_allocate(&second);
    observer.track_deallocate(&second);
  });
  ASSERT_EQ(view.devices.size(), 2U);
  EXPECT_EQ(view.devices[1].local_index, 5);
  ASSERT_EQ(view.buffers.size(), 2U);
  EXPECT_EQ(view.buffers[0].group, 1U);
  EXPECT_EQ(view.buffers[1].group, 1U);
  EXPECT_NE(view.buffers[0].account, view.buffers[1].account);
  EXPECT_EQ(view.buffers[0].id, 0U);
}

TEST(TtMetalObserver, ProcessorsHearOfCircularBuffers) {
  const LedgerView view = ViewOf([] {
    Device device(0);
    Device other(1);
    const std::unique_ptr<IGraphProcessor> processor = std::make_unique<tt_metal::Processor<IGraphProcessor>>();
    REQUIRE(!processor->is_capture_processor());
    processor->track_allocate_cb(CoreRangeSet{}, 0x100, 64, false, &device);
    processor->track_allocate_cb(CoreRangeSet{}, 0x140, 64, false, &device);
    processor->track_allocate_cb(CoreRangeSet{}, 0x900, 64, true, &device);
    processor->track_allocate_cb(CoreRangeSet{}, 0x100, 32, false, &other);
    processor->track_deallocate_cb(&device);
    processor->track_allocate_cb(CoreRangeSet{}, 0x180, 128, false, &device);
  });
  EXPECT_EQ(FindAccount(view, 0, MEMTALLY_KIND_CB)->live.bytes_requested, 128U);
  EXPECT_EQ(FindAccount(view, 0, MEMTALLY_KIND_CB)->allocated.count, 3U);
  EXPECT_EQ(FindAccount(view, 1, MEMTALLY_KIND_CB)->live.bytes_requested, 32U);
}

TEST(TtMetalObserver, ClosedAndOpenedAgain) {
  const LedgerView view = ViewOf([] {
    Device device(0);
    tt_metal::Processor<IGraphProcessor> processor;
    Buffer left(&device, 7, 0x1000, 100, 16, BufferType::DRAM);
    processor.track_allocate(&left);
    processor.track_allocate_cb(CoreRangeSet{}, 0x100, 64, false, &device);
    tt_metal::BufferReporter::Instance().Closed(device);
    Buffer next(&device, 8, 0x1000, 300, 32, BufferType::DRAM);
    processor.track_allocate(&next);
  });
  ASSERT_EQ(view.devices.size(), 1U);
  EXPECT_EQ(view.devices[0].closes, 1U);
  EXPECT_EQ(FindAccount(view, 0, MEMTALLY_KIND_DRAM)->released.count, 1U);
  EXPECT_EQ(FindAccount(view, 0, MEMTALLY_KIND_DRAM)->live.count, 1U);
  for (const LedgerAnomaly& anomaly : view.anomalies) EXPECT_EQ(anomaly.count, 0U);
}

// Without the library nothing happens.
TEST(TtMetalObserver, NothingIsTracked) {
  Device device(0);
  tt_metal::Processor<IGraphProcessor> processor;
  Buffer buffer(&device, 7, 0x1000, 100, 16, BufferType::DRAM);
  processor.track_allocate(&buffer);
  processor.track_allocate_cb(CoreRangeSet{}, 0x100, 64, false, &device);
  processor.track_deallocate_cb(&device);
  processor.track_deallocate(&buffer);
}

}  // namespace
}  // namespace memtally::testing
