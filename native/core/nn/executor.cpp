#include "executor.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "float_graph.h"
#include "graph.h"

namespace facesdk::nn {
namespace {

constexpr uint8_t kSign = 0x80;

// Multiplications that are worth another thread's while, some 5 us of them; those of a depthwise layer take longer.
constexpr double kBytePiece = 4e5, kFloatPiece = 1.5e5, kDepthwise = 4;

// Into how many pieces a layer is divided, two for each thread at most: one that is late takes fewer.
int pieces_of(double products, bool depthwise, double piece, const Crew& crew) {
  if (crew.threads() == 1) return 1;
  const double wanted = products * (depthwise ? kDepthwise : 1) / piece;
  return static_cast<int>(std::clamp(wanted, 1.0, 2.0 * crew.threads()));
}

constexpr size_t whole_lines(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

class ByteNetwork final : public Network {
 public:
  ByteNetwork(Graph graph, const Variant& variant, std::shared_ptr<Crew> crew)
      : variant_(variant),
        program_(std::move(graph.program)),
        crew_(std::move(crew)),
        in_(graph.input.elements()),
        out_(graph.output.elements()) {
    input_info_ = std::move(graph.input);
    output_infos_.push_back(std::move(graph.output));
    size_t lines = 0;
    for (const Layer& layer : program_.layers) {
      const size_t channels = static_cast<size_t>(program_.places[layer.source].channels);
      const size_t inputs = static_cast<size_t>(layer.kernel()) * (layer.depthwise ? 1 : channels);
      const int pixels = layer.height * layer.width;
      if (!layer.depthwise && layer.kernel() > 1) {
        lines = std::max(lines, static_cast<size_t>(std::min(kRows, pixels)) * (inputs + 4));
      }
      const double products = static_cast<double>(inputs) * pixels * layer.channels;
      pieces_.push_back(pieces_of(products, layer.depthwise, kBytePiece, *crew_));
    }
    arena_bytes_ = whole_lines(program_.arena_bytes + kSlack);
    scratch_bytes_ = whole_lines(lines + kSlack);
    reservation_.emplace(*crew_, memory());
  }

  void* input() override { return in_.data(); }
  const void* output(size_t) override { return out_.data(); }

  void invoke() override {
    const Place& in = program_.places[program_.input];
    const size_t row = static_cast<size_t>(in.width * in.channels);
    Crew::Shift shift(*crew_, memory());
    uint8_t* arena = shift.memory();
    fill_border(in, arena, in.zero);
    for (int y = 0; y < in.height; ++y) {
      const uint8_t* from = in_.data() + static_cast<size_t>(y) * row;
      uint8_t* to = arena + in.at() + static_cast<size_t>(y) * in.row();
      for (size_t i = 0; i < row; ++i) to[i] = from[i] ^ kSign;
    }
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Layer& layer = program_.layers[i];
      const Place& target = program_.places[layer.target];
      fill_border(target, arena, target.zero);
      shift.run(pieces_[i], [&](int piece, int thread) {
        uint8_t* scratch = arena + arena_bytes_ + static_cast<size_t>(thread) * scratch_bytes_;
        variant_.run(program_, layer, arena, scratch, {piece, pieces_[i]});
      });
    }
    const uint8_t* result = arena + program_.places[program_.output].at();
    for (size_t i = 0; i < out_.size(); ++i) out_[i] = result[i] ^ kSign;
  }

 private:
  // In bytes: the arena, and behind it a scratch for each thread.
  size_t memory() const { return arena_bytes_ + static_cast<size_t>(crew_->threads()) * scratch_bytes_; }

  const Variant& variant_;
  Program program_;
  std::shared_ptr<Crew> crew_;
  std::optional<Crew::Reservation> reservation_;
  std::vector<int> pieces_;  // of each layer
  AlignedVector<uint8_t> in_, out_;
  size_t arena_bytes_ = 0, scratch_bytes_ = 0;  // with some past the end that are read, though nothing depends on them
};

// Numbers too small to be normal count as zero while one lives, as in XNNPACK. Where the processor has no such mode they
// count as they are; nothing in a picture comes near.
class FlushDenormals {
#if defined(__x86_64__)
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

class FloatNetwork final : public Network {
 public:
  FloatNetwork(FloatGraph graph, const Variant& variant, std::shared_ptr<Crew> crew)
      : variant_(variant), program_(std::move(graph.program)), crew_(std::move(crew)), in_(graph.input.elements()) {
    input_info_ = std::move(graph.input);
    output_infos_ = std::move(graph.outputs);
    for (const TensorInfo& info : output_infos_) outs_.emplace_back(info.elements());
    reservation_.emplace(*crew_, memory());
    for (const FloatLayer& layer : program_.layers) {
      const Place& target = program_.places[layer.target];
      const bool depthwise = layer.kind != FloatKind::convolution;
      const double each = layer.kernel() * (depthwise ? 1. : layer.inputs);
      pieces_.push_back(pieces_of(each * target.height * target.width * target.channels, depthwise, kFloatPiece, *crew_));
    }
  }

  void* input() override { return in_.data(); }
  const void* output(size_t i) override { return outs_.at(i).data(); }

  void invoke() override {
    [[maybe_unused]] const FlushDenormals mode;
    const Place& in = program_.places[program_.input];
    const size_t row = static_cast<size_t>(in.width * in.channels);
    Crew::Shift shift(*crew_, memory());
    auto* arena = reinterpret_cast<float*>(shift.memory());
    fill_border(in, arena, 0.f);
    for (size_t y = 0; y < static_cast<size_t>(in.height); ++y) {
      std::memcpy(arena + in.at() + y * in.row(), in_.data() + y * row, row * sizeof(float));
    }
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const FloatLayer& layer = program_.layers[i];
      fill_border(program_.places[layer.target], arena, 0.f);
      shift.run(pieces_[i], [&](int piece, int) { variant_.run_float(program_, layer, arena, {piece, pieces_[i]}); });
    }
    for (size_t i = 0; i < outs_.size(); ++i) gather(program_.outputs[i], arena, outs_[i].data());
  }

 private:
  size_t memory() const { return (program_.arena_floats + kSlack) * sizeof(float); }

  // The tensors' numbers, without the channels that they were filled up with.
  void gather(const std::vector<size_t>& parts, const float* arena, float* to) const {
    for (const size_t part : parts) {
      const Place& place = program_.places[part];
      const size_t channels = static_cast<size_t>(program_.channels[part]);
      for (int y = 0; y < place.height; ++y) {
        const float* from = arena + place.at() + static_cast<size_t>(y) * place.row();
        for (int x = 0; x < place.width; ++x, to += channels, from += place.channels) std::copy_n(from, channels, to);
      }
    }
  }

  const Variant& variant_;
  FloatProgram program_;
  std::shared_ptr<Crew> crew_;
  std::optional<Crew::Reservation> reservation_;
  std::vector<int> pieces_;  // of each layer
  AlignedVector<float> in_;
  std::vector<AlignedVector<float>> outs_;
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

std::unique_ptr<Network> make_native_network(std::string_view bytes, const Variant& variant, std::shared_ptr<Crew> crew) {
  try {
    if (crew == nullptr) crew = Crew::make(1);
    const Model model = read_model(bytes);
    if (model.tensors[model.input].type == Type::int8) {
      return std::make_unique<ByteNetwork>(read_graph(model), variant, std::move(crew));
    }
    return std::make_unique<FloatNetwork>(read_float_graph(model), variant, std::move(crew));
  } catch (const std::bad_alloc&) {
    refuse("memory for this model");
  }
}

}  // namespace facesdk::nn
