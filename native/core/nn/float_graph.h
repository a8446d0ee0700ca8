// A float .tflite file (of MediaPipe's kind) read into layers of convolutions, each with what follows it.
//
// Channels are filled up to vectors of 16 floats, of which the last may have 8, with zeros, which stay zeros. Weights come
// in blocks of one to four vectors: a convolution's as (blocks, inputs, channels of the block), inputs in the order (kernel
// row, column, channel); a depthwise one's as (vectors, kernel columns, kernel rows, channels of the vector), the order in
// which XNNPACK adds.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "../network.h"
#include "model.h"
#include "place.h"

namespace facesdk::nn {

constexpr size_t kLanes = 16;
constexpr size_t kWidest = 4;  // vectors of a block

constexpr int filled_up(int channels) { return (channels + 7) / 8 * 8; }
constexpr size_t vectors_in(size_t filled) { return (filled + kLanes - 1) / kLanes; }

// How many vectors each block of a row of vectors has: as even as can be.
constexpr size_t blocks_in(size_t vectors) { return (vectors + kWidest - 1) / kWidest; }
constexpr size_t first_vector(size_t block, size_t vectors) { return block * vectors / blocks_in(vectors); }

// Where the weights of a channel are: those of `size` channels, beginning with `first`, stand side by side.
struct Group {
  size_t first, size;
};
// The vector that the channel is in, and the block.
constexpr Group vector_group(size_t channel, size_t filled) {
  const size_t first = channel / kLanes * kLanes;
  return {first, std::min(kLanes, filled - first)};
}
constexpr Group block_group(size_t block, size_t filled) {
  const size_t vectors = vectors_in(filled), first = kLanes * first_vector(block, vectors);
  return {first, std::min(filled, kLanes * first_vector(block + 1, vectors)) - first};
}
constexpr Group block_with(size_t channel, size_t filled) {
  size_t block = 0;
  while (block + 1 < blocks_in(vectors_in(filled)) && block_group(block + 1, filled).first <= channel) ++block;
  return block_group(block, filled);
}

// IEEE half to single.
inline float of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 0) return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::ldexp(static_cast<float>(fraction), -24)));
  const uint32_t high = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | high << 23 | fraction << 13);
}

enum class FloatKind { convolution, depthwise, max_pool };

enum class Bend { none, relu, prelu };

// sum = bias, then one fused multiply-add an input; then + other; then bent: negative values become 0, or are multiplied by a slope.
struct FloatLayer : Window {
  FloatKind kind = FloatKind::convolution;
  size_t source = 0, target = 0, other = kNone;  // tensors
  int inputs = 0;                                // channels that are read: all that there are, filled up over a kernel
  Bend bend = Bend::none;
  AlignedVector<float> weights, bias, slopes;    // the latter two by filled-up channels, slopes of a PReLU alone
  AlignedVector<uint16_t> halves;                // a convolution's weights where the file has 16 bits of them; `weights` is empty then

  size_t count() const { return static_cast<size_t>(kernel() * inputs); }
};

struct FloatProgram {
  std::vector<Place> places;  // by tensor
  std::vector<FloatLayer> layers;
  size_t input = 0;
  std::vector<std::vector<size_t>> outputs;  // of each, the tensors that lie in it one after another
  std::vector<int> channels;                 // by tensor, without what they were filled up with
  size_t arena_floats = 0;
};

struct FloatGraph {
  TensorInfo input;
  std::vector<TensorInfo> outputs;
  FloatProgram program;
};

// Throws RuntimeFailure, with the reason, for what is not known. Nothing of its bytes is kept.
FloatGraph read_float_graph(const Model& model);

// Runs a part of a layer on an arena that has kSlack floats more than the program wants: the definition, and a variant.
void run_float_scalar(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept;
#if defined(__x86_64__)
void run_float_avx512(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept;
#endif

}  // namespace facesdk::nn
