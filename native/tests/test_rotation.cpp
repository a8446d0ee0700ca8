// The secret rotation: orthonormal, undone by its inverse, the same everywhere, and led by every word of its stream.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "rotation.h"
#include "test.h"

using namespace facesdk;

namespace {

// SplitMix64 (Steele, Lea and Flood 2014): the same bytes on every machine, unlike the library's distributions.
std::vector<uint8_t> stream_of(uint64_t seed, size_t dimension) {
  std::vector<uint8_t> bytes(rotation_stream_size(dimension));
  uint64_t state = seed, value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i % 8 == 0) {
      value = (state += 0x9e3779b97f4a7c15u);
      value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
      value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
      value ^= value >> 31;
    }
    bytes[i] = static_cast<uint8_t>(value >> 8 * (i % 8));
  }
  return bytes;
}

std::vector<float> random_vectors(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (float& value : out) value = normal(random);
  return out;
}

double dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

std::vector<float> identity(size_t dimension) {
  std::vector<float> out(dimension * dimension, 0.0f);
  for (size_t i = 0; i < dimension; ++i) out[i * dimension + i] = 1.0f;
  return out;
}

}  // namespace

TEST(rotation_is_orthonormal) {
  for (const size_t n : {1, 2, 3, 4, 5, 8, 17, 64, 127, 128, 320}) {
    std::vector<float> rows = identity(n);
    rotate(stream_of(n, n).data(), n, rows.data(), n, false);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) CHECK_NEAR(dot(&rows[i * n], &rows[j * n], n), i == j ? 1.0 : 0.0, 1e-6);
    }
  }
}

TEST(rotation_keeps_every_score) {
  for (const size_t n : {5, 128, 320, 4096}) {
    std::vector<float> two = random_vectors(1, 2 * n);
    for (size_t v = 0; v < 2; ++v) {
      const double length = std::sqrt(dot(&two[v * n], &two[v * n], n));
      for (size_t i = 0; i < n; ++i) two[v * n + i] = static_cast<float>(two[v * n + i] / length);
    }
    const double before = dot(&two[0], &two[n], n);
    rotate(stream_of(7, n).data(), n, two.data(), 2, false);
    CHECK_NEAR(dot(&two[0], &two[n], n), before, 1e-6);
    CHECK_NEAR(dot(&two[0], &two[0], n), 1.0, 1e-6);
  }
}

TEST(rotation_inverse_undoes_it) {
  for (const size_t n : {1, 2, 3, 7, 129, 320, 4096}) {
    const std::vector<uint8_t> stream = stream_of(3 * n, n);
    const std::vector<float> start = random_vectors(static_cast<uint32_t>(n), 3 * n);
    for (const bool inverse_first : {false, true}) {
      std::vector<float> values = start;
      rotate(stream.data(), n, values.data(), 3, inverse_first);
      rotate(stream.data(), n, values.data(), 3, !inverse_first);
      for (size_t i = 0; i < values.size(); ++i) CHECK_NEAR(values[i], start[i], 2e-6);
    }
  }
}

TEST(rotation_of_several_is_that_of_each) {
  for (const size_t n : {2, 5, 128}) {
    const std::vector<uint8_t> stream = stream_of(n, n);
    std::vector<float> together = random_vectors(9, 11 * n), alone = together;
    rotate(stream.data(), n, together.data(), 11, false);
    for (size_t v = 0; v < 11; ++v) rotate(stream.data(), n, &alone[v * n], 1, false);
    CHECK(together == alone);
  }
}

TEST(rotation_turns_far_from_where_it_was) {
  const size_t n = 128;
  std::vector<float> start = random_vectors(4, n), turned = start, other = start;
  rotate(stream_of(1, n).data(), n, turned.data(), 1, false);
  rotate(stream_of(2, n).data(), n, other.data(), 1, false);
  const double length = dot(start.data(), start.data(), n);
  // Cosines of random directions: standard deviation 1 / sqrt(128) = 0.09.
  CHECK(std::abs(dot(start.data(), turned.data(), n) / length) < 0.45);
  CHECK(std::abs(dot(turned.data(), other.data(), n) / length) < 0.45);
}

TEST(rotation_stream_size_counts_words) {
  CHECK_EQ(rotation_stream_size(1), size_t{32 * 4 * 1});
  CHECK_EQ(rotation_stream_size(2), size_t{32 * 4 * 3});
  CHECK_EQ(rotation_stream_size(5), size_t{32 * 4 * 7});
  CHECK_EQ(rotation_stream_size(320), size_t{32 * 4 * 480});
  CHECK_EQ(rotation_stream_size(4096), size_t{32 * 4 * 6144});
}

