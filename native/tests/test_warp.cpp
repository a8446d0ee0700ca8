// Warps: every variant against the scalar one, and each against slow readable arithmetic.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "frames.h"
#include "kernels.h"
#include "test.h"
#include "variants.h"

using namespace facesdk;
using test::Edge;
using test::Frame;
using test::kEdges;
using test::supported;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct NamedMap {
  std::string name;
  Affine map;
};

Affine turned(double degrees, double scale, double cx, double cy, double half) {
  const double c = scale * std::cos(degrees * std::numbers::pi / 180);
  const double s = scale * std::sin(degrees * std::numbers::pi / 180);
  return {c, -s, cx - c * half + s * half, s, c, cy - s * half - c * half};
}

// Maps with finite coordinates near the frame: the slow reference holds for them.
std::vector<NamedMap> tame_maps() {
  std::vector<NamedMap> maps = {
      {"identity", {1, 0, 0, 0, 1, 0}},
      {"integer shift", {1, 0, 3, 0, 1, -2}},
      {"half shift", {1, 0, 0.5, 0, 1, 0.5}},
      {"up to the last pixel", {1, 0, -16, 0, 1, -16}},
      {"far outside", {1, 0, 9000, 0, 1, -9000}},
      {"mirrored", {-1, 0, 63.25, 0, 1, 0.75}},
      {"all on one point", {0, 0, 30.3, 0, 0, 31.7}},
      {"sheared", {0.5, 0.7, -3, -0.2, 0.9, 11}},
  };
  for (const double degrees : {1.0, 30.0, 45.0, 90.0, 180.0, -77.0}) {
    maps.push_back({"rotation " + std::to_string(degrees), turned(degrees, 0.8, 32, 32, 36)});
  }
  for (const double scale : {0.1, 0.33, 1.0, 1.7, 2.5, 8.0}) {
    maps.push_back({"scale " + std::to_string(scale), turned(3, scale, 32, 40, 36)});
  }
  return maps;
}

// Maps that no caller should give; they must neither crash nor be undefined behaviour.
std::vector<NamedMap> wild_maps() {
  std::vector<NamedMap> maps;
  const double values[] = {kNan, HUGE_VAL, -HUGE_VAL, 1e300, -1e300, 16384.0, -16384.0, 16383.9, 1e-300};
  for (const double value : values) {
    for (int at = 0; at < 6; ++at) {
      double m[6] = {1, 0, 0, 0, 1, 0};
      m[at] = value;
      maps.push_back({"coefficient " + std::to_string(at) + " = " + std::to_string(value),
                      {m[0], m[1], m[2], m[3], m[4], m[5]}});
    }
    maps.push_back({"all " + std::to_string(value), {value, value, value, value, value, value}});
  }
  return maps;
}

// out with the whole buffer guarded, so that a kernel writing past it faults.
std::vector<uint8_t> warp(const Kernels& k, const Image& src, const Affine& map, int width, int height) {
  const size_t size = static_cast<size_t>(width) * height * 3;
  const test::GuardedMemory out(size, Edge::last_byte);
  std::memset(out.data(), 0xCD, size);
  k.warp_u8(src, map, out.data(), width, height);
  return {out.data(), out.data() + size};
}

void check_variants_agree(const Frame& frame, const NamedMap& map, int width, int height) {
  const std::vector<uint8_t> expected = warp(kScalar, frame.image, map.map, width, height);
  for (const Kernels* k : supported()) {
    if (k == supported().back()) continue;
    const bool equal = warp(*k, frame.image, map.map, width, height) == expected;
    test::check(equal, __FILE__, __LINE__,
                std::string(k->name) + " differs from scalar: " + map.name + ", frame " +
                    std::to_string(frame.image.width) + " x " + std::to_string(frame.image.height) + " x " +
                    std::to_string(frame.image.channels) + ", output " + std::to_string(width) + " x " +
                    std::to_string(height));
  }
}

// The definition in double precision: the four neighbours weighted by their nearness, black outside.
double slow_sample(const Image& src, Point at, int channel) {
  const double left = std::floor(at.x), top = std::floor(at.y);
  double sum = 0;
  for (const double y : {top, top + 1}) {
    for (const double x : {left, left + 1}) {
      if (x < 0 || y < 0 || x >= src.width || y >= src.height) continue;
      const int from = src.channels == 3 ? channel : 0;
      const uint8_t pixel = src.data[static_cast<size_t>(y) * src.stride + static_cast<size_t>(x) * src.channels + from];
      sum += pixel * (1 - std::abs(at.x - x)) * (1 - std::abs(at.y - y));
    }
  }
  return sum;
}

