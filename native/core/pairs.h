// All pairs of many vectors: their scores counted, the most telling ones kept, in blocks and in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels.h"

namespace facesdk {

// Scores from -1 to 1 by floor((score + 1) * kBins / 2); what lies outside counts in the first or last bin.
constexpr int kBins = 4096;
constexpr size_t kMaxClasses = 32;

struct Pair {
  float score;
  uint32_t a, b;  // a < b
};

// The `keep` pairs that come first by score, the highest first or the lowest; pairs of one score by a, then b.
class Tail {
 public:
  Tail(size_t keep, bool highest) : keep_(keep), highest_(highest) {}
  bool wants(float score) const noexcept { return !full_ || (highest_ ? score >= edge_ : score <= edge_); }
  bool offer(const Pair& pair);  // whether the edge has moved
  float edge() const noexcept { return edge_; }
  std::vector<Pair> sorted() &&;
  bool cut() const noexcept { return full_; }  // whether pairs were left out

 private:
  void trim();
  size_t keep_;
  bool highest_, full_ = false;
  float edge_ = 0;
  std::vector<Pair> pairs_;
};

// n vectors of d features, d a multiple of 8 and at most kMaxFeatures; person and class (below kMaxClasses) of each.
struct PairsOf {
  const float* vectors;
  const int32_t* people;
  const int32_t* classes;
  size_t n, d, class_count;
};

// How many of the highest non-mated pairs and of the lowest mated ones to keep, at least one of each.
struct Keep {
  size_t highest, lowest;
};

// A cell is an unordered pair of classes a >= b, at a * (a + 1) / 2 + b. kind: 0 non-mated, 1 mated.
struct PairCounts {
  std::vector<uint64_t> bins;   // (cells, 2, kBins)
  std::vector<uint64_t> above;  // (cells, 2, thresholds): scores that are at the threshold or above, as doubles
  std::vector<Pair> highest, lowest;  // non-mated, mated
  bool highest_cut = false, lowest_cut = false;
};

// Counts the pairs of the blocks part, part + parts, ...; the parts' counts add up to those of all pairs, and the tails
// of all pairs are among theirs. Which part counts a pair changes no bit of its score.
PairCounts count_pairs(const PairsOf& all, std::span<const double> thresholds, const Keep& keep, size_t part, size_t parts,
                       const Kernels& kernels);

}  // namespace facesdk
