// AVX2 variants (x86-64). Instruction sets are per function, so the file itself is built for the ABI's floor.
#if defined(__x86_64__)
#include <immintrin.h>

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

// The bytes of both halves in this order; -1 is a zero.
TARGET_AVX2 inline __m256i in_halves(__m256i bytes, __m128i order) noexcept {
  return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order));
}

// The first twelve bytes of both halves.
TARGET_AVX2 inline void store_twelves(__m256i halves, uint8_t* out) noexcept {
  const __m256i bytes = _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(bytes));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 16), _mm256_extracti128_si256(bytes, 1));
}

// Eight bytes of each of two rows, which hold a pixel's taps.
TARGET_AVX2 inline __m128i taps_of(const uint8_t* above, size_t stride) noexcept {
  const __m128i first = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(above));
  return _mm_castps_si128(_mm_loadh_pi(_mm_castsi128_ps(first), reinterpret_cast<const __m64*>(above + stride)));
}

// Two RGB samples, four numbers each, the last of which is noise, in the upper halves of 32 bits. Of each pixel
// v holds the bytes 255 - v and v twice over, u the numbers 256 - u and u.
TARGET_AVX2 inline __m256i two_rgb(const uint8_t* first, const uint8_t* second, size_t stride, __m256i v,
                                   __m256i u) noexcept {
  const __m128i low = taps_of(first, stride), high = taps_of(second, stride);
  const __m256i rows = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  // Above and below of the left tap, then of the right one, channel by channel, less 128: signed ones for maddubs.
  const __m128i order = _mm_setr_epi8(0, 8, 3, 11, 1, 9, 4, 12, 2, 10, 5, 13, -1, -1, -1, -1);
  const __m256i taps = in_halves(_mm256_xor_si256(rows, _mm256_set1_epi8(-128)), order);
  // above * (256 - v) + below * v, less 2^15: 256 - v takes nine bits, so the last of them is added apart.
  const __m256i last = _mm256_maddubs_epi16(_mm256_set1_epi16(1), taps);
  const __m256i column = _mm256_add_epi16(_mm256_maddubs_epi16(v, taps), last);
  return _mm256_add_epi32(_mm256_madd_epi16(column, u), _mm256_set1_epi32((32768 << 8) + 32768));
}

// The pair of pixels kPair and kPair + 4, whose weights lie at the same place of the two halves.
template <int kPair>
TARGET_AVX2 inline __m256i pair_of(const uint8_t* data, size_t stride, const uint32_t* at, __m256i v,
                                   __m256i u) noexcept {
  return two_rgb(data + at[kPair], data + at[kPair + 4], stride, _mm256_shuffle_epi32(v, kPair * 0x55),
                 _mm256_shuffle_epi32(u, kPair * 0x55));
}

// The upper halves, those of the first in the even places.
TARGET_AVX2 inline __m256i upper_halves(__m256i first, __m256i second) noexcept {
  return _mm256_blend_epi16(_mm256_srli_epi32(first, 16), second, 0xaa);
}

// Asks for the taps of the first and the last of eight pixels; of an address outside the picture nothing comes.
TARGET_AVX2 inline void fetch_ahead(uintptr_t first, uintptr_t last, size_t stride) noexcept {
  for (const uintptr_t p : {first, first + stride, last, last + stride}) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
}

