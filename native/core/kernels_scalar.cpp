// The definition of every kernel.
#include <cmath>

#include "kernels.h"

namespace facesdk {
namespace {

constexpr double kOne = 1 << kFraction;
constexpr double kLimit = static_cast<double>(int64_t{1} << 46);

int64_t to_fixed(double value) noexcept {
  // !(<) also catches NaN, which would be undefined behaviour in llrint.
  if (!(value > -kLimit)) return static_cast<int64_t>(-kLimit);
  if (!(value < kLimit)) return static_cast<int64_t>(kLimit);
  return std::llrint(value);
}

inline uint32_t tap(const Image& src, int64_t x, int64_t y, int channel) noexcept {
  if (x < 0 || y < 0 || x >= src.width || y >= src.height) return 0;
  return src.data[static_cast<size_t>(y) * src.stride + static_cast<size_t>(x) * src.channels + channel];
}

bool always() { return true; }

}  // namespace

void scale_u8_f32_scalar(const uint8_t* in, float* out, size_t n, float scale, float bias) noexcept {
  for (size_t i = 0; i < n; ++i) {
    const float product = static_cast<float>(in[i]) * scale;
    out[i] = product + bias;
  }
}

void warp_u8_scalar(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept {
  for (int y = 0; y < height; ++y) {
    warp_row_scalar(src, map, out + static_cast<size_t>(y) * width * 3, 0, width, y);
  }
}

Steps warp_steps(const Affine& map, int y) noexcept {
  return {to_fixed((map.b * y + map.c) * kOne), to_fixed((map.e * y + map.f) * kOne), to_fixed(map.a * kOne),
          to_fixed(map.d * kOne)};
}

void warp_row_scalar(const Image& src, const Affine& map, uint8_t* row, int x0, int x1, int y) noexcept {
  const Steps s = warp_steps(map, y);
  for (int x = x0; x < x1; ++x) {
    const int64_t fx = s.x + s.dx * x, fy = s.y + s.dy * x;
    const int64_t ix = fx >> kFraction, iy = fy >> kFraction;
    const uint32_t u = (fx >> 8) & 255, v = (fy >> 8) & 255;
    for (int channel = 0; channel < 3; ++channel) {
      const int from = src.channels == 3 ? channel : 0;
      const uint32_t top = tap(src, ix, iy, from) * (256 - u) + tap(src, ix + 1, iy, from) * u;
      const uint32_t bottom = tap(src, ix, iy + 1, from) * (256 - u) + tap(src, ix + 1, iy + 1, from) * u;
      row[3 * x + channel] = static_cast<uint8_t>((top * (256 - v) + bottom * v + 32768) >> 16);
    }
  }
}

float dot_f32_scalar(const float* a, const float* b, size_t n) noexcept {
  float p[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) {
      const float product = a[i + lane] * b[i + lane];
      p[lane] += product;
    }
  }
  for (size_t lane = 0; i + lane < n; ++lane) {
    const float product = a[i + lane] * b[i + lane];
    p[lane] += product;
  }
  return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

void scores_f32_scalar(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out) noexcept {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) out[r * columns + c] = dot_f32_scalar(a + r * n, b + c * n, n);
  }
}

void gray_u8_scalar(const uint8_t* rgb, uint8_t* out, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) {
    out[i] = static_cast<uint8_t>((77 * rgb[3 * i] + 150 * rgb[3 * i + 1] + 29 * rgb[3 * i + 2]) >> 8);
  }
}

void table_u8_scalar(const uint8_t* in, uint8_t* out, size_t n, const uint8_t* table) noexcept {
  for (size_t i = 0; i < n; ++i) out[i] = table[in[i]];
}

void box_row_scalar(const uint8_t* in, uint8_t* out, int side, int factor, int x0) noexcept {
  const size_t stride = size_t{3} * side * factor;
  const unsigned count = static_cast<unsigned>(factor * factor);
  for (int x = x0; x < side; ++x) {
    unsigned sum[3] = {};
    for (int v = 0; v < factor; ++v) {
      const uint8_t* p = in + v * stride + size_t{3} * x * factor;
      for (int u = 0; u < 3 * factor; u += 3) {
        sum[0] += p[u];
        sum[1] += p[u + 1];
        sum[2] += p[u + 2];
      }
    }
    for (int c = 0; c < 3; ++c) out[3 * x + c] = static_cast<uint8_t>((sum[c] + count / 2) / count);
  }
}

void box_u8_scalar(const uint8_t* in, uint8_t* out, int side, int factor) noexcept {
  for (int y = 0; y < side; ++y) {
    box_row_scalar(in + size_t{3} * y * side * factor * factor, out + size_t{3} * y * side, side, factor, 0);
  }
}

Sums sums_u8_scalar(const uint8_t* in, size_t stride, int width, int height) noexcept {
  Sums all{};
  for (int y = 0; y < height; ++y, in += stride) {
    int sum = 0, squares = 0, bright = 0;
    for (int x = 0; x < width; ++x) {
      sum += in[x];
      squares += in[x] * in[x];
      bright += in[x] >= 250;
    }
    all.sum += sum;
    all.squares += squares;
    all.bright += bright;
  }
  return all;
}

Edges edges_u8_scalar(const uint8_t* in, size_t stride, int width, int height) noexcept {
  Edges all{};
  for (int y = 0; y < height; ++y, in += stride) {
    const uint8_t *above = in - stride, *below = in + stride;
    int sum = 0, squares = 0;
    for (int x = 0; x < width; ++x) {
      const int edge = 4 * in[x] - in[x - 1] - in[x + 1] - above[x] - below[x];
      sum += edge;
      squares += edge * edge;
    }
    all.sum += sum;
    all.squares += squares;
  }
  return all;
}

const Kernels kScalar = {"scalar",          always,         warp_u8_scalar,  scale_u8_f32_scalar, dot_f32_scalar,
                         scores_f32_scalar, gray_u8_scalar, table_u8_scalar, box_u8_scalar,       sums_u8_scalar,
                         edges_u8_scalar};

}  // namespace facesdk
