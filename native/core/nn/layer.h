// What the executor runs: layers that each read one tensor and write another, with their weights packed.
//
// An activation is a byte, the model's int8 + 128, in (height, width, channels) with a border of its zero point around
// it. Sums are of byte x weight in 32 bits; the offset of the bytes and the zero point are in the bias.
//
// Weights come in blocks of 64 channels and groups of four inputs. Within a block, vector j of four holds the channels
// 16 L + 4 j + i at lane 4 L + i: packing int32 to int16 and to bytes, which interleaves 128-bit lanes, then gives the
// channels in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "float_graph.h"
#include "model.h"
#include "place.h"

namespace facesdk::nn {

constexpr size_t kBlock = 64;  // channels that are computed together

// Where a channel's 32-bit parameters stand, within its block and after the blocks before.
constexpr size_t slot32(size_t channel) {
  const size_t c = channel % kBlock;
  return channel - c + (c % 16) / 4 * 16 + c / 16 * 4 + c % 4;
}

// The same of 16-bit parameters: two vectors of 32, of the channels 16 L to 16 L + 7 and of those from 16 L + 8.
constexpr size_t slot16(size_t channel) {
  const size_t c = channel % kBlock;
  return channel - c + (c % 16) / 8 * 32 + c / 16 * 8 + c % 8;
}

constexpr size_t blocks_of(size_t channels) { return (channels + kBlock - 1) / kBlock; }

// y = ((bias + x * own + r * other) >> shift) + zero of two bytes, as XNNPACK's qs8-vadd; the weights in two parts of
// which the low one has 11 bits.
struct Residual {
  size_t tensor = 0;  // the other summand
  int16_t own_high = 0, own_low = 0, other_high = 0, other_low = 0;
  int32_t bias = 0;
  int shift = 0;
  int16_t zero = 0;  // of the sum, + 128
};

// max(x, (x * slope + 2^14) >> 15) of a value in the output's steps, which is found at load to be, for every x, what
// XNNPACK's qs8-vmulc and qs8-vmaximum give.
struct Prelu {
  AlignedVector<int16_t> slopes;  // by slot16
};

struct Layer : Window {
  bool depthwise = false;
  size_t source = 0, target = 0;  // tensors
  // Of the output: those of the target, or half its width and twice its channels, as two pixels side by side are.
  int height = 0, width = 0, channels = 0;
  // Convolution: (blocks, groups of 4 inputs, 4, 16, 4), inputs in the order (kernel row, column, channel).
  // Depthwise: (blocks, groups of 4 kernel rows, kernel columns, 4, 16, 4).
  AlignedVector<int8_t> weights;
  AlignedVector<int32_t> bias;  // by slot32, as scale
  AlignedVector<float> scale;   // of the sum, to the output's steps
  int16_t zero = 0;           // of the output, + 128
  std::optional<Prelu> prelu;
  std::optional<Residual> residual;
};

// Layers in order, and the arena that their tensors lie in.
struct Program {
  std::vector<Place> places;  // by tensor
  std::vector<Layer> layers;
  size_t input = 0, output = 0;  // tensors
  size_t arena_bytes = 0;
};

// One instruction set. `run` computes a part of a layer; it has an arena of kSlack bytes more than the program wants, and
// a scratch of its own with room for kRows rows of inputs of any convolution. run_float is that of float_graph.h.
constexpr int kRows = 6;
struct Variant {
  const char* name;
  bool (*supported)();
  void (*run)(const Program& program, const Layer& layer, uint8_t* arena, uint8_t* scratch, Part part) noexcept;
  void (*run_float)(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept;
};

extern const Variant kScalar;
#if defined(__x86_64__)
extern const Variant kAvx512Vnni;
#endif

}  // namespace facesdk::nn
