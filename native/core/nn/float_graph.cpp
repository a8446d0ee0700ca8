#include "float_graph.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

namespace facesdk::nn {
namespace {

constexpr size_t kMostParts = 64;  // of an output

class Reader {
 public:
  explicit Reader(const Model& model) : model_(model), tensors_(model.tensors) {
    borders_.resize(tensors_.size());
    constants_.resize(tensors_.size());
    halves_.resize(tensors_.size());
    same_as_.assign(tensors_.size(), kNone);
    parts_.resize(tensors_.size());
    maker_.assign(tensors_.size(), kNone);
    made_.assign(tensors_.size(), false);
  }

  FloatGraph read() {
    want(tensors_[model_.input].is_image(Type::float32), "inputs that are no float image");
    made_[model_.input] = true;
    program_.input = model_.input;
    for (const Operation& operation : model_.operations) take(operation);
    FloatGraph graph;
    graph.input = describe(model_.input);
    for (const size_t output : model_.outputs) {
      graph.outputs.push_back(describe(output));
      program_.outputs.push_back(parts_of(output));
      size_t elements = 0;
      for (const size_t part : program_.outputs.back()) {
        want(made_[part], "outputs that nothing makes");
        elements += tensors_[part].elements();
      }
      want(elements == tensors_[output].elements(), "outputs of this kind");
    }
    lay_out();
    graph.program = std::move(program_);
    return graph;
  }

 private:
  TensorInfo describe(size_t i) const { return {tensors_[i].name, ElementType::float32, tensors_[i].shape, 0, 0}; }

  void take(const Operation& op) {
    switch (op.kind) {
      case kDequantize: return dequantize(op);
      case kConvolution: case kDepthwise: return convolve(op);
      case kMaxPool: return pool(op);
      case kAdd: return add(op);
      case kPad: return pad(op);
      case kRelu: return relu(op);
      case kPrelu: return prelu(op);
      case kReshape: case kConcatenation: return join(op);
      default: refuse("operator " + std::to_string(op.kind));
    }
  }

  void dequantize(const Operation& op) {
    const Tensor &half = tensors_[op.sources[0]], &whole = tensors_[op.target];
    const size_t count = half.elements();
    want((constant_bytes_ += 4 * count) <= kMostBytes, "so many constants");
    want(half.type == Type::float16 && half.data.size() == 2 * count && whole.type == Type::float32 &&
             whole.shape == half.shape, "constants of this kind");
    halves_[op.target] = half.data;
  }

  // The numbers of a tensor that nothing computes. What one operator alone reads is let go of by `forget`.
  const std::vector<float>& constant(size_t i) {
    const Tensor& tensor = tensors_[i];
    std::vector<float>& values = constants_[i];
    if (!values.empty()) return values;
    if (const std::string_view half = halves_[i]; !half.empty()) {
      values.resize(half.size() / 2);
      for (size_t k = 0; k < values.size(); ++k) values[k] = of_half(nn::read<uint16_t>(half, 2 * k));
      return values;
    }
    want(tensor.type == Type::float32 && !tensor.data.empty() && tensor.data.size() == 4 * tensor.elements(),
         "weights that are not constant");
    want((constant_bytes_ += tensor.data.size()) <= kMostBytes, "so many constants");
    values.resize(tensor.elements());
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
    return values;
  }

  void forget(size_t i) {
    if (tensors_[i].readers == 1) constants_[i] = {};
  }

  // What was made before and can be read, or filled up with channels of zeros to make this.
  size_t image(size_t i) const {
    const size_t source = same_as_[i] == kNone ? i : same_as_[i];
    want(made_[source] && tensors_[source].is_image(Type::float32), "inputs that were not made before");
    return source;
  }

  FloatLayer& begin(FloatKind kind, size_t source, size_t target) {
    want(tensors_[target].is_image(Type::float32) && !made_[target], "results that are no float image");
    FloatLayer layer;
    layer.kind = kind;
    layer.source = source;
    layer.target = target;
    made_[target] = true;
    maker_[target] = program_.layers.size();
    program_.layers.push_back(std::move(layer));
    return program_.layers.back();
  }

  void set_strides(FloatLayer& layer, const Table& options) {
    layer.stride_y = layer.stride_x = options.scalar<int32_t>(1, 1);
    want(1 <= layer.stride_y && layer.stride_y <= 4 && options.scalar<int32_t>(2, 1) == layer.stride_y, "such strides");
  }

