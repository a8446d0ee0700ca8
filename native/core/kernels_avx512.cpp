// AVX-512 variants (x86-64): of the scores alone, where twice the registers and half the instructions gain.
#if defined(__x86_64__)
// GCC 12 takes the undefined value that its own intrinsics are made with for one that is used (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "kernels_avx2.h"
#include "kernels_scores.h"

#define TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl")))

namespace facesdk {
namespace {

// A register holds the eight lanes of two columns side by side: four rows by twelve columns in 24 sums.
constexpr size_t kRows = 4, kPairs = 6, kColumns = 2 * kPairs;

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

// The sums of four columns' lanes, as dot_f32 adds them.
TARGET_AVX512 inline __m128 folded(__m512 first, __m512 second) noexcept {
  // 0+4, 1+5, 2+6, 3+7 of each column.
  const __m512 low = _mm512_shuffle_f32x4(first, second, 0x88), high = _mm512_shuffle_f32x4(first, second, 0xdd);
  const __m512 half = _mm512_add_ps(low, high);
  const __m512 even_odd = _mm512_add_ps(half, _mm512_permute_ps(half, 0x4e));
  const __m512 whole = _mm512_add_ps(even_odd, _mm512_permute_ps(even_odd, 0xb1));
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, whole));
}

TARGET_AVX512 inline void tile(const float* a, const float* packed, size_t columns, size_t n, float* out) noexcept {
  __m512 sums[kRows][kPairs] = {};
  for (size_t k = 0; k < n; k += 8, packed += 8 * kColumns) {
    __m512 rows[kRows];
    for (size_t r = 0; r < kRows; ++r) rows[r] = _mm512_broadcast_f32x8(_mm256_loadu_ps(a + r * n + k));
    for (size_t p = 0; p < kPairs; ++p) {
      const __m512 pair = _mm512_load_ps(packed + 16 * p);
      for (size_t r = 0; r < kRows; ++r) sums[r][p] = _mm512_add_ps(sums[r][p], _mm512_mul_ps(rows[r], pair));
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t p = 0; p < kPairs; p += 2) {
      _mm_storeu_ps(out + r * columns + 2 * p, folded(sums[r][p], sums[r][p + 1]));
    }
  }
}

TARGET_AVX512 void scores_f32_avx512(const float* a, size_t rows, const float* b, size_t columns, size_t n,
                                     float* out) noexcept {
  alignas(64) float packed[kColumns * kMaxFeatures];
  const size_t whole_rows = rows - rows % kRows, whole_columns = columns - columns % kColumns;
  for (size_t c = 0; c < whole_columns; c += kColumns) {
    float* to = packed;
    for (size_t k = 0; k < n; k += 8) {
      for (size_t i = 0; i < kColumns; ++i, to += 8) _mm256_store_ps(to, _mm256_loadu_ps(b + (c + i) * n + k));
    }
    for (size_t r = 0; r < whole_rows; r += kRows) tile(a + r * n, packed, columns, n, out + r * columns + c);
  }
  scores_of_rest(a, rows, b, columns, n, out, whole_rows, whole_columns);
}

}  // namespace

const Kernels kAvx512 = {"avx512",          has_avx512,   warp_u8_avx2,  scale_u8_f32_avx2, dot_f32_scalar,
                         scores_f32_avx512, gray_u8_avx2, table_u8_avx2, box_u8_avx2,       sums_u8_avx2,
                         edges_u8_avx2};

}  // namespace facesdk
#endif
