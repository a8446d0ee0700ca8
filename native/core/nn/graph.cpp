#include "graph.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <tuple>

#include "flatbuffer.h"
#include "packing.h"

namespace facesdk::nn {
namespace {

// Numbers of tensorflow/lite/schema/schema.fbs, version 3.
enum Operator { kAdd = 0, kConvolution = 3, kDepthwise = 4, kMultiply = 18, kPad = 34, kMaximum = 55 };
enum ModelSlot { kCodes = 1, kSubgraphs = 2, kBuffers = 4 };
enum GraphSlot { kTensors = 0, kInputs = 1, kOutputs = 2, kOperators = 3 };
enum TensorSlot { kShape = 0, kType = 1, kBuffer = 2, kName = 3, kQuantization = 4 };
enum QuantizationSlot { kScales = 2, kZeros = 3 };
enum OperatorSlot { kCode = 0, kReads = 1, kWrites = 2, kOptions = 4 };
constexpr int8_t kFloat32 = 0, kInt32 = 2, kInt8 = 9, kSame = 0;
constexpr int kLargestSide = 4096;
constexpr size_t kMostTensors = 4096, kMostElements = size_t{1} << 26;

[[noreturn]] void refuse(const std::string& what) { throw RuntimeFailure("the native executor has no " + what); }

void want(bool fact, const std::string& what) {
  if (!fact) refuse(what);
}

struct Tensor {
  std::string name;
  std::vector<int> shape;
  int8_t type = 0;
  std::vector<float> scales;
  int zero = 0;
  std::string_view data;  // of a constant
  int readers = 0;

  bool is_image() const {
    const auto fits = [](int side) { return 1 <= side && side <= kLargestSide; };
    return type == kInt8 && data.empty() && shape.size() == 4 && shape[0] == 1 && fits(shape[1]) && fits(shape[2]) &&
           fits(shape[3]) && elements() <= kMostElements && scales.size() == 1 && scales[0] > 0 && -128 <= zero && zero <= 127;
  }
  size_t elements() const {
    size_t count = 1;
    for (const int side : shape) count *= static_cast<size_t>(side);
    return count;
  }
};

// Rows and columns before and after.
struct Border {
  int top = 0, left = 0, bottom = 0, right = 0;
};

Tensor read_tensor(const Table& model, const Table& table) {
  Tensor tensor;
  tensor.name = table.text(kName);
  tensor.type = table.scalar<int8_t>(kType, kFloat32);
  const Vector shape = table.vector(kShape);
  want(shape.count <= 4, "tensors of more than four dimensions");
  for (size_t i = 0; i < shape.count; ++i) {
    const int side = shape.get<int32_t>(i);
    want(side > 0 && side <= 1 << 20, "tensors without a fixed shape");
    tensor.shape.push_back(side);
  }
  if (table.has(kQuantization)) {
    const Table quantization = table.table(kQuantization);
    const Vector scales = quantization.vector(kScales), zeros = quantization.vector(kZeros);
    for (size_t i = 0; i < scales.count; ++i) tensor.scales.push_back(scales.get<float>(i));
    for (size_t i = 0; i < zeros.count; ++i) {
      const auto zero = zeros.get<int64_t>(i);
      want(-128 <= zero && zero <= 127 && (zeros.count == 1 || zero == 0), "zero points of channels");
      tensor.zero = static_cast<int>(zero);
    }
  }
  const Table buffer = model.table(kBuffers, table.scalar<uint32_t>(kBuffer, 0));
  tensor.data = buffer.vector(0).data(1);
  return tensor;
}

// Walks the operators once; each convolution begins a layer, which what follows it is fused into.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : model_(bytes), graph_(model_.table(kSubgraphs, 0)) {
    want(model_.vector(kSubgraphs).count == 1, "models of several subgraphs");
    const size_t count = graph_.vector(kTensors).count;
    want(count <= kMostTensors, "models of so many tensors");
    for (size_t i = 0; i < count; ++i) tensors_.push_back(read_tensor(model_, graph_.table(kTensors, i)));
    borders_.resize(count);
    padded_.resize(count);
    made_.assign(count, false);
  }

