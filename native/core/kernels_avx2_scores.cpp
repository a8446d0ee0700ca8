// Scores of many pairs with AVX2 (x86-64): a tile of pairs at a time stays in registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels_avx2.h"
#include "kernels_scores.h"

#define TARGET_AVX2 __attribute__((target("avx2")))

namespace facesdk {
namespace {

// Three rows by four columns: twelve sums of eight lanes, the rows' values and one product fill the sixteen registers.
constexpr size_t kRows = 3, kColumns = 4;

// The sums of four columns' lanes, in the order that dot_f32 has: ((0+4)+(2+6))+((1+5)+(3+7)).
TARGET_AVX2 inline __m128 folded(const __m256* sums) noexcept {
  __m128 half[kColumns];
  for (size_t c = 0; c < kColumns; ++c) {
    half[c] = _mm_add_ps(_mm256_castps256_ps128(sums[c]), _mm256_extractf128_ps(sums[c], 1));
  }
  const __m128 left = _mm_add_ps(_mm_movelh_ps(half[0], half[1]), _mm_movehl_ps(half[1], half[0]));
  const __m128 right = _mm_add_ps(_mm_movelh_ps(half[2], half[3]), _mm_movehl_ps(half[3], half[2]));
  return _mm_add_ps(_mm_shuffle_ps(left, right, 0x88), _mm_shuffle_ps(left, right, 0xdd));
}

TARGET_AVX2 inline void tile(const float* a, const float* b, size_t columns, size_t n, float* out) noexcept {
  __m256 sums[kRows][kColumns] = {};
  for (size_t k = 0; k < n; k += 8) {
    const __m256 rows[kRows] = {_mm256_loadu_ps(a + k), _mm256_loadu_ps(a + n + k), _mm256_loadu_ps(a + 2 * n + k)};
    for (size_t c = 0; c < kColumns; ++c) {
      const __m256 column = _mm256_loadu_ps(b + c * n + k);
      for (size_t r = 0; r < kRows; ++r) sums[r][c] = _mm256_add_ps(sums[r][c], _mm256_mul_ps(rows[r], column));
    }
  }
  for (size_t r = 0; r < kRows; ++r) _mm_storeu_ps(out + r * columns, folded(sums[r]));
}

}  // namespace

void scores_f32_avx2(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out) noexcept {
  scores_by_tiles<kRows, kColumns, tile>(a, rows, b, columns, n, out);
}

}  // namespace facesdk
#endif
