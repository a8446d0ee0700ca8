// The pipeline around networks that answer what the test tells them to.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "frames.h"
#include "pipeline.h"
#include "points.h"
#include "test.h"

using namespace facesdk;
using test::Frame;
using test::scaled;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TensorInfo tensor(ElementType type, std::vector<int> shape, float scale = 0, int zero_point = 0) {
  return {"t", type, std::move(shape), scale, zero_point};
}

// Keeps what it was given and answers what it holds.
class FakeNetwork final : public Network {
 public:
  FakeNetwork(TensorInfo input, std::vector<TensorInfo> outputs) {
    input_info_ = std::move(input);
    output_infos_ = std::move(outputs);
    given.resize(input_info_.bytes());
    for (const TensorInfo& t : output_infos_) answers.emplace_back(t.bytes());
  }
  void* input() override { return given.data(); }
  void invoke() override {
    if (failing) throw RuntimeFailure("the fake fails");
    ++invocations;
  }
  const void* output(size_t i) override { return answers.at(i).data(); }

  float* answer(size_t i) { return reinterpret_cast<float*>(answers.at(i).data()); }
  const float* input_floats() const { return reinterpret_cast<const float*>(given.data()); }
  const int8_t* input_bytes() const { return reinterpret_cast<const int8_t*>(given.data()); }

  std::vector<uint8_t> given;
  std::vector<std::vector<uint8_t>> answers;
  int invocations = 0;
  bool failing = false;
};

using Fake = std::shared_ptr<FakeNetwork>;

const TensorInfo kDetectorInput = tensor(ElementType::float32, {1, 128, 128, 3});
const TensorInfo kMeshInput = tensor(ElementType::float32, {1, 192, 192, 3});

Fake fake_detector() {
  const auto fake = std::make_shared<FakeNetwork>(
      kDetectorInput, std::vector{tensor(ElementType::float32, {1, 896, 16}), tensor(ElementType::float32, {1, 896, 1})});
  std::fill_n(fake->answer(1), blazeface::kShortRange.anchors(), -100.0f);
  return fake;
}

// A mesh that puts the five points at the given places of its 192 x 192 input, everything else in the middle.
Fake fake_mesh(const FivePoints& at, float presence_logit = 10.0f) {
  const auto fake = std::make_shared<FakeNetwork>(
      kMeshInput, std::vector{tensor(ElementType::float32, {1, 1, 1, 1404}), tensor(ElementType::float32, {1, 1, 1, 1})});
  std::fill_n(fake->answer(0), 1404, 96.0f);
  const std::vector<std::vector<int>> indexes = {{33, 133, 159, 145}, {362, 263, 386, 374}, {1, 4}, {61}, {291}};
  for (size_t i = 0; i < 5; ++i) {
    for (const int index : indexes[i]) {
      fake->answer(0)[3 * index] = static_cast<float>(at[i].x);
      fake->answer(0)[3 * index + 1] = static_cast<float>(at[i].y);
    }
  }
  *fake->answer(1) = presence_logit;
  return fake;
}

Fake fake_embedder(ElementType in, ElementType out, int n, float scale = 0.0078125f, int zero_point = 0, int out_zero = 0) {
  const auto fake = std::make_shared<FakeNetwork>(tensor(in, {1, kCropSize, kCropSize, 3}, scale, zero_point),
                                                  std::vector{tensor(out, {1, 1, 1, n}, 0.5f, out_zero)});
  for (int i = 0; i < n; ++i) {
    if (out == ElementType::float32) fake->answer(0)[i] = static_cast<float>(i + 1);
    if (out == ElementType::int8) fake->answers[0][i] = static_cast<uint8_t>(i + 1);
  }
  return fake;
}

// A face whose mesh region is the frame's square from (0, 0) to (192, 192): input pixels are frame pixels.
Detection level_face() {
  Detection d{{32, 32, 160, 160}, {}, 0.9};
  d.keypoints = {{{70, 80}, {120, 80}, {96, 100}, {96, 130}, {40, 90}, {150, 90}}};
  return d;
}

// All that a pipeline makes of level_face(): features are empty where there is nothing to align by.
struct Sample {
  Look look;
  std::vector<uint8_t> crop;
  std::vector<float> features;
};

