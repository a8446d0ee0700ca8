#include "packing.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "../network.h"

namespace facesdk::nn {
namespace {

// Nearest, ties to even, of |x| < 2^22.
float rounded(float x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  return (x + kMagic) - kMagic;
}

void pack_convolution(Layer& layer, std::string_view weights, size_t channels, size_t inputs) {
  const size_t groups = (inputs + 3) / 4, whole = inputs / 4, rest = inputs % 4;
  std::array<size_t, kBlock> to;
  for (size_t c = 0; c < kBlock; ++c) to[c] = 4 * slot32(c);
  layer.weights.assign(blocks_of(channels) * groups * 4 * kBlock, 0);
  for (size_t first = 0; first < channels; first += kBlock) {
    const char* from = weights.data() + first * inputs;
    int8_t* block = layer.weights.data() + first * 4 * groups;
    const size_t count = std::min(kBlock, channels - first);
    for (size_t g = 0; g < whole; ++g, block += 4 * kBlock) {
      for (size_t c = 0; c < count; ++c) std::memcpy(block + to[c], from + c * inputs + 4 * g, 4);
    }
    for (size_t c = 0; c < count && rest > 0; ++c) std::memcpy(block + to[c], from + c * inputs + 4 * whole, rest);
  }
}

void pack_depthwise(Layer& layer, std::string_view weights, size_t channels) {
  const size_t columns = static_cast<size_t>(layer.kernel_width), rows = static_cast<size_t>(layer.kernel_height);
  const size_t groups = (rows + 3) / 4;
  layer.weights.assign(blocks_of(channels) * groups * columns * 4 * kBlock, 0);
  for (size_t y = 0; y < rows; ++y) {
    for (size_t x = 0; x < columns; ++x) {
      for (size_t c = 0; c < channels; ++c) {
        const size_t vectors = ((c / kBlock * groups + y / 4) * columns + x) * kBlock + slot32(c % kBlock);
        layer.weights[4 * vectors + y % 4] = static_cast<int8_t>(weights[(y * columns + x) * channels + c]);
      }
    }
  }
}

// How many x of the output's steps a slope in 2^-15 gives otherwise than XNNPACK, which clamps to int8 both the product
// and the maximum.
int differing(int slope, float model_slope, float scale, int zero) {
  int count = 0;
  for (int x = -128 - zero; x <= 127 - zero; ++x) {
    const int product = static_cast<int>(rounded(static_cast<float>(x) * model_slope * scale));
    const int wanted = std::max(std::clamp(product, -128 - zero, 127 - zero), x);
    count += std::min(std::max(x, (x * slope + (1 << 14)) >> 15), 127 - zero) != wanted;
  }
  return count;
}

// The slope in 2^-15 that is right for every x: mostly the nearest, else one within the bounds that each negative x has.
int slope_of(int8_t model_slope, float scale, int zero) {
  const auto fits = [&](int slope) {
    return std::abs(slope) <= 32767 && differing(slope, model_slope, scale, zero) == 0;
  };
  const int nearest = static_cast<int>(std::lround(model_slope * scale * 32768));
  if (fits(nearest)) return nearest;
  double low = -32768, high = 32767;
  for (int x = -128 - zero; x < 0; ++x) {
    const double y = rounded(static_cast<float>(x) * model_slope * scale);
    low = std::max(low, (y + .5) * 32768 / x);  // x is negative: the greater product is the smaller slope
    high = std::min(high, (y - .5) * 32768 / x);
  }
  const int between = static_cast<int>(std::lround((low + high) / 2));
  if (fits(between)) return between;
  throw RuntimeFailure("a PReLU's slope of " + std::to_string(model_slope * scale) + " cannot be had exactly");
}

}  // namespace

void put_side_by_side(Layer& layer, Parameters& parameters, size_t inputs) {
  const size_t channels = static_cast<size_t>(layer.channels), rows = static_cast<size_t>(layer.kernel_height);
  const size_t run = static_cast<size_t>(layer.kernel_width) * inputs, shift = static_cast<size_t>(layer.stride_x) * inputs;
  std::string wide(2 * channels * rows * (run + shift), 0);
  for (size_t c = 0; c < 2 * channels; ++c) {
    for (size_t y = 0; y < rows; ++y) {
      const size_t to = (c * rows + y) * (run + shift) + c / channels * shift;
      wide.replace(to, run, parameters.weights.substr((c % channels * rows + y) * run, run));
    }
  }
  parameters.kept = std::move(wide);
  parameters.weights = parameters.kept;
  for (size_t c = 0; c < channels; ++c) {
    parameters.bias.push_back(parameters.bias[c]);
    parameters.scale.push_back(parameters.scale[c]);
  }
  layer.kernel_width += layer.stride_x;
  layer.stride_x *= 2;
  layer.width /= 2;
  layer.channels *= 2;
}

void pack(Layer& layer, const Parameters& parameters, size_t inputs) {
  const size_t channels = static_cast<size_t>(layer.channels), kernel = static_cast<size_t>(layer.kernel());
  const size_t count = layer.depthwise ? kernel : kernel * inputs;  // of weights, a channel
  std::vector<int32_t> sums(channels);
  const auto* weights = reinterpret_cast<const int8_t*>(parameters.weights.data());
  if (layer.depthwise) {
    pack_depthwise(layer, parameters.weights, channels);
    for (size_t i = 0; i < count * channels; ++i) sums[i % channels] += weights[i];
  } else {
    pack_convolution(layer, parameters.weights, channels, count);
    for (size_t c = 0; c < channels; ++c) sums[c] = std::accumulate(weights + c * count, weights + (c + 1) * count, 0);
  }
  layer.bias.assign(blocks_of(channels) * kBlock, 0);
  layer.scale.assign(blocks_of(channels) * kBlock, 0);
  for (size_t c = 0; c < channels; ++c) {
    // Modulo 2^32, as the sums themselves.
    const auto offset = static_cast<uint32_t>(parameters.source_zero + 128) * static_cast<uint32_t>(sums[c]);
    layer.bias[slot32(c)] = static_cast<int32_t>(static_cast<uint32_t>(parameters.bias[c]) - offset);
    layer.scale[slot32(c)] = parameters.scale[c];
  }
}

Prelu pack_prelu(std::span<const int8_t> slopes, size_t times, float scale, int zero) {
  constexpr int kUnknown = 1 << 20;
  std::array<int, 256> known;  // by the model's slope
  known.fill(kUnknown);
  Prelu prelu;
  prelu.slopes.assign(blocks_of(times * slopes.size()) * kBlock, 0);
  for (size_t c = 0; c < slopes.size(); ++c) {
    int& slope = known[static_cast<size_t>(slopes[c] + 128)];
    if (slope == kUnknown) slope = slope_of(slopes[c], scale, zero);
    for (size_t i = 0; i < times; ++i) prelu.slopes[slot16(c + i * slopes.size())] = static_cast<int16_t>(slope);
  }
  return prelu;
}

Residual pack_residual(float own_scale, int own_zero, float other_scale, int other_zero, int sum_zero) {
  const float larger = std::max(own_scale, other_scale);
  if (!(std::min(own_scale, other_scale) >= 0x1p-10f && larger < 0x1p+8f)) {
    throw RuntimeFailure("a sum of tensors whose scales are too different");
  }
  // Multipliers of 21 bits, the larger with its highest bit set.
  const int shift = 20 - (static_cast<int>(std::bit_cast<uint32_t>(larger) >> 23) - 127);
  const auto own = static_cast<int32_t>(std::lrintf(std::ldexp(own_scale, shift)));
  const auto other = static_cast<int32_t>(std::lrintf(std::ldexp(other_scale, shift)));
  Residual residual;
  residual.own_high = static_cast<int16_t>(own >> 11);
  residual.own_low = static_cast<int16_t>(own & 2047);
  residual.other_high = static_cast<int16_t>(other >> 11);
  residual.other_low = static_cast<int16_t>(other & 2047);
  residual.bias = (1 << (shift - 1)) - own * (own_zero + 128) - other * (other_zero + 128);
  residual.shift = shift;
  residual.zero = static_cast<int16_t>(sum_zero + 128);
  return residual;
}

}  // namespace facesdk::nn
