// A .tflite file of convolutions, read into what the executor runs.
#pragma once

#include <vector>

#include "../network.h"
#include "layer.h"
#include "model.h"

namespace facesdk::nn {

struct Graph {
  TensorInfo input, output;
  Program program;
};

// Throws RuntimeFailure, with the reason, for a model that is anything but int8 convolutions with zero points, PReLU,
// padding and residual sums whose arithmetic is known to the bit. Nothing of its bytes is kept.
Graph read_graph(const Model& model);

}  // namespace facesdk::nn
