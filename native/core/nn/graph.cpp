#include "graph.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <tuple>

#include "model.h"
#include "packing.h"

namespace facesdk::nn {
namespace {

bool same_steps(const Tensor& a, const Tensor& b) { return a.scales == b.scales && a.zero == b.zero; }

// Goes over the operators once; each convolution begins a layer, which what follows it is fused into.
class Reader {
 public:
  explicit Reader(const Model& model) : model_(model), tensors_(model.tensors) {
    borders_.resize(tensors_.size());
    padded_.resize(tensors_.size());
    made_.assign(tensors_.size(), false);
  }

  Graph read() {
    want(model_.outputs.size() == 1, "int8 models of several outputs");
    program_.input = model_.input;
    program_.output = model_.outputs[0];
    want(is_image(program_.input), "inputs that are no int8 image");
    made_[program_.input] = true;
    for (const Operation& operation : model_.operations) take(operation);
    want(!program_.layers.empty() && program_.layers.back().target == program_.output && !slopes_,
         "models that end otherwise");
    lay_out();
    return {describe(program_.input), describe(program_.output), std::move(program_)};
  }

 private:
  bool is_image(size_t i) const {
    const Tensor& t = tensors_[i];
    return t.is_image(Type::int8) && t.scales.size() == 1 && t.scales[0] > 0;
  }

  TensorInfo describe(size_t i) const {
    const Tensor& t = tensors_[i];
    return {t.name, ElementType::int8, t.shape, t.scales[0], t.zero};
  }

  void take(const Operation& op) {
    want(is_image(op.target) && !made_[op.target], "results that are no int8 image");
    made_[op.target] = true;
    if (op.kind == kConvolution || op.kind == kDepthwise) return convolve(op);
    want(op.sources.size() == 2, "operators of this kind");
    const size_t first = op.sources[0], second = op.sources[1];
    if (op.kind == kReshape) return reshape(first, second, op.target);
    if (op.kind == kPad) return pad(first, second, op.target);
    if (op.kind == kMaximum) return take_maximum(first, second, op.target);
    if (op.kind != kMultiply && op.kind != kAdd) refuse("operator " + std::to_string(op.kind));
    want(op.options().scalar<int8_t>(0, 0) == 0, "activation within sums and products");
    if (op.kind == kMultiply) return multiply(first, second, op.target);
    add(first, second, op.target);
  }

  void convolve(const Operation& op) {
    want(op.sources.size() == 3, "convolutions without a bias");
    const Table options = op.options();
    const Tensor &weights = tensors_[op.sources[1]], &bias = tensors_[op.sources[2]], &out = tensors_[op.target];
    Layer layer;
    layer.depthwise = op.kind == kDepthwise;
    layer.target = op.target;
    const auto& [source, before] = source_of(op.sources[0]);
    const Tensor& in = tensors_[source];
    layer.source = source;
    want(weights.type == Type::int8 && weights.shape.size() == 4 && weights.data.size() == weights.elements() &&
             weights.axis == (layer.depthwise ? 3 : 0) && (packed_ += weights.data.size()) <= kMostBytes,
         "weights of this kind");
    layer.kernel_height = weights.shape[1];
    layer.kernel_width = weights.shape[2];
    layer.stride_y = layer.stride_x = options.scalar<int32_t>(1, 1);
    want(1 <= layer.stride_y && layer.stride_y <= 2 && options.scalar<int32_t>(2, 1) == layer.stride_y, "such strides");
    const int more = layer.depthwise ? 4 : 3;  // slots of what a depth multiplier comes before
    want(!layer.depthwise || options.scalar<int32_t>(3, 1) == 1, "depth multipliers");
    want(options.scalar<int8_t>(more, 0) == 0, "activation within a convolution");
    want(options.scalar<int32_t>(more + 1, 1) == 1 && options.scalar<int32_t>(more + 2, 1) == 1, "dilation");
    const int inputs = in.shape[3], outputs = out.shape[3];
    want(layer.depthwise ? weights.shape[0] == 1 && weights.shape[3] == inputs && inputs == outputs
                         : weights.shape[0] == outputs && weights.shape[3] == inputs, "such channels");
    const bool same = options.scalar<int8_t>(0, 0) == 0;
    borders_[source] = widest(borders_[source], set_padding(layer, in, out, before, same));
    const size_t channels = static_cast<size_t>(outputs);
    want(bias.type == Type::int32 && bias.data.size() == 4 * channels && bias.scales.size() == channels &&
             bias.zero == 0 && weights.scales.size() == channels && weights.zero == 0, "biases of this kind");
    Parameters parameters{weights.data, {}, {}, in.zero, {}};
    for (size_t c = 0; c < channels; ++c) {
      parameters.bias.push_back(nn::read<int32_t>(bias.data, 4 * c));
      parameters.scale.push_back(in.scales[0] * weights.scales[c] / out.scales[0]);
      want(parameters.scale[c] >= 0x1p-32f && parameters.scale[c] < 1, "such scales");
    }
    layer.zero = static_cast<int16_t>(out.zero + 128);
    std::tie(layer.height, layer.width, layer.channels) = std::tuple{out.shape[1], out.shape[2], outputs};
    if (!layer.depthwise && layer.kernel() > 1 && 2 * channels <= kBlock && layer.width % 2 == 0) {
      put_side_by_side(layer, parameters, static_cast<size_t>(inputs));
    }
    pack(layer, parameters, static_cast<size_t>(inputs));
    program_.layers.push_back(std::move(layer));
  }

