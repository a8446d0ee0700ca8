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
#include <cstring>

#define TARGET __attribute__((target("avx512f,avx512vl")))
#define INLINE TARGET __attribute__((always_inline)) inline
#define FACESDK_UNROLL _Pragma("GCC unroll 12")  // sums in registers, not in an array

namespace facesdk::nn {
namespace {

bool has_avx512() { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"); }

// What follows the sums of one vector of channels.
struct Finish {
  __m512 slopes;
  bool bent;

  TARGET Finish(const FloatLayer& layer, size_t channel)
      : slopes(layer.bent ? _mm512_loadu_ps(layer.slopes.data() + channel) : _mm512_setzero_ps()), bent(layer.bent) {}

  INLINE __m512 of(__m512 sum) const {
    if (!bent) return sum;
    const __m512 zero = _mm512_setzero_ps();
    return _mm512_mask_mul_ps(sum, _mm512_cmp_ps_mask(sum, zero, _CMP_LT_OQ), sum, slopes);
  }
};

// Goes over the pixels of the output in rows: where each reads, is written, and has its other summand.
struct Walk {
  const FloatLayer& layer;
  const Place &source, &target, *other;
  float* arena;
  int y = 0, x = 0;

  Walk(const FloatProgram& program, const FloatLayer& l, float* a)
      : layer(l), source(program.places[l.source]), target(program.places[l.target]),
        other(l.other == kNone ? nullptr : &program.places[l.other]), arena(a) {}

  const float* from() const {
    const ptrdiff_t row = y * layer.stride_y - layer.pad_top, column = x * layer.stride_x - layer.pad_left;
    return arena + static_cast<ptrdiff_t>(source.at()) + row * static_cast<ptrdiff_t>(source.row()) + column * source.channels;
  }
  float* at(const Place& place) const {
    return arena + place.at() + static_cast<size_t>(y) * place.row() + static_cast<size_t>(x * place.channels);
  }
  void next() {
    if (++x == target.width) {
      x = 0;
      ++y;
    }
  }
};

// kVectors vectors of kPixels pixels.
template <int kPixels, int kVectors>
TARGET void tile(const FloatLayer& layer, const float* const* rows, const float* weights, size_t channel,
                 float* const* to, const float* const* other, size_t others) noexcept {
  __m512 sums[kPixels][kVectors];
  FACESDK_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const __m512 bias = _mm512_loadu_ps(layer.bias.data() + channel + kLanes * static_cast<size_t>(v));
    FACESDK_UNROLL
    for (int p = 0; p < kPixels; ++p) sums[p][v] = bias;
  }
  const size_t count = layer.count();
  for (size_t i = 0; i < count; ++i, weights += kVectors * kLanes) {
    __m512 w[kVectors];
    FACESDK_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_ps(weights + kLanes * static_cast<size_t>(v));
    FACESDK_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const __m512 value = _mm512_set1_ps(rows[p][i]);
      FACESDK_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[p][v] = _mm512_fmadd_ps(value, w[v], sums[p][v]);
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
constexpr size_t kPixels[] = {0, 12, 12, 8, 6};

using Tile = decltype(&tile<1, 1>);

template <int kVectors>
constexpr void add_tiles(Tile* row) {
  constexpr int kMost = static_cast<int>(kPixels[kVectors]);
  row[1] = tile<1, kVectors>;
  row[2] = tile<2, kVectors>;
  row[3] = tile<3, kVectors>;
  row[4] = tile<4, kVectors>;
  row[6] = tile<6, kVectors>;
  if constexpr (kMost >= 8) row[8] = tile<8, kVectors>;
  if constexpr (kMost >= 12) row[12] = tile<12, kVectors>;
}

struct Tiles {
  Tile of[kWidest + 1][kFloatRows + 1] = {};
  constexpr Tiles() {
    add_tiles<1>(of[1]);
    add_tiles<2>(of[2]);
    add_tiles<3>(of[3]);
    add_tiles<4>(of[4]);
  }
};
constexpr Tiles kTiles;

// The largest tile of at most so many pixels.
size_t pixels_of(size_t vectors, size_t left) {
  size_t count = std::min(kPixels[vectors], left);
  while (kTiles.of[vectors][count] == nullptr) --count;
  return count;
}

TARGET void convolve(const FloatProgram& program, const FloatLayer& layer, float* arena, float* scratch) noexcept {
  const Walk start(program, layer, arena);
  const size_t vectors = static_cast<size_t>(start.target.channels) / kLanes, count = layer.count();
  const size_t run = static_cast<size_t>(layer.kernel_width * layer.inputs);
  const size_t others = start.other == nullptr ? 0 : static_cast<size_t>(start.other->channels);
  const size_t pixels = static_cast<size_t>(start.target.height * start.target.width);
  // All blocks of the same pixels, one after another: what they read is gathered once.
  size_t most = kFloatRows;
  for (size_t b = 0; b < blocks_in(vectors); ++b) {
    most = std::min(most, kPixels[first_vector(b + 1, vectors) - first_vector(b, vectors)]);
  }
  Walk walk = start;
  for (size_t done = 0; done < pixels;) {
    const size_t together = std::min(most, pixels - done);
    const float *rows[kFloatRows], *other[kFloatRows];
    float* to[kFloatRows];
    for (size_t p = 0; p < together; ++p, walk.next()) {
      rows[p] = walk.from();
      to[p] = walk.at(walk.target);
      other[p] = walk.other == nullptr ? nullptr : walk.at(*walk.other);
      if (layer.kernel() == 1) continue;
      float* line = scratch + p * count;
      for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky) {
        std::memcpy(line + ky * run, rows[p] + ky * walk.source.row(), run * sizeof(float));
      }
      rows[p] = line;
    }
    for (size_t b = 0; b < blocks_in(vectors); ++b) {
      const size_t first = first_vector(b, vectors), width = first_vector(b + 1, vectors) - first;
      const float* weights = layer.weights.data() + first * count * kLanes;
      for (size_t p = 0; p < together;) {
        const size_t now = pixels_of(width, together - p);
        kTiles.of[width][now](layer, rows + p, weights, first * kLanes, to + p, other + p, others);
        p += now;
      }
    }
    done += together;
  }
}

// kPixels outputs of one row, side by side.
template <int kCount>
INLINE void depthwise_some(const FloatLayer& layer, const Place& source, const float* from, const float* weights,
                           size_t channel, const Finish& finish, float* to, size_t to_next, const float* other) {
  __m512 sums[kCount];
  const __m512 bias = _mm512_loadu_ps(layer.bias.data() + channel);
  FACESDK_UNROLL
  for (int p = 0; p < kCount; ++p) sums[p] = bias;
  const size_t next = static_cast<size_t>(source.channels), step = next * static_cast<size_t>(layer.stride_x);
  for (size_t kx = 0; kx < static_cast<size_t>(layer.kernel_width); ++kx) {
    for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky, weights += kLanes) {
      const __m512 w = _mm512_loadu_ps(weights);
      const float* at = from + ky * source.row() + kx * next;
      FACESDK_UNROLL
      for (int p = 0; p < kCount; ++p) {
        sums[p] = _mm512_fmadd_ps(_mm512_loadu_ps(at + static_cast<size_t>(p) * step), w, sums[p]);
      }
    }
  }
  FACESDK_UNROLL
  for (int p = 0; p < kCount; ++p) {
    const size_t offset = static_cast<size_t>(p) * to_next;
    const __m512 sum = other == nullptr ? sums[p] : _mm512_add_ps(sums[p], _mm512_loadu_ps(other + offset));
    _mm512_storeu_ps(to + offset, finish.of(sum));
  }
}

TARGET void depthwise(const FloatProgram& program, const FloatLayer& layer, float* arena) noexcept {
  Walk walk(program, layer, arena);
  const size_t next = static_cast<size_t>(walk.target.channels);
  for (walk.y = 0; walk.y < walk.target.height; ++walk.y) {
    for (size_t c = 0; c < next; c += kLanes) {
      const Finish finish(layer, c);
      const float* weights = layer.weights.data() + c * static_cast<size_t>(layer.kernel());
      const auto some = [&]<int kCount>() TARGET __attribute__((always_inline)) {
        for (; walk.x + kCount <= walk.target.width; walk.x += kCount) {
          depthwise_some<kCount>(layer, walk.source, walk.from() + c, weights, c, finish, walk.at(walk.target) + c, next,
                                 nullptr);
        }
      };
      walk.x = 0;
      some.template operator()<8>();
      some.template operator()<4>();
      some.template operator()<1>();
    }
  }
}

TARGET void max_pool(const FloatProgram& program, const FloatLayer& layer, float* arena) noexcept {
  Walk walk(program, layer, arena);
  const size_t next = static_cast<size_t>(walk.source.channels), row = walk.source.row();
  for (; walk.y < walk.target.height; walk.next()) {
    const float* from = walk.from();
    float* to = walk.at(walk.target);
    for (size_t c = 0; c < next; c += kLanes) {
      const __m512 above = _mm512_max_ps(_mm512_loadu_ps(from + c), _mm512_loadu_ps(from + next + c));
      const __m512 below = _mm512_max_ps(_mm512_loadu_ps(from + row + c), _mm512_loadu_ps(from + row + next + c));
      _mm512_storeu_ps(to + c, _mm512_max_ps(above, below));
    }
  }
}

void run(const FloatProgram& program, const FloatLayer& layer, float* arena, float* scratch) noexcept {
  switch (layer.kind) {
    case FloatKind::convolution: return convolve(program, layer, arena, scratch);
    case FloatKind::depthwise: return depthwise(program, layer, arena);
    case FloatKind::max_pool: return max_pool(program, layer, arena);
  }
}

}  // namespace

const FloatVariant kFloatAvx512 = {"avx512", has_avx512, run};

}  // namespace facesdk::nn
#endif
