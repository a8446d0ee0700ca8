#include "executor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "graph.h"

namespace facesdk::nn {
namespace {

constexpr uint8_t kSign = 0x80;

class NativeNetwork final : public Network {
 public:
  NativeNetwork(Graph graph, const Variant& variant)
      : variant_(variant), program_(std::move(graph.program)), in_(graph.input.elements()), out_(graph.output.elements()) {
    input_info_ = std::move(graph.input);
    output_infos_.push_back(std::move(graph.output));
    size_t row = 0;
    for (const Layer& layer : program_.layers) {
      const size_t channels = static_cast<size_t>(program_.places[layer.source].channels);
      if (!layer.depthwise) row = std::max(row, static_cast<size_t>(layer.kernel()) * channels);
    }
    // Zeroed: past the end, bytes are read, though nothing depends on them.
    arena_.assign(program_.arena_bytes + kSlack, 0);
    scratch_.assign(static_cast<size_t>(kRows) * (row + 4) + kSlack, 0);
  }

  void* input() override { return in_.data(); }
  const void* output(size_t) override { return out_.data(); }

  void invoke() override {
    const Place& in = program_.places[program_.input];
    const size_t row = static_cast<size_t>(in.width * in.channels);
    fill_border(in);
    for (int y = 0; y < in.height; ++y) {
      const uint8_t* from = in_.data() + static_cast<size_t>(y) * row;
      uint8_t* to = arena_.data() + in.at() + static_cast<size_t>(y) * in.row();
      for (size_t i = 0; i < row; ++i) to[i] = from[i] ^ kSign;
    }
    for (const Layer& layer : program_.layers) {
      fill_border(program_.places[layer.target]);
      variant_.run(program_, layer, arena_.data(), scratch_.data());
    }
    const uint8_t* result = arena_.data() + program_.places[program_.output].at();
    for (size_t i = 0; i < out_.size(); ++i) out_[i] = result[i] ^ kSign;
  }

 private:
  void fill_border(const Place& place) {
    const size_t row = place.row(), left = static_cast<size_t>(place.left * place.channels);
    const size_t inner = static_cast<size_t>(place.width * place.channels);
    uint8_t* at = arena_.data() + place.begin;
    std::memset(at, place.zero, static_cast<size_t>(place.top) * row);
    at += static_cast<size_t>(place.top) * row;
    if (row > inner) {
      for (int y = 0; y < place.height; ++y, at += row) {
        std::memset(at, place.zero, left);
        std::memset(at + left + inner, place.zero, row - left - inner);
      }
    } else {
      at += static_cast<size_t>(place.height) * row;
    }
    std::memset(at, place.zero, static_cast<size_t>(place.bottom) * row);
  }

  const Variant& variant_;
  Program program_;
  AlignedVector<uint8_t> arena_, scratch_, in_, out_;
};

}  // namespace

std::span<const Variant> variants() noexcept {
#if defined(__x86_64__)
  static const Variant list[] = {kAvx512Vnni, kScalar};
#else
  static const Variant list[] = {kScalar};
#endif
  return list;
}

const Variant& best_variant() noexcept {
  static const Variant& chosen = *std::ranges::find_if(variants(), [](const Variant& v) { return v.supported(); });
  return chosen;
}

std::unique_ptr<Network> make_native_network(std::string_view bytes, const Variant& variant) {
  return std::make_unique<NativeNetwork>(read_graph(bytes), variant);
}

}  // namespace facesdk::nn
