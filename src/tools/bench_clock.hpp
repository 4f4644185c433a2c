// SPDX-License-Identifier: Apache-2.0
//
// What every measurement needs: the time, a median, a cheap generator, and a value that the compiler may not remove.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace memtally::tools {

inline double NowNs() {
  return static_cast<double>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

inline double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(middle), values.end());
  return values[middle];
}

// Runs `run(count)`, which does `count` things, `repetitions` times.  Returns the median time of one thing in
// nanoseconds.
template <typename Run>
double MedianNs(int repetitions, uint64_t count, Run&& run) {
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) {
    const double begin = NowNs();
    run(count);
    times.push_back((NowNs() - begin) / static_cast<double>(count));
  }
  return Median(std::move(times));
}

// Marsaglia's xorshift, 64 bits.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }

 private:
  uint64_t state_;
};

template <typename T>
void KeepValue(const T& value) {
  __asm__ volatile("" : : "r,m"(value) : "memory");
}

}  // namespace memtally::tools
