// Layers with AVX512-VNNI: 64 channels of up to six pixels at a time, sums in 24 registers.
#include "layer.h"
#if defined(__x86_64__)
// GCC 12 takes the undefined value that its own intrinsics are made with for one that is used (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstring>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define FACESDK_UNROLL _Pragma("GCC unroll 8")  // sums in registers, not in an array
#define INLINE TARGET __attribute__((always_inline)) inline

namespace facesdk::nn {
namespace {

bool has_avx512vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

// sum += four products of unsigned and signed bytes. As an instruction: GCC 12 copies the sums around its intrinsic.
INLINE void dot(__m512i& sum, __m512i bytes, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
}
INLINE void dot(__m512i& sum, __m512i bytes, const int8_t* weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "m"(*reinterpret_cast<const __m512i*>(weights)));
}

// What follows the sums of 64 channels, with the parameters in registers.
struct Finish {
  __m512 scale[4];
  __m512i slopes[2], least, zero, other_zero, bias, high, low;
  __m128i shift;
  __mmask64 mask;  // of the channels that there are
  bool prelu, residual;

  TARGET Finish(const Layer& layer, size_t first, size_t channels) {
    for (int j = 0; j < 4; ++j) scale[j] = _mm512_loadu_ps(layer.scale.data() + first + 16 * j);
    mask = channels - first >= kBlock ? ~__mmask64{0} : (__mmask64{1} << (channels - first)) - 1;
    least = _mm512_set1_epi16(static_cast<int16_t>(-layer.zero));
    zero = _mm512_set1_epi16(layer.zero);
    prelu = layer.prelu.has_value();
    residual = layer.residual.has_value();
    for (int i = 0; i < 2; ++i) {
      slopes[i] = prelu ? _mm512_loadu_si512(layer.prelu->slopes.data() + first + 32 * i) : _mm512_setzero_si512();
    }
    const Residual r = layer.residual.value_or(Residual{});
    const auto pair = [](int16_t own, int16_t other) {
      return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint16_t>(other)) << 16 | static_cast<uint16_t>(own));
    };
    high = _mm512_set1_epi32(pair(r.own_high, r.other_high));
    low = _mm512_set1_epi32(pair(r.own_low, r.other_low));
    bias = _mm512_set1_epi32(r.bias);
    shift = _mm_cvtsi32_si128(r.shift);
    other_zero = _mm512_set1_epi16(r.zero);
  }

  INLINE __m512i steps(const __m512i* sums, int i) const {
    const __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[2 * i]), scale[2 * i]));
    const __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[2 * i + 1]), scale[2 * i + 1]));
    return _mm512_packs_epi32(a, b);
  }

  // Four sums each of (own, other): 16 bits to 16.
  INLINE __m512i summed(__m512i own, __m512i other) const {
    __m512i out[2];
    const __m512i pairs[2] = {_mm512_unpacklo_epi16(own, other), _mm512_unpackhi_epi16(own, other)};
    for (int i = 0; i < 2; ++i) {
      const __m512i high_part = _mm512_slli_epi32(_mm512_madd_epi16(pairs[i], high), 11);
      const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(high_part, _mm512_madd_epi16(pairs[i], low)), bias);
      out[i] = _mm512_sra_epi32(sum, shift);
    }
    return _mm512_adds_epi16(_mm512_packs_epi32(out[0], out[1]), other_zero);
  }

  template <bool kPrelu, bool kResidual>
  INLINE void store(const __m512i* sums, uint8_t* to, const uint8_t* other) const {
    __m512i half[2];
    for (int i = 0; i < 2; ++i) {
      half[i] = steps(sums, i);
      if constexpr (kPrelu) {
        half[i] = _mm512_max_epi16(half[i], least);
        half[i] = _mm512_max_epi16(half[i], _mm512_mulhrs_epi16(half[i], slopes[i]));
      }
      half[i] = _mm512_adds_epi16(half[i], zero);
    }
    __m512i bytes = _mm512_packus_epi16(half[0], half[1]);
    if constexpr (kResidual) {
      const __m512i others = _mm512_maskz_loadu_epi8(mask, other), none = _mm512_setzero_si512();
      half[0] = summed(_mm512_unpacklo_epi8(bytes, none), _mm512_unpacklo_epi8(others, none));
      half[1] = summed(_mm512_unpackhi_epi8(bytes, none), _mm512_unpackhi_epi8(others, none));
      bytes = _mm512_packus_epi16(half[0], half[1]);
    }
    _mm512_mask_storeu_epi8(to, mask, bytes);
  }
};