  Graph read() {
    const Vector inputs = graph_.vector(kInputs), outputs = graph_.vector(kOutputs);
    want(inputs.count == 1 && outputs.count == 1, "models of several inputs or outputs");
    program_.input = index(inputs.get<int32_t>(0));
    program_.output = index(outputs.get<int32_t>(0));
    made_[program_.input] = true;
    const size_t operators = graph_.vector(kOperators).count;
    for (size_t i = 0; i < operators; ++i) {
      const Vector reads = graph_.table(kOperators, i).vector(kReads);
      for (size_t j = 0; j < reads.count; ++j) ++tensors_[index(reads.get<int32_t>(j))].readers;
    }
    ++tensors_[program_.output].readers;
    for (size_t i = 0; i < operators; ++i) take(graph_.table(kOperators, i));
    want(!program_.layers.empty() && program_.layers.back().target == program_.output, "models that end otherwise");
    lay_out();
    return {describe(program_.input), describe(program_.output), std::move(program_)};
  }

 private:
  size_t index(int32_t i) const {
    want(i >= 0 && static_cast<size_t>(i) < tensors_.size(), "optional tensors");
    return static_cast<size_t>(i);
  }

  TensorInfo describe(size_t i) const {
    const Tensor& t = tensors_[i];
    return {t.name, ElementType::int8, t.shape, t.scales[0], t.zero};
  }

  void take(const Table& op) {
    const Table code = model_.table(kCodes, op.scalar<uint32_t>(kCode, 0));
    const int kind = std::max<int>(code.scalar<int8_t>(0, 0), code.scalar<int32_t>(3, 0));
    const Vector reads = op.vector(kReads), writes = op.vector(kWrites);
    want(writes.count == 1, "operators of several outputs");
    std::vector<size_t> sources;
    for (size_t i = 0; i < reads.count; ++i) sources.push_back(index(reads.get<int32_t>(i)));
    const size_t target = index(writes.get<int32_t>(0));
    want(tensors_[target].is_image() && !made_[target], "results that are no int8 image");
    made_[target] = true;
    if (kind == kConvolution || kind == kDepthwise) {
      want(sources.size() == 3, "convolutions without a bias");
      convolve(op.table(kOptions), kind == kDepthwise, sources, target);
      return;
    }
    want(sources.size() == 2, "operator " + std::to_string(kind) + " of so many inputs");
    const size_t first = sources[0], second = sources[1];
    if (kind == kPad) return pad(first, second, target);
    if (kind == kMaximum) return take_maximum(first, second, target);
    want(kind == kMultiply || kind == kAdd, "operator " + std::to_string(kind));
    want(op.table(kOptions).scalar<int8_t>(0, 0) == 0, "activation within operator " + std::to_string(kind));
    if (kind == kMultiply) return multiply(first, second, target);
    add(first, second, target);
  }

