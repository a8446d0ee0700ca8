// AVX2 variants (x86-64). Instruction sets are per function, so the file itself is built for the ABI's floor.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "kernels.h"

#define TARGET_AVX2 __attribute__((target("avx2")))

namespace facesdk {
namespace {

bool has_avx2() { return __builtin_cpu_supports("avx2"); }

// True if all taps of a sample, and the byte after the last (pixels are read as four bytes), lie in the picture.
bool inside(const Image& src, int64_t fx, int64_t fy) noexcept {
  const int64_t ix = fx >> kFraction, iy = fy >> kFraction;
  return ix >= 0 && iy >= 0 && ix + 2 < src.width && iy + 1 < src.height;
}

TARGET_AVX2 inline __m256i blend(__m256i left, __m256i right, __m256i u) noexcept {
  // left * (256 - u) + right * u
  return _mm256_add_epi32(_mm256_slli_epi32(left, 8), _mm256_mullo_epi32(_mm256_sub_epi32(right, left), u));
}

TARGET_AVX2 inline __m256i channel_of(__m256i pixels, int shift) noexcept {
  return _mm256_and_si256(_mm256_srli_epi32(pixels, shift), _mm256_set1_epi32(255));
}

struct Taps {
  __m256i p00, p01, p10, p11;
};

TARGET_AVX2 inline __m256i sample(const Taps& t, int shift_left, int shift_right, __m256i u, __m256i v) noexcept {
  const __m256i top = blend(channel_of(t.p00, shift_left), channel_of(t.p01, shift_right), u);
  const __m256i bottom = blend(channel_of(t.p10, shift_left), channel_of(t.p11, shift_right), u);
  return _mm256_srli_epi32(_mm256_add_epi32(blend(top, bottom, v), _mm256_set1_epi32(32768)), 16);
}

TARGET_AVX2 inline void store_rgb(__m256i r, __m256i g, __m256i b, uint8_t* out) noexcept {
  const __m256i packed = _mm256_or_si256(r, _mm256_or_si256(_mm256_slli_epi32(g, 8), _mm256_slli_epi32(b, 16)));
  const __m256i order = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0, 1, 2, 4, 5, 6, 8,
                                         9, 10, 12, 13, 14, -1, -1, -1, -1);
  alignas(32) uint8_t bytes[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), _mm256_shuffle_epi8(packed, order));
  std::memcpy(out, bytes, 12);
  std::memcpy(out + 12, bytes + 16, 12);
}

TARGET_AVX2 void warp_eight(const Image& src, __m256i fx, __m256i fy, uint8_t* out) noexcept {
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i u = _mm256_and_si256(_mm256_srai_epi32(fx, 8), low);
  const __m256i v = _mm256_and_si256(_mm256_srai_epi32(fy, 8), low);
  const __m256i rows = _mm256_mullo_epi32(_mm256_srai_epi32(fy, kFraction), _mm256_set1_epi32(int(src.stride)));
  const __m256i columns = _mm256_mullo_epi32(_mm256_srai_epi32(fx, kFraction), _mm256_set1_epi32(src.channels));
  const __m256i at = _mm256_add_epi32(rows, columns);
  const int* base = reinterpret_cast<const int*>(src.data);
  const int* below = reinterpret_cast<const int*>(src.data + src.stride);
  Taps taps;
  taps.p00 = _mm256_i32gather_epi32(base, at, 1);
  taps.p10 = _mm256_i32gather_epi32(below, at, 1);
  if (src.channels == 1) {
    taps.p01 = taps.p00;
    taps.p11 = taps.p10;
    const __m256i gray = sample(taps, 0, 8, u, v);
    store_rgb(gray, gray, gray, out);
    return;
  }
  // Three bytes on, one byte back: the four bytes read then end with the pixel, and stay inside the row.
  taps.p01 = _mm256_i32gather_epi32(reinterpret_cast<const int*>(src.data + 2), at, 1);
  taps.p11 = _mm256_i32gather_epi32(reinterpret_cast<const int*>(src.data + src.stride + 2), at, 1);
  store_rgb(sample(taps, 0, 8, u, v), sample(taps, 8, 16, u, v), sample(taps, 16, 24, u, v), out);
}

TARGET_AVX2 void warp_u8_avx2(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept {
  // Gather offsets and 16.16 coordinates are signed 32 bits, and gray reads four bytes where two are needed.
  constexpr int kWidest = (1 << (31 - kFraction)) - 1;
  const bool fits = src.stride * static_cast<size_t>(src.height) < (size_t{1} << 31) && src.width >= 8 &&
                    src.width <= kWidest && src.height <= kWidest;
  const int margin = src.channels == 1 ? 2 : 0;
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (int y = 0; y < height; ++y) {
    uint8_t* row = out + static_cast<size_t>(y) * width * 3;
    const Steps s = warp_steps(map, y);
    int x = 0;
    for (; fits && x + 8 <= width; x += 8) {
      const int64_t fx = s.x + s.dx * x, fy = s.y + s.dy * x;
      const int64_t gx = fx + s.dx * 7, gy = fy + s.dy * 7;
      const int64_t reach = int64_t{margin} << kFraction;
      // A straight line lies inside the frame if both its ends do.
      if (!inside(src, fx, fy) || !inside(src, gx, gy) || !inside(src, fx + reach, fy) || !inside(src, gx + reach, gy)) {
        warp_row_scalar(src, map, row, x, x + 8, y);
        continue;
      }
      const __m256i vx = _mm256_add_epi32(_mm256_set1_epi32(int(fx)), _mm256_mullo_epi32(lanes, _mm256_set1_epi32(int(s.dx))));
      const __m256i vy = _mm256_add_epi32(_mm256_set1_epi32(int(fy)), _mm256_mullo_epi32(lanes, _mm256_set1_epi32(int(s.dy))));
      warp_eight(src, vx, vy, row + 3 * x);
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
  kScalar.scale_u8_f32(in + i, out + i, n - i, scale, bias);
}

}  // namespace

const Kernels kAvx2 = {"avx2", has_avx2, warp_u8_avx2, scale_u8_f32_avx2, dot_f32_scalar};

}  // namespace facesdk
#endif