// What a part has of a layer: channels, in whole blocks, or where those cannot be divided evenly pixels.
struct Split {
  size_t first = 0, last;
  int begin = 0, end;

  // group: pixels that stay together.
  Split(const Layer& layer, Part part, int group) : last(static_cast<size_t>(layer.channels)), end(layer.height * layer.width) {
    const int blocks = static_cast<int>(blocks_of(last));
    if (blocks % part.count == 0) {
      first = kBlock * static_cast<size_t>(part.begin(blocks));
      last = std::min(last, kBlock * static_cast<size_t>(part.end(blocks)));
    } else {
      begin = part.begin(end, group);
      end = part.end(end, group);
    }
  }
};

// Walks the pixels of the output in rows, and where each reads.
struct Walk {
  const Place& source;
  const Layer& layer;
  uint8_t* arena;
  int y, x = 0;

  // The first byte under the kernel.
  const uint8_t* from() const {
    const ptrdiff_t row = y * layer.stride_y - layer.pad_top, column = x * layer.stride_x - layer.pad_left;
    return arena + static_cast<ptrdiff_t>(source.at()) + row * static_cast<ptrdiff_t>(source.row()) + column * source.channels;
  }
  size_t offset(const Place& place) const {
    return place.at() + static_cast<size_t>(y) * place.row() + static_cast<size_t>(x * layer.channels);
  }
  void next() {
    if (++x == layer.width) {
      x = 0;
      ++y;
    }
  }
};

// One block of kPixels pixels: `rows` are their inputs, in groups of four.
template <int kPixels, bool kPrelu, bool kResidual>
TARGET void tile(const uint8_t* const* rows, size_t groups, const int8_t* weights, const int32_t* bias,
                 const Finish& finish, uint8_t* const* to, const uint8_t* const* other, size_t first) noexcept {
  __m512i sums[kPixels][4];
  FACESDK_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m512i start = _mm512_loadu_si512(bias + 16 * j);
    FACESDK_UNROLL
    for (int p = 0; p < kPixels; ++p) sums[p][j] = start;
  }
  for (size_t g = 0; g < groups; ++g, weights += 4 * kBlock) {
    __m512i w[4];
    FACESDK_UNROLL
    for (int j = 0; j < 4; ++j) w[j] = _mm512_loadu_si512(weights + kBlock * static_cast<size_t>(j));
    FACESDK_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      int32_t four;
      std::memcpy(&four, rows[p] + 4 * g, 4);
      const __m512i bytes = _mm512_set1_epi32(four);
      FACESDK_UNROLL
      for (int j = 0; j < 4; ++j) dot(sums[p][j], bytes, w[j]);
    }
  }
  FACESDK_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    finish.store<kPrelu, kResidual>(sums[p], to[p] + first, kResidual ? other[p] + first : nullptr);
  }
}

template <bool kPrelu, bool kResidual>
TARGET void tiles(int pixels, const uint8_t* const* rows, size_t groups, const int8_t* weights, const int32_t* bias,
                  const Finish& finish, uint8_t* const* to, const uint8_t* const* other, size_t first) noexcept {
  switch (pixels) {
    case 1: return tile<1, kPrelu, kResidual>(rows, groups, weights, bias, finish, to, other, first);
    case 2: return tile<2, kPrelu, kResidual>(rows, groups, weights, bias, finish, to, other, first);
    case 3: return tile<3, kPrelu, kResidual>(rows, groups, weights, bias, finish, to, other, first);
    case 4: return tile<4, kPrelu, kResidual>(rows, groups, weights, bias, finish, to, other, first);
    case 5: return tile<5, kPrelu, kResidual>(rows, groups, weights, bias, finish, to, other, first);
    default: return tile<6, kPrelu, kResidual>(rows, groups, weights, bias, finish, to, other, first);
  }
}

