// Weights, biases and slopes in the order of layer.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "layer.h"

namespace facesdk::nn {

// The numbers that become a layer's parameters.
struct Parameters {
  std::string_view weights;      // int8: (channels, kernel, inputs) of a convolution, (kernel, channels) of a depthwise
  std::vector<int32_t> bias;     // (channels,)
  std::vector<float> scale;      // (channels,), below 1
  int source_zero;               // -128..127
  std::string kept;              // what `weights` may point to
};

// Makes a convolution with few channels one of half the width and twice the channels, which fill a block: those of a
// pixel and of the next one, over what both see. The weights lie in parameters.kept then.
void put_side_by_side(Layer& layer, Parameters& parameters, size_t inputs);

// Fills weights, bias and scale of a layer whose geometry is set; inputs: channels of the source.
void pack(Layer& layer, const Parameters& parameters, size_t inputs);

// The slopes in 2^-15, their list `times` times, for which a PReLU gives, for every x of -128..127, clamped rint((x - zero) * slope * scale) + zero, or x
// where that is more; throws RuntimeFailure where there are none.
Prelu pack_prelu(std::span<const int8_t> slopes, size_t times, float scale, int zero);

// XNNPACK's qs8-vadd: the scales are those of the summands over the sum's.
Residual pack_residual(float own_scale, int own_zero, float other_scale, int other_zero, int sum_zero);

}  // namespace facesdk::nn
