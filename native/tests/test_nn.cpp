// The executor: the definition of int8 layers against a plain loop over the model's own weights, every variant against it at
// all lane boundaries, whole networks of both kinds, and what is read of files that are damaged.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "nn/executor.h"
#include "nn/graph.h"
#include "nn/packing.h"
#include "test.h"

using namespace facesdk;
using namespace facesdk::nn;

namespace {

// One layer as a model describes it, and random numbers for it.
struct Case {
  bool depthwise = false;
  int kernel = 1, stride = 1, height = 5, width = 6, inputs = 8, outputs = 8, pad = 0;
  bool prelu = false, residual = false, extreme = false;
};

struct Made {
  Program program;
  std::vector<int8_t> weights, slopes;
  std::vector<int32_t> bias;
  std::vector<float> scale;
  std::vector<uint8_t> arena;
  int source_zero = 0, target_zero = 0, other_zero = 0, sum_zero = 0;
  float slope_scale = 0, own_scale = 0, other_scale = 0;
};

Place place(int height, int width, int channels, int border, int zero, size_t begin) {
  return {height, width, channels, border, border, border, border, static_cast<uint8_t>(zero + 128), begin};
}

Made make(const Case& c, unsigned seed) {
  std::mt19937 random(seed);
  const auto number = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  Made made;
  made.source_zero = c.extreme ? -128 : number(-30, 30);
  made.target_zero = number(-100, 100);
  made.other_zero = number(-100, 100);
  made.sum_zero = number(-100, 100);
  const int out_height = (c.height + 2 * c.pad - c.kernel) / c.stride + 1;
  const int out_width = (c.width + 2 * c.pad - c.kernel) / c.stride + 1;
  const size_t outputs = static_cast<size_t>(c.outputs);
  const size_t kernel = static_cast<size_t>(c.kernel * c.kernel), inputs = static_cast<size_t>(c.inputs);
  const size_t count = c.depthwise ? kernel : kernel * inputs;
  for (size_t i = 0; i < count * outputs; ++i) {
    made.weights.push_back(static_cast<int8_t>(c.extreme ? (number(0, 1) ? 127 : -127) : number(-127, 127)));
  }
  for (size_t i = 0; i < outputs; ++i) {
    made.bias.push_back(number(-20000, 20000));
    made.scale.push_back(static_cast<float>(number(1, 1000)) / 1000.f / std::sqrt(static_cast<float>(count)) / 40.f);
    made.slopes.push_back(static_cast<int8_t>(number(-127, 127)));
  }
  Program& program = made.program;
  const Place source = place(c.height, c.width, c.inputs, c.pad, made.source_zero, 0);
  const Place target = place(out_height, out_width, c.outputs, 1, made.target_zero, source.size());
  const Place other = place(out_height, out_width, c.outputs, 0, made.other_zero, target.begin + target.size());
  program.places = {source, target, other};
  program.arena_bytes = other.begin + other.size();
  Layer layer;
  layer.depthwise = c.depthwise;
  layer.kernel_height = layer.kernel_width = c.kernel;
  layer.stride_y = layer.stride_x = c.stride;
  layer.pad_top = layer.pad_left = c.pad;
  layer.source = 0;
  layer.target = 1;
  layer.height = out_height;
  layer.width = out_width;
  layer.channels = c.outputs;
  layer.zero = static_cast<int16_t>(made.target_zero + 128);
  Parameters parameters{{reinterpret_cast<const char*>(made.weights.data()), made.weights.size()},
                        made.bias, made.scale, made.source_zero, {}};
  size_t times = 1;
  if (!c.depthwise && c.kernel > 1 && 2 * outputs <= kBlock && out_width % 2 == 0) {
    put_side_by_side(layer, parameters, inputs);
    times = 2;
  }
  pack(layer, parameters, inputs);
  if (c.prelu) {
    made.slope_scale = .0078493f;
    layer.prelu = pack_prelu(made.slopes, times, made.slope_scale, made.target_zero);
  }
  if (c.residual) {
    made.own_scale = .3f + static_cast<float>(number(0, 100)) / 100.f;
    made.other_scale = .1f + static_cast<float>(number(0, 100)) / 100.f;
    layer.residual = pack_residual(made.own_scale, made.target_zero, made.other_scale, made.other_zero, made.sum_zero);
    layer.residual->tensor = 2;
  }
  program.layers.push_back(std::move(layer));
  made.arena.resize(program.arena_bytes + kSlack);
  for (uint8_t& byte : made.arena) byte = static_cast<uint8_t>(c.extreme ? 255 * number(0, 1) : number(0, 255));
  for (int y = 0; y < c.height + 2 * c.pad; ++y) {  // the border of the source is its zero
    for (int x = 0; x < c.width + 2 * c.pad; ++x) {
      const bool inside = y >= c.pad && y < c.pad + c.height && x >= c.pad && x < c.pad + c.width;
      if (!inside) std::memset(made.arena.data() + (static_cast<size_t>(y) * (c.width + 2 * c.pad) + x) * inputs, source.zero, inputs);
    }
  }
  return made;
}

std::vector<uint8_t> run(const Made& made, const Variant& variant, int parts = 1) {
  std::vector<uint8_t> arena = made.arena;
  std::vector<uint8_t> scratch(static_cast<size_t>(kRows) * 70000 + kSlack);
  for (int i = parts - 1; i >= 0; --i) {
    variant.run(made.program, made.program.layers[0], arena.data(), scratch.data(), {i, parts});
  }
  return arena;
}

// The arithmetic as XNNPACK documents it, from the model's weights: no packing, no blocks, doubles where it has floats
// only if they are the same.
int expected(const Case& c, const Made& made, int y, int x, int channel) {
  const Place& source = made.program.places[0];
  int64_t sum = made.bias[static_cast<size_t>(channel)];
  for (int ky = 0; ky < c.kernel; ++ky) {
    for (int kx = 0; kx < c.kernel; ++kx) {
      const int row = y * c.stride + ky - c.pad, column = x * c.stride + kx - c.pad;
      if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;  // zero
      const uint8_t* pixel = made.arena.data() + source.at() + static_cast<size_t>(row) * source.row() +
                             static_cast<size_t>(column * c.inputs);
      const int tap = ky * c.kernel + kx;
      for (int i = 0; i < (c.depthwise ? 1 : c.inputs); ++i) {
        const int byte = pixel[c.depthwise ? channel : i] - 128 - made.source_zero;
        const int at = c.depthwise ? tap * c.outputs + channel : (channel * c.kernel * c.kernel + tap) * c.inputs + i;
        sum += int64_t{byte} * made.weights[static_cast<size_t>(at)];
      }
    }
  }
  const auto clamped = [](long value) { return static_cast<int>(std::clamp(value, -128l, 127l)); };
  int value = clamped(std::lrintf(static_cast<float>(sum) * made.scale[static_cast<size_t>(channel)]) + made.target_zero);
  if (c.prelu) {
    const int product = (value - made.target_zero) * made.slopes[static_cast<size_t>(channel)];
    value = std::max(value, clamped(std::lrintf(static_cast<float>(product) * made.slope_scale) + made.target_zero));
  }
  if (c.residual) {
    const Place& other = made.program.places[2];
    const int byte = made.arena[other.at() + static_cast<size_t>(y) * other.row() + static_cast<size_t>(x * c.outputs + channel)];
    const int shift = 20 - std::ilogb(std::max(made.own_scale, made.other_scale));
    const auto multiplier = [&](float scale) { return std::lrint(std::ldexp(static_cast<double>(scale), shift)); };
    const int64_t total = (int64_t{1} << (shift - 1)) + multiplier(made.own_scale) * (value - made.target_zero) +
                          multiplier(made.other_scale) * (byte - 128 - made.other_zero);
    value = clamped(static_cast<long>(total >> shift) + made.sum_zero);
  }
  return value + 128;
}

void each_case(const std::function<void(const Case&, unsigned)>& visit) {
  unsigned seed = 1;
  for (const bool prelu : {false, true}) {
    for (const bool residual : {false, true}) {
      if (prelu && residual) continue;
      for (const int channels : {1, 3, 16, 31, 32, 33, 63, 64, 65, 96, 128, 130}) {
        for (const int side : {1, 2, 5, 7}) {
          visit({false, 1, 1, side, side + 1, channels, channels, 0, prelu, residual, false}, seed++);
          if (side < 3) continue;
          visit({true, 3, 1, side, side, channels, channels, 1, prelu, residual, false}, seed++);
          visit({true, 3, 2, side + 1, side, channels, channels, 1, prelu, residual, false}, seed++);
          visit({false, 3, 1, side, side + 1, 3, channels, 1, prelu, residual, false}, seed++);
          visit({false, 3, 2, side + 3, side, 5, channels, 1, prelu, residual, false}, seed++);
        }
        visit({true, 7, 1, 7, 7, channels, channels, 0, prelu, residual, false}, seed++);
        visit({true, 5, 2, 9, 8, channels, channels, 2, prelu, residual, false}, seed++);
      }
      visit({false, 7, 1, 7, 7, 40, 70, 0, prelu, residual, false}, seed++);
      visit({false, 7, 1, 7, 7, 300, 64, 0, prelu, residual, true}, seed++);
      visit({true, 3, 1, 8, 8, 64, 64, 1, prelu, residual, true}, seed++);
    }
  }
}

const Variant& fastest() {
  return *std::ranges::find_if(nn::variants(), [](const Variant& v) { return v.supported(); });
}

std::string model_file(const std::string& name) {
  std::ifstream file(std::string(TEST_MODELS) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST(nn_the_definition_is_the_arithmetic_of_the_model) {
  long differing = 0, compared = 0;
  each_case([&](const Case& c, unsigned seed) {
    const Made made = make(c, seed);
    const std::vector<uint8_t> arena = run(made, kScalar);
    const Place& target = made.program.places[1];
    for (int y = 0; y < target.height; ++y) {
      for (int x = 0; x < target.width; ++x) {
        for (int channel = 0; channel < target.channels; ++channel, ++compared) {
          const size_t at = target.at() + static_cast<size_t>(y) * target.row() +
                            static_cast<size_t>(x * target.channels + channel);
          differing += arena[at] != expected(c, made, y, x, channel);
        }
      }
    }
  });
  CHECK(compared > 100000);
  CHECK_EQ(differing, 0);
}

TEST(nn_every_variant_gives_the_definitions_bytes_and_writes_nothing_else) {
  for (const Variant& variant : nn::variants()) {
    if (!variant.supported() || variant.name == kScalar.name) continue;
    long differing = 0;
    each_case([&](const Case& c, unsigned seed) {
      const Made made = make(c, seed);
      differing += run(made, variant) != run(made, kScalar);
    });
    test::check(differing == 0, __FILE__, __LINE__, std::string(variant.name) + " differs in " + std::to_string(differing) + " cases");
  }
  CHECK_EQ(std::string(nn::variants().back().name), "scalar");
}

TEST(nn_parts_of_a_layer_together_are_the_layer) {
  for (const Variant& variant : nn::variants()) {
    if (!variant.supported()) continue;
    long differing = 0;
    each_case([&](const Case& c, unsigned seed) {
      if (seed % 3 != 0) return;
      const Made made = make(c, seed);
      const std::vector<uint8_t> whole = run(made, variant);
      for (const int parts : {2, 3, 8}) differing += run(made, variant, parts) != whole;
    });
    test::check(differing == 0, __FILE__, __LINE__, std::string(variant.name) + " differs in " + std::to_string(differing) + " cases");
  }
}

TEST(nn_slopes_are_exact_or_refused) {
  long exact = 0, refused = 0;  // refused: with ties, of which one goes up and another down
  for (const int zero : {-128, -7, 0, 5, 127}) {
    for (int slope = -127; slope <= 127; ++slope) {
      const int8_t one[] = {static_cast<int8_t>(slope)};
      for (const float scale : {.0011f, .00613f, .0078493f}) {
        int found = 0;
        try {
          found = pack_prelu(one, 1, scale, zero).slopes[0];
          ++exact;
        } catch (const RuntimeFailure&) {
          ++refused;
          continue;
        }
        for (int x = -128 - zero; x <= 127 - zero; ++x) {
          const long product = std::clamp(std::lrintf(static_cast<float>(x * slope) * scale), -128l - zero, 127l - zero);
          const long ours = std::min<long>(std::max(x, (x * found + (1 << 14)) >> 15), 127 - zero);
          if (ours != std::max<long>(product, x)) CHECK_EQ(ours, std::max<long>(product, x));
        }
      }
    }
  }
  CHECK(exact > 3500);
  CHECK(refused < 300);
  const int8_t steep[] = {127};
  CHECK(test::message_of<RuntimeFailure>([&] { pack_prelu(steep, 1, 1.f, 0); }).find("slope") != std::string::npos);
  CHECK(test::message_of<RuntimeFailure>([] { pack_residual(1.f, 0, 1e-6f, 0, 0); }).find("scales") != std::string::npos);
}

TEST(nn_the_networks_are_read_and_others_refused_by_reason) {
  for (const char* name : {"sface.tflite", "mobilefacenet.tflite"}) {
    const std::string bytes = model_file(name);
    const Graph graph = read_graph(read_model(bytes));
    CHECK_EQ(graph.input.elements(), 112u * 112 * 3);
    CHECK(graph.program.layers.size() > 20);
    CHECK(test::message_of<RuntimeFailure>([&] { read_float_graph(read_model(bytes)); }) ==
          "the native executor has no inputs that are no float image");
  }
  const auto refusal = [](const std::string& bytes) {
    return test::message_of<RuntimeFailure>([&] { make_native_network(bytes, kScalar); });
  };
  CHECK_EQ(refusal(model_file("blazeface_full_range.tflite")), "the native executor has no padding of this kind");
  CHECK(refusal("").find("too early") != std::string::npos);
  CHECK(refusal(std::string(100, '\xff')).find("too early") != std::string::npos);
}

// Fills the memory that the networks of a crew share with numbers that are none.
void leave_rubbish(Crew& crew) {
  constexpr size_t kMuch = size_t{1} << 22;
  Crew::Shift shift(crew, kMuch);
  std::memset(shift.memory(), 0xff, kMuch);
}

TEST(nn_whole_networks_are_the_definitions_bits) {
  const auto crew = Crew::make(1);
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, .5f);
  for (const char* name : {"mobilefacenet.tflite", "blazeface_short_range.tflite", "face_mesh.tflite"}) {
    const std::string bytes = model_file(name);
    const auto definition = make_native_network(bytes, kScalar);
    const size_t count = definition->input_info().elements();
    const bool whole = definition->input_info().type == ElementType::int8;
    for (size_t i = 0; i < count; ++i) {
      if (whole) {
        static_cast<int8_t*>(definition->input())[i] = static_cast<int8_t>(random());
      } else {
        static_cast<float*>(definition->input())[i] = normal(random);
      }
    }
    definition->invoke();
    for (const Variant& variant : nn::variants()) {
      if (!variant.supported() || variant.name == kScalar.name) continue;
      const auto network = make_native_network(bytes, variant, crew);
      for (const bool rubbish : {true, false}) {  // the second time over what the first has left
        if (rubbish) leave_rubbish(*crew);
        std::memcpy(network->input(), definition->input(), definition->input_info().bytes());
        network->invoke();
        for (size_t i = 0; i < network->output_infos().size(); ++i) {
          const size_t size = network->output_infos()[i].bytes();
          CHECK(std::memcmp(network->output(i), definition->output(i), size) == 0);
        }
      }
    }
  }
}

TEST(nn_damaged_models_are_refused_or_run_within_their_memory) {
  std::mt19937 random(7);
  for (const char* name : {"mobilefacenet.tflite", "blazeface_short_range.tflite", "face_mesh.tflite"}) {
    const std::string whole = model_file(name);
    // What describes the graph lies at both ends, apart from the weights.
    const size_t tables = 60000;
    long refused = 0, ran = 0;
    for (int i = 0; i < 250; ++i) {
      std::string bytes = whole;
      const int changes = 1 + static_cast<int>(random() % 3);
      for (int k = 0; k < changes; ++k) {
        const size_t at = random() % 2 ? random() % tables : bytes.size() - 1 - random() % tables;
        bytes[at] = static_cast<char>(random() % 4 ? random() : 0xff);
      }
      if (random() % 8 == 0) bytes.resize(random() % bytes.size());
      try {
        const auto network = make_native_network(bytes, fastest());
        if (ran++ % 16 == 0) network->invoke();
      } catch (const RuntimeFailure&) {
        ++refused;
      }
    }
    CHECK(refused > 7);
    CHECK(ran > 0);
  }
}

TEST(nn_a_half_is_its_single) {
  for (uint32_t bits = 0; bits < 0x8000; ++bits) {
    const auto exponent = static_cast<int>(bits >> 10), fraction = static_cast<int>(bits & 1023);
    if (exponent == 31) continue;
    const float value = std::ldexp(static_cast<float>(exponent == 0 ? fraction : 1024 + fraction), std::max(exponent, 1) - 25);
    CHECK_EQ(of_half(static_cast<uint16_t>(bits)), value);
    CHECK_EQ(of_half(static_cast<uint16_t>(bits | 0x8000)), -value);
  }
}
