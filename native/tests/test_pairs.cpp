// All pairs: every variant's scores against the scalar dot, counts and tails against a loop over the pairs.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "frames.h"
#include "pairs.h"
#include "test.h"
#include "variants.h"

using namespace facesdk;
using test::kEdges;
using test::supported;

namespace {

// Unit vectors in guarded memory, at either end of it: a kernel that reads past them faults.
class Vectors {
 public:
  Vectors(size_t n, size_t d, unsigned seed, test::Edge edge = test::Edge::last_byte)
      : memory_(std::max<size_t>(n * d * sizeof(float), 1), edge) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    float* to = data();
    for (size_t i = 0; i < n; ++i) {
      double squares = 0;
      for (size_t k = 0; k < d; ++k) squares += std::pow(to[i * d + k] = normal(random), 2);
      for (size_t k = 0; k < d; ++k) to[i * d + k] /= static_cast<float>(std::sqrt(squares));
    }
  }
  float* data() const { return reinterpret_cast<float*>(memory_.data()); }

 private:
  test::GuardedMemory memory_;
};

struct Case {
  Vectors vectors;
  std::vector<int32_t> people, classes;
  size_t d;
  Case(size_t n, size_t d_, int persons, int class_count) : vectors(n, d_, 5), d(d_) {
    std::mt19937 random(6);
    for (size_t i = 0; i < n; ++i) {
      people.push_back(static_cast<int32_t>(random() % persons));
      classes.push_back(static_cast<int32_t>(random() % class_count));
    }
    classes.back() = class_count - 1;
  }
  PairsOf all(int class_count) const {
    return {vectors.data(), people.data(), classes.data(), people.size(), d, static_cast<size_t>(class_count)};
  }
};

bool same(const std::vector<Pair>& x, const std::vector<Pair>& y) {
  return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                    [](const Pair& p, const Pair& q) { return p.score == q.score && p.a == q.a && p.b == q.b; });
}

// The definition: one loop over the pairs, everything kept.
PairCounts by_loop(const PairsOf& all, const std::vector<double>& thresholds, size_t keep) {
  PairCounts out;
  const size_t cells = all.class_count * (all.class_count + 1) / 2;
  out.bins.resize(cells * 2 * kBins);
  out.above.resize(cells * 2 * thresholds.size());
  for (size_t i = 0; i < all.n; ++i) {
    for (size_t j = i + 1; j < all.n; ++j) {
      const float score = dot_f32_scalar(all.vectors + i * all.d, all.vectors + j * all.d, all.d);
      const size_t x = std::max(all.classes[i], all.classes[j]), y = std::min(all.classes[i], all.classes[j]);
      const size_t mated = all.people[i] == all.people[j], histogram = 2 * (x * (x + 1) / 2 + y) + mated;
      ++out.bins[histogram * kBins + std::clamp(static_cast<int>(std::floor((score + 1.0f) * (kBins / 2))), 0, kBins - 1)];
      for (size_t t = 0; t < thresholds.size(); ++t) {
        out.above[histogram * thresholds.size() + t] += static_cast<double>(score) >= thresholds[t];
      }
      (mated ? out.lowest : out.highest).push_back({score, static_cast<uint32_t>(i), static_cast<uint32_t>(j)});
    }
  }
  std::stable_sort(out.highest.begin(), out.highest.end(), [](const Pair& p, const Pair& q) { return p.score > q.score; });
  std::stable_sort(out.lowest.begin(), out.lowest.end(), [](const Pair& p, const Pair& q) { return p.score < q.score; });
  out.highest.resize(std::min(keep, out.highest.size()));
  out.lowest.resize(std::min(keep, out.lowest.size()));
  return out;
}

}  // namespace

