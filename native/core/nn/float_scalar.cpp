// The definition of a float layer. Products are added in the order of XNNPACK's kernels with fused multiply-add, so that
// the bits are LiteRT's too where it has them.
#include <algorithm>
#include <cmath>

#include "float_graph.h"

namespace facesdk::nn {
namespace {

float convolved(const FloatLayer& layer, const Place& source, const float* in, size_t channel) {
  const Group group = block_with(channel, layer.bias.size());
  size_t at = group.first * layer.count() + (channel - group.first);
  const size_t run = static_cast<size_t>(layer.kernel_width * layer.inputs);
  float sum = layer.bias[channel];
  for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky) {
    for (size_t i = 0; i < run; ++i, at += group.size) {
      const float weight = layer.halves.empty() ? layer.weights[at] : of_half(layer.halves[at]);
      sum = std::fma(in[ky * source.row() + i], weight, sum);
    }
  }
  return sum;
}

float depthwise(const FloatLayer& layer, const Place& source, const float* in, size_t channel) {
  const Group group = vector_group(channel, layer.bias.size());
  const float* weights = layer.weights.data() + group.first * layer.count() + (channel - group.first);
  float sum = layer.bias[channel];
  for (size_t kx = 0; kx < static_cast<size_t>(layer.kernel_width); ++kx) {
    for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky, weights += group.size) {
      sum = std::fma(in[ky * source.row() + kx * static_cast<size_t>(source.channels) + channel], *weights, sum);
    }
  }
  return sum;
}

float greatest(const Place& source, const float* in, size_t channel) {
  const size_t next = static_cast<size_t>(source.channels), row = source.row();
  const auto greater = [](float a, float b) { return a > b ? a : b; };
  return greater(greater(in[channel], in[next + channel]), greater(in[row + channel], in[row + next + channel]));
}

}  // namespace

void run_float_scalar(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept {
  const Place &source = program.places[layer.source], &target = program.places[layer.target];
  const Place* other = layer.other == kNone ? nullptr : &program.places[layer.other];
  const size_t channels = static_cast<size_t>(target.channels);
  for (int y = part.begin(target.height); y < part.end(target.height); ++y) {
    for (int x = 0; x < target.width; ++x) {
      const ptrdiff_t row = y * layer.stride_y - layer.pad_top, column = x * layer.stride_x - layer.pad_left;
      const float* in = arena + static_cast<ptrdiff_t>(source.at()) + row * static_cast<ptrdiff_t>(source.row()) +
                        column * source.channels;
      const auto pixel = [&](const Place& place) {
        return arena + place.at() + static_cast<size_t>(y) * place.row() + static_cast<size_t>(x * place.channels);
      };
      for (size_t c = 0; c < channels; ++c) {
        float value = layer.kind == FloatKind::convolution ? convolved(layer, source, in, c)
                      : layer.kind == FloatKind::depthwise ? depthwise(layer, source, in, c)
                                                           : greatest(source, in, c);
        // 0 where it has no such channel: -0 becomes 0.
        if (other != nullptr) value += c < static_cast<size_t>(other->channels) ? pixel(*other)[c] : 0.f;
        if (layer.bend != Bend::none && value < 0) value = layer.bend == Bend::relu ? 0 : value * layer.slopes[c];
        pixel(target)[c] = value;
      }
    }
  }
}

}  // namespace facesdk::nn