// Copies n bytes, or 16 where n is less.
INLINE void copy(uint8_t* to, const uint8_t* from, size_t n) {
  if (n > 16) {
    std::memcpy(to, from, n);
  } else {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
}

template <bool kPrelu, bool kResidual>
TARGET void convolve(const Program& program, const Layer& layer, uint8_t* arena, uint8_t* scratch, Part part) noexcept {
  const Place &source = program.places[layer.source], &target = program.places[layer.target];
  const Place* other = kResidual ? &program.places[layer.residual->tensor] : nullptr;
  const size_t channels = static_cast<size_t>(layer.channels), run = static_cast<size_t>(layer.kernel_width * source.channels);
  const size_t inputs = static_cast<size_t>(layer.kernel_height) * run, groups = (inputs + 3) / 4;
  const Split split(layer, part, kRows);
  for (size_t first = split.first; first < split.last; first += kBlock) {
    const Finish finish(layer, first, channels);
    const int8_t* weights = layer.weights.data() + first * 4 * groups;
    Walk walk{source, layer, arena, split.begin / layer.width, split.begin % layer.width};
    for (int done = split.begin; done < split.end; done += kRows) {
      const int count = std::min(kRows, split.end - done);
      const uint8_t *rows[kRows], *others[kRows];
      uint8_t* to[kRows];
      for (int p = 0; p < count; ++p, walk.next()) {
        rows[p] = walk.from();
        to[p] = arena + walk.offset(target);
        if constexpr (kResidual) others[p] = arena + walk.offset(*other);
        if (layer.kernel() == 1) continue;
        uint8_t* line = scratch + static_cast<size_t>(p) * 4 * groups;
        for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky) {
          copy(line + ky * run, rows[p] + ky * source.row(), run);
        }
        rows[p] = line;
      }
      tiles<kPrelu, kResidual>(count, rows, groups, weights, layer.bias.data() + first, finish, to, others, first);
    }
  }
}