Sample sample_of(Pipeline& pipeline, const Image& frame) {
  std::vector<uint8_t> crop(kCropBytes);
  const Look look = pipeline.look(frame, level_face(), crop.data());
  std::vector<float> features(look.aligned ? pipeline.dimension() : 0);
  if (look.aligned) pipeline.embed(crop.data(), features.data());
  return {look, std::move(crop), std::move(features)};
}

double squared_length(const float* values, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += double{values[i]} * values[i];
  return sum;
}

}  // namespace

TEST(pipeline_refuses_other_networks) {
  const auto float32 = ElementType::float32, int8 = ElementType::int8;
  const auto detector = [](TensorInfo in, std::vector<TensorInfo> out) {
    Pipeline(std::make_shared<FakeNetwork>(std::move(in), std::move(out)), nullptr, {});
  };
  const auto mesh = [](TensorInfo in, std::vector<TensorInfo> out) {
    Pipeline(nullptr, std::make_shared<FakeNetwork>(std::move(in), std::move(out)), {});
  };
  const auto embedder = [](TensorInfo in, std::vector<TensorInfo> out) {
    Pipeline(nullptr, nullptr, {{std::make_shared<FakeNetwork>(std::move(in), std::move(out)), 128, 128, 1}});
  };
  const TensorInfo boxes = tensor(float32, {1, 896, 16}), scores = tensor(float32, {1, 896, 1});
  const TensorInfo points = tensor(float32, {1, 1404}), flag = tensor(float32, {1, 1});
  // The positive twins: the right tensors in either order, nothing at all.
  detector(kDetectorInput, {boxes, scores});
  detector(kDetectorInput, {scores, boxes});
  mesh(kMeshInput, {flag, points});
  embedder(tensor(int8, {1, 112, 112, 3}, 0.01f), {tensor(int8, {1, 128})});
  Pipeline(nullptr, nullptr, {});

  CHECK_THROWS(RuntimeFailure, "1 x 128 x 128 x 3", detector(kMeshInput, {boxes, scores}));
  CHECK_THROWS(RuntimeFailure, "1 x 128 x 128 x 3", detector(tensor(int8, {1, 128, 128, 3}), {boxes, scores}));
  CHECK_THROWS(RuntimeFailure, "1 x 128 x 128 x 3", detector(tensor(float32, {128, 128, 3}), {boxes, scores}));
  CHECK_THROWS(RuntimeFailure, "0 outputs of 896 elements", detector(kDetectorInput, {boxes}));
  CHECK_THROWS(RuntimeFailure, "2 outputs of 896 elements", detector(kDetectorInput, {boxes, scores, scores}));
  CHECK_THROWS(RuntimeFailure, "0 outputs of 14336 elements", detector(kDetectorInput, {points, scores}));
  CHECK_THROWS(RuntimeFailure, "float32", detector(kDetectorInput, {boxes, tensor(int8, {1, 896, 1})}));
  CHECK_THROWS(RuntimeFailure, "float32", detector(kDetectorInput, {tensor(int8, {1, 896, 16}), scores}));
  CHECK_THROWS(RuntimeFailure, "1 x 192 x 192 x 3", mesh(kDetectorInput, {points, flag}));
  CHECK_THROWS(RuntimeFailure, "0 outputs of 1404 elements", mesh(kMeshInput, {flag}));
  CHECK_THROWS(RuntimeFailure, "0 outputs of 1 elements", mesh(kMeshInput, {points}));
  CHECK_THROWS(RuntimeFailure, "float32", mesh(kMeshInput, {points, tensor(int8, {1, 1})}));
  CHECK_THROWS(RuntimeFailure, "1 x 112 x 112 x 3", embedder(tensor(int8, {1, 3, 112, 112}, 0.01f), {flag}));
  CHECK_THROWS(RuntimeFailure, "one output", embedder(tensor(int8, {1, 112, 112, 3}, 0.01f), {points, flag}));
  CHECK_THROWS(RuntimeFailure, "scale", embedder(tensor(int8, {1, 112, 112, 3}, 0.0f), {points}));
  CHECK_THROWS(RuntimeFailure, "scale", embedder(tensor(int8, {1, 112, 112, 3}, kNan), {points}));
}

