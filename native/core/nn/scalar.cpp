// The definition of a layer, which every variant follows to the bit.
#include <algorithm>
#include <cmath>

#include "layer.h"

namespace facesdk::nn {
namespace {

// The int32 sum of one channel at (y, x) of the output, modulo 2^32.
uint32_t sum_of(const Layer& layer, const Place& source, const uint8_t* in, int y, int x, size_t channel) {
  const size_t channels = static_cast<size_t>(source.channels), columns = static_cast<size_t>(layer.kernel_width);
  const size_t rows = static_cast<size_t>(layer.kernel_height);
  const size_t block = channel / kBlock, place = slot32(channel % kBlock);
  uint32_t sum = static_cast<uint32_t>(layer.bias[slot32(channel)]);
  for (size_t ky = 0; ky < rows; ++ky) {
    const ptrdiff_t row = static_cast<ptrdiff_t>(source.row()) * (y * layer.stride_y - layer.pad_top + static_cast<int>(ky));
    const ptrdiff_t column = static_cast<ptrdiff_t>(channels) * (x * layer.stride_x - layer.pad_left);
    const uint8_t* pixels = in + row + column;
    if (layer.depthwise) {
      for (size_t kx = 0; kx < columns; ++kx) {
        const size_t vectors = ((block * ((rows + 3) / 4) + ky / 4) * columns + kx) * kBlock + place;
        const int weight = layer.weights[4 * vectors + ky % 4];
        sum += static_cast<uint32_t>(weight * pixels[kx * channels + channel]);
      }
      continue;
    }
    const size_t groups = (rows * columns * channels + 3) / 4;
    for (size_t i = 0; i < columns * channels; ++i) {
      const size_t k = ky * columns * channels + i;
      const int weight = layer.weights[((block * groups + k / 4) * kBlock + place) * 4 + k % 4];
      sum += static_cast<uint32_t>(weight * pixels[i]);
    }
  }
  return sum;
}

// The output's byte from a sum; `other` is the residual's.
uint8_t finished(const Layer& layer, uint32_t sum, size_t channel, uint8_t other) {
  const float steps = static_cast<float>(static_cast<int32_t>(sum)) * layer.scale[slot32(channel)];
  int value = std::clamp(static_cast<int>(std::nearbyint(steps)), -int{layer.zero}, 255 - layer.zero);
  if (layer.prelu) value = std::max(value, (value * layer.prelu->slopes[slot16(channel)] + (1 << 14)) >> 15);
  value = std::clamp(value + layer.zero, 0, 255);
  if (!layer.residual) return static_cast<uint8_t>(value);
  const Residual& r = *layer.residual;
  const int high = value * r.own_high + other * r.other_high, low = value * r.own_low + other * r.other_low;
  return static_cast<uint8_t>(std::clamp(((high * 2048 + low + r.bias) >> r.shift) + r.zero, 0, 255));
}

void run(const Program& program, const Layer& layer, uint8_t* arena, uint8_t*, Part part) noexcept {
  const Place &source = program.places[layer.source], &target = program.places[layer.target];
  for (int y = part.begin(layer.height); y < part.end(layer.height); ++y) {
    for (int x = 0; x < layer.width; ++x) {
      for (int c = 0; c < layer.channels; ++c) {
        const auto at = [&](const Place& place) {
          return arena + place.at() + static_cast<size_t>(y) * place.row() + static_cast<size_t>(x * layer.channels + c);
        };
        const size_t channel = static_cast<size_t>(c);
        const uint8_t other = layer.residual ? *at(program.places[layer.residual->tensor]) : uint8_t{0};
        *at(target) = finished(layer, sum_of(layer, source, arena + source.at(), y, x, channel), channel, other);
      }
    }
  }
}

bool always() { return true; }

}  // namespace

const Variant kScalar = {"scalar", always, run, run_float_scalar};

}  // namespace facesdk::nn