// The bytes of four rows of 64 channels, those of one channel side by side, in the order of the weights.
INLINE void interleave(const uint8_t* at, size_t row, int rows, __m512i* out) {
  const __m512i none = _mm512_setzero_si512();
  const __m512i a = _mm512_loadu_si512(at), b = rows > 1 ? _mm512_loadu_si512(at + row) : none;
  const __m512i c = rows > 2 ? _mm512_loadu_si512(at + 2 * row) : none;
  const __m512i d = rows > 3 ? _mm512_loadu_si512(at + 3 * row) : none;
  const __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
  const __m512i ab_high = _mm512_unpackhi_epi8(a, b), cd_high = _mm512_unpackhi_epi8(c, d);
  out[0] = _mm512_unpacklo_epi16(ab, cd);
  out[1] = _mm512_unpackhi_epi16(ab, cd);
  out[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
  out[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

// Any kernel and stride.
template <bool kPrelu, bool kResidual>
TARGET void depthwise_rows(const Program& program, const Layer& layer, uint8_t* arena, size_t first,
                           const Finish& finish, int y0, int y1) noexcept {
  const Place &source = program.places[layer.source], &target = program.places[layer.target];
  const Place* other = kResidual ? &program.places[layer.residual->tensor] : nullptr;
  const size_t row = source.row(), channels = static_cast<size_t>(source.channels);
  const int groups = (layer.kernel_height + 3) / 4;
  const int8_t* block = layer.weights.data() + first * static_cast<size_t>(4 * groups * layer.kernel_width);
  Walk walk{source, layer, arena, y0};
  for (; walk.y < y1; walk.next()) {
    __m512i sums[4];
    for (int j = 0; j < 4; ++j) sums[j] = _mm512_loadu_si512(layer.bias.data() + first + 16 * static_cast<size_t>(j));
    const uint8_t* from = walk.from() + first;
    const int8_t* weights = block;
    for (int g = 0; g < groups; ++g) {
      for (int kx = 0; kx < layer.kernel_width; ++kx, weights += 4 * kBlock) {
        __m512i bytes[4];
        interleave(from + static_cast<size_t>(4 * g) * row + static_cast<size_t>(kx) * channels, row,
                   std::min(4, layer.kernel_height - 4 * g), bytes);
        for (int j = 0; j < 4; ++j) dot(sums[j], bytes[j], weights + kBlock * static_cast<size_t>(j));
      }
    }
    finish.store<kPrelu, kResidual>(sums, arena + walk.offset(target) + first,
                                    kResidual ? arena + walk.offset(*other) + first : nullptr);
  }
}

// 3 x 3 of stride 1, two rows of output at a time: each column of four inputs, once interleaved, is used six times.
// Sums go round: column x is the last of output x - 1, the middle of x and the first of x + 1.
template <bool kPrelu>
TARGET void depthwise_pairs(const Program& program, const Layer& layer, uint8_t* arena, size_t first,
                            const Finish& finish, int y0, int y1) noexcept {
  const Place &source = program.places[layer.source], &target = program.places[layer.target];
  const size_t row = source.row(), channels = static_cast<size_t>(source.channels);
  const int8_t* above = layer.weights.data() + first * 12;
  alignas(64) int8_t below[12 * kBlock];  // the same weights for the row below: each tap one further down
  for (size_t i = 0; i < 12 * kBlock; i += 64) {
    _mm512_store_si512(below + i, _mm512_slli_epi32(_mm512_loadu_si512(above + i), 8));
  }
  const int32_t* bias = layer.bias.data() + first;
  Walk walk{source, layer, arena, y0};
  for (; walk.y + 1 < y1; walk.y += 2) {
    const uint8_t* from = walk.from() + first;
    uint8_t* to = arena + walk.offset(target) + first;
    __m512i sums[3][2][4];  // of outputs x - 1, x and x + 1, in turn
    const auto begin = [&](__m512i (&s)[2][4]) TARGET __attribute__((always_inline)) {
      for (int j = 0; j < 4; ++j) s[0][j] = s[1][j] = _mm512_loadu_si512(bias + 16 * static_cast<size_t>(j));
    };
    const auto column = [&](int x, __m512i (&last)[2][4], __m512i (&middle)[2][4], __m512i (&next)[2][4])
        TARGET __attribute__((always_inline)) {
      __m512i bytes[4];
      interleave(from + static_cast<size_t>(x) * channels, row, 4, bytes);
      begin(next);
      for (size_t j = 0; j < 4; ++j) {
        dot(last[0][j], bytes[j], above + (8 + j) * kBlock);
        dot(last[1][j], bytes[j], below + (8 + j) * kBlock);
        dot(middle[0][j], bytes[j], above + (4 + j) * kBlock);
        dot(middle[1][j], bytes[j], below + (4 + j) * kBlock);
        dot(next[0][j], bytes[j], above + j * kBlock);
        dot(next[1][j], bytes[j], below + j * kBlock);
      }
      if (x < 2) return;
      uint8_t* at = to + static_cast<size_t>(x - 2) * channels;
      finish.store<kPrelu, false>(last[0], at, nullptr);
      finish.store<kPrelu, false>(last[1], at + target.row(), nullptr);
    };
    begin(sums[0]);
    begin(sums[1]);
    for (int x = 0; x < layer.width + 2; x += 3) {
      column(x, sums[0], sums[1], sums[2]);
      if (x + 1 < layer.width + 2) column(x + 1, sums[1], sums[2], sums[0]);
      if (x + 2 < layer.width + 2) column(x + 2, sums[2], sums[0], sums[1]);
    }
  }
  depthwise_rows<kPrelu, false>(program, layer, arena, first, finish, walk.y, y1);
}

template <bool kPrelu, bool kResidual>
TARGET void depthwise(const Program& program, const Layer& layer, uint8_t* arena, Part part) noexcept {
  const size_t channels = static_cast<size_t>(layer.channels);
  const Split split(layer, part, 2 * layer.width);
  const int y0 = split.begin / layer.width, y1 = split.end / layer.width;
  for (size_t first = split.first; first < split.last; first += kBlock) {
    const Finish finish(layer, first, channels);
    if constexpr (!kResidual) {
      if (layer.kernel_height == 3 && layer.kernel_width == 3 && layer.stride_y == 1 && layer.stride_x == 1) {
        depthwise_pairs<kPrelu>(program, layer, arena, first, finish, y0, y1);
        continue;
      }
    }
    depthwise_rows<kPrelu, kResidual>(program, layer, arena, first, finish, y0, y1);
  }
}

template <bool kPrelu, bool kResidual>
void run_fused(const Program& program, const Layer& layer, uint8_t* arena, uint8_t* scratch, Part part) noexcept {
  if (layer.depthwise) return depthwise<kPrelu, kResidual>(program, layer, arena, part);
  convolve<kPrelu, kResidual>(program, layer, arena, scratch, part);
}

void run(const Program& program, const Layer& layer, uint8_t* arena, uint8_t* scratch, Part part) noexcept {
  if (layer.residual) return run_fused<false, true>(program, layer, arena, scratch, part);
  if (layer.prelu) return run_fused<true, false>(program, layer, arena, scratch, part);
  run_fused<false, false>(program, layer, arena, scratch, part);
}

}  // namespace

const Variant kAvx512Vnni = {"avx512vnni", has_avx512vnni, run, run_float_avx512};

}  // namespace facesdk::nn
#endif
