// SPDX-License-Identifier: Apache-2.0
#include "tools/run/run_report.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include <memtally/abi/ledger_format.h>
#include <memtally/version.h>

#include "base/fd.hpp"
#include "collect/host.hpp"
#include "collect/json_writer.hpp"
#include "collect/snapshot.hpp"
#include "collect/snapshot_json.hpp"
#include "tools/output.hpp"
#include "tools/run/child.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

namespace fs = std::filesystem;

class Report {
 public:
  explicit Report(const RunFacts& facts) : facts_(facts) {}

  std::string Text(const RunChecks& checks, const std::vector<Failing>& failing, int exit_code) {
    json_.BeginObject();
    Head();
    Result(exit_code);
    Checks(checks, failing);
    Devices();
    Places();
    Processes();
    Failures();
    Sums("anomalies", Anomalies(facts_), true);
    Sums("losses", LossesOf(facts_), false);
    Observer();
    json_.EndObject();
    return json_.Take();
  }

 private:
  template <typename List, typename WriteOne>
  void Array(std::string_view key, const List& list, const WriteOne& write) {
    json_.Key(key);
    json_.BeginArray();
    for (const auto& one : list) write(one);
    json_.EndArray();
  }

  void OptionalTime(std::string_view key, const std::optional<uint64_t>& time_ns) {
    json_.Key(key);
    time_ns ? json_.Number(*time_ns) : json_.Null();
  }

  void WriteAmount(std::string_view key, const Amount& amount) {
    json_.Key(key);
    collect::WriteAmount(amount, &json_);
  }

  void Head() {
    collect::Snapshot head;
    head.host = collect::ThisHost();
    head.time_ns = facts_.started_ns;
    collect::WriteHead("memtally.run", head, &json_);
    json_.Field("memtally_version", MEMTALLY_VERSION);
    json_.Field("name", facts_.name);
    Array("command", facts_.command, [this](const std::string& word) { json_.String(word); });
    json_.Field("launch_id", collect::HexText(facts_.launch_id));
    json_.Field("ledger_directory", facts_.ledger_directory);
    json_.Field("program", facts_.inspection.program);
    json_.Field("library", facts_.library);
    Array("hooks", facts_.hooks, [this](const std::string& hook) { json_.String(hook); });
    json_.Key("findings");
    json_.BeginArray();
    for (const auto* list : {&facts_.inspection.findings, &facts_.warnings}) {
      for (const Finding& finding : *list) {
        json_.BeginObject();
        json_.Field("code", finding.code);
        json_.Field("what", finding.what);
        json_.Field("hint", finding.hint);
        json_.EndObject();
      }
    }
    json_.EndArray();
  }

  void Result(int exit_code) {
    json_.Field("started_realtime_ns", facts_.started_realtime_ns);
    json_.Field("ended_ns", facts_.ended_ns);
    json_.Field("wall_ns", facts_.ended_ns - facts_.started_ns);
    json_.Key("command_exit_code");
    WIFSIGNALED(facts_.status) ? json_.Null() : json_.Number(static_cast<uint64_t>(WEXITSTATUS(facts_.status)));
    json_.Key("command_signal");
    WIFSIGNALED(facts_.status) ? json_.Number(static_cast<uint64_t>(WTERMSIG(facts_.status))) : json_.Null();
    json_.Field("exit_code", static_cast<uint64_t>(exit_code));
    json_.Flag("tracked", !facts_.processes.empty());
  }

  void Checks(const RunChecks& checks, const std::vector<Failing>& failing) {
    json_.Key("checks");
    json_.BeginObject();
    json_.Flag("fail_on_leak", checks.fail_on_leak);
    json_.Flag("strict", checks.strict);
    Array("limits", checks.limits, [this](const SizeLimit& limit) {
      json_.BeginObject();
      json_.Field("bytes", limit.bytes);
      json_.Field("kind", limit.kind);
      json_.EndObject();
    });
    Array("failed", failing, [this](const Failing& one) {
      json_.BeginObject();
      json_.Field("check", one.check);
      json_.Field("what", one.what);
      json_.EndObject();
    });
    json_.EndObject();
  }

  void Devices() {
    constexpr const char* kSchemes[] = {"none", "chip", "uuid"};
    Array("devices", facts_.devices, [&](const RunDevice& device) {
      const LedgerDevice& facts = device.facts;
      json_.BeginObject();
      json_.Key("local_index");
      json_.SignedNumber(facts.local_index);
      json_.Field("id_scheme", facts.id_scheme < 3 ? kSchemes[facts.id_scheme] : "unknown");
      json_.Field("id", collect::HexText(facts.id));
      json_.Field("vendor", facts.vendor);
      json_.Field("architecture", facts.architecture);
      json_.Key("pci_address");
      facts.pci_address ? json_.Number(*facts.pci_address) : json_.Null();
      json_.Field("physical_bytes", facts.physical_bytes);
      json_.EndObject();
    });
  }