  void convolve(const Operation& op) {
    want(op.sources.size() == 3, "convolutions without a bias");
    const bool depthwise = op.kind == kDepthwise;
    const size_t source = op.sources[0];
    want(image(source) == source, "convolutions of padded images");
    const Tensor &in = tensors_[source], &out = tensors_[op.target], &weights = tensors_[op.sources[1]];
    const std::vector<float>& bias = constant(op.sources[2]);
    FloatLayer& layer = begin(depthwise ? FloatKind::depthwise : FloatKind::convolution, source, op.target);
    const Table options = op.options();
    set_strides(layer, options);
    const int more = depthwise ? 4 : 3;
    want(!depthwise || options.scalar<int32_t>(3, 1) == 1, "depth multipliers");
    want(options.scalar<int8_t>(more, 0) == 0, "activation within a convolution");
    want(options.scalar<int32_t>(more + 1, 1) == 1 && options.scalar<int32_t>(more + 2, 1) == 1, "dilation");
    want(weights.shape.size() == 4 && (packed_bytes_ += 4 * weights.elements()) <= kMostBytes, "weights of this kind");
    layer.kernel_height = weights.shape[1];
    layer.kernel_width = weights.shape[2];
    const int inputs = in.shape[3], outputs = out.shape[3];
    want(bias.size() == static_cast<size_t>(outputs), "biases of this kind");
    want(depthwise ? weights.shape[0] == 1 && weights.shape[3] == inputs && inputs == outputs
                   : weights.shape[0] == outputs && weights.shape[3] == inputs, "such channels");
    pad_for(layer, in, out, options);
    const bool first = source == model_.input;  // not filled up
    layer.inputs = depthwise ? 1 : layer.kernel() == 1 || first ? inputs : filled_up(inputs);
    want(!depthwise || !first, "depthwise convolutions of the input");
    want(depthwise || inputs > 1 || layer.kernel() == 1, "convolutions of one channel, which XNNPACK adds as depthwise ones");
    want(!depthwise || layer.kernel() <= 25, "depthwise kernels that XNNPACK adds in several passes");
    layer.bias.assign(static_cast<size_t>(filled_up(outputs)), 0);
    std::ranges::copy(bias, layer.bias.begin());
    const size_t from = op.sources[1], channels = static_cast<size_t>(outputs), read = static_cast<size_t>(inputs);
    if (depthwise) {
      pack_depthwise(layer, constant(from), channels);
    } else if (const std::string_view half = halves_[from]; !half.empty()) {
      pack_convolution(layer, layer.halves, channels, read, [&](size_t i) { return nn::read<uint16_t>(half, 2 * i); });
    } else {
      const std::vector<float>& whole = constant(from);
      pack_convolution(layer, layer.weights, channels, read, [&](size_t i) { return whole[i]; });
    }
    forget(from);
  }

  void pad_for(FloatLayer& layer, const Tensor& in, const Tensor& out, const Table& options) {
    const bool same = options.scalar<int8_t>(0, 0) == 0;
    borders_[layer.source] = widest(borders_[layer.source], set_padding(layer, in, out, {}, same));
  }

  static void pack_depthwise(FloatLayer& layer, const std::vector<float>& weights, size_t channels) {
    const size_t kernel = layer.count(), columns = static_cast<size_t>(layer.kernel_width);
    const size_t rows = static_cast<size_t>(layer.kernel_height), filled = layer.bias.size();
    layer.weights.assign(kernel * filled, 0);
    for (size_t c = 0; c < channels; ++c) {
      const Group group = vector_group(c, filled);
      float* to = layer.weights.data() + group.first * kernel + (c - group.first);
      for (size_t tap = 0; tap < kernel; ++tap) {
        to[(tap % columns * rows + tap / columns) * group.size] = weights[tap * channels + c];
      }
    }
  }

