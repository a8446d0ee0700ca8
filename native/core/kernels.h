// The inner loops: one table of functions an instruction set, the scalar one being the definition.
//
// Every variant gives the same bits as the scalar one. Kernels are noexcept, allocate nothing and have no globals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "image.h"

namespace facesdk {

// Starts and steps of a warp are held to +-2^30 pixels, so that 64 bits hold every sum of them.
constexpr int kFraction = 16;

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
};

// All variants compiled in, fastest first; the last is the scalar one.
std::span<const Kernels> variants() noexcept;

// The first variant that this processor runs.
const Kernels& kernels() noexcept;

// The scalar dot: eight partial sums are what a compiler makes SIMD of, so no variant of our own gains on it.
float dot_f32_scalar(const float* a, const float* b, size_t n) noexcept;

// The scalar warp, and one row of it from x0 to x1: shared by the variants for the parts they do not take.
void warp_u8_scalar(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept;
void warp_row_scalar(const Image& src, const Affine& map, uint8_t* row, int x0, int x1, int y) noexcept;

// The start of row y and the step of one pixel in fixed point, as every variant computes them.
struct Steps {
  int64_t x, y, dx, dy;
};
Steps warp_steps(const Affine& map, int y) noexcept;

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx2;
#elif defined(__aarch64__)
extern const Kernels kNeon;
#endif

}  // namespace facesdk