TEST(pipeline_says_what_it_lacks) {
  const Frame frame(192, 192, 3, test::constant(1));
  Pipeline empty(nullptr, nullptr, {});
  std::vector<uint8_t> crop(kCropBytes);
  CHECK_THROWS(RuntimeFailure, "no detector", empty.detect(frame.image));
  CHECK_THROWS(RuntimeFailure, "no face mesh", empty.find_mesh(frame.image, level_face()));
  CHECK_THROWS(RuntimeFailure, "no face mesh", empty.look(frame.image, level_face(), crop.data()));
  CHECK_THROWS(RuntimeFailure, "no embedder", empty.embed(crop.data(), nullptr));
}

TEST(pipeline_feeds_the_detector_a_letterbox) {
  const Fake detector = fake_detector();
  Pipeline pipeline(detector, nullptr, {});
  // 256 x 128 white: half of the square's rows are black, a quarter above and a quarter below.
  const Frame frame(256, 128, 3, test::constant(255));
  CHECK(pipeline.detect(frame.image).empty());
  const float* in = detector->input_floats();
  CHECK_EQ(in[(10 * 128 + 64) * 3], -1.0f);
  CHECK_EQ(in[(120 * 128 + 64) * 3], -1.0f);
  CHECK_EQ(in[(64 * 128 + 64) * 3 + 2], 255.0f * (2.0f / 255.0f) - 1.0f);
  CHECK_EQ(detector->invocations, 1);
}

TEST(pipeline_detects_the_largest_first) {
  const Fake detector = fake_detector();
  Pipeline pipeline(detector, nullptr, {});
  const Frame frame(128, 128, 1, test::constant(7));
  for (const auto& [anchor, side, logit] : {std::tuple{0, 6.0f, 5.0f}, std::tuple{511, 20.0f, 1.0f}}) {
    detector->answer(1)[anchor] = logit;
    detector->answer(0)[anchor * 16 + 2] = side;
    detector->answer(0)[anchor * 16 + 3] = side;
  }
  const auto found = pipeline.detect(frame.image);
  CHECK_EQ(found.size(), size_t{2});
  if (found.size() != 2) return;
  CHECK_NEAR(found[0].box.width(), 20, 1e-9);
  CHECK_NEAR(found[1].box.x0, 1, 1e-9);
}

TEST(pipeline_mesh_sees_its_region) {
  const Fake mesh = fake_mesh(kArcFacePoints, 0.0f);
  Pipeline pipeline(nullptr, mesh, {});
  const Frame frame(192, 192, 3, [](int x, int y, int c) { return c == 0 ? x : c == 1 ? y : 255; });
  const MeshResult result = pipeline.find_mesh(frame.image, level_face());
  CHECK_EQ(result.presence, 0.5);
  CHECK_NEAR(result.points[61].x, kArcFacePoints[3].x, 1e-4);
  CHECK_NEAR(result.points[61].y, kArcFacePoints[3].y, 1e-4);
  const float* pixel = mesh->input_floats() + 3 * (100 * 192 + 50);
  CHECK_NEAR(pixel[0] * 255, 50, 1e-3);
  CHECK_NEAR(pixel[1] * 255, 100, 1e-3);
  CHECK_NEAR(pixel[2], 1, 1e-6);
}

TEST(pipeline_int8_input_is_exact) {
  const Frame frame(192, 192, 3, test::noise());
  const Fake embedder = fake_embedder(ElementType::int8, ElementType::int8, 4);
  Pipeline pipeline(nullptr, fake_mesh(scaled(1, 40, 40)), {{embedder, 128, 128, 1}});
  const auto [look, crop, features] = sample_of(pipeline, frame.image);
  CHECK(look.aligned);
  CHECK_EQ(features.size(), size_t{4});
  bool exact = true;
  bool seen[256] = {};
  for (int i = 0; i < kCropBytes; ++i) {
    exact = exact && embedder->input_bytes()[i] == crop[i] - 128;
    seen[crop[i]] = true;
  }
  CHECK(exact);
  CHECK(std::count(std::begin(seen), std::end(seen), true) > 200);
}

