// AVX2 variants of what adds up: box means and the statistics of the crop.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "kernels_avx2.h"
#include "kernels_box.h"
#include "kernels_tail.h"

#define TARGET_AVX2 __attribute__((target("avx2")))

namespace facesdk {
namespace {

TARGET_AVX2 inline __m128i load16(const void* p) noexcept { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

// The sums of kBox rows of 16 * kVectors bytes.
template <int kBox, int kVectors>
TARGET_AVX2 inline void add_rows(const uint8_t* in, size_t stride, uint16_t* sums) noexcept {
  for (int i = 0; i < 16 * kVectors; i += 16) {
    __m256i sum = _mm256_cvtepu8_epi16(load16(in + i));
    for (int v = 1; v < kBox; ++v) sum = _mm256_add_epi16(sum, _mm256_cvtepu8_epi16(load16(in + v * stride + i)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i), sum);
  }
}

// The sum of one pixel in four lanes, the last of which is noise.
template <int kBox>
TARGET_AVX2 inline __m128i sum_of(const uint16_t* sums) noexcept {
  __m128i sum = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(sums));
  for (int u = 1; u < kBox; ++u) sum = _mm_add_epi16(sum, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(sums + 3 * u)));
  return sum;
}

template <int kBox>
TARGET_AVX2 inline __m128i two_means(const uint16_t* sums) noexcept {
  using Division = BoxDivision<kBox>;
  const __m128i both = _mm_unpacklo_epi64(sum_of<kBox>(sums), sum_of<kBox>(sums + 3 * kBox));
  const __m128i rounded = _mm_add_epi16(both, _mm_set1_epi16(Division::half));
  return _mm_srli_epi16(_mm_mulhi_epu16(rounded, _mm_set1_epi16(static_cast<short>(Division::factor))), Division::shift);
}

template <int kBox>
TARGET_AVX2 void box_u8(const uint8_t* in, uint8_t* out, int side) noexcept {
  constexpr int kPixels = 16;
  const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const size_t stride = size_t{3} * side * kBox;
  uint16_t sums[3 * kBox * kPixels + 1];
  sums[3 * kBox * kPixels] = 0;  // the noise of the last pixel
  for (int y = 0; y < side; ++y, in += kBox * stride, out += size_t{3} * side) {
    int x = 0;
    for (; x + kPixels <= side; x += kPixels) {
      add_rows<kBox, 3 * kBox>(in + size_t{3} * kBox * x, stride, sums);
      for (int i = 0; i < kPixels; i += 4) {
        const uint16_t* p = sums + 3 * kBox * i;
        const __m128i four = _mm_shuffle_epi8(_mm_packus_epi16(two_means<kBox>(p), two_means<kBox>(p + 6 * kBox)), order);
        alignas(16) uint8_t bytes[16];
        _mm_store_si128(reinterpret_cast<__m128i*>(bytes), four);
        std::memcpy(out + 3 * (x + i), bytes, 12);
      }
    }
    box_row_scalar(in, out, side, kBox, x);
  }
}

struct RowSums {
  __m256i sum, squares, bright;
};

TARGET_AVX2 inline void add_bytes(__m128i v, RowSums& row) noexcept {
  const __m256i wide = _mm256_cvtepu8_epi16(v);
  const __m128i bright = _mm_cmpeq_epi8(_mm_max_epu8(v, _mm_set1_epi8(static_cast<char>(250))), v);
  const __m128i ones = _mm_sub_epi8(_mm_setzero_si128(), bright);
  row.sum = _mm256_add_epi64(row.sum, _mm256_sad_epu8(_mm256_zextsi128_si256(v), _mm256_setzero_si256()));
  row.bright = _mm256_add_epi64(row.bright, _mm256_sad_epu8(_mm256_zextsi128_si256(ones), _mm256_setzero_si256()));
  row.squares = _mm256_add_epi32(row.squares, _mm256_madd_epi16(wide, wide));
}

TARGET_AVX2 inline __m256i widened(__m256i lanes) noexcept {
  const __m256i low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(lanes));
  return _mm256_add_epi64(low, _mm256_cvtepi32_epi64(_mm256_extracti128_si256(lanes, 1)));
}

TARGET_AVX2 inline int64_t total(__m256i lanes) noexcept {
  const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  return _mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

// Adds the Laplacian of the 16 bytes at p, those that keep drops excepted.
TARGET_AVX2 inline void add_edges(const uint8_t* p, size_t stride, __m128i keep, __m256i& sum, __m256i& squares) noexcept {
  const auto wide = [&](const uint8_t* at) TARGET_AVX2 { return _mm256_cvtepu8_epi16(_mm_and_si128(load16(at), keep)); };
  const __m256i around = _mm256_add_epi16(_mm256_add_epi16(wide(p - 1), wide(p + 1)),
                                          _mm256_add_epi16(wide(p - stride), wide(p + stride)));
  const __m256i edge = _mm256_sub_epi16(_mm256_slli_epi16(wide(p), 2), around);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(edge, _mm256_set1_epi16(1)));
  squares = _mm256_add_epi32(squares, _mm256_madd_epi16(edge, edge));
}

}  // namespace

void box_u8_avx2(const uint8_t* in, uint8_t* out, int side, int factor) noexcept {
  switch (factor) {
    case 2: return box_u8<2>(in, out, side);
    case 3: return box_u8<3>(in, out, side);
    case 4: return box_u8<4>(in, out, side);
    case 5: return box_u8<5>(in, out, side);
    case 6: return box_u8<6>(in, out, side);
    case 7: return box_u8<7>(in, out, side);
    case 8: return box_u8<8>(in, out, side);
    default: return box_u8_scalar(in, out, side, factor);
  }
}

TARGET_AVX2 Sums sums_u8_avx2(const uint8_t* in, size_t stride, int width, int height) noexcept {
  if (width < 16) return sums_u8_scalar(in, stride, width, height);
  const __m128i keep = load16(kKeepLast + width % 16);
  __m256i squares = _mm256_setzero_si256();
  RowSums row{squares, squares, squares};
  for (int y = 0; y < height; ++y, in += stride) {
    row.squares = _mm256_setzero_si256();
    for (int x = 0; x + 16 <= width; x += 16) add_bytes(load16(in + x), row);
    // The last vector lies over the one before, but for width % 16 bytes.
    add_bytes(_mm_and_si128(load16(in + width - 16), keep), row);
    squares = _mm256_add_epi64(squares, widened(row.squares));
  }
  return {total(row.sum), total(squares), total(row.bright)};
}

TARGET_AVX2 Edges edges_u8_avx2(const uint8_t* in, size_t stride, int width, int height) noexcept {
  if (width < 16) return edges_u8_scalar(in, stride, width, height);
  const __m128i all = _mm_set1_epi8(-1), keep = load16(kKeepLast + width % 16);
  __m256i sum = _mm256_setzero_si256(), squares = sum;
  for (int y = 0; y < height; ++y, in += stride) {
    __m256i row_sum = _mm256_setzero_si256(), row_squares = row_sum;
    for (int x = 0; x + 16 <= width; x += 16) add_edges(in + x, stride, all, row_sum, row_squares);
    add_edges(in + width - 16, stride, keep, row_sum, row_squares);
    sum = _mm256_add_epi64(sum, widened(row_sum));
    squares = _mm256_add_epi64(squares, widened(row_squares));
  }
  return {total(sum), total(squares)};
}

}  // namespace facesdk
#endif