TEST(scores_have_the_bits_of_the_dot_at_every_remainder) {
  for (const Kernels* k : supported()) {
    for (const test::Edge edge : kEdges) {
      for (const size_t n : {size_t{8}, size_t{16}, size_t{320}, kMaxFeatures}) {
        for (size_t rows = 0; rows <= 9; ++rows) {
          for (size_t columns = 0; columns <= 17; ++columns) {
            const Vectors a(rows, n, 1, edge), b(columns, n, 2, edge);
            std::vector<float> out(rows * columns + 1, 7.0f);
            k->scores_f32(a.data(), rows, b.data(), columns, n, out.data());
            bool good = out.back() == 7.0f;
            for (size_t r = 0; r < rows; ++r) {
              for (size_t c = 0; c < columns; ++c) {
                const float dot = dot_f32_scalar(a.data() + r * n, b.data() + c * n, n);
                good = good && std::memcmp(&dot, &out[r * columns + c], sizeof(dot)) == 0;
              }
            }
            CHECK(good);
          }
        }
      }
    }
  }
}

TEST(pairs_are_counted_as_a_loop_counts_them) {
  const std::vector<double> thresholds = {-1, 0, 0.1, 0.1 + 1e-9, 0.25, 1};
  for (const Kernels* k : supported()) {
    for (const size_t n : {2, 191, 192, 193, 410}) {
      for (const int class_count : {1, 3}) {
        const Case made(n, 16, 40, class_count);
        const PairsOf all = made.all(class_count);
        for (const size_t keep : {size_t{1}, size_t{100}, size_t{1000000}}) {
          const PairCounts expected = by_loop(all, thresholds, keep), came = count_pairs(all, thresholds, {keep, keep}, 0, 1, *k);
          CHECK(came.bins == expected.bins);
          CHECK(came.above == expected.above);
          CHECK(same(came.highest, expected.highest));
          CHECK(same(came.lowest, expected.lowest));
          CHECK_EQ(came.highest_cut, n > 2 && keep < 1000000);
        }
      }
    }
  }
}

TEST(pairs_of_equal_scores_are_kept_by_their_place) {
  const size_t n = 300, d = 8;
  std::vector<float> equal(n * d);
  for (size_t i = 0; i < n; ++i) equal[i * d] = 1;
  std::vector<int32_t> people(n), classes(n);
  for (size_t i = 0; i < n; ++i) people[i] = static_cast<int32_t>(i);
  const PairsOf all{equal.data(), people.data(), classes.data(), n, d, 1};
  for (const Kernels* k : supported()) {
    const PairCounts came = count_pairs(all, std::vector<double>{1.0}, {500, 1}, 0, 1, *k);
    CHECK(same(came.highest, by_loop(all, {1.0}, 500).highest));
    CHECK_EQ(came.above[0], n * (n - 1) / 2);
  }
}

TEST(pairs_in_parts_add_up) {
  const Case made(700, 24, 90, 2);
  const PairsOf all = made.all(2);
  const std::vector<double> thresholds = {0.2};
  const Kernels& k = kernels();
  const PairCounts whole = count_pairs(all, thresholds, {50, 7}, 0, 1, k);
  for (const size_t parts : {2, 3, 11}) {
    PairCounts sum;
    sum.bins.resize(whole.bins.size());
    sum.above.resize(whole.above.size());
    for (size_t part = 0; part < parts; ++part) {
      const PairCounts one = count_pairs(all, thresholds, {50, 7}, part, parts, k);
      for (size_t i = 0; i < sum.bins.size(); ++i) sum.bins[i] += one.bins[i];
      for (size_t i = 0; i < sum.above.size(); ++i) sum.above[i] += one.above[i];
      sum.highest.insert(sum.highest.end(), one.highest.begin(), one.highest.end());
    }
    std::sort(sum.highest.begin(), sum.highest.end(), [](const Pair& p, const Pair& q) {
      return p.score != q.score ? p.score > q.score : p.a != q.a ? p.a < q.a : p.b < q.b;
    });
    sum.highest.resize(50);
    CHECK(sum.bins == whole.bins);
    CHECK(sum.above == whole.above);
    CHECK(same(sum.highest, whole.highest));
  }
}