TEST(pipeline_int8_input_is_rounded_shifted_and_clamped) {
  struct Known {
    double mean, scale;
    float tensor_scale;
    int zero_point, byte, expected;
  };
  const Known list[] = {
      {127.5, 127.5, 1 / 127.5f, 0, 255, 127},  {127.5, 127.5, 1 / 127.5f, -1, 0, -128},
      {127.5, 127.5, 1 / 127.5f, -128, 0, -128}, {127.5, 127.5, 1 / 127.5f, 127, 200, 127},
      {0, 1, 2.0f, 0, 3, 2},                     {0, 1, 2.0f, 0, 5, 2},  // halves go to the even integer
      {0, 255, 1 / 255.0f, -128, 0, -128},       {0, 255, 1 / 255.0f, -128, 255, 127},
      {128, 128, 0.0078125f, 0, 0, -128},        {128, 128, 0.0078125f, 0, 255, 127},
  };
  for (const Known& known : list) {
    const Frame frame(192, 192, 3, test::constant(known.byte));
    const Fake embedder = fake_embedder(ElementType::int8, ElementType::int8, 4, known.tensor_scale, known.zero_point);
    Pipeline pipeline(nullptr, fake_mesh(scaled(1, 40, 40)), {{embedder, known.mean, known.scale, 1}});
    sample_of(pipeline, frame.image);
    CHECK_EQ(static_cast<int>(embedder->input_bytes()[5000]), known.expected);
  }
}

TEST(pipeline_float_input) {
  const Frame frame(192, 192, 3, test::noise());
  const Fake embedder = fake_embedder(ElementType::float32, ElementType::float32, 4);
  Pipeline pipeline(nullptr, fake_mesh(scaled(1, 40, 40)), {{embedder, 127.5, 128, 1}});
  const std::vector<uint8_t> crop = sample_of(pipeline, frame.image).crop;
  bool exact = true;
  for (int i = 0; i < kCropBytes; ++i) exact = exact && embedder->input_floats()[i] == static_cast<float>((crop[i] - 127.5) / 128);
  CHECK(exact);
}

TEST(pipeline_weights_give_unit_length) {
  const Frame frame(192, 192, 3, test::noise());
  const Fake first = fake_embedder(ElementType::int8, ElementType::int8, 128, 0.0078125f, 0, 7);
  const Fake second = fake_embedder(ElementType::float32, ElementType::float32, 192);
  Pipeline pipeline(nullptr, fake_mesh(scaled(1, 40, 40)), {{first, 128, 128, 0.7}, {second, 127.5, 128, 0.3}});
  CHECK_EQ(pipeline.dimension(), size_t{320});
  const Sample sample = sample_of(pipeline, frame.image);
  CHECK_EQ(sample.features.size(), size_t{320});
  if (sample.features.size() != 320) return;
  CHECK_NEAR(squared_length(sample.features.data(), 128), 0.7, 1e-6);
  CHECK_NEAR(squared_length(sample.features.data() + 128, 192), 0.3, 1e-6);
  // Directions: the int8 outputs less their zero point, the float outputs as they are.
  const std::vector<float>& f = sample.features;
  CHECK_EQ(f[6], 0.0f);
  CHECK_NEAR(f[0] / f[7], -6.0, 1e-5);
  CHECK_NEAR(f[128 + 99] / f[128], 100.0, 1e-4);
  CHECK_NEAR(sample.look.eye_distance, std::hypot(73.5318 - 38.2946, 51.6963 - 51.5014), 1e-4);
}

TEST(pipeline_refuses_features_without_direction) {
  const Frame frame(192, 192, 3, test::noise());
  for (const float bad : {0.0f, kNan, HUGE_VALF, -HUGE_VALF, 3e38f}) {
    const Fake embedder = fake_embedder(ElementType::float32, ElementType::float32, 4);
    Pipeline pipeline(nullptr, fake_mesh(scaled(1, 40, 40)), {{embedder, 127.5, 128, 1}});
    std::fill_n(embedder->answer(0), 4, bad);
    CHECK_THROWS(RuntimeFailure, "without a direction", sample_of(pipeline, frame.image));
    // One bad number among good ones is no better, and the next good answer is taken.
    for (int i = 0; i < 4; ++i) embedder->answer(0)[i] = i == 2 && bad != 0 ? bad : 1.0f;
    if (bad != 0) CHECK_THROWS(RuntimeFailure, "without a direction", sample_of(pipeline, frame.image));
    std::fill_n(embedder->answer(0), 4, 1.0f);
    CHECK_EQ(sample_of(pipeline, frame.image).features.size(), size_t{4});
  }
}

