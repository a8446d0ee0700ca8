// Float layers with AVX-512: one to four vectors of channels of several pixels at a time, sums in up to 24 registers.
#include "float_graph.h"
#if defined(__x86_64__)
// GCC 12 takes the undefined value that its own intrinsics are made with for one that is used (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <algorithm>

#define TARGET __attribute__((target("avx512f,avx512vl")))
#define INLINE TARGET __attribute__((always_inline)) inline
#define FACESDK_UNROLL _Pragma("GCC unroll 12")  // sums in registers, not in an array

namespace facesdk::nn {
namespace {

// What follows the sums of one vector of channels.
struct Finish {
  __m512 slopes;
  Bend bend;

  TARGET Finish(const FloatLayer& layer, size_t channel) : slopes(_mm512_setzero_ps()), bend(layer.bend) {
    if (bend == Bend::prelu) slopes = _mm512_loadu_ps(layer.slopes.data() + channel);
  }

  INLINE __m512 of(__m512 sum) const {
    const __m512 zero = _mm512_setzero_ps();
    if (bend == Bend::none) return sum;
    if (bend == Bend::relu) return _mm512_max_ps(zero, sum);
    return _mm512_mask_mul_ps(sum, _mm512_cmp_ps_mask(sum, zero, _CMP_LT_OQ), sum, slopes);
  }
};

// Goes over the pixels of the output in rows: where each reads, is written, and has its other summand.
struct Walk {
  const Place &source, &target;
  const float *from, *other = nullptr, *from_row, *other_row = nullptr;
  float *to, *to_row;
  size_t from_step, from_down, other_down = 0, other_step = 0;
  int x = 0;

  Walk(const FloatProgram& program, const FloatLayer& layer, float* arena)
      : source(program.places[layer.source]), target(program.places[layer.target]) {
    const size_t channels = static_cast<size_t>(source.channels);
    from_step = static_cast<size_t>(layer.stride_x) * channels;
    from_down = static_cast<size_t>(layer.stride_y) * source.row();
    from_row = arena + source.at() - static_cast<size_t>(layer.pad_top) * source.row() -
               static_cast<size_t>(layer.pad_left) * channels;
    to_row = arena + target.at();
    if (layer.other != kNone) {
      const Place& place = program.places[layer.other];
      other_row = arena + place.at();
      other_down = place.row();
      other_step = static_cast<size_t>(place.channels);
    }
    from = from_row;
    to = to_row;
    other = other_row;
  }
  void next() {
    from += from_step;
    to += target.channels;
    other += other_step;
    if (++x == target.width) down();
  }
  void down(int rows = 1) {
    const size_t n = static_cast<size_t>(rows);
    x = 0;
    from = from_row += n * from_down;
    to = to_row += n * target.row();
    other = other_row += n * other_down;
  }
};

INLINE __m512 vector_at(const float* weights) { return _mm512_loadu_ps(weights); }
INLINE __m512 vector_at(const uint16_t* halves) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves)));
}

// kVectors vectors of kPixels pixels.
template <int kPixels, int kVectors, typename Weight>
TARGET void tile(const FloatLayer& layer, const float* const* from, size_t row, const Weight* weights, size_t channel,
                 float* const* to, const float* const* other, size_t others) noexcept {
  __m512 sums[kPixels][kVectors];
  FACESDK_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const __m512 bias = _mm512_loadu_ps(layer.bias.data() + channel + kLanes * static_cast<size_t>(v));
    FACESDK_UNROLL
    for (int p = 0; p < kPixels; ++p) sums[p][v] = bias;
  }
  const size_t run = static_cast<size_t>(layer.kernel_width * layer.inputs);
  for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky) {
    for (size_t i = ky * row; i < ky * row + run; ++i, weights += kVectors * kLanes) {
      __m512 w[kVectors];
      FACESDK_UNROLL
      for (int v = 0; v < kVectors; ++v) w[v] = vector_at(weights + kLanes * static_cast<size_t>(v));
      FACESDK_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const __m512 value = _mm512_set1_ps(from[p][i]);
        FACESDK_UNROLL
        for (int v = 0; v < kVectors; ++v) sums[p][v] = _mm512_fmadd_ps(value, w[v], sums[p][v]);
      }
    }
  }
  FACESDK_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const size_t c = channel + kLanes * static_cast<size_t>(v);
    const Finish finish(layer, c);
    FACESDK_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const __m512 sum = c < others ? _mm512_add_ps(sums[p][v], _mm512_loadu_ps(other[p] + c)) : sums[p][v];
      _mm512_storeu_ps(to[p] + c, finish.of(sum));
    }
  }
}

// Pixels of a tile, by its vectors.
constexpr size_t kFloatRows = 12;
constexpr size_t kPixels[] = {0, 12, 12, 8, 6};

template <typename Weight>
using Tile = decltype(&tile<1, 1, Weight>);

template <int kVectors, typename Weight>
constexpr void add_tiles(Tile<Weight>* row) {
  constexpr int kMost = static_cast<int>(kPixels[kVectors]);
  row[1] = tile<1, kVectors, Weight>;
  row[2] = tile<2, kVectors, Weight>;
  row[3] = tile<3, kVectors, Weight>;
  row[4] = tile<4, kVectors, Weight>;
  row[5] = tile<5, kVectors, Weight>;
  row[6] = tile<6, kVectors, Weight>;
  if constexpr (kMost >= 8) row[8] = tile<8, kVectors, Weight>;
  if constexpr (kMost >= 12) row[12] = tile<12, kVectors, Weight>;
}