  void WriteHolder(size_t index) {
    const Holder& holder = facts_.holders[index];
    json_.Field("pid", holder.pid);
    json_.Field("command", holder.command);
    json_.Field("run_id", collect::HexText(holder.run_id));
    json_.Flag("of_launch", holder.of_launch);
  }

  void WriteMoment(const Moment& moment) {
    json_.BeginObject();
    json_.Field("time_ns", moment.time_ns);
    json_.Flag("exact", moment.exact);
    json_.Field("distance_ns", moment.distance_ns);
    WriteAmount("total", moment.total);
    Array("shares", moment.shares, [this](const Share& share) {
      json_.BeginObject();
      WriteHolder(share.holder);
      json_.Field("kind", share.kind);
      json_.Key("tag");
      share.tag_known ? json_.String(share.tag) : json_.Null();
      WriteAmount("held", share.amount);
      json_.EndObject();
    });
    WriteAmount("rest", moment.rest);
    json_.EndObject();
  }

  void Places() {
    Array("places", facts_.places, [this](const RunPlace& place) {
      json_.BeginObject();
      json_.Field("device", place.device);
      json_.Field("name", place.name);
      json_.Flag("is_memory", place.is_memory);
      json_.Flag("overlaps", place.overlaps);
      json_.Flag("nested", place.nested);
      json_.Flag("on_host", place.on_host);
      json_.Field("capacity_bytes", place.capacity_bytes);
      json_.Field("processes", place.processes);
      WriteAmount("allocated", place.allocated);
      WriteAmount("freed", place.freed);
      WriteAmount("released", place.released);
      WriteAmount("live", place.live);
      WriteAmount("left", place.left);
      json_.Field("peak_bytes_requested", place.peak_requested);
      json_.Field("peak_bytes_requested_slack", place.peak_requested_slack);
      json_.Field("peak_bytes_reserved", place.peak_reserved);
      json_.Field("peak_bytes_reserved_slack", place.peak_reserved_slack);
      json_.Field("failed_allocations", place.failed_allocations);
      json_.Field("failed_bytes_requested", place.failed_requested);
      json_.Key("at_peak");
      place.at_peak ? WriteMoment(*place.at_peak) : json_.Null();
      json_.EndObject();
    });
  }

  void WriteTagSums(std::string_view key, const std::vector<TagSum>& sums) {
    Array(key, sums, [this](const TagSum& sum) {
      json_.BeginObject();
      json_.Field("device", facts_.places[sum.place].device);
      json_.Field("kind", facts_.places[sum.place].name);
      json_.Field("tag", sum.tag);
      WriteAmount("held", sum.amount);
      json_.Field("oldest_ns", sum.oldest_ns);
      json_.Flag("suppressed", sum.suppressed);
      json_.EndObject();
    });
  }

  void Processes() {
    Array("processes", facts_.processes, [this](const RunProcess& process) {
      const LedgerView& facts = process.facts;
      json_.BeginObject();
      json_.Field("pid", facts_.holders[process.holder].pid);
      json_.Field("namespace_pid", facts.identity.pid);
      json_.Field("parent_pid", facts.identity.parent_pid);
      json_.Field("run_id", collect::HexText(facts.identity.run_id));
      json_.Field("uid", facts.identity.uid);
      json_.Field("command", facts.identity.comm);
      json_.Field("executable", facts.identity.executable);
      json_.Field("state", collect::StateName(facts.liveness));
      json_.Flag("goes_on", process.goes_on);
      json_.Flag("exited_normally", facts.exited_normally);
      json_.Flag("interrupted", facts.interrupted);
      json_.Flag("totals_exact", facts.totals_exact);
      json_.Field("start_time_ns", facts.start_time_ns);
      OptionalTime("end_time_ns", facts.end_time_ns);
      Array("gaps", facts.gaps, [this](const std::string& gap) { json_.String(gap); });
      json_.Field("events", facts.counters.events);
      Array("accounts", facts.accounts, [&](const LedgerAccount& account) {
        json_.BeginObject();
        const bool known = account.device < facts.devices.size();
        json_.Key("local_index");
        json_.SignedNumber(known ? facts.devices[account.device].local_index : -1);
        json_.Field("kind", collect::KindName(facts, account.kind));
        json_.Field("capacity_bytes", account.capacity_bytes);
        WriteAmount("live", account.live);
        WriteAmount("allocated", account.allocated);
        WriteAmount("freed", account.freed);
        WriteAmount("released", account.released);
        json_.Field("peak_bytes_requested", account.peak_requested);
        json_.Field("peak_bytes_requested_slack", account.peak_requested_slack);
        json_.Field("peak_bytes_reserved", account.peak_reserved);
        json_.Field("peak_bytes_reserved_slack", account.peak_reserved_slack);
        json_.Field("failed_allocations", account.failed_allocations);
        json_.EndObject();
      });
      WriteTagSums("left", process.left);
      WriteTagSums("released", process.released);
      json_.EndObject();
    });
  }