// The greatest difference of a variant's warp from the slow one.
double worst_difference(const Kernels& k, const Image& src, const Affine& map, int width, int height) {
  const std::vector<uint8_t> out = warp(k, src, map, width, height);
  double worst = 0;
  size_t next = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const Point at = map({static_cast<double>(x), static_cast<double>(y)});
      for (int c = 0; c < 3; ++c) worst = std::max(worst, std::abs(out[next++] - slow_sample(src, at, c)));
    }
  }
  return worst;
}

// Smooth and black at its edges: no neighbours differ by more than 30, so rounding a coordinate to 1/256 pixel
// costs less than half a gray level.
test::Paint smooth(int width, int height) {
  return [=](int x, int y, int c) {
    const double u = std::sin(std::numbers::pi * x / (width - 1)), v = std::sin(std::numbers::pi * y / (height - 1));
    return static_cast<int>(std::lround(u * v * (150 + 60 * std::sin(0.2 * x + c) + 40 * std::cos(0.15 * y - c))));
  };
}

Affine random_map(std::mt19937& random) {
  std::uniform_real_distribution<double> step(-2, 2), shift(-80, 160), size(-4, 1);
  const double scale = std::exp2(size(random));
  return {scale * step(random), scale * step(random), shift(random), scale * step(random), scale * step(random), shift(random)};
}

}  // namespace

TEST(warp_variants_agree_at_all_widths) {
  for (const int channels : {1, 3}) {
    for (const size_t padding : {0, 5}) {
      const Frame narrow(64, 64, channels, test::noise(), padding), odd(65, 97, channels, test::noise(), padding);
      for (const NamedMap& map : tame_maps()) {
        for (int size = 64; size <= 80; ++size) {
          check_variants_agree(narrow, map, size, 6);
          check_variants_agree(odd, map, size, 6);
        }
        check_variants_agree(narrow, map, 80, 80);
        check_variants_agree(odd, map, 71, 65);
        for (int width = 1; width < 20; ++width) check_variants_agree(odd, map, width, 3);
      }
    }
  }
}

TEST(warp_never_reads_outside_the_frame) {
  // Every position of the picture's edges within a block of eight pixels, at both ends of the mapped memory.
  for (const Edge edge : {Edge::first_byte, Edge::last_byte}) {
    for (const int channels : {1, 3}) {
      for (const size_t padding : {0, 3}) {
        const Frame frame(64, 64, channels, test::noise(), padding, edge);
        for (int shift = -12; shift <= 24; ++shift) {
          for (const double part : {0.0, 0.4, 0.999}) {
            check_variants_agree(frame, {"shift", {1, 0, shift + part, 0, 1, shift + part}}, 64, 64);
            check_variants_agree(frame, {"mirrored", {-1, 0, 63 - shift - part, 0, -1, 63 - shift - part}}, 64, 64);
          }
        }
        for (int degrees = 0; degrees < 360; degrees += 15) {
          check_variants_agree(frame, {"rotation", turned(degrees, 1.1, 31.5, 31.5, 32)}, 64, 64);
        }
      }
    }
  }
}

TEST(warp_takes_small_frames) {
  for (const int channels : {1, 3}) {
    for (int width = 1; width <= 18; ++width) {
      for (int height = 1; height <= 4; ++height) {
        const Frame frame(width, height, channels, test::noise());
        check_variants_agree(frame, {"identity", {1, 0, 0, 0, 1, 0}}, 24, 6);
        check_variants_agree(frame, {"shrunk", {0.1, 0, 0, 0, 0.1, 0}}, 64, 16);
      }
    }
  }
}

TEST(warp_meets_the_frame_from_far_away) {
  // Regions many times the frame's size start far outside it; the frame is still where it is.
  const Frame frame(300, 300, 3, test::constant(255));
  for (const double step : {100.0, 312.0, 5000.0}) {
    for (const Kernels* k : supported()) {
      const std::vector<uint8_t> out = warp(*k, frame.image, {step, 0, 150 - 96 * step, 0, step, 150 - 40 * step}, 192, 80);
      const auto lit = [&](size_t x, size_t y) { return out[3 * (192 * y + x)] == 255; };
      CHECK(lit(96, 40));
      CHECK(!lit(93, 40) && !lit(99, 40) && !lit(96, 37) && !lit(96, 43));
    }
  }
}

TEST(warp_takes_frames_beyond_32767_pixels) {
  // Such coordinates do not fit the 16.16 fixed point of 32-bit lanes.
  for (const int channels : {1, 3}) {
    const Frame wide(40000, 8, channels, test::noise()), tall(64, 40000, channels, test::noise());
    for (const double start : {10000.0, 16300.0}) {
      check_variants_agree(wide, {"along a row", {400, 0, start, 0, 1, 2}}, 64, 4);
      check_variants_agree(tall, {"down a column", {0, 0, 20, 400, 0, start}}, 64, 4);
    }
  }
}

