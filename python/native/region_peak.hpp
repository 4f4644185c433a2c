// SPDX-License-Identifier: Apache-2.0
//
// RegionPeak: the most that this process and its descendants held between two instants.
//
// It reads their ledgers again and again, and replays the events that happened in between in the order of their times;
// each state on the way is one that there really was.  After each reading the replayed sums have to be those of the
// ledger; where they are not, because the flight recorder went round before it was read, the peak of the ledger itself
// helps if it rose, and otherwise the result says by how much it may be too low.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <memtally/ledger_reader.hpp>

namespace memtally::python {

// A device and kind, or memory, over all processes that know the device by its id.
struct PlaceKey {
  std::string device;  // its id, or the process and the number there
  std::string kind;
  auto operator<=>(const PlaceKey&) const = default;
};

struct PlacePeak {
  std::string device_name;
  std::string memory;     // the kind in whose memory it lies
  bool is_summed = true;  // part of the memory's sum
  uint64_t start_reserved = 0;
  uint64_t live_requested = 0, live_reserved = 0;
  uint64_t peak_requested = 0, peak_reserved = 0;
  uint64_t bound = 0;  // what it may have been where events were missed
  // The true peak may be higher by so much.
  uint64_t slack() const { return bound > peak_reserved ? bound - peak_reserved : 0; }
};

class RegionPeak {
 public:
  // `own_path`: of this process's ledger, "" if it has none yet.  `launch_id`: children that a launch ties to this
  // region, "" none.
  RegionPeak(uint32_t own_pid, std::string launch_id, bool with_children);
  ~RegionPeak();

  // Reads what happened since the last time.  `own_path` as it is now.
  void Advance(const std::string& own_path);

  bool is_exact() const;
  uint64_t total_peak() const { return total_peak_; }  // of all devices' memories at once
  uint64_t total_slack() const { return total_bound_ > total_peak_ ? total_bound_ - total_peak_ : 0; }
  const std::map<PlaceKey, PlacePeak>& kinds() const { return kinds_; }
  const std::map<PlaceKey, PlacePeak>& memories() const { return memories_; }
  // Of descendants, as far as they were seen.
  const std::vector<std::string>& child_paths() const { return child_paths_; }
  uint64_t readings() const { return readings_; }
  // How full the flight recorders were at the last reading: events since the one before / room.
  double fullness() const { return fullness_; }

 private:
  struct Account;
  struct Source;
  struct Step;

  void FindChildren(const std::string& own_path);
  bool ReadSource(Source* source);
  void Collect(Source* source, std::vector<Step>* steps);
  void Apply(const Step& step);
  void Settle(Source* source);
  void Change(const PlaceKey& kind, int64_t requested, int64_t reserved);
  void NotePeaks(const PlaceKey& kind);
  static std::string DeviceKey(const Source& source, uint32_t device);

  uint32_t own_pid_;
  std::string launch_id_;
  bool with_children_;
  bool started_ = false;
  bool lost_a_ledger_ = false;  // with what happened since it was last read
  std::vector<std::unique_ptr<Source>> sources_;
  std::map<std::string, bool> looked_at_;  // ledgers of others, by path
  std::vector<std::string> child_paths_;
  std::shared_ptr<ReaderMemory> memory_;
  std::map<PlaceKey, PlacePeak> kinds_;
  std::map<PlaceKey, PlacePeak> memories_;
  uint64_t total_ = 0;
  uint64_t total_peak_ = 0;
  uint64_t total_bound_ = 0;
  uint64_t readings_ = 0;
  double fullness_ = 0;
};

}  // namespace memtally::python
