// SPDX-License-Identifier: Apache-2.0
//
// Two readers, written apart from each other, say the same of the same ledgers.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "child_process.hpp"

namespace memtally::model {
namespace {

using nlohmann::json;

constexpr const char* kOperations[] = {"not kept",       "alloc",          "free",        "alloc failed",
                                       "mark",           "close",          "replace",     "unknown free",
                                       "ambiguous free", "inherited free", "after close", "duplicate reporter",
                                       "no room",        "open",           "bookkeeping"};
constexpr const char* kAnomalies[] = {"unknown free", "replaced",           "ambiguous", "inherited",
                                      "after close",  "duplicate reporter", "no room",   "failed allocation"};

// What the second reader says; null if it cannot be run.
json SecondView(const std::string& path) {
  const std::string command = std::string("python3 '") + MEMTALLY_SECOND_READER + "' '" + path + "'";
  FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) return nullptr;
  std::string text;
  char chunk[65536];
  for (size_t got; (got = fread(chunk, 1, sizeof(chunk), output)) > 0;) text.append(chunk, got);
  if (pclose(output) != 0) return nullptr;
  return json::parse(text, nullptr, false);
}

json ToJson(const Amount& amount) {
  return {
      {"count", amount.count}, {"bytes_requested", amount.bytes_requested}, {"bytes_reserved", amount.bytes_reserved}};
}

json Pick(const json& from, std::initializer_list<const char*> names) {
  json picked;
  for (const char* name : names) picked[name] = from.at(name);
  return picked;
}

json EventOf(const LedgerEvent& e) {
  return {{"lane", e.lane},
          {"operation", kOperations[e.operation]},
          {"id", e.id},
          {"address", e.address},
          {"tag", e.tag},
          {"bytes_requested", e.bytes_requested},
          {"thread_id", e.thread_id},
          {"bytes_per_bank", e.bytes_per_bank}};
}

json EventOf(const json& e) {
  return Pick(e, {"lane", "operation", "id", "address", "tag", "bytes_requested", "thread_id", "bytes_per_bank"});
}

// What both say, in one form.
json FormOf(const LedgerView& view) {
  json form;
  std::vector<uint32_t> banks(MEMTALLY_MAX_ACCOUNTS, 1);
  for (const LedgerAccount& a : view.accounts) {
    banks[a.index] = a.banks;
    form["accounts"].push_back({{"device", a.device},
                                {"kind", a.kind},
                                {"banks", a.banks},
                                {"live", ToJson(a.live)},
                                {"allocated", ToJson(a.allocated)},
                                {"freed", ToJson(a.freed)},
                                {"released", ToJson(a.released)},
                                {"peak_requested", a.peak_requested},
                                {"peak_reserved", a.peak_reserved},
                                {"slack_requested", a.peak_requested_slack},
                                {"slack_reserved", a.peak_reserved_slack},
                                {"failed", {{"count", a.failed_allocations}, {"bytes_requested", a.failed_requested}}},
                                {"imported", {{"count", a.imported}, {"bytes_requested", a.imported_requested}}}});
  }
  std::vector<json> buffers;
  for (const LedgerBuffer& b : view.buffers) {
    std::vector<std::string> path;
    for (uint32_t tag = b.tag; tag != 0; tag = view.tags[tag].parent) path.insert(path.begin(), view.tags[tag].name);
    buffers.push_back({{"account", b.account},
                       {"id", b.id},
                       {"address", b.address},
                       {"bytes_requested", b.bytes_requested},
                       {"bytes_per_bank", b.bytes_per_bank},
                       {"bytes_reserved", b.bytes_per_bank * banks[b.account]},
                       {"group", b.group},
                       {"stack", b.stack},
                       {"thread_id", b.thread_id},
                       {"tag", path},
                       {"imported", b.imported},
                       {"released", b.released}});
  }
  std::sort(buffers.begin(), buffers.end());
  form["buffers"] = buffers;
  for (size_t k = 0; k < view.anomalies.size(); ++k) {
    std::vector<json> samples;
    for (const LedgerEvent& e : view.anomalies[k].last) samples.push_back(EventOf(e));
    std::sort(samples.begin(), samples.end());
    form["anomalies"][kAnomalies[k]] = {{"count", view.anomalies[k].count},
                                        {"bytes_requested", view.anomalies[k].bytes_requested},
                                        {"samples", samples}};
  }
  for (const LedgerEvent& e : view.events) {
    json event = EventOf(e);
    event["number"] = e.number;
    form["events"].push_back(event);
  }
  form["interrupted"] = view.interrupted;
  return form;
}

json FormOf(const json& second) {
  json form;
  for (const json& a : second.at("accounts")) {
    form["accounts"].push_back(
        Pick(a, {"device", "kind", "banks", "live", "allocated", "freed", "released", "peak_requested", "peak_reserved",
                 "slack_requested", "slack_reserved", "failed", "imported"}));
  }
  std::vector<json> buffers;
  for (const json& b : second.at("buffers")) {
    buffers.push_back(Pick(b, {"account", "id", "address", "bytes_requested", "bytes_per_bank", "bytes_reserved",
                               "group", "stack", "thread_id", "tag", "imported", "released"}));
  }
  std::sort(buffers.begin(), buffers.end());
  form["buffers"] = buffers;
  for (const auto& [name, anomaly] : second.at("anomalies").items()) {
    std::vector<json> samples;
    for (const json& sample : anomaly.at("samples")) samples.push_back(EventOf(sample));
    std::sort(samples.begin(), samples.end());
    form["anomalies"][name] = {
        {"count", anomaly.at("count")}, {"bytes_requested", anomaly.at("bytes_requested")}, {"samples", samples}};
  }
  for (const json& e : second.at("events")) {
    json event = EventOf(e);
    event["number"] = e.at("number");
    form["events"].push_back(event);
  }
  form["interrupted"] = second.at("interrupted");
  return form;
}

std::string Compare(const std::string& path) {
  LedgerView view;
  const std::string error = ReadLedger(path, &view);
  if (!error.empty()) return error;
  const json second = SecondView(path);
  if (second.is_null() || second.is_discarded()) return "the second reader has failed\n";
  const json a = FormOf(view);
  const json b = FormOf(second);
  if (a == b) return "";
  std::string text;
  for (const json& step : json::diff(a, b)) {
    text += step.dump() + "\n";
    if (text.size() > 2000) break;
  }
  return text;
}

// Runs operations in threads of a child, stops or kills it at the end or when `killed_after` ns have passed, and
// compares.
std::string CompareChild(const std::vector<std::vector<Operation>>& of_thread, bool dies, uint64_t killed_after_us) {
  Progress* progress = Progress::Make();
  const pid_t child = fork();
  if (child < 0) return "fork failed";
  if (child == 0) {
    World world;
    world.Register();
    progress->ready.store(1);
    std::vector<std::thread> threads;
    for (const std::vector<Operation>& operations : of_thread) {
      threads.emplace_back([&] {
        for (const Operation& operation : operations) world.Perform(operation);
      });
    }
    for (std::thread& thread : threads) thread.join();
    progress->turn.store(1);
    for (;;) pause();
  }
  while (progress->ready.load() == 0) usleep(100);
  if (killed_after_us != 0) {
    usleep(static_cast<useconds_t>(killed_after_us));
  } else {
    while (progress->turn.load() == 0) usleep(100);
  }
  int status = 0;
  if (dies) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  const std::string text = Compare(LedgerOf(child));
  if (!dies) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  RemoveFilesOf(child);
  return text;
}

TEST(SecondReader, AgreesAtRest) {
  EXPECT_EQ(CompareChild({MakeOperations(1, {.ids = Ids::kAddresses, .close_in = 100}, 2000)}, false, 0), "");
}

TEST(SecondReader, AgreesOnFullRecorders) {
  EXPECT_EQ(CompareChild({MakeOperations(2, {.ids = Ids::kRandom, .close_in = 0}, 20'000)}, true, 0), "");
}

TEST(SecondReader, AgreesOnManyLanes) {
  std::vector<std::vector<Operation>> of_thread;
  for (uint32_t t = 1; t <= 6; ++t) {
    of_thread.push_back(MakeOperations(t, {.ids = Ids::kAddresses, .thread = t, .close_in = 500}, 2500));
  }
  EXPECT_EQ(CompareChild(of_thread, false, 0), "");
  EXPECT_EQ(CompareChild(of_thread, true, 0), "");
}

TEST(SecondReader, AgreesOnTheKilled) {
  for (uint32_t i = 0; i < 10; ++i) {
    SCOPED_TRACE(i);
    std::vector<std::vector<Operation>> of_thread;
    for (uint32_t t = 1; t <= 1 + i % 3; ++t) {
      of_thread.push_back(MakeOperations(i * 8 + t, {.ids = Ids::kSequential, .thread = t, .close_in = 50}, 20'000));
    }
    EXPECT_EQ(CompareChild(of_thread, true, 300 + 731 * i), "");
  }
}

}  // namespace
}  // namespace memtally::model
