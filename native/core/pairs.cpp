#include "pairs.h"

#include <algorithm>
#include <utility>

namespace facesdk {
namespace {

// 192 vectors of 320 features are 240 KiB: a block's columns, a stripe's rows and its scores stay in a second-level cache
// of 512 KiB. More rows in a stripe are fewer times that a kernel lays the columns side by side.
constexpr size_t kBlock = 192, kStripe = 96;

int bin_of(float score) noexcept {
  const float place = (score + 1.0f) * (kBins / 2);
  return static_cast<int>(std::max(std::min(place, kBins - 1.0f), 0.0f));
}

// The order of a tail: by score, then by place. One type for both kinds, so that there is one sort.
struct Before {
  bool highest;
  bool operator()(const Pair& x, const Pair& y) const noexcept {
    if (x.score != y.score) return highest ? x.score > y.score : x.score < y.score;
    return x.a != y.a ? x.a < y.a : x.b < y.b;
  }
};

size_t cell_of(size_t a, size_t b) noexcept { return a < b ? cell_of(b, a) : a * (a + 1) / 2 + b; }

class Counter {
 public:
  Counter(const PairsOf& all, std::span<const double> thresholds, const Keep& keep, const Kernels& kernels)
      : all_(all), thresholds_(thresholds), kernels_(kernels), highest_(keep.highest, true), lowest_(keep.lowest, false),
        at_threshold_(kBins), telling_{std::vector<uint8_t>(kBins, 1), std::vector<uint8_t>(kBins, 1)},
        scores_(kStripe * kBlock) {
    const size_t cells = all.class_count * (all.class_count + 1) / 2;
    out_.bins.resize(cells * 2 * kBins);
    out_.above.resize(cells * 2 * thresholds.size());
    for (const double t : thresholds) at_threshold_[bin_of(static_cast<float>(t))] = 1;
  }

  void block(size_t row, size_t column) {
    const size_t rows = std::min(kBlock, all_.n - row), columns = std::min(kBlock, all_.n - column);
    for (size_t r = 0; r < rows; r += kStripe) {
      const size_t stripe = std::min(kStripe, rows - r);
      kernels_.scores_f32(all_.vectors + (row + r) * all_.d, stripe, all_.vectors + column * all_.d, columns, all_.d,
                          scores_.data());
      for (size_t i = 0; i < stripe; ++i) count_row(row + r + i, column, columns, scores_.data() + i * columns);
    }
  }

  PairCounts result() && {
    // Bins beyond a threshold's own count whole; those inside it were compared one by one.
    for (size_t histogram = 0; histogram < out_.bins.size() / kBins; ++histogram) {
      for (size_t t = 0; t < thresholds_.size(); ++t) {
        for (int bin = bin_of(static_cast<float>(thresholds_[t])) + 1; bin < kBins; ++bin) {
          out_.above[histogram * thresholds_.size() + t] += out_.bins[histogram * kBins + bin];
        }
      }
    }
    out_.highest_cut = highest_.cut();
    out_.lowest_cut = lowest_.cut();
    out_.highest = std::move(highest_).sorted();
    out_.lowest = std::move(lowest_).sorted();
    return std::move(out_);
  }

 private:
  void count_row(size_t i, size_t column, size_t columns, const float* scores) {
    const size_t first = i < column ? 0 : i - column + 1;
    int32_t bins[kBlock];
    for (size_t c = first; c < columns; ++c) bins[c] = bin_of(scores[c]);
    const int32_t *people = all_.people + column, *classes = all_.classes + column;
    // No mated pair and one class: nearly every row of most data.
    int32_t unlike = 0;
    for (size_t c = first; c < columns; ++c) unlike |= (people[c] == all_.people[i]) | (classes[c] ^ classes[columns - 1]);
    if (unlike == 0) {
      const size_t histogram = 2 * cell_of(all_.classes[i], classes[columns - 1]);
      uint64_t* counts = out_.bins.data() + histogram * kBins;
      for (size_t c = first; c < columns; ++c) {
        ++counts[bins[c]];
        if (telling_[0][bins[c]]) [[unlikely]] look_at(i, column + c, scores[c], histogram);
      }
      return;
    }
    for (size_t c = first; c < columns; ++c) {
      const size_t mated = people[c] == all_.people[i];
      const size_t histogram = 2 * cell_of(all_.classes[i], classes[c]) + mated;
      ++out_.bins[histogram * kBins + bins[c]];
      if (telling_[mated][bins[c]]) look_at(i, column + c, scores[c], histogram);
    }
  }

  // A score in a threshold's bin, or one that its tail may want.
  void look_at(size_t i, size_t j, float score, size_t histogram) {
    const int bin = bin_of(score);
    if (at_threshold_[bin]) compare(score, bin, histogram);
    const size_t mated = histogram % 2;
    Tail& tail = mated ? lowest_ : highest_;
    if (!tail.wants(score)) return;
    if (tail.offer({score, static_cast<uint32_t>(i), static_cast<uint32_t>(j)})) {
      const int edge = bin_of(tail.edge());
      for (int b = 0; b < kBins; ++b) telling_[mated][b] = at_threshold_[b] | (mated ? b <= edge : b >= edge);
    }
  }

  void compare(float score, int bin, size_t histogram) noexcept {
    for (size_t t = 0; t < thresholds_.size(); ++t) {
      if (bin_of(static_cast<float>(thresholds_[t])) == bin) {
        out_.above[histogram * thresholds_.size() + t] += static_cast<double>(score) >= thresholds_[t];
      }
    }
  }

  const PairsOf& all_;
  std::span<const double> thresholds_;
  const Kernels& kernels_;
  Tail highest_, lowest_;
  std::vector<uint8_t> at_threshold_, telling_[2];
  std::vector<float> scores_;
  PairCounts out_;
};

}  // namespace

bool Tail::offer(const Pair& pair) {
  pairs_.push_back(pair);
  if (pairs_.size() < 2 * keep_) return false;
  trim();
  return true;
}

void Tail::trim() {
  if (pairs_.size() <= keep_) return;
  full_ = true;
  std::nth_element(pairs_.begin(), pairs_.begin() + static_cast<std::ptrdiff_t>(keep_ - 1), pairs_.end(), Before{highest_});
  pairs_.resize(keep_);
  edge_ = pairs_.back().score;
}

std::vector<Pair> Tail::sorted() && {
  trim();
  std::sort(pairs_.begin(), pairs_.end(), Before{highest_});
  return std::move(pairs_);
}

PairCounts count_pairs(const PairsOf& all, std::span<const double> thresholds, const Keep& keep, size_t part, size_t parts,
                       const Kernels& kernels) {
  Counter counter(all, thresholds, keep, kernels);
  size_t number = 0;
  for (size_t row = 0; row < all.n; row += kBlock) {
    for (size_t column = row; column < all.n; column += kBlock) {
      if (number++ % parts == part) counter.block(row, column);
    }
  }
  return std::move(counter).result();
}

}  // namespace facesdk
