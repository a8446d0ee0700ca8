// Kernels on rows: every variant against the scalar one or slow readable arithmetic.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "frames.h"
#include "kernels.h"
#include "test.h"
#include "variants.h"

using namespace facesdk;
using test::Edge;
using test::kEdges;
using test::supported;

namespace {

constexpr float kHuge = std::numeric_limits<float>::max();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Around every multiple of eight lanes, and the sizes the pipeline uses.
std::vector<size_t> sizes() {
  std::vector<size_t> list;
  for (size_t n = 0; n <= 67; ++n) list.push_back(n);
  for (const size_t n : {128, 320, 49152}) list.push_back(n);
  return list;
}

// Equal bits, except that one NaN is as good as another: which operand's it is, IEEE 754 leaves open.
bool same(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0 || (std::isnan(a) && std::isnan(b)); }

std::vector<float> floats(size_t n, const std::string& kind, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> real(-1, 1);
  const float extremes[] = {0.0f, -0.0f, kTiny, -kTiny, 1e-38f, 1.0f, -1.0f, 3e18f, -3e18f, 1e-20f};
  const float special[] = {kHuge, -kHuge, kInfinity, -kInfinity, std::nanf(""), 0.0f, kTiny};
  std::vector<float> list(n);
  for (float& f : list) {
    if (kind == "random") f = real(random);
    if (kind == "extreme") f = extremes[random() % std::size(extremes)];
    if (kind == "special") f = special[random() % std::size(special)];
  }
  return list;
}

// Bytes in guarded memory, at either end of it: a kernel that reads past them faults.
class Bytes {
 public:
  Bytes(size_t size, const std::string& kind, Edge edge = Edge::last_byte, unsigned seed = 11)
      : memory_(std::max<size_t>(size, 1), edge), size_(size) {
    std::mt19937 random(seed);
    for (size_t i = 0; i < size; ++i) {
      const unsigned noise = random();
      const unsigned near_bright = 248 + noise % 8;
      at(i) = static_cast<uint8_t>(kind == "noise" ? noise : kind == "bright" ? near_bright : kind == "white" ? 255 : i % 2 ? 255 : 0);
    }
  }
  uint8_t* data() const { return memory_.data(); }
  uint8_t& at(size_t i) const { return memory_.data()[i]; }
  size_t size() const { return size_; }
  bool operator==(const Bytes& other) const { return size_ == other.size_ && std::memcmp(data(), other.data(), size_) == 0; }

 private:
  test::GuardedMemory memory_;
  size_t size_;
};

const char* const kKinds[] = {"noise", "bright", "white", "stripes"};

// Width, height and stride of a field of bytes.
struct Field {
  size_t width, height, stride;
};

// Every number of lanes left over, and the longest row; rows that touch and rows that do not.
std::vector<Field> fields() {
  std::vector<Field> list;
  for (size_t width = 0; width <= 70; ++width) list.push_back({width, 1 + width % 4, width + width % 3});
  for (const size_t width : {255, 256, 2032, 2047, 2048}) list.push_back({width, 3, width + 5});
  list.push_back({68, 76, 70});
  list.push_back({68, 0, 70});
  list.push_back({64, 5000, 64});
  return list;
}

std::string named(const Kernels& k, const Field& f, const std::string& kind) {
  return std::string(k.name) + ", " + std::to_string(f.width) + " x " + std::to_string(f.height) + ", " + kind;
}

}  // namespace

TEST(kernels_list_ends_with_scalar) {
  CHECK(!variants().empty());
  CHECK_EQ(std::string(variants().back().name), std::string("scalar"));
  CHECK(variants().back().supported());
  CHECK(kernels().supported());
  CHECK_EQ(std::string(kernels().name), std::string(supported().front()->name));
}

