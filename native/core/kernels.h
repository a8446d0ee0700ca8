// The inner loops: one table of functions an instruction set, the scalar one being the definition.
//
// Every variant gives the same bits as the scalar one. Kernels are noexcept, allocate nothing and have no globals.
// Inputs and outputs never overlap. What a variant does not gain 1.3 x on, it takes from the scalar table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "image.h"

namespace facesdk {

// Starts and steps of a warp are held to +-2^30 pixels, so that 64 bits hold every sum of them.
constexpr int kFraction = 16;

// The longest row of sums_u8 and edges_u8, which add up a row in lanes of 16 and 32 bits.
constexpr int kMaxRow = 2048;

// The longest rows of scores_f32, which lays some of them side by side on the stack.
constexpr size_t kMaxFeatures = 1024;

// The greatest factor of box_u8.
constexpr int kMaxBox = 8;

struct Sums {
  int64_t sum, squares;  // of all bytes
  int64_t bright;        // how many are 250 or more
};

struct Edges {
  int64_t sum, squares;  // of 4 p - left - right - above - below
};

struct Kernels {
  const char* name;
  bool (*supported)();

  // out (height, width, 3): bilinear samples of src at map(x, y), black outside; gray is repeated three times.
  // Coordinates have 16 fractional bits, weights 8: ((256-u)(256-v) p00 + ... + 32768) >> 16.
  void (*warp_u8)(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept;

  // out[i] = in[i] * scale + bias, rounded after each of the two operations.
  void (*scale_u8_f32)(const uint8_t* in, float* out, size_t n, float scale, float bias) noexcept;

  // Sum of a[i] * b[i] in eight interleaved partial sums, added as ((0+4)+(2+6))+((1+5)+(3+7)).
  float (*dot_f32)(const float* a, const float* b, size_t n) noexcept;

  // out[r * columns + c] = dot_f32 of row r of a (rows, n) and row c of b (columns, n), to the bit; n is a
  // multiple of 8, at most kMaxFeatures.
  void (*scores_f32)(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out) noexcept;

  // out[i] = (77 R + 150 G + 29 B) >> 8 of the i-th pixel; rgb has 3 n bytes.
  void (*gray_u8)(const uint8_t* rgb, uint8_t* out, size_t n) noexcept;

  // out[i] = table[in[i]]; table has 256 bytes.
  void (*table_u8)(const uint8_t* in, uint8_t* out, size_t n, const uint8_t* table) noexcept;

  // out (side, side, 3): rounded means of factor x factor blocks of in, which has side * factor pixels a side.
  // factor is 1 to kMaxBox.
  void (*box_u8)(const uint8_t* in, uint8_t* out, int side, int factor) noexcept;

  // Over width x height bytes, rows stride apart; width is at most kMaxRow.
  Sums (*sums_u8)(const uint8_t* in, size_t stride, int width, int height) noexcept;

  // The same for the Laplacian; one byte more is read on every side.
  Edges (*edges_u8)(const uint8_t* in, size_t stride, int width, int height) noexcept;
};

// All variants compiled in, fastest first; the last is the scalar one.
std::span<const Kernels> variants() noexcept;

// The first variant that this processor runs.
const Kernels& kernels() noexcept;

// What the variants take from the scalar table, whole or for the parts that fill no vector: the warp of one row from
// x0 to x1, the box means of one row of output from x0 to x1, sums and edges of one row from x0 to x1.
float dot_f32_scalar(const float* a, const float* b, size_t n) noexcept;
void scores_f32_scalar(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out) noexcept;
void scale_u8_f32_scalar(const uint8_t* in, float* out, size_t n, float scale, float bias) noexcept;
void gray_u8_scalar(const uint8_t* rgb, uint8_t* out, size_t n) noexcept;
void table_u8_scalar(const uint8_t* in, uint8_t* out, size_t n, const uint8_t* table) noexcept;
void warp_u8_scalar(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept;
void warp_row_scalar(const Image& src, const Affine& map, uint8_t* row, int x0, int x1, int y) noexcept;
void box_u8_scalar(const uint8_t* in, uint8_t* out, int side, int factor) noexcept;
void box_row_scalar(const uint8_t* in, uint8_t* out, int side, int factor, int x0) noexcept;
Sums sums_u8_scalar(const uint8_t* in, size_t stride, int width, int height) noexcept;
Edges edges_u8_scalar(const uint8_t* in, size_t stride, int width, int height) noexcept;

// The start of row y and the step of one pixel in fixed point, as every variant computes them.
struct Steps {
  int64_t x, y, dx, dy;
};
Steps warp_steps(const Affine& map, int y) noexcept;

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx512;
extern const Kernels kAvx2;
#elif defined(__aarch64__)
extern const Kernels kNeon;
extern const Kernels kDotprod;
#endif

}  // namespace facesdk
