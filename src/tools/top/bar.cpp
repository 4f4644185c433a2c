// SPDX-License-Identifier: Apache-2.0
#include "tools/top/bar.hpp"

#include <algorithm>
#include <numeric>

namespace memtally::tools::top {
namespace {

using Wide = unsigned __int128;

constexpr int kEighths = 8;

// part / whole of `units`, rounded down.  REQUIRES: part <= whole, whole != 0.
int Share(Wide part, Wide whole, int units) { return static_cast<int>(part * static_cast<Wide>(units) / whole); }

// Places of the parts that are not empty, without the smallest if they are more than `most`.
std::vector<size_t> ShownParts(std::span<const uint64_t> parts, size_t most) {
  std::vector<size_t> shown;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] != 0) shown.push_back(i);
  }
  if (shown.size() > most) {
    std::stable_sort(shown.begin(), shown.end(), [&](size_t a, size_t b) { return parts[a] > parts[b]; });
    shown.resize(most);
    std::sort(shown.begin(), shown.end());
  }
  return shown;
}

// Divides `cells` among the shown parts by their size, at least one to each: by largest remainder.
// REQUIRES: cells >= shown.size() > 0.
void Divide(std::span<const uint64_t> parts, const std::vector<size_t>& shown, int cells, std::vector<int>* result) {
  Wide sum = 0;
  for (const size_t i : shown) sum += parts[i];
  const int spare = cells - static_cast<int>(shown.size());
  // Each has its own cell; the others go to whoever lacks most.
  std::vector<Wide> lacking(shown.size());
  int given = 0;
  for (size_t k = 0; k < shown.size(); ++k) {
    const Wide fair = Wide{parts[shown[k]]} * static_cast<Wide>(cells);  // in units of 1/sum of a cell
    const int whole = static_cast<int>(fair / sum);
    const int more = std::min(std::max(whole - 1, 0), spare - given);
    (*result)[shown[k]] = 1 + more;
    given += more;
    const Wide has = static_cast<Wide>(1 + more) * sum;
    lacking[k] = fair > has ? fair - has : 0;
  }
  while (given < spare) {
    const size_t k = static_cast<size_t>(std::max_element(lacking.begin(), lacking.end()) - lacking.begin());
    ++(*result)[shown[k]];
    lacking[k] = lacking[k] > sum ? lacking[k] - sum : 0;
    ++given;
  }
}

}  // namespace

BarShape ShapeBar(std::span<const uint64_t> parts, uint64_t capacity, uint64_t peak, int width, bool eighths) {
  BarShape shape;
  shape.cells.resize(parts.size());
  if (width <= 0) return shape;
  const Wide held = std::accumulate(parts.begin(), parts.end(), Wide{0});
  shape.is_over = capacity != 0 && held > capacity;
  const Wide whole = std::max(held, capacity != 0 ? Wide{capacity} : Wide{peak});
  if (whole == 0) return shape;

  const std::vector<size_t> shown = ShownParts(parts, static_cast<size_t>(width));
  if (!shown.empty()) {
    const int unit = eighths ? kEighths : 1;
    const int most = held < whole ? width * unit - 1 : width * unit;
    int units = std::clamp(Share(held, whole, width * unit), 1, std::max(most, 1));
    units = std::max(units, static_cast<int>(shown.size() > 1 ? shown.size() * static_cast<size_t>(unit) : 1));
    units = std::min(units, width * unit);
    shape.filled = (units + unit - 1) / unit;
    shape.last_eighths = eighths ? units - (shape.filled - 1) * unit : kEighths;
    Divide(parts, shown, shape.filled, &shape.cells);
  }

  if (capacity != 0 && whole == capacity && width >= kEighths) {
    shape.warning = Share(Wide{capacity} * 3, Wide{capacity} * 4, width);
    shape.critical = Share(Wide{capacity} * 9, Wide{capacity} * 10, width);
  }
  if (peak > held) {
    const int cell = peak >= whole ? width - 1 : Share(peak, whole, width);
    if (cell >= shape.filled) shape.peak = cell;
  }
  return shape;
}

Fullness FullnessOf(uint64_t held, uint64_t capacity) {
  if (capacity == 0) return Fullness::kNormal;
  if (held > capacity) return Fullness::kOver;
  if (Wide{held} * 10 >= Wide{capacity} * 9) return Fullness::kCritical;
  return Wide{held} * 4 >= Wide{capacity} * 3 ? Fullness::kWarning : Fullness::kNormal;
}

CellRange CellsOf(uint64_t lowest, uint64_t end, uint64_t whole, int width) {
  if (width <= 0 || whole == 0) return {};
  const auto cell = [&](uint64_t address) { return Share(std::min(address, whole), whole, width); };
  const int begin = std::min(cell(lowest), width - 1);
  const int last = end > 0 ? cell(end - 1) : 0;
  return {begin, std::clamp(last + 1, begin + 1, width)};
}

}  // namespace memtally::tools::top