  void Failures() {
    Array("failed_allocations", facts_.failures, [this](const FailedAllocation& failure) {
      json_.BeginObject();
      json_.Key("process");
      json_.BeginObject();
      WriteHolder(facts_.processes[failure.process].holder);
      json_.EndObject();
      json_.Field("device", failure.device);
      json_.Field("kind", failure.kind);
      json_.Field("memory", failure.memory);
      json_.Field("time_ns", failure.time_ns);
      json_.Field("bytes_requested", failure.bytes_requested);
      json_.Field("thread_id", failure.thread_id);
      json_.Field("tag", failure.tag);
      json_.Field("capacity_bytes", failure.capacity_bytes);
      json_.Key("held");
      WriteMoment(failure.held);
      json_.EndObject();
    });
    json_.Field("failed_allocations_without_details", facts_.failures_without_details);
  }

  void Sums(std::string_view key, const std::vector<NamedSum>& sums, bool with_bytes) {
    json_.Key(key);
    json_.BeginObject();
    for (const NamedSum& sum : sums) {
      json_.Key(sum.name);
      if (!with_bytes) {
        json_.Number(sum.count);
        continue;
      }
      json_.BeginObject();
      json_.Field("count", sum.count);
      json_.Field("bytes_requested", sum.bytes_requested);
      json_.EndObject();
    }
    json_.EndObject();
  }

  void Observer() {
    json_.Field("foreign_ledgers", facts_.foreign_ledgers);
    json_.Key("observer");
    json_.BeginObject();
    json_.Field("looks", facts_.observer.looks);
    json_.Field("full_readings", facts_.observer.full_readings);
    json_.Field("cpu_ns", facts_.observer.cpu_ns);
    json_.EndObject();
  }

  const RunFacts& facts_;
  collect::JsonWriter json_;
};

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return false;
    text.remove_prefix(static_cast<size_t>(done));
  }
  return true;
}

// A new file beside `path`; its name goes into *name.
base::Fd OpenBeside(const std::string& path, std::string* name) {
  for (int i = 0; i < 100; ++i) {
    *name = fmt::format("{}.{}-{}.new", path, getpid(), i);
    base::Fd fd(open(name->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (fd.valid() || errno != EEXIST) return fd;
  }
  return {};
}

}  // namespace

std::string RunReport(const RunFacts& facts, const RunChecks& checks, const std::vector<Failing>& failing,
                      int exit_code) {
  return Report(facts).Text(checks, failing, exit_code);
}

bool ReportFile::Prepare(const std::string& path, std::string* error) {
  const auto fail = [&](const std::string& why) {
    *error = fmt::format("{}: the report cannot be written there: {}", TerminalText(path, 200, Cut::kBegin), why);
    return false;
  };
  path_ = target_ = path;
  if (path.empty()) return fail("the name is empty");
  struct stat status {};
  if (stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return fail("it is a folder");
    if (!S_ISREG(status.st_mode)) {
      in_place_ = true;
      return access(path.c_str(), W_OK) == 0 || fail(ErrorText(errno));
    }
    std::error_code failed;
    const fs::path real = fs::canonical(path, failed);
    if (!failed) target_ = real.string();
  }
  std::string beside;
  const base::Fd fd = OpenBeside(target_, &beside);
  if (!fd.valid()) return fail(ErrorText(errno));
  unlink(beside.c_str());
  return true;
}

bool ReportFile::Write(const std::string& text, std::string* error) const {
  const auto fail = [&](int why) {
    *error =
        fmt::format("{}: the report could not be written: {}", TerminalText(path_, 200, Cut::kBegin), ErrorText(why));
    return false;
  };
  if (in_place_) {
    const base::Fd fd(open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    return (fd.valid() && WriteAll(fd.get(), text)) || fail(errno);
  }
  std::string beside;
  const base::Fd fd = OpenBeside(target_, &beside);
  if (!fd.valid()) return fail(errno);
  if (WriteAll(fd.get(), text) && fsync(fd.get()) == 0 && rename(beside.c_str(), target_.c_str()) == 0) return true;
  const int why = errno;
  unlink(beside.c_str());
  return fail(why);
}

}  // namespace memtally::tools
