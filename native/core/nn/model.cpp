#include "model.h"

#include <algorithm>
#include <array>

namespace facesdk::nn {
namespace {

enum ModelSlot { kCodes = 1, kSubgraphs = 2, kBuffers = 4 };
enum GraphSlot { kTensors = 0, kInputs = 1, kOutputs = 2, kOperators = 3 };
enum TensorSlot { kShape = 0, kType = 1, kBuffer = 2, kName = 3, kQuantization = 4 };
enum QuantizationSlot { kScales = 2, kZeros = 3, kAxis = 6 };
enum OperatorSlot { kCode = 0, kReads = 1, kWrites = 2 };
constexpr int kLargestSide = 4096, kLargestKernel = 16, kMostPadding = 8;
constexpr size_t kMostTensors = 4096, kMostElements = size_t{1} << 26, kLongestName = 512, kMostScales = 1 << 16;

Tensor read_tensor(const Table& model, const Table& table) {
  Tensor tensor;
  want(table.vector(kName).count <= kLongestName, "names so long");
  tensor.name = table.text(kName);
  tensor.type = static_cast<Type>(table.scalar<int8_t>(kType, 0));
  const Vector shape = table.vector(kShape);
  want(1 <= shape.count && shape.count <= 4, "tensors of no dimension or more than four");
  for (size_t i = 0; i < shape.count; ++i) {
    const int side = shape.get<int32_t>(i);
    want(side > 0 && side <= 1 << 20, "tensors without a fixed shape");
    tensor.shape.push_back(side);
  }
  if (table.has(kQuantization)) {
    const Table quantization = table.table(kQuantization);
    const Vector scales = quantization.vector(kScales), zeros = quantization.vector(kZeros);
    want(scales.count <= kMostScales && zeros.count <= kMostScales, "so many scales");
    tensor.axis = quantization.scalar<int32_t>(kAxis, 0);
    for (size_t i = 0; i < scales.count; ++i) tensor.scales.push_back(scales.get<float>(i));
    for (size_t i = 0; i < zeros.count; ++i) {
      const auto zero = zeros.get<int64_t>(i);
      want(-128 <= zero && zero <= 127 && (zeros.count == 1 || zero == 0), "zero points of channels");
      tensor.zero = static_cast<int>(zero);
    }
  }
  tensor.data = model.table(kBuffers, table.scalar<uint32_t>(kBuffer, 0)).vector(0).data(1);
  return tensor;
}

size_t checked(int32_t index, const Model& model) {
  want(index >= 0 && static_cast<size_t>(index) < model.tensors.size(), "optional tensors");
  return static_cast<size_t>(index);
}

}  // namespace

void refuse(const std::string& what) { throw RuntimeFailure("the native executor has no " + what); }

size_t Tensor::elements() const {
  size_t count = 1;
  for (const int side : shape) count = std::min(count * static_cast<size_t>(side), kMostBytes);
  return count;
}

bool Tensor::is_by_channel(int channels) const {
  return elements() == static_cast<size_t>(channels) && shape.back() == channels;
}

bool Tensor::is_image(Type of) const {
  const auto fits = [](int side) { return 1 <= side && side <= kLargestSide; };
  return type == of && data.empty() && shape.size() == 4 && shape[0] == 1 && fits(shape[1]) && fits(shape[2]) &&
         fits(shape[3]) && elements() <= kMostElements;
}

Model read_model(std::string_view bytes) {
  const Table file(bytes);
  want(file.vector(kSubgraphs).count == 1, "models of several subgraphs");
  const Table graph = file.table(kSubgraphs, 0);
  Model model;
  const size_t count = graph.vector(kTensors).count;
  want(count <= kMostTensors, "models of so many tensors");
  size_t scales = 0;
  for (size_t i = 0; i < count; ++i) {
    model.tensors.push_back(read_tensor(file, graph.table(kTensors, i)));
    want((scales += model.tensors.back().scales.size()) <= kMostElements, "so many scales");
  }
  const Vector inputs = graph.vector(kInputs), outputs = graph.vector(kOutputs);
  want(inputs.count == 1 && 1 <= outputs.count && outputs.count <= 8, "models of several inputs or many outputs");
  model.input = checked(inputs.get<int32_t>(0), model);
  for (size_t i = 0; i < outputs.count; ++i) {
    model.outputs.push_back(checked(outputs.get<int32_t>(i), model));
    ++model.tensors[model.outputs.back()].readers;
  }
  const size_t operators = graph.vector(kOperators).count;
  want(operators <= kMostTensors, "models of so many operators");
  for (size_t i = 0; i < operators; ++i) {
    const Table op = graph.table(kOperators, i), code = file.table(kCodes, op.scalar<uint32_t>(kCode, 0));
    Operation operation{std::max<int>(code.scalar<int8_t>(0, 0), code.scalar<int32_t>(3, 0)), {}, 0, op};
    const Vector reads = op.vector(kReads), writes = op.vector(kWrites);
    want(writes.count == 1 && 1 <= reads.count && reads.count <= 8, "operators of so many inputs or outputs");
    for (size_t j = 0; j < reads.count; ++j) {
      operation.sources.push_back(checked(reads.get<int32_t>(j), model));
      ++model.tensors[operation.sources.back()].readers;
    }
    operation.target = checked(writes.get<int32_t>(0), model);
    model.operations.push_back(std::move(operation));
  }
  return model;
}

Padding padding_of(const Tensor& amounts) {
  want(amounts.type == Type::int32 && amounts.data.size() == 32, "padding that is not constant");
  std::array<int32_t, 8> n;
  for (size_t i = 0; i < 8; ++i) n[i] = read<int32_t>(amounts.data, 4 * i);
  want(n[0] == 0 && n[1] == 0 && n[6] == 0 && 0 <= n[7] && n[7] <= kLargestSide, "padding of this kind");
  for (size_t i = 2; i < 6; ++i) want(0 <= n[i] && n[i] <= kMostPadding, "padding of so many pixels");
  return {{n[2], n[4], n[3], n[5]}, n[7]};
}

void check_new_shape(const Tensor& shape, const Tensor& out) {
  want(shape.type == Type::int32 && shape.data.size() == 4 * out.shape.size(), "shapes of this kind");
  int left_out = 0;
  for (size_t i = 0; i < out.shape.size(); ++i) {
    const int side = read<int32_t>(shape.data, 4 * i);
    left_out += side == -1;
    want((side == out.shape[i] || side == -1) && left_out <= 1, "shapes of this kind");
  }
}

Border set_padding(Window& window, const Tensor& in, const Tensor& out, const Border& before, bool same) {
  const auto axis = [&](size_t which, int kernel, int stride, int first, int last) {
    want(kernel <= kLargestKernel, "kernels so large");
    const int side = in.shape[which], result = out.shape[which];
    int pad = first;
    if (same) {
      want(first == 0 && last == 0 && result == (side + stride - 1) / stride, "such padding");
      pad = std::max((result - 1) * stride + kernel - side, 0) / 2;
    }
    const int needed = std::max((result - 1) * stride + kernel - pad - side, 0);  // at the end
    want(same || (kernel <= side + first + last && (side + first + last - kernel) / stride + 1 == result),
         "such output sizes");
    want(kernel <= side + pad + needed && needed <= kernel + kMostPadding, "kernels larger than their input");
    return std::pair{pad, needed};
  };
  const auto [top, bottom] = axis(1, window.kernel_height, window.stride_y, before.top, before.bottom);
  const auto [left, right] = axis(2, window.kernel_width, window.stride_x, before.left, before.right);
  window.pad_top = top;
  window.pad_left = left;
  return {top, left, bottom, right};
}

Border widest(const Border& a, const Border& b) {
  return {std::max(a.top, b.top), std::max(a.left, b.left), std::max(a.bottom, b.bottom), std::max(a.right, b.right)};
}

void Lives::use(size_t tensor, size_t step) {
  Life& life = lives_[tensor];
  if (!life.used) life = {step, step, true};
  life.last = std::max(life.last, step);
}

void Lives::put(size_t tensor, size_t step, std::vector<Place>& places, size_t onto) {
  Place& place = places[tensor];
  if (onto != kNone && lives_[onto].last == step) {
    const Place& o = places[onto];
    if (o.size() == place.size() && o.row() == place.row() && o.at() - o.begin == place.at() - place.begin) {
      std::erase(placed_, onto);
      place.begin = o.begin;
      placed_.push_back(tensor);
      return;
    }
  }
  place.begin = 0;
  std::erase_if(placed_, [&](size_t other) { return lives_[other].last < step; });
  for (bool moved = true; moved;) {
    moved = false;
    for (const size_t other : placed_) {
      const Place& o = places[other];
      if (o.begin < place.begin + place.size() && place.begin < o.begin + o.size()) {
        place.begin = (o.begin + o.size() + kLine - 1) / kLine * kLine;
        moved = true;
      }
    }
  }
  placed_.push_back(tensor);
  end_ = std::max(end_, place.begin + place.size());
}

}  // namespace facesdk::nn
