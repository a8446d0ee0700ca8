// What runs a model: bytes in, bytes out. One implementation is LiteRT's C API, another a Python interpreter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "process.h"

namespace facesdk {

// A runtime, library or model that does not do what it must; the message names the call and what it answered.
class RuntimeFailure : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class ElementType { float32, int8 };

struct TensorInfo {
  std::string name;
  ElementType type;
  std::vector<int> shape;
  float scale = 0;  // int8: real = (integer - zero_point) * scale
  int zero_point = 0;

  size_t elements() const {
    size_t n = 1;
    for (const int d : shape) n *= static_cast<size_t>(d);
    return n;
  }
  size_t bytes() const { return elements() * (type == ElementType::float32 ? 4 : 1); }
};

class Network {
 public:
  virtual ~Network() = default;

  const Process& process() const { return process_; }

  const TensorInfo& input_info() const { return input_info_; }
  const std::vector<TensorInfo>& output_infos() const { return output_infos_; }

  // Where the next input is to be written; valid until invoke().
  virtual void* input() = 0;
  // Runs the model; throws RuntimeFailure.
  virtual void invoke() = 0;
  // Output i of the last invoke(); valid until the next input() or invoke().
  virtual const void* output(size_t i) = 0;

  // Index of the output with this many elements; throws RuntimeFailure if there is not exactly one.
  size_t output_of_size(size_t elements) const;

 protected:
  TensorInfo input_info_;
  std::vector<TensorInfo> output_infos_;
  Process process_;
};

}  // namespace facesdk