  void convolve(const Table& options, bool depthwise, const std::vector<size_t>& sources, size_t target) {
    const Tensor &weights = tensors_[sources[1]], &bias = tensors_[sources[2]], &out = tensors_[target];
    Layer layer;
    layer.depthwise = depthwise;
    layer.target = target;
    const auto& [source, before] = source_of(sources[0]);
    const Tensor& in = tensors_[source];
    layer.source = source;
    want(weights.type == kInt8 && weights.shape.size() == 4 && weights.data.size() == weights.elements(), "such weights");
    layer.kernel_height = weights.shape[1];
    layer.kernel_width = weights.shape[2];
    layer.stride_y = layer.stride_x = options.scalar<int32_t>(1, 1);
    want(1 <= layer.stride_y && layer.stride_y <= 2 && options.scalar<int32_t>(2, 1) == layer.stride_y, "such strides");
    const int after_stride = depthwise ? 4 : 3;
    want(!depthwise || options.scalar<int32_t>(3, 1) == 1, "depth multipliers");
    want(options.scalar<int8_t>(after_stride, 0) == 0, "activation within a convolution");
    want(options.scalar<int32_t>(after_stride + 1, 1) == 1 && options.scalar<int32_t>(after_stride + 2, 1) == 1,
         "dilation");
    const int in_channels = in.shape[3], out_channels = out.shape[3];
    const size_t channels = static_cast<size_t>(out_channels);
    want(depthwise ? weights.shape[0] == 1 && weights.shape[3] == in_channels && in_channels == out_channels
                   : weights.shape[0] == out_channels && weights.shape[3] == in_channels, "such channels");
    const bool same = options.scalar<int8_t>(0, kSame) == kSame;
    place(layer, in.shape, out.shape, before, same);
    want(bias.type == kInt32 && bias.data.size() == 4 * channels && weights.scales.size() == channels, "such biases");
    Parameters parameters{weights.data, {}, {}, in.zero, {}};
    for (size_t c = 0; c < channels; ++c) {
      parameters.bias.push_back(nn::read<int32_t>(bias.data, 4 * c));
      parameters.scale.push_back(in.scales[0] * weights.scales[c] / out.scales[0]);
      want(parameters.scale[c] >= 0x1p-32f && parameters.scale[c] < 1, "such scales");
    }
    layer.zero = static_cast<int16_t>(out.zero + 128);
    std::tie(layer.height, layer.width, layer.channels) = std::tuple{out.shape[1], out.shape[2], out_channels};
    if (!depthwise && layer.kernel() > 1 && 2 * channels <= kBlock && layer.width % 2 == 0) {
      put_side_by_side(layer, parameters, static_cast<size_t>(in_channels));
    }
    pack(layer, parameters, static_cast<size_t>(in_channels));
    program_.layers.push_back(std::move(layer));
  }

  // The padding of both axes, and the border that the source needs for it.
  void place(Layer& layer, const std::vector<int>& in, const std::vector<int>& out, const Border& before, bool same) {
    const auto axis = [&](int side, int result, int kernel, int first, int last) {
      int pad = first;
      if (same) {
        want(first == 0 && last == 0 && result == (side + layer.stride_y - 1) / layer.stride_y, "such padding");
        pad = std::max((result - 1) * layer.stride_y + kernel - side, 0) / 2;
      }
      const int needed = (result - 1) * layer.stride_y + kernel - pad - side;  // at the end
      want(same || (side + first + last - kernel) / layer.stride_y + 1 == result, "such output sizes");
      want(kernel <= side + pad + std::max(needed, 0), "kernels larger than their input");
      return std::pair{pad, std::max(needed, 0)};
    };
    const auto [top, bottom] = axis(in[1], out[1], layer.kernel_height, before.top, before.bottom);
    const auto [left, right] = axis(in[2], out[2], layer.kernel_width, before.left, before.right);
    layer.pad_top = top;
    layer.pad_left = left;
    Border& border = borders_[layer.source];
    border = {std::max(border.top, top), std::max(border.left, left), std::max(border.bottom, bottom),
              std::max(border.right, right)};
  }

  // What a tensor is read from: itself, or what was padded to make it.
  std::pair<size_t, Border> source_of(size_t tensor) const {
    const bool padded = padded_[tensor].has_value();
    const std::pair<size_t, Border> found = padded ? *padded_[tensor] : std::pair{tensor, Border{}};
    want(made_[found.first] && tensors_[found.first].is_image(), "inputs that were not made before");
    return found;
  }

  void pad(size_t source, size_t amounts, size_t target) {
    const Tensor &by = tensors_[amounts], &in = tensors_[source], &out = tensors_[target];
    want(made_[source] && in.is_image() && !padded_[source] && same_steps(in, out), "such padding");
    want(by.type == kInt32 && by.data.size() == 32, "padding that is not constant");
    std::array<int32_t, 8> n;
    for (size_t i = 0; i < 8; ++i) n[i] = nn::read<int32_t>(by.data, 4 * i);
    want(n[0] == 0 && n[1] == 0 && n[6] == 0 && n[7] == 0, "padding of channels");
    for (const int32_t amount : n) want(0 <= amount && amount <= 8, "padding of so many pixels");
    want(out.shape[1] == in.shape[1] + n[2] + n[3] && out.shape[2] == in.shape[2] + n[4] + n[5] &&
             out.shape[3] == in.shape[3], "such padding");
    padded_[target] = {source, {n[2], n[4], n[3], n[5]}};
  }