// Eight RGB pixels of the samples at (fx, fy), whose first taps lie `at` bytes into the picture, those of the next row
// `ahead` bytes on.
TARGET_AVX2 inline void eight_rgb(const uint8_t* data, size_t stride, int64_t ahead, __m256i at, __m256i fx, __m256i fy,
                                  uint8_t* out) noexcept {
  alignas(32) uint32_t offsets[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(offsets), at);
  const uintptr_t next = reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(ahead);
  fetch_ahead(next + offsets[0], next + offsets[7], stride);
  const __m128i four_times = _mm_setr_epi8(1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13);
  const __m128i twice = _mm_setr_epi8(1, -1, 1, -1, 5, -1, 5, -1, 9, -1, 9, -1, 13, -1, 13, -1);
  const __m256i v = _mm256_xor_si256(in_halves(fy, four_times), _mm256_set1_epi16(255));
  const __m256i negative = _mm256_xor_si256(in_halves(fx, twice), _mm256_set1_epi32(0xffff));  // -1 - u, and u
  const __m256i u = _mm256_add_epi16(negative, _mm256_set1_epi32(257));
  const __m256i low = upper_halves(pair_of<0>(data, stride, offsets, v, u), pair_of<1>(data, stride, offsets, v, u));
  const __m256i high = upper_halves(pair_of<2>(data, stride, offsets, v, u), pair_of<3>(data, stride, offsets, v, u));
  const __m128i order = _mm_setr_epi8(0, 2, 4, 1, 3, 5, 8, 10, 12, 9, 11, 13, -1, -1, -1, -1);
  store_twelves(in_halves(_mm256_packus_epi16(low, high), order), out);
}

TARGET_AVX2 inline void eight_gray(const uint8_t* data, size_t stride, int64_t, __m256i at, __m256i fx, __m256i fy,
                                   uint8_t* out) noexcept {
  const __m256i u = channel_of(fx, 8), v = channel_of(fy, 8);
  const __m256i above = _mm256_i32gather_epi32(reinterpret_cast<const int*>(data), at, 1);
  const __m256i below = _mm256_i32gather_epi32(reinterpret_cast<const int*>(data + stride), at, 1);
  const __m256i top = blend(channel_of(above, 0), channel_of(above, 8), u);
  const __m256i bottom = blend(channel_of(below, 0), channel_of(below, 8), u);
  const __m256i gray = _mm256_srli_epi32(_mm256_add_epi32(blend(top, bottom, v), _mm256_set1_epi32(32768)), 16);
  const __m128i thrice = _mm_setr_epi8(0, 0, 0, 4, 4, 4, 8, 8, 8, 12, 12, 12, -1, -1, -1, -1);
  store_twelves(in_halves(gray, thrice), out);
}

// A run of blocks whose taps lie in the picture.
template <int kChannels>
TARGET_AVX2 void warp_inside(const Image& src, const WarpRun& run, uint8_t* out) noexcept {
  const auto [s, x, blocks, ahead] = run;
  const uint8_t* const data = src.data;
  const size_t stride = src.stride;
  const __m256i row = _mm256_set1_epi32(static_cast<int>(stride)), pixel = _mm256_set1_epi32(kChannels);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const auto coordinates = [lanes](int64_t start, int64_t step) TARGET_AVX2 {
    return _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(start)),
                            _mm256_mullo_epi32(lanes, _mm256_set1_epi32(static_cast<int>(step))));
  };
  __m256i fx = coordinates(s.x + s.dx * x, s.dx), fy = coordinates(s.y + s.dy * x, s.dy);
  const __m256i dx = _mm256_set1_epi32(static_cast<int>(8 * s.dx)), dy = _mm256_set1_epi32(static_cast<int>(8 * s.dy));
  for (int i = 0; i < blocks; ++i, out += 24) {
    const __m256i at = _mm256_add_epi32(_mm256_mullo_epi32(_mm256_srai_epi32(fy, kFraction), row),
                                        _mm256_mullo_epi32(_mm256_srai_epi32(fx, kFraction), pixel));
    (kChannels == 3 ? eight_rgb : eight_gray)(data, stride, ahead, at, fx, fy, out);
    fx = _mm256_add_epi32(fx, dx);
    fy = _mm256_add_epi32(fy, dy);
  }
}

}  // namespace

bool has_avx2() noexcept { return __builtin_cpu_supports("avx2"); }

void warp_u8_avx2(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept {
  // Eight bytes are read for the six of two RGB pixels, four for the two of gray ones.
  if (src.channels == 3) {
    warp_rows(src, map, out, width, height, 2, warp_inside<3>);
  } else {
    warp_rows(src, map, out, width, height, 4, warp_inside<1>);
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
