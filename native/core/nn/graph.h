// A .tflite file of convolutions, read into what the executor runs.
#pragma once

#include <string_view>
#include <vector>

#include "../network.h"
#include "layer.h"

namespace facesdk::nn {

struct Graph {
  TensorInfo input, output;
  Program program;
};

// Throws RuntimeFailure, with the reason, for a model that is anything but int8 convolutions with zero points, PReLU,
// padding and residual sums whose arithmetic is known to the bit. Nothing of `bytes` is kept.
Graph read_graph(std::string_view bytes);

}  // namespace facesdk::nn
