// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_model.hpp"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "tools/trace_reader.hpp"

namespace memtally::tools {
namespace {

Trace Parse(const std::string& lines) {
  TraceParser parser("t");
  parser.Add("memtally-trace 1\ndevice 0 v a 0\nkind 0 DRAM 1200 12 100\n" + lines);
  Trace trace;
  EXPECT_TRUE(parser.Finish(&trace)) << (parser.errors().empty() ? "" : parser.errors().front());
  return trace;
}

class TraceModelTest : public testing::Test {
 protected:
  // The only account, after `lines`.
  const TraceModel::Account& After(const std::string& lines) {
    trace_ = Parse(lines);
    model_ = std::make_unique<TraceModel>(trace_);
    model_->AdvanceTo(trace_.records.size());
    return model_->accounts().begin()->second;
  }
  uint64_t Anomaly(uint32_t which) const { return model_->anomaly(which); }

  Trace trace_;
  std::unique_ptr<TraceModel> model_;
};

TEST_F(TraceModelTest, AddsAndSubtracts) {
  const TraceModel::Account& dram = After("1 1 a 0 DRAM 1 0 100 10\n2 1 a 0 DRAM 2 10 50 5\n3 1 f 0 DRAM 1\n");
  EXPECT_EQ(dram.live.size(), 1u);
  EXPECT_EQ(dram.live_total.bytes_requested, 50u);
  EXPECT_EQ(dram.live_total.bytes_per_bank, 5u);
  EXPECT_EQ(dram.allocated.count, 2u);
  EXPECT_EQ(dram.peak_requested, 150u);
  EXPECT_EQ(dram.peak_reserved, 180u);
}

TEST_F(TraceModelTest, ReplacesLiveIds) {
  const TraceModel::Account& dram = After("1 1 a 0 DRAM 1 0 100 10\n2 1 a 0 DRAM 1 10 50 5\n");
  EXPECT_EQ(dram.live_total.bytes_requested, 50u);
  EXPECT_EQ(dram.allocated.bytes_requested, 150u);
  EXPECT_EQ(dram.peak_requested, 100u);
  EXPECT_EQ(Anomaly(MEMTALLY_ANOMALY_REPLACED), 1u);
}

TEST_F(TraceModelTest, TellsFreesAfterACloseFromUnknownOnes) {
  const TraceModel::Account& dram = After("1 1 a 0 DRAM 1 0 100 10\n2 1 c 0\n3 1 f 0 DRAM 1\n3 1 f 0 DRAM 1\n");
  EXPECT_EQ(dram.live_total.count, 0u);
  EXPECT_EQ(Anomaly(MEMTALLY_ANOMALY_AFTER_CLOSE), 1u);
  EXPECT_EQ(Anomaly(MEMTALLY_ANOMALY_UNKNOWN_FREE), 1u);
}

TEST_F(TraceModelTest, ForgetsWhatACloseReleasedWhenTheDeviceOpens) {
  After("1 1 a 0 DRAM 1 0 100 10\n2 1 c 0\ndevice 0 v a 0\n3 1 f 0 DRAM 1\n");
  EXPECT_EQ(Anomaly(MEMTALLY_ANOMALY_AFTER_CLOSE), 0u);
  EXPECT_EQ(Anomaly(MEMTALLY_ANOMALY_UNKNOWN_FREE), 1u);
}

TEST_F(TraceModelTest, KeepsTagsOfEachThread) {
  const TraceModel::Account& dram = After(
      "1 1 > a\n1 2 > x\n1 1 > b\n2 1 a 0 DRAM 1 0 1 1\n2 2 a 0 DRAM 2 0 1 1\n3 1 <\n3 1 a 0 DRAM 3 0 1 1\n"
      "3 1 <\n3 1 a 0 DRAM 4 0 1 1\n");
  EXPECT_EQ(model_->tag_path(dram.live.at(1).tag), "a / b");
  EXPECT_EQ(model_->tag_path(dram.live.at(2).tag), "x");
  EXPECT_EQ(model_->tag_path(dram.live.at(3).tag), "a");
  EXPECT_EQ(model_->tag_path(dram.live.at(4).tag), "");
}

TEST_F(TraceModelTest, AdvancesStepByStepAsInOneGo) {
  const Trace trace = Parse("1 1 a 0 DRAM 1 0 100 10\n2 1 x 0 DRAM 7 7\n3 1 f 0 DRAM 1\n");
  TraceModel model(trace);
  model.AdvanceTo(3);
  EXPECT_EQ(model.accounts().begin()->second.live_total.count, 1u);
  model.AdvanceTo(4);
  EXPECT_EQ(model.accounts().begin()->second.failed_requested, 7u);
  EXPECT_EQ(model.anomaly(MEMTALLY_ANOMALY_FAILED_ALLOC), 1u);
  model.AdvanceTo(5);
  EXPECT_EQ(model.accounts().begin()->second.live_total.count, 0u);
}

}  // namespace
}  // namespace memtally::tools