TEST(rotation_golden) {
  // Sealed files depend on these: they may never change within a format version.
  std::vector<float> five = {1, 2, 3, 4, 5}, eight = {1, 0, 0, 0, 0, 0, 0, 0};
  rotate(stream_of(2024, 5).data(), 5, five.data(), 1, false);
  rotate(stream_of(2025, 8).data(), 8, eight.data(), 1, false);
  const std::array<double, 5> five_expected = {1.62362361, -0.56001506, -1.59753799, -5.25520097, 4.67770934};
  const std::array<double, 8> eight_expected = {0.27932580, 0.40198626, 0.30593208,  -0.24686650,
                                              -0.46357943, 0.36434332, 0.25089630, -0.44186621};
  for (size_t i = 0; i < 5; ++i) CHECK_NEAR(five[i], five_expected[i], 1e-6);
  for (size_t i = 0; i < 8; ++i) CHECK_NEAR(eight[i], eight_expected[i], 1e-6);
}

TEST(rotation_every_word_of_the_stream_leads) {
  // Word 0 of a layer's shuffle picks among one: it has no say. In odd dimensions one coordinate rests in each layer.
  const size_t n = 5, words = n + n / 2;
  const std::vector<uint8_t> stream = stream_of(77, n);
  std::vector<float> start = random_vectors(5, n), expected = start;
  rotate(stream.data(), n, expected.data(), 1, false);
  for (size_t word = 0; word < kRotationLayers * words; ++word) {
    std::vector<uint8_t> other = stream;
    other[4 * word + 3] ^= 0x80;
    std::vector<float> values = start;
    rotate(other.data(), n, values.data(), 1, false);
    CHECK_EQ(values == expected, word % words == 0);
  }
}

TEST(rotation_pairs_without_bias) {
  // One layer with quarter turns only in its first pair shows which coordinates were paired; the other layers and pairs
  // turn by nothing. Over many streams every coordinate must be in that pair equally often, at either place.
  const size_t n = 8, words = n + n / 2;
  const int rounds = 16000;
  std::array<long, 64> counts{};
  for (int round = 0; round < rounds; ++round) {
    std::vector<uint8_t> stream = stream_of(1000 + static_cast<uint64_t>(round), n);
    for (size_t layer = 0; layer < kRotationLayers; ++layer) {
      std::fill_n(&stream[4 * (layer * words + n)], 4 * (n / 2), uint8_t{0});
    }
    stream[4 * n + 3] = 0x40;  // 2^30 of 2^32: a quarter turn
    std::vector<float> rows = identity(n);
    rotate(stream.data(), n, rows.data(), n, false);
    // Row i is where coordinate i went: i to +j, j to -i.
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        if (i != j && rows[i * n + j] > 0.5f) ++counts[i * n + j];
      }
    }
  }
  double chi_square = 0;
  long total = 0;
  const double expected = rounds / 56.0;
  for (size_t i = 0; i < n; ++i) {
    CHECK_EQ(counts[i * n + i], 0L);
    for (size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      total += counts[i * n + j];
      chi_square += (counts[i * n + j] - expected) * (counts[i * n + j] - expected) / expected;
    }
  }
  CHECK_EQ(total, static_cast<long>(rounds));
  // 55 degrees of freedom: mean 55, standard deviation 10.5. The streams are fixed, so this cannot flicker.
  CHECK(chi_square > 15 && chi_square < 105);
}

TEST(rotation_images_are_spread_like_random_directions) {
  // A fixed vector under many rotations: each coordinate has mean 0 and mean square 1 / n.
  const size_t n = 9;
  const int rounds = 4000;
  std::array<double, 9> sum{}, square{};
  for (int round = 0; round < rounds; ++round) {
    std::vector<float> v(n, 0.0f);
    v[0] = 1.0f;
    rotate(stream_of(50000 + static_cast<uint64_t>(round), n).data(), n, v.data(), 1, false);
    for (size_t i = 0; i < n; ++i) {
      sum[i] += v[i];
      square[i] += double{v[i]} * v[i];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    CHECK_NEAR(sum[i] / rounds, 0.0, 4.5 / std::sqrt(9.0 * rounds));
    CHECK_NEAR(square[i] / rounds, 1.0 / 9, 0.012);
  }
}
