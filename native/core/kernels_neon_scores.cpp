// Scores of many pairs with NEON (aarch64): a tile of pairs at a time stays in registers.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels_neon.h"
#include "kernels_scores.h"

namespace facesdk {
namespace {

// Two rows by four columns of eight lanes each: sixteen sums in half of the registers.
constexpr size_t kRows = 2, kColumns = 4;

// The sums of four columns' lanes, as dot_f32 adds them.
inline float32x4_t folded(const float32x4_t sums[kColumns][2]) noexcept {
  float32x4_t half[kColumns];
  for (size_t c = 0; c < kColumns; ++c) half[c] = vaddq_f32(sums[c][0], sums[c][1]);
  float32x4_t two[2];
  for (size_t i = 0; i < 2; ++i) {
    const float64x2_t x = vreinterpretq_f64_f32(half[2 * i]), y = vreinterpretq_f64_f32(half[2 * i + 1]);
    two[i] = vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(x, y)), vreinterpretq_f32_f64(vzip2q_f64(x, y)));
  }
  return vpaddq_f32(two[0], two[1]);
}

inline void tile(const float* a, const float* b, size_t columns, size_t n, float* out) noexcept {
  float32x4_t sums[kRows][kColumns][2] = {};
  for (size_t k = 0; k < n; k += 8) {
    for (size_t half = 0; half < 2; ++half) {
      const float32x4_t rows[kRows] = {vld1q_f32(a + k + 4 * half), vld1q_f32(a + n + k + 4 * half)};
      for (size_t c = 0; c < kColumns; ++c) {
        const float32x4_t column = vld1q_f32(b + c * n + k + 4 * half);
        for (size_t r = 0; r < kRows; ++r) {
          sums[r][c][half] = vaddq_f32(sums[r][c][half], vmulq_f32(rows[r], column));
        }
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) vst1q_f32(out + r * columns, folded(sums[r]));
}

}  // namespace

void scores_f32_neon(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out) noexcept {
  scores_by_tiles<kRows, kColumns, tile>(a, rows, b, columns, n, out);
}

}  // namespace facesdk
#endif
