// AVX2 variants (x86-64). Instruction sets are per function, so the file itself is built for the ABI's floor.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "kernels_avx2.h"
#include "kernels_warp.h"

#define TARGET_AVX2 __attribute__((target("avx2")))

namespace facesdk {
namespace {

TARGET_AVX2 inline __m256i blend(__m256i left, __m256i right, __m256i u) noexcept {
  // left * (256 - u) + right * u
  return _mm256_add_epi32(_mm256_slli_epi32(left, 8), _mm256_mullo_epi32(_mm256_sub_epi32(right, left), u));
}

TARGET_AVX2 inline __m256i channel_of(__m256i pixels, int shift) noexcept {
  return _mm256_and_si256(_mm256_srli_epi32(pixels, shift), _mm256_set1_epi32(255));
}

// Eight pixels of four bytes, the last of which is left out.
TARGET_AVX2 inline void store_rgb(__m256i pixels, uint8_t* out) noexcept {
  const __m256i order = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0, 1, 2, 4, 5, 6, 8,
                                         9, 10, 12, 13, 14, -1, -1, -1, -1);
  alignas(32) uint8_t bytes[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), _mm256_shuffle_epi8(pixels, order));
  std::memcpy(out, bytes, 12);
  std::memcpy(out + 12, bytes + 16, 12);
}

// Eight bytes of each of two pixels, in 16 bits: their taps in one row, side by side.
TARGET_AVX2 inline __m256i taps_of_two(const uint8_t* first, const uint8_t* second) noexcept {
  const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(first));
  const __m128i high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(second));
  return _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(low, high));
}

// Two RGB samples, four numbers each, the last of which is noise. u: 256 - u and u, v: twice v, of each pixel.
TARGET_AVX2 inline __m256i two_rgb(const uint8_t* data, size_t stride, const int32_t* at, __m256i u, __m256i v) noexcept {
  const __m256i above = taps_of_two(data + at[0], data + at[1]);
  const __m256i below = taps_of_two(data + stride + at[0], data + stride + at[1]);
  // above * (256 - v) + below * v, modulo 2^16, which holds it; less 2^15, so that the next products are of signed ones.
  const __m256i both = _mm256_add_epi16(_mm256_slli_epi16(above, 8), _mm256_mullo_epi16(_mm256_sub_epi16(below, above), v));
  const __m256i column = _mm256_xor_si256(both, _mm256_set1_epi16(-32768));
  const __m256i pairs = _mm256_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1, 0, 1, 6, 7, 2, 3, 8, 9, 4, 5,
                                         10, 11, -1, -1, -1, -1);
  const __m256i sum = _mm256_madd_epi16(_mm256_shuffle_epi8(column, pairs), u);
  return _mm256_srli_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32((32768 << 8) + 32768)), 16);
}

TARGET_AVX2 inline void eight_rgb(const Image& src, __m256i at, __m256i u, __m256i v, uint8_t* out) noexcept {
  alignas(32) int32_t offsets[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(offsets), at);
  u = _mm256_add_epi32(_mm256_sub_epi32(_mm256_set1_epi32(256), u), _mm256_slli_epi32(u, 16));
  v = _mm256_or_si256(v, _mm256_slli_epi32(v, 16));
  __m256i two[4];
  for (int i = 0; i < 4; ++i) {
    const __m256i of = _mm256_add_epi32(_mm256_set1_epi32(2 * i), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    two[i] = two_rgb(src.data, src.stride, offsets + 2 * i, _mm256_permutevar8x32_epi32(u, of),
                     _mm256_permutevar8x32_epi32(v, of));
  }
  const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(two[0], two[1]), _mm256_packus_epi32(two[2], two[3]));
  store_rgb(_mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)), out);
}

TARGET_AVX2 inline void eight_gray(const Image& src, __m256i at, __m256i u, __m256i v, uint8_t* out) noexcept {
  const __m256i above = _mm256_i32gather_epi32(reinterpret_cast<const int*>(src.data), at, 1);
  const __m256i below = _mm256_i32gather_epi32(reinterpret_cast<const int*>(src.data + src.stride), at, 1);
  const __m256i top = blend(channel_of(above, 0), channel_of(above, 8), u);
  const __m256i bottom = blend(channel_of(below, 0), channel_of(below, 8), u);
  const __m256i gray = _mm256_srli_epi32(_mm256_add_epi32(blend(top, bottom, v), _mm256_set1_epi32(32768)), 16);
  store_rgb(_mm256_shuffle_epi8(gray, _mm256_setr_epi8(0, 0, 0, -1, 4, 4, 4, -1, 8, 8, 8, -1, 12, 12, 12, -1, 0, 0, 0, -1,
                                                       4, 4, 4, -1, 8, 8, 8, -1, 12, 12, 12, -1)), out);
}

