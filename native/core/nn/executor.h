// A network that runs a .tflite file of convolutions by itself, bit for bit as LiteRT does.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "../network.h"
#include "crew.h"
#include "layer.h"

namespace facesdk::nn {

// All variants compiled in, fastest first; the last is the scalar one.
std::span<const Variant> variants() noexcept;

// Throws RuntimeFailure for a model that is not understood (graph.h, float_graph.h). Nothing of `bytes` is kept. crew: of
// the networks that it shares threads and memory with, or one of its own with the caller's thread alone; the results are
// the same.
std::unique_ptr<Network> make_native_network(std::string_view bytes, const Variant& variant,
                                             std::shared_ptr<Crew> crew = nullptr);

}  // namespace facesdk::nn