TEST(warp_survives_wild_maps) {
  for (const int channels : {1, 3}) {
    const Frame frame(65, 97, channels, test::noise());
    for (const NamedMap& map : wild_maps()) {
      check_variants_agree(frame, map, 67, 9);
      const bool nowhere = std::isnan(map.map.c) || std::isnan(map.map.f) || std::abs(map.map.c) > 1e4 || std::abs(map.map.f) > 1e4;
      const bool still = map.map.a == 1 && map.map.e == 1 && map.map.b == 0 && map.map.d == 0;
      if (!nowhere || !still) continue;
      for (const Kernels* k : supported()) {
        const std::vector<uint8_t> out = warp(*k, frame.image, map.map, 67, 9);
        CHECK(std::all_of(out.begin(), out.end(), [](uint8_t v) { return v == 0; }));
      }
    }
  }
}

TEST(warp_is_near_the_slow_reference) {
  for (const Kernels* k : supported()) {
    for (const int channels : {1, 3}) {
      const Frame square(64, 64, channels, smooth(64, 64), 7), odd(65, 97, channels, smooth(65, 97));
      const Frame rough(64, 64, channels, test::noise());
      for (const NamedMap& map : tame_maps()) {
        CHECK(worst_difference(*k, square.image, map.map, 73, 66) <= 1.0);
        CHECK(worst_difference(*k, odd.image, map.map, 66, 73) <= 1.0);
        // In noise 1/256 pixel is worth a gray level along each axis, and half a level is rounded.
        CHECK(worst_difference(*k, rough.image, map.map, 64, 64) <= 3.0);
      }
    }
  }
}

TEST(warp_identity_copies) {
  for (const Kernels* k : supported()) {
    const Frame rgb(64, 64, 3, test::noise(), 11), gray(64, 64, 1, test::noise(), 11);
    const std::vector<uint8_t> a = warp(*k, rgb.image, {1, 0, 0, 0, 1, 0}, 64, 64);
    const std::vector<uint8_t> b = warp(*k, gray.image, {1, 0, 0, 0, 1, 0}, 64, 64);
    bool equal = true;
    for (size_t y = 0; y < 64; ++y) {
      for (size_t x = 0; x < 64; ++x) {
        for (size_t c = 0; c < 3; ++c) {
          equal = equal && a[3 * (64 * y + x) + c] == rgb.image.data[y * rgb.image.stride + 3 * x + c];
          equal = equal && b[3 * (64 * y + x) + c] == gray.image.data[y * gray.image.stride + x];
        }
      }
    }
    CHECK(equal);
  }
}

TEST(warp_half_shift_is_the_mean) {
  const Frame frame(64, 64, 3, [](int x, int y, int) { return x % 2 == 0 ? 0 : (y % 2 == 0 ? 100 : 201); });
  for (const Kernels* k : supported()) {
    const std::vector<uint8_t> across = warp(*k, frame.image, {1, 0, 0.5, 0, 1, 0}, 60, 60);
    const std::vector<uint8_t> both = warp(*k, frame.image, {1, 0, 0.5, 0, 1, 0.5}, 60, 60);
    bool equal = true;
    for (size_t i = 0; i < across.size(); ++i) {
      equal = equal && across[i] == ((i / 180) % 2 == 0 ? 50 : 101);  // 100.5 is rounded up
      equal = equal && both[i] == 75;                                 // 75.25
    }
    CHECK(equal);
  }
}

TEST(warp_outside_is_black) {
  const Frame frame(64, 64, 3, test::constant(255));
  for (const Kernels* k : supported()) {
    const std::vector<uint8_t> out = warp(*k, frame.image, {1, 0, -8.5, 0, 1, 0}, 80, 64);
    for (size_t x = 0; x < 80; ++x) {
      const int expected = x < 8 || x > 72 ? 0 : x == 8 || x == 72 ? 128 : 255;
      CHECK_EQ(static_cast<int>(out[3 * x]), expected);
    }
  }
}

TEST(warp_variants_agree_on_random_maps) {
  std::mt19937 random(17);
  for (const Edge edge : kEdges) {
    for (const int channels : {1, 3}) {
      for (int round = 0; round < 40; ++round) {
        const Frame frame(2 + random() % 120, 2 + random() % 120, channels, test::noise(), random() % 6, edge);
        for (int turn = 0; turn < 20; ++turn) check_variants_agree(frame, {"random", random_map(random)}, 1 + random() % 90, 12);
      }
    }
  }
}
