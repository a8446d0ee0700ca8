// A .tflite file as tensors and operators, read within its bytes; and what both kinds of graphs are made with.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flatbuffer.h"
#include "place.h"

namespace facesdk::nn {

// Numbers of tensorflow/lite/schema/schema.fbs, version 3.
enum Operator {
  kAdd = 0, kConcatenation = 2, kConvolution = 3, kDepthwise = 4, kDequantize = 6, kMaxPool = 17, kMultiply = 18,
  kRelu = 19, kReshape = 22, kPad = 34, kPrelu = 54, kMaximum = 55,
};
enum class Type : int8_t { float32 = 0, float16 = 1, int32 = 2, int8 = 9 };

[[noreturn]] void refuse(const std::string& what);
inline void want(bool fact, const char* what) {
  if (!fact) refuse(what);
}

struct Tensor {
  std::string name;
  std::vector<int> shape;
  Type type = Type::float32;
  std::vector<float> scales;
  int zero = 0;
  int axis = 0;           // that the scales are along, where there are several
  std::string_view data;  // of a constant
  int readers = 0;        // operators that read it, and the graph's output

  size_t elements() const;  // or kMostBytes, where that is less
  // Whether there is one number for each channel of an image.
  bool is_by_channel(int channels) const;
  // Whether it is made by operators and has the shape (1, height, width, channels), of which no side is huge.
  bool is_image(Type of) const;
};

// What a model's parts may add up to; one file can name the same bytes many times.
constexpr size_t kMostBytes = size_t{1} << 28;

struct Operation {
  int kind = 0;
  std::vector<size_t> sources;
  size_t target = 0;
  Table op;

  Table options() const { return op.table(4); }
};

struct Model {
  std::vector<Tensor> tensors;
  std::vector<Operation> operations;
  size_t input = 0;
  std::vector<size_t> outputs;
};

// Throws RuntimeFailure where the bytes end early or the model is none with one subgraph and one input.
Model read_model(std::string_view bytes);

// Rows and columns before and after.
struct Border {
  int top = 0, left = 0, bottom = 0, right = 0;
};

// The amounts of a PAD: (4, 2) int32, of which batch and channels are returned apart.
struct Padding {
  Border border;
  int channels = 0;  // after
};
Padding padding_of(const Tensor& amounts);

// Refuses a RESHAPE whose shape is not the one that its result has; one side may be -1, which stands for the rest.
void check_new_shape(const Tensor& shape, const Tensor& out);

// How a kernel goes over an image.
struct Window {
  int kernel_height = 1, kernel_width = 1, stride_y = 1, stride_x = 1, pad_top = 0, pad_left = 0;

  int kernel() const { return kernel_height * kernel_width; }
};

// Sets pad_top and pad_left; gives the border that the source needs. before: what was padded explicitly.
Border set_padding(Window& window, const Tensor& in, const Tensor& out, const Border& before, bool same);
Border widest(const Border& a, const Border& b);

constexpr size_t kNone = static_cast<size_t>(-1);

// From when to when each tensor is needed, by steps; step 0 makes the input.
class Lives {
 public:
  explicit Lives(size_t tensors) : lives_(tensors) {}
  void use(size_t tensor, size_t step);
  // Gives the tensor that this step makes its place: that of `onto`, of which this step reads each pixel before it writes
  // that very one and no other later, if nothing else needs it; else the lowest that nothing is in which is needed then.
  void put(size_t tensor, size_t step, std::vector<Place>& places, size_t onto = kNone);
  size_t end() const { return end_; }

 private:
  struct Life {
    size_t first = 0, last = 0;
    bool used = false;
  };
  std::vector<Life> lives_;
  std::vector<size_t> placed_;
  size_t end_ = 0;
};

}  // namespace facesdk::nn