template <typename Weight>
struct Tiles {
  Tile<Weight> of[kWidest + 1][kFloatRows + 1] = {};
  constexpr Tiles() {
    add_tiles<1, Weight>(of[1]);
    add_tiles<2, Weight>(of[2]);
    add_tiles<3, Weight>(of[3]);
    add_tiles<4, Weight>(of[4]);
  }
};
template <typename Weight>
constexpr Tiles<Weight> kTiles;

// The largest tile of at most so many pixels.
size_t pixels_of(size_t vectors, size_t left) {
  size_t count = std::min(kPixels[vectors], left);
  while (kTiles<float>.of[vectors][count] == nullptr) --count;
  return count;
}

template <typename Weight>
TARGET void convolve(const FloatProgram& program, const FloatLayer& layer, const Weight* all, float* arena, Part part) noexcept {
  Walk walk(program, layer, arena);
  const int begin = part.begin(walk.target.height), end = part.end(walk.target.height);
  walk.down(begin);
  const size_t vectors = static_cast<size_t>(walk.target.channels) / kLanes, count = layer.count();
  const size_t pixels = static_cast<size_t>((end - begin) * walk.target.width);
  size_t most = kFloatRows;
  for (size_t b = 0; b < blocks_in(vectors); ++b) {
    most = std::min(most, kPixels[first_vector(b + 1, vectors) - first_vector(b, vectors)]);
  }
  for (size_t done = 0; done < pixels;) {
    const size_t together = std::min(most, pixels - done);
    const float *from[kFloatRows], *other[kFloatRows];
    float* to[kFloatRows];
    for (size_t p = 0; p < together; ++p, walk.next()) {
      from[p] = walk.from;
      to[p] = walk.to;
      other[p] = walk.other;
    }
    for (size_t b = 0; b < blocks_in(vectors); ++b) {
      const size_t first = first_vector(b, vectors), width = first_vector(b + 1, vectors) - first;
      const Weight* weights = all + first * count * kLanes;
      for (size_t p = 0; p < together;) {
        const size_t now = pixels_of(width, together - p);
        kTiles<Weight>.of[width][now](layer, from + p, walk.source.row(), weights, first * kLanes, to + p, other + p,
                                      walk.other_step);
        p += now;
      }
    }
    done += together;
  }
}

// kCount outputs of one row, side by side.
template <int kCount>
INLINE void depthwise_some(const FloatLayer& layer, const Walk& walk, const float* from, const float* weights,
                           __m512 bias, const Finish& finish, float* to) {
  __m512 sums[kCount];
  FACESDK_UNROLL
  for (int p = 0; p < kCount; ++p) sums[p] = bias;
  const size_t next = static_cast<size_t>(walk.source.channels);
  for (size_t kx = 0; kx < static_cast<size_t>(layer.kernel_width); ++kx) {
    for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky, weights += kLanes) {
      const __m512 w = _mm512_loadu_ps(weights);
      const float* at = from + ky * walk.source.row() + kx * next;
      FACESDK_UNROLL
      for (int p = 0; p < kCount; ++p) {
        sums[p] = _mm512_fmadd_ps(_mm512_loadu_ps(at + static_cast<size_t>(p) * walk.from_step), w, sums[p]);
      }
    }
  }
  FACESDK_UNROLL
  for (int p = 0; p < kCount; ++p) _mm512_storeu_ps(to + static_cast<size_t>(p) * next, finish.of(sums[p]));
}

TARGET void depthwise(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept {
  Walk walk(program, layer, arena);
  const int begin = part.begin(walk.target.height), end = part.end(walk.target.height);
  walk.down(begin);
  const size_t channels = static_cast<size_t>(walk.target.channels);
  const int width = walk.target.width;
  for (int y = begin; y < end; ++y, walk.down()) {
    for (size_t c = 0; c < channels; c += kLanes) {
      const Finish finish(layer, c);
      const __m512 bias = _mm512_loadu_ps(layer.bias.data() + c);
      const float* weights = layer.weights.data() + c * static_cast<size_t>(layer.kernel());
      const float* from = walk.from_row + c;
      float* to = walk.to_row + c;
      int x = 0;
      const auto some = [&]<int kCount>() TARGET __attribute__((always_inline)) {
        for (; x + kCount <= width; x += kCount, from += kCount * walk.from_step, to += kCount * channels) {
          depthwise_some<kCount>(layer, walk, from, weights, bias, finish, to);
        }
      };
      some.template operator()<8>();
      some.template operator()<4>();
      some.template operator()<1>();
    }
  }
}

TARGET void max_pool(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept {
  Walk walk(program, layer, arena);
  const int begin = part.begin(walk.target.height), end = part.end(walk.target.height);
  walk.down(begin);
  const size_t next = static_cast<size_t>(walk.source.channels), row = walk.source.row();
  const size_t pixels = static_cast<size_t>((end - begin) * walk.target.width);
  for (size_t i = 0; i < pixels; ++i, walk.next()) {
    for (size_t c = 0; c < next; c += kLanes) {
      const float* from = walk.from + c;
      const __m512 above = _mm512_max_ps(_mm512_loadu_ps(from), _mm512_loadu_ps(from + next));
      const __m512 below = _mm512_max_ps(_mm512_loadu_ps(from + row), _mm512_loadu_ps(from + row + next));
      _mm512_storeu_ps(walk.to + c, _mm512_max_ps(above, below));
    }
  }
}

}  // namespace

void run_float_avx512(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept {
  switch (layer.kind) {
    case FloatKind::convolution:
      if (layer.halves.empty()) return convolve(program, layer, layer.weights.data(), arena, part);
      return convolve(program, layer, layer.halves.data(), arena, part);
    case FloatKind::depthwise: return depthwise(program, layer, arena, part);
    case FloatKind::max_pool: return max_pool(program, layer, arena, part);
  }
}

}  // namespace facesdk::nn
#endif