TARGET_AVX2 inline void warp_eight(const Image& src, __m256i fx, __m256i fy, uint8_t* out) noexcept {
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i u = _mm256_and_si256(_mm256_srai_epi32(fx, 8), low);
  const __m256i v = _mm256_and_si256(_mm256_srai_epi32(fy, 8), low);
  const __m256i rows = _mm256_mullo_epi32(_mm256_srai_epi32(fy, kFraction), _mm256_set1_epi32(int(src.stride)));
  const __m256i columns = _mm256_mullo_epi32(_mm256_srai_epi32(fx, kFraction), _mm256_set1_epi32(src.channels));
  const __m256i at = _mm256_add_epi32(rows, columns);
  (src.channels == 3 ? eight_rgb : eight_gray)(src, at, u, v, out);
}

}  // namespace

bool has_avx2() noexcept { return __builtin_cpu_supports("avx2"); }

TARGET_AVX2 void warp_u8_avx2(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept {
  // Eight bytes are read for the six of two RGB pixels, four for the two of gray ones.
  const int spare = src.channels == 1 ? 4 : 2;
  const bool fits = fits_32_bits(src);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (int y = 0; y < height; ++y) {
    uint8_t* row = out + static_cast<size_t>(y) * width * 3;
    const Steps s = warp_steps(map, y);
    const __m256i dx = _mm256_set1_epi32(static_cast<int>(s.dx)), dy = _mm256_set1_epi32(static_cast<int>(s.dy));
    int x = 0;
    for (; x + 8 <= width; x += 8) {
      const WarpBlock block = warp_block(s, x);
      if (lies_outside(src, block)) {
        std::memset(row + 3 * x, 0, 24);
      } else if (fits && lies_inside(src, block, spare)) {
        const __m256i fx = _mm256_set1_epi32(static_cast<int>(block.x0)), fy = _mm256_set1_epi32(static_cast<int>(block.y0));
        warp_eight(src, _mm256_add_epi32(fx, _mm256_mullo_epi32(lanes, dx)),
                   _mm256_add_epi32(fy, _mm256_mullo_epi32(lanes, dy)), row + 3 * x);
      } else {
        warp_row_scalar(src, map, row, x, x + 8, y);
      }
    }
    warp_row_scalar(src, map, row, x, width, y);
  }
}

TARGET_AVX2 void scale_u8_f32_avx2(const uint8_t* in, float* out, size_t n, float scale, float bias) noexcept {
  const __m256 s = _mm256_set1_ps(scale), b = _mm256_set1_ps(bias);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + i));
    const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    _mm256_storeu_ps(out + i, _mm256_add_ps(_mm256_mul_ps(values, s), b));
  }
  scale_u8_f32_scalar(in + i, out + i, n - i, scale, bias);
}

namespace {

// Sixteen bytes of each channel from 48 of interleaved RGB.
struct Planes {
  __m128i r, g, b;
};

TARGET_AVX2 inline Planes planes_of(const uint8_t* rgb) noexcept {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 16));
  const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 32));
  const auto pick = [&](__m128i first, __m128i second, __m128i third) TARGET_AVX2 {
    return _mm_or_si128(_mm_shuffle_epi8(a, first), _mm_or_si128(_mm_shuffle_epi8(b, second), _mm_shuffle_epi8(c, third)));
  };
  return {pick(_mm_setr_epi8(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
               _mm_setr_epi8(-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1),
               _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13)),
          pick(_mm_setr_epi8(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
               _mm_setr_epi8(-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1),
               _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14)),
          pick(_mm_setr_epi8(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
               _mm_setr_epi8(-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1),
               _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15))};
}

}  // namespace

TARGET_AVX2 void gray_u8_avx2(const uint8_t* rgb, uint8_t* out, size_t n) noexcept {
  if (n < 16) return gray_u8_scalar(rgb, out, n);
  const __m256i r = _mm256_set1_epi16(77), g = _mm256_set1_epi16(150), b = _mm256_set1_epi16(29);
  for (size_t done = 0; done < n; done += 16) {
    // The last vector may lie over the one before.
    const size_t i = done + 16 <= n ? done : n - 16;
    const Planes p = planes_of(rgb + 3 * i);
    const __m256i red = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(p.r), r);
    const __m256i green = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(p.g), g);
    const __m256i blue = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(p.b), b);
    const __m256i sum = _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(red, green), blue), 8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), bytes);
  }
}

TARGET_AVX2 void table_u8_avx2(const uint8_t* in, uint8_t* out, size_t n, const uint8_t* table) noexcept {
  __m256i part[16];
  for (int k = 0; k < 16; ++k) {
    part[k] = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * k)));
  }
  const __m256i step = _mm256_set1_epi8(16), limit = _mm256_set1_epi8(0x70);
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i)), found = _mm256_setzero_si256();
    for (const __m256i& entries : part) {
      // Beyond this part's sixteen entries the top bit gets set, which selects zero.
      found = _mm256_or_si256(found, _mm256_shuffle_epi8(entries, _mm256_adds_epu8(at, limit)));
      at = _mm256_sub_epi8(at, step);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), found);
  }
  table_u8_scalar(in + i, out + i, n - i, table);
}

const Kernels kAvx2 = {"avx2",          has_avx2,     warp_u8_avx2,  scale_u8_f32_avx2, dot_f32_scalar,
                       scores_f32_avx2, gray_u8_avx2, table_u8_avx2, box_u8_avx2,       sums_u8_avx2,
                       edges_u8_avx2};

}  // namespace facesdk
#endif