  static bool same_steps(const Tensor& a, const Tensor& b) { return a.scales == b.scales && a.zero == b.zero; }

  // The layer that has just made this tensor, for this many readers and without anything fused so far.
  Layer& layer_of(size_t tensor, int readers) {
    want(!program_.layers.empty(), "operators before the first convolution");
    Layer& layer = program_.layers.back();
    want(layer.target == tensor && tensors_[tensor].readers == readers && !layer.prelu && !layer.residual,
         "such order of operators");
    return layer;
  }

  void multiply(size_t source, size_t slopes, size_t target) {
    const Tensor &in = tensors_[source], &out = tensors_[target], &by = tensors_[slopes];
    const Layer& layer = layer_of(source, 2);
    const size_t channels = static_cast<size_t>(in.shape[3]);
    want(same_steps(in, out) && in.shape == out.shape && out.readers == 1 && by.type == kInt8 && by.zero == 0 &&
             by.scales.size() == 1 && by.elements() == channels && by.data.size() == channels, "such products");
    const float scale = in.scales[0] * by.scales[0] / out.scales[0];
    const std::span values(reinterpret_cast<const int8_t*>(by.data.data()), channels);
    const size_t times = static_cast<size_t>(layer.channels) / channels;
    slopes_ = pack_prelu(values, times, scale, in.zero);
    product_ = target;
    multiplied_ = layer.target;
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
    want(made_[second] && !padded_[second] && other.is_image() && own.shape == other.shape && own.shape == sum.shape,
         "such sums");
    layer.residual = pack_residual(own.scales[0] / sum.scales[0], own.zero, other.scales[0] / sum.scales[0], other.zero,
                                   sum.zero);
    layer.residual->tensor = second;
    layer.target = target;
  }

  // Gives each tensor that a layer reads or writes its place: the lowest that nothing is in while it is needed.
  void lay_out() {
    struct Life {
      size_t first = 0, last = 0;
      bool used = false;
    };
    std::vector<Life> lives(tensors_.size());
    const auto use = [&](size_t tensor, size_t time) {
      Life& life = lives[tensor];
      if (!life.used) life = {time, time, true};
      life.last = std::max(life.last, time);
    };
    use(program_.input, 0);
    for (size_t i = 0; i < program_.layers.size(); ++i) {
      const Layer& layer = program_.layers[i];
      use(layer.source, i + 1);
      if (layer.residual) use(layer.residual->tensor, i + 1);
      use(layer.target, i + 1);
    }
    program_.places.resize(tensors_.size());
    std::vector<size_t> placed;
    for (size_t time = 0; time <= program_.layers.size(); ++time) {
      const size_t i = time == 0 ? program_.input : program_.layers[time - 1].target;
      const auto& shape = tensors_[i].shape;
      const Border& b = borders_[i];
      Place& place = program_.places[i];
      place = {shape[1], shape[2], shape[3], b.top, b.left, b.bottom, b.right,
               static_cast<uint8_t>(tensors_[i].zero + 128), 0};
      std::erase_if(placed, [&](size_t other) { return lives[other].last < time; });
      for (bool moved = true; moved;) {
        moved = false;
        for (const size_t other : placed) {
          const Place& o = program_.places[other];
          if (o.begin < place.begin + place.size() && place.begin < o.begin + o.size()) {
            place.begin = (o.begin + o.size() + kBlock - 1) / kBlock * kBlock;
            moved = true;
          }
        }
      }
      placed.push_back(i);
      program_.arena_bytes = std::max(program_.arena_bytes, place.begin + place.size());
    }
  }

  Table model_, graph_;
  std::vector<Tensor> tensors_;
  std::vector<Border> borders_;                                    // by tensor
  std::vector<std::optional<std::pair<size_t, Border>>> padded_;  // by tensor
  std::vector<bool> made_;                                         // by tensor
  std::optional<Prelu> slopes_;                                    // of a product whose maximum comes next
  size_t product_ = 0, multiplied_ = 0;
  Program program_;
};

}  // namespace

Graph read_graph(std::string_view bytes) { return Reader(bytes).read(); }

}  // namespace facesdk::nn