TEST(kernels_scale_equals_definition) {
  struct Factors {
    float scale, bias;
  };
  const Factors list[] = {{2.0f / 255.0f, -1.0f}, {1.0f / 255.0f, 0.0f}, {kHuge, -kHuge}, {kTiny, kTiny},
                          {-0.0f, 0.0f},          {kInfinity, 1.0f},     {1e-40f, -1e-40f}};
  std::mt19937 random(1);
  std::vector<uint8_t> bytes(49152 + 8);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i % 3 == 0 ? 0 : i % 3 == 1 ? 255 : random());
  for (const Kernels* k : supported()) {
    for (const size_t n : sizes()) {
      for (const Factors& f : list) {
        const size_t offset = n % 8;
        std::vector<float> out(n + 9, 77.0f);
        float* to = out.data() + (n % 7);
        k->scale_u8_f32(bytes.data() + offset, to, n, f.scale, f.bias);
        bool equal = true;
        for (size_t i = 0; i < n; ++i) {
          volatile float product = static_cast<float>(bytes[offset + i]) * f.scale;
          equal = equal && same(to[i], product + f.bias);
        }
        CHECK(equal);
        CHECK_EQ(to[n], 77.0f);
      }
    }
  }
}

TEST(kernels_dot_equals_scalar) {
  for (const Kernels* k : supported()) {
    for (const std::string kind : {"random", "extreme", "special"}) {
      for (const size_t n : sizes()) {
        const size_t offset = n % 8;
        const std::vector<float> a = floats(n + 8, kind, 2), b = floats(n + 8, kind, 3);
        CHECK(same(k->dot_f32(a.data() + offset, b.data(), n), kScalar.dot_f32(a.data() + offset, b.data(), n)));
      }
    }
  }
}

TEST(kernels_dot_is_a_dot_product) {
  for (const Kernels* k : supported()) {
    for (const size_t n : sizes()) {
      const std::vector<float> a = floats(n, "random", 4), b = floats(n, "random", 5);
      double sum = 0, magnitude = 0;
      for (size_t i = 0; i < n; ++i) {
        sum += double{a[i]} * b[i];
        magnitude += std::abs(double{a[i]} * b[i]);
      }
      CHECK_NEAR(k->dot_f32(a.data(), b.data(), n), sum, 1e-6 * magnitude);
      // Every element counts, the last ones too.
      for (size_t i = n > 20 ? n - 20 : 0; i < n; ++i) {
        std::vector<float> one(n, 0.0f);
        one[i] = 1.0f;
        CHECK_EQ(k->dot_f32(a.data(), one.data(), n), a[i]);
      }
    }
  }
}

TEST(kernels_dot_adds_in_the_written_order) {
  // In lanes 0 and 4 the huge numbers cancel first; another order loses the small ones.
  const float a[8] = {1e30f, 1, 2, 3, -1e30f, 4, 5, 6}, ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  for (const Kernels* k : supported()) CHECK_EQ(k->dot_f32(a, ones, 8), 21.0f);
}

TEST(kernels_gray_equals_definition) {
  for (const Kernels* k : supported()) {
    for (const Edge edge : kEdges) {
      for (const size_t n : sizes()) {
        for (const char* kind : kKinds) {
          const Bytes rgb(3 * n, kind, edge), out(n, "noise", edge);
          k->gray_u8(rgb.data(), out.data(), n);
          bool equal = true;
          for (size_t i = 0; i < n; ++i) {
            const int sum = 77 * rgb.at(3 * i) + 150 * rgb.at(3 * i + 1) + 29 * rgb.at(3 * i + 2);
            equal = equal && out.at(i) == sum / 256;
          }
          test::check(equal, __FILE__, __LINE__, std::string(k->name) + ", n = " + std::to_string(n));
        }
      }
    }
  }
}