  // weight(i): the model's i-th, of (channels, kernel, inputs).
  template <typename Number, typename Weight>
  static void pack_convolution(const FloatLayer& layer, AlignedVector<Number>& packed, size_t channels, size_t inputs,
                               Weight weight) {
    const size_t kernel = static_cast<size_t>(layer.kernel()), filled = layer.bias.size();
    packed.assign(layer.count() * filled, 0);
    for (size_t c = 0; c < channels; ++c) {
      const Group group = block_with(c, filled);
      Number* to = packed.data() + group.first * layer.count() + (c - group.first);
      for (size_t tap = 0; tap < kernel; ++tap) {
        for (size_t i = 0; i < inputs; ++i) {
          to[(tap * static_cast<size_t>(layer.inputs) + i) * group.size] = weight((c * kernel + tap) * inputs + i);
        }
      }
    }
  }

  void pool(const Operation& op) {
    const size_t source = image(op.sources[0]);
    want(source == op.sources[0] && source != model_.input, "pools of padded images");
    const Tensor &in = tensors_[source], &out = tensors_[op.target];
    FloatLayer& layer = begin(FloatKind::max_pool, source, op.target);
    const Table options = op.options();
    set_strides(layer, options);
    layer.kernel_width = options.scalar<int32_t>(3, 0);
    layer.kernel_height = options.scalar<int32_t>(4, 0);
    want(layer.kernel_width == 2 && layer.kernel_height == 2 && options.scalar<int8_t>(5, 0) == 0, "such pools");
    want(in.shape[3] == out.shape[3] && in.shape[1] % 2 == 0 && in.shape[2] % 2 == 0 && layer.stride_y == 2, "such pools");
    pad_for(layer, in, out, options);
  }

  void pad(const Operation& op) {
    want(op.sources.size() == 2, "such padding");
    const size_t source = image(op.sources[0]);
    const Padding padding = padding_of(tensors_[op.sources[1]]);
    const Border& b = padding.border;
    const Tensor &in = tensors_[source], &out = tensors_[op.target];
    want(source == op.sources[0] && b.top + b.left + b.bottom + b.right == 0 && !made_[op.target] &&
             out.shape == std::vector<int>{1, in.shape[1], in.shape[2], in.shape[3] + padding.channels} &&
             out.is_image(Type::float32), "padding of this kind");
    same_as_[op.target] = source;
  }

  // The layer that made this tensor for one reader, which is fused into it.
  FloatLayer& layer_of(size_t tensor) {
    want(maker_[tensor] != kNone && tensors_[tensor].readers == 1, "such order of operators");
    FloatLayer& layer = program_.layers[maker_[tensor]];
    want(layer.target == tensor && layer.bend == Bend::none && layer.kind != FloatKind::max_pool, "such order of operators");
    return layer;
  }

  void rename(FloatLayer& layer, size_t target) {
    want(tensors_[target].is_image(Type::float32) && !made_[target] && tensors_[target].shape == tensors_[layer.target].shape,
         "results of this kind");
    maker_[target] = maker_[layer.target];
    made_[layer.target] = false;
    made_[target] = true;
    layer.target = target;
  }

  void add(const Operation& op) {
    want(op.sources.size() == 2 && op.options().scalar<int8_t>(0, 0) == 0, "such sums");
    size_t own = op.sources[1], other = op.sources[0];
    // The one of the two that only this sum reads, and that was made later.
    const auto fits = [&](size_t i) {
      return maker_[i] != kNone && same_as_[i] == kNone && tensors_[i].readers == 1 &&
             program_.layers[maker_[i]].kind == FloatKind::convolution && program_.layers[maker_[i]].other == kNone &&
             program_.layers[maker_[i]].bend == Bend::none && program_.layers[maker_[i]].target == i;
    };
    if (!fits(own)) std::swap(own, other);
    want(fits(own) && own != other, "such sums");
    const size_t source = image(other);
    const Tensor &a = tensors_[own], &b = tensors_[source], &sum = tensors_[op.target];
    want(tensors_[other].shape == a.shape && a.shape == sum.shape && b.shape[3] <= a.shape[3] && source != model_.input,
         "such sums");
    bring_before(source, own);
    FloatLayer& layer = layer_of(own);
    layer.other = source;
    rename(layer, op.target);
  }

  // Moves the layer that makes `early` to before the one that makes `late`, where it stands behind it. A pool may: what
  // it reads must be there.
  void bring_before(size_t early, size_t late) {
    if (maker_[early] == kNone || maker_[early] < maker_[late]) return;
    const size_t from = maker_[early], to = maker_[late];
    const size_t needs = maker_[program_.layers[from].source];
    want(program_.layers[from].other == kNone && (needs == kNone || needs < to), "such order of sums");
    std::rotate(program_.layers.begin() + static_cast<ptrdiff_t>(to), program_.layers.begin() + static_cast<ptrdiff_t>(from),
                program_.layers.begin() + static_cast<ptrdiff_t>(from) + 1);
    for (size_t i = to; i <= from; ++i) maker_[program_.layers[i].target] = i;
  }