TEST(pipeline_refuses_bad_embedders) {
  const auto make = [](double mean, double scale, double weight) {
    Pipeline(nullptr, nullptr, {{fake_embedder(ElementType::int8, ElementType::int8, 4), mean, scale, weight}});
  };
  make(128, 128, 1);
  for (const double bad : {0.0, -1.0, double{kNan}, HUGE_VAL}) {
    CHECK_THROWS(RuntimeFailure, "embedder", make(128, bad, 1));
    CHECK_THROWS(RuntimeFailure, "embedder", make(128, 128, bad));
  }
  CHECK_THROWS(RuntimeFailure, "embedder", make(kNan, 128, 1));
  CHECK_THROWS(RuntimeFailure, "embedder", make(HUGE_VAL, 128, 1));
  CHECK_THROWS(RuntimeFailure, "embedder", make(128, 128, 0.5));  // weights sum to 1
}

TEST(pipeline_presence_is_a_number_from_0_to_1) {
  // What is compared with a limit must not be NaN: no comparison would refuse it.
  struct Known {
    float logit;
    double presence;
  };
  const Known list[] = {{0.0f, 0.5}, {1.0f, 0.7310585786300049}, {-1e30f, 0.0}, {-HUGE_VALF, 0.0},
                        {1e30f, 1.0}, {kNan, 0.0}};
  const Frame frame(192, 192, 3, test::noise());
  for (const Known& known : list) {
    const Fake embedder = fake_embedder(ElementType::int8, ElementType::int8, 4);
    Pipeline pipeline(nullptr, fake_mesh(scaled(1, 40, 40), known.logit), {{embedder, 128, 128, 1}});
    CHECK_NEAR(pipeline.find_mesh(frame.image, level_face()).presence, known.presence, 1e-12);
    const Sample sample = sample_of(pipeline, frame.image);
    CHECK_NEAR(sample.look.mesh.presence, known.presence, 1e-12);
    // Judging it is the caller's business: the features are there.
    CHECK_EQ(sample.features.size(), size_t{4});
  }
}

TEST(pipeline_nan_points_have_no_presence) {
  const Frame frame(192, 192, 3, test::noise());
  for (const float bad : {kNan, HUGE_VALF}) {
    for (const int point : {0, 61, 33, 467}) {
      for (const int axis : {0, 1, 2}) {
        const Fake mesh = fake_mesh(scaled(1, 40, 40));
        mesh->answer(0)[3 * point + axis] = bad;
        Pipeline pipeline(nullptr, mesh, {{fake_embedder(ElementType::int8, ElementType::int8, 4), 128, 128, 1}});
        const Sample sample = sample_of(pipeline, frame.image);
        CHECK_EQ(sample.look.mesh.presence, 0.0);
        const bool aligned_by = (point == 61 || point == 33) && axis != 2;
        CHECK_EQ(sample.features.empty(), aligned_by);
        CHECK_EQ(!sample.look.aligned, aligned_by);
      }
    }
  }
}

TEST(pipeline_points_in_one_place_give_no_features) {
  const Frame frame(192, 192, 3, test::noise());
  const Fake embedder = fake_embedder(ElementType::int8, ElementType::int8, 4);
  Pipeline pipeline(nullptr, fake_mesh({{{96, 96}, {96, 96}, {96, 96}, {96, 96}, {96, 96}}}), {{embedder, 128, 128, 1}});
  CHECK(!sample_of(pipeline, frame.image).look.aligned);
}