  // What a tensor is read from: itself, or what was padded to make it.
  std::pair<size_t, Border> source_of(size_t tensor) const {
    const std::pair<size_t, Border> found = padded_[tensor] ? *padded_[tensor] : std::pair{tensor, Border{}};
    want(made_[found.first] && is_image(found.first), "inputs that were not made before");
    return found;
  }

  void pad(size_t source, size_t amounts, size_t target) {
    const Tensor &in = tensors_[source], &out = tensors_[target];
    want(made_[source] && is_image(source) && !padded_[source] && same_steps(in, out), "such padding");
    const Padding padding = padding_of(tensors_[amounts]);
    const Border& b = padding.border;
    want(padding.channels == 0 && out.shape[1] == in.shape[1] + b.top + b.bottom &&
             out.shape[2] == in.shape[2] + b.left + b.right && out.shape[3] == in.shape[3], "such padding");
    padded_[target] = {source, b};
  }

  // The rows of what was just made, cut into other pixels: the same bytes in the same places.
  void reshape(size_t source, size_t shape, size_t target) {
    const Tensor &in = tensors_[source], &out = tensors_[target];
    check_new_shape(tensors_[shape], out);
    want(!program_.layers.empty() && program_.layers.back().target == source && in.readers == 1 && !slopes_ &&
             same_steps(in, out) && in.shape[1] == out.shape[1] && in.elements() == out.elements(), "such new shapes");
    program_.layers.back().target = reshaped_ = target;
  }

  // The layer that has just made this tensor, for this many readers and without anything fused so far.
  Layer& layer_of(size_t tensor, int readers) {
    want(!program_.layers.empty(), "operators before the first convolution");
    Layer& layer = program_.layers.back();
    want(layer.target == tensor && tensor != reshaped_ && tensors_[tensor].readers == readers && !layer.prelu && !layer.residual,
         "such order of operators");
    return layer;
  }

  void multiply(size_t source, size_t slopes, size_t target) {
    const Tensor &in = tensors_[source], &out = tensors_[target], &by = tensors_[slopes];
    const Layer& layer = layer_of(source, 2);
    const size_t channels = static_cast<size_t>(in.shape[3]);
    want(same_steps(in, out) && in.shape == out.shape && out.readers == 1 && by.type == Type::int8 && by.zero == 0 &&
             by.scales.size() == 1 && by.is_by_channel(in.shape[3]) && by.data.size() == channels, "such products");
    const float scale = in.scales[0] * by.scales[0] / out.scales[0];
    want(scale > 0 && scale < 1, "such slopes");
    const std::span values(reinterpret_cast<const int8_t*>(by.data.data()), channels);
    slopes_ = pack_prelu(values, static_cast<size_t>(layer.channels) / channels, scale, in.zero);
    product_ = target;
    multiplied_ = layer.target;
    made_[target] = false;  // nothing computes it by itself
  }

  void take_maximum(size_t first, size_t second, size_t target) {
    if (first == product_) std::swap(first, second);
    want(slopes_ && second == product_ && first == multiplied_, "maximum but that of a PReLU");
    Layer& layer = layer_of(first, 2);
    want(same_steps(tensors_[first], tensors_[target]) && tensors_[first].shape == tensors_[target].shape,
         "such maxima");
    layer.prelu = std::move(slopes_);
    slopes_.reset();
    layer.target = target;
  }

  void add(size_t first, size_t second, size_t target) {
    want(!program_.layers.empty() && first != second, "such sums");
    if (second == program_.layers.back().target) std::swap(first, second);
    Layer& layer = layer_of(first, 1);
    const Tensor &own = tensors_[first], &other = tensors_[second], &sum = tensors_[target];
    want(made_[second] && !padded_[second] && is_image(second) && own.shape == other.shape && own.shape == sum.shape &&
             layer.channels == own.shape[3], "such sums");
    layer.residual = pack_residual(own.scales[0] / sum.scales[0], own.zero, other.scales[0] / sum.scales[0], other.zero,
                                   sum.zero);
    layer.residual->tensor = second;
    layer.target = target;
  }

  void lay_out() {
    Lives lives(tensors_.size());
    lives.use(program_.input, 0);
    for (size_t i = 0; i < program_.layers.size(); ++i) {
      const Layer& layer = program_.layers[i];
      lives.use(layer.source, i + 1);
      if (layer.residual) lives.use(layer.residual->tensor, i + 1);
      lives.use(layer.target, i + 1);
    }
    program_.places.resize(tensors_.size());
    for (size_t step = 0; step <= program_.layers.size(); ++step) {
      const size_t i = step == 0 ? program_.input : program_.layers[step - 1].target;
      const Border& b = borders_[i];
      const auto& shape = tensors_[i].shape;
      program_.places[i] = {shape[1], shape[2], shape[3], b.top, b.left, b.bottom, b.right,
                            static_cast<uint8_t>(tensors_[i].zero + 128), 0};
      const Layer* layer = step == 0 ? nullptr : &program_.layers[step - 1];
      const bool sum = layer != nullptr && layer->residual && layer->residual->tensor != layer->source;
      lives.put(i, step, program_.places, sum ? layer->residual->tensor : kNone);
    }
    program_.arena_bytes = lives.end();
  }

  const Model& model_;
  const std::vector<Tensor>& tensors_;
  std::vector<Border> borders_;                                    // by tensor
  std::vector<std::optional<std::pair<size_t, Border>>> padded_;  // by tensor
  std::vector<bool> made_;                                         // by tensor
  std::optional<Prelu> slopes_;                                    // of a product whose maximum comes next
  size_t product_ = 0, multiplied_ = 0, packed_ = 0, reshaped_ = kNone;
  Program program_;
};

}  // namespace

Graph read_graph(const Model& model) { return Reader(model).read(); }

}  // namespace facesdk::nn