  void relu(const Operation& op) { bend(op, Bend::relu); }

  void prelu(const Operation& op) {
    want(op.sources.size() == 2, "such activations");
    const Tensor& slopes = tensors_[op.sources[1]];
    want(slopes.is_by_channel(tensors_[op.target].shape.back()), "slopes of this kind");
    const std::vector<float>& values = constant(op.sources[1]);
    FloatLayer& layer = bend(op, Bend::prelu);
    layer.slopes.assign(layer.bias.size(), 0);
    std::ranges::copy(values, layer.slopes.begin());
  }

  FloatLayer& bend(const Operation& op, Bend how) {
    FloatLayer& layer = layer_of(op.sources[0]);
    rename(layer, op.target);
    layer.bend = how;
    return layer;
  }

  std::vector<size_t> parts_of(size_t i) const { return parts_[i].empty() ? std::vector{i} : parts_[i]; }

  // RESHAPE, and CONCATENATION along the first side that is not 1: the same numbers in the same order, for outputs alone.
  void join(const Operation& op) {
    const bool several = op.kind == kConcatenation;
    const Tensor& out = tensors_[op.target];
    want(out.type == Type::float32 && out.shape[0] == 1 && (!several || op.options().scalar<int32_t>(0, 0) == 1),
         "joins of this kind");
    if (op.kind == kReshape && op.sources.size() == 2) check_new_shape(tensors_[op.sources[1]], out);
    std::vector<size_t> parts;
    for (size_t i = 0; i < (several ? op.sources.size() : 1); ++i) {
      want(tensors_[op.sources[i]].shape[0] == 1, "joins of this kind");
      for (const size_t part : parts_of(op.sources[i])) parts.push_back(part);
      want(parts.size() <= kMostParts, "joins of so many");
    }
    parts_[op.target] = std::move(parts);
  }

  void lay_out() {
    Lives lives(tensors_.size());
    const size_t steps = program_.layers.size();
    lives.use(program_.input, 0);
    for (size_t i = 0; i < steps; ++i) {
      const FloatLayer& layer = program_.layers[i];
      lives.use(layer.source, i + 1);
      if (layer.other != kNone) lives.use(layer.other, i + 1);
      lives.use(layer.target, i + 1);
    }
    for (const auto& parts : program_.outputs) {
      for (const size_t part : parts) lives.use(part, steps + 1);
    }
    program_.places.resize(tensors_.size());
    program_.channels.resize(tensors_.size());
    for (size_t step = 0; step <= steps; ++step) {
      const size_t i = step == 0 ? program_.input : program_.layers[step - 1].target;
      const Border& b = borders_[i];
      const auto& shape = tensors_[i].shape;
      program_.channels[i] = shape[3];
      const int channels = i == program_.input ? shape[3] : filled_up(shape[3]);
      program_.places[i] = {shape[1], shape[2], channels, b.top, b.left, b.bottom, b.right, 0, 0};
      const FloatLayer* layer = step == 0 ? nullptr : &program_.layers[step - 1];
      lives.put(i, step, program_.places, layer == nullptr || layer->other == layer->source ? kNone : layer->other);
    }
    program_.arena_floats = lives.end();
  }

  const Model& model_;
  const std::vector<Tensor>& tensors_;
  std::vector<Border> borders_;                 // the rest by tensor
  std::vector<std::vector<float>> constants_;   // their values, once they were asked for
  std::vector<std::string_view> halves_;        // of constants, their values in 16 bits
  std::vector<size_t> same_as_;                 // what was filled up with channels to make it
  std::vector<std::vector<size_t>> parts_;      // what was joined to make it
  std::vector<size_t> maker_;                   // the layer
  std::vector<bool> made_;
  size_t constant_bytes_ = 0, packed_bytes_ = 0;
  FloatProgram program_;
};

}  // namespace

FloatGraph read_float_graph(const Model& model) { return Reader(model).read(); }

}  // namespace facesdk::nn