TEST(pipeline_survives_a_failing_network) {
  const Frame frame(192, 192, 3, test::noise());
  const Fake detector = fake_detector(), mesh = fake_mesh(scaled(1, 40, 40));
  const Fake embedder = fake_embedder(ElementType::int8, ElementType::int8, 4);
  Pipeline pipeline(detector, mesh, {{embedder, 128, 128, 1}});
  for (const Fake& network : {detector, mesh, embedder}) {
    network->failing = true;
    CHECK_THROWS(RuntimeFailure, "the fake fails", {
      pipeline.detect(frame.image);
      sample_of(pipeline, frame.image);
    });
    network->failing = false;
    CHECK_EQ(sample_of(pipeline, frame.image).features.size(), size_t{4});
  }
}

TEST(pipeline_calls_wait_for_each_other) {
  const Frame frame(192, 192, 3, test::noise());
  const Fake mesh = fake_mesh(scaled(1, 40, 40)), embedder = fake_embedder(ElementType::int8, ElementType::int8, 4);
  Pipeline pipeline(nullptr, mesh, {{embedder, 128, 128, 1}});
  const std::vector<float> expected = sample_of(pipeline, frame.image).features;
  std::vector<int> good(4, 0);
  std::vector<std::thread> threads;
  for (int& count : good) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) count += sample_of(pipeline, frame.image).features == expected;
    });
  }
  for (std::thread& t : threads) t.join();
  for (const int count : good) CHECK_EQ(count, 20);
  // Unprotected counting would have lost some.
  CHECK_EQ(embedder->invocations, 81);
}

TEST(network_counts_elements) {
  CHECK_EQ(tensor(ElementType::float32, {1, 896, 16}).elements(), size_t{14336});
  CHECK_EQ(tensor(ElementType::float32, {1, 896, 16}).bytes(), size_t{4 * 14336});
  CHECK_EQ(tensor(ElementType::int8, {2, 3}).bytes(), size_t{6});
  CHECK_EQ(tensor(ElementType::int8, {}).elements(), size_t{1});
}

TEST(pipeline_takes_full_range_by_its_outputs) {
  const auto far = std::make_shared<FakeNetwork>(
      tensor(ElementType::float32, {1, 192, 192, 3}),
      std::vector{tensor(ElementType::float32, {1, 2304, 16}), tensor(ElementType::float32, {1, 2304, 1})});
  std::fill_n(far->answer(1), blazeface::kFullRange.anchors(), -100.0f);
  // The last anchor but one: in a frame of 384 x 384 an input pixel is two pixels.
  far->answer(1)[2302] = 2.0f;
  far->answer(0)[2302 * 16 + 2] = 10.0f;
  far->answer(0)[2302 * 16 + 3] = 20.0f;
  Pipeline pipeline(far, nullptr, {});
  const Frame frame(384, 384, 3, test::constant(100));
  const auto found = pipeline.detect(frame.image);
  CHECK_EQ(found.size(), size_t{1});
  if (found.size() != 1) return;
  CHECK_NEAR((found[0].box.x0 + found[0].box.x1) / 2, 2 * 186, 1e-4);
  CHECK_NEAR((found[0].box.y0 + found[0].box.y1) / 2, 2 * 190, 1e-4);
  CHECK_NEAR(found[0].box.height(), 40, 1e-4);
}

TEST(pipeline_detects_in_a_square_of_the_frame) {
  const auto detector = fake_detector();
  detector->answer(1)[0] = 3.0f;  // the anchor at (4, 4) of the 128 x 128 input
  detector->answer(0)[2] = detector->answer(0)[3] = 16.0f;
  Pipeline pipeline(detector, nullptr, {});
  // White to the right of x = 100, and outside the frame black.
  const Frame frame(200, 150, 3, [](int x, int, int) { return x >= 100 ? 255 : 0; });
  const auto found = pipeline.detect_in(frame.image, {{164, 75}, 128, 0});
  CHECK_EQ(found.size(), size_t{1});
  if (found.size() != 1) return;
  CHECK_NEAR((found[0].box.x0 + found[0].box.x1) / 2, 100 + 4, 1e-4);
  CHECK_NEAR((found[0].box.y0 + found[0].box.y1) / 2, 11 + 4, 1e-4);
  const auto at = [&](int x, int y) { return detector->input_floats()[3 * (y * 128 + x)]; };
  CHECK_NEAR(at(50, 60), 1.0, 1e-5);
  CHECK_NEAR(at(120, 60), -1.0, 1e-5);
}