TEST(kernels_table_equals_definition) {
  const Bytes table(256, "noise", Edge::last_byte, 12);
  for (const Kernels* k : supported()) {
    for (const Edge edge : kEdges) {
      for (const size_t n : sizes()) {
        const Bytes in(n, "noise", edge), out(n, "white", edge);
        for (size_t i = 0; i < n && n > 256; ++i) in.at(i) = static_cast<uint8_t>(i);
        k->table_u8(in.data(), out.data(), n, table.data());
        bool equal = true;
        for (size_t i = 0; i < n; ++i) equal = equal && out.at(i) == table.at(in.at(i));
        test::check(equal, __FILE__, __LINE__, std::string(k->name) + ", n = " + std::to_string(n));
      }
    }
  }
}

TEST(kernels_box_is_the_rounded_mean) {
  for (const Kernels* k : supported()) {
    for (const Edge edge : kEdges) {
      for (int factor = 1; factor <= kMaxBox; ++factor) {
        for (const int side : {1, 2, 7, 15, 16, 17, 32, 33}) {
          for (const char* kind : {"noise", "white"}) {
            const size_t row = size_t{3} * side * factor;
            const Bytes in(row * side * factor, kind, edge), out(size_t{3} * side * side, "noise", edge);
            k->box_u8(in.data(), out.data(), side, factor);
            bool equal = true;
            for (size_t i = 0; i < out.size(); ++i) {
              const size_t y = i / (3 * side), x = i / 3 % side, c = i % 3;
              double sum = 0;
              for (int v = 0; v < factor; ++v) {
                for (int u = 0; u < factor; ++u) sum += in.at((y * factor + v) * row + 3 * (x * factor + u) + c);
              }
              equal = equal && out.at(i) == std::floor(sum / (factor * factor) + 0.5);
            }
            test::check(equal, __FILE__, __LINE__,
                        std::string(k->name) + ", factor " + std::to_string(factor) + ", side " + std::to_string(side) + ", " + kind);
          }
        }
      }
    }
  }
}

TEST(kernels_sums_equal_definition) {
  for (const Kernels* k : supported()) {
    for (const Edge edge : kEdges) {
      for (const Field& f : fields()) {
        for (const char* kind : kKinds) {
          const Bytes in(f.height == 0 ? 0 : f.stride * (f.height - 1) + f.width, kind, edge);
          uint64_t sum = 0, squares = 0, bright = 0;
          for (size_t y = 0; y < f.height; ++y) {
            for (size_t x = 0; x < f.width; ++x) {
              const uint64_t value = in.at(y * f.stride + x);
              sum += value;
              squares += value * value;
              if (value >= 250) ++bright;
            }
          }
          const Sums got = k->sums_u8(in.data(), f.stride, static_cast<int>(f.width), static_cast<int>(f.height));
          const bool equal = got.sum == int64_t(sum) && got.squares == int64_t(squares) && got.bright == int64_t(bright);
          test::check(equal, __FILE__, __LINE__, named(*k, f, kind));
        }
      }
    }
  }
}

TEST(kernels_edges_equal_definition) {
  for (const Kernels* k : supported()) {
    for (const Edge edge : kEdges) {
      for (Field f : fields()) {
        f.stride += 2;
        for (const char* kind : kKinds) {
          const Bytes in(f.stride * (f.height + 1) + f.width + 2, kind, edge);
          int64_t sum = 0, squares = 0;
          for (size_t y = 1; y <= f.height; ++y) {
            for (size_t x = 1; x <= f.width; ++x) {
              const size_t at = y * f.stride + x;
              const int64_t edges = int64_t{4} * in.at(at) - in.at(at - 1) - in.at(at + 1) - in.at(at - f.stride) - in.at(at + f.stride);
              sum += edges;
              squares += edges * edges;
            }
          }
          const uint8_t* first = in.data() + f.stride + 1;
          const Edges got = k->edges_u8(first, f.stride, static_cast<int>(f.width), static_cast<int>(f.height));
          test::check(got.sum == sum && got.squares == squares, __FILE__, __LINE__, named(*k, f, kind));
        }
      }
    }
  }
}
