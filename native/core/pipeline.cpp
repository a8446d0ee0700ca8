#include "pipeline.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "kernels.h"
#include "secret.h"

namespace facesdk {
namespace {

void expect_input(const Network& network, int size, ElementType type, const char* what) {
  const TensorInfo& info = network.input_info();
  if (info.type != type || info.shape != std::vector<int>{1, size, size, 3}) {
    throw RuntimeFailure(std::string(what) + ": the input tensor " + info.name + " is not 1 x " + std::to_string(size) +
                         " x " + std::to_string(size) + " x 3 of the expected type");
  }
}

void expect_float(const Network& network, size_t output, const char* what) {
  if (network.output_infos()[output].type != ElementType::float32) {
    throw RuntimeFailure(std::string(what) + ": float32 outputs were expected");
  }
}

// byte -> input element for (byte - mean) / scale, so that quantizing a crop is one look-up a byte.
std::vector<uint8_t> make_table(const TensorInfo& info, const Embedder& embedder) {
  const size_t width = info.type == ElementType::float32 ? 4 : 1;
  std::vector<uint8_t> table(256 * width);
  for (int byte = 0; byte < 256; ++byte) {
    const double value = (byte - embedder.mean) / embedder.scale;
    if (info.type == ElementType::float32) {
      const float element = static_cast<float>(value);
      std::memcpy(&table[byte * width], &element, width);
    } else {
      if (!(info.scale > 0)) throw RuntimeFailure("the int8 input " + info.name + " has no scale");
      const double integer = std::clamp(std::nearbyint(value / info.scale) + info.zero_point, -128.0, 127.0);
      const int8_t element = static_cast<int8_t>(integer);
      std::memcpy(&table[byte * width], &element, width);
    }
  }
  return table;
}

// The share of the aligned crop that shows the face itself.
constexpr int kFaceTop = 28, kFaceBottom = 104, kFaceLeft = 22, kFaceRight = 90;
constexpr int kFaceWidth = kFaceRight - kFaceLeft, kFaceHeight = kFaceBottom - kFaceTop;

// How far the detector's eyes, nose and mouth lie from the mesh's, at most, over the distance between the eyes.
double apart(const Detection& face, const FivePoints& points, double eye_distance) {
  const Point mouth{(points[3].x + points[4].x) / 2, (points[3].y + points[4].y) / 2};
  const std::array<Point, 4> found{points[0], points[1], points[2], mouth};
  double most = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    most = std::max(most, std::hypot(face.keypoints[i].x - found[i].x, face.keypoints[i].y - found[i].y));
  }
  return most / eye_distance;
}

}  // namespace

double signal_to_noise(const uint8_t* crop) {
  constexpr int kBox = 5, kSide = kBox / 2;
  constexpr double kUnit = 256.0, kLeast = 0.6;
  int gray[kFaceHeight][kFaceWidth];
  for (int y = 0; y < kFaceHeight; ++y) {
    const uint8_t* row = crop + 3 * ((y + kFaceTop) * kCropSize + kFaceLeft);
    for (int x = 0; x < kFaceWidth; ++x) gray[y][x] = 77 * row[3 * x] + 150 * row[3 * x + 1] + 29 * row[3 * x + 2];
  }
  int64_t noise = 0, sum = 0, squares = 0;
  for (int y = 1; y + 1 < kFaceHeight; ++y) {
    for (int x = 1; x + 1 < kFaceWidth; ++x) {
      const auto across = [&](int v) { return gray[v][x - 1] - 2 * gray[v][x] + gray[v][x + 1]; };
      noise += std::abs(across(y - 1) - 2 * across(y) + across(y + 1));
    }
  }
  int columns[kFaceWidth];
  for (int y = kSide; y + kSide < kFaceHeight; ++y) {
    for (int x = 0; x < kFaceWidth; ++x) {
      columns[x] = 0;
      for (int v = -kSide; v <= kSide; ++v) columns[x] += gray[y + v][x];
    }
    for (int x = kSide; x + kSide < kFaceWidth; ++x) {
      int64_t box = 0;
      for (int u = -kSide; u <= kSide; ++u) box += columns[x + u];
      sum += box;
      squares += box * box;
    }
  }
  const double boxes = (kFaceWidth - kBox + 1) * (kFaceHeight - kBox + 1), mean = sum / boxes;
  const double contrast = std::sqrt(std::max(0.0, squares / boxes - mean * mean)) / (kBox * kBox * kUnit);
  const double pixels = (kFaceWidth - 2) * (kFaceHeight - 2);
  return contrast / (std::sqrt(std::numbers::pi / 2) / 6 * noise / (pixels * kUnit) + kLeast);
}

CropStatistics measure(const uint8_t* crop) {
  // Gray with a border of one pixel, which the Laplacian looks at.
  constexpr int width = kFaceWidth, height = kFaceHeight, stride = width + 2;
  uint8_t gray[stride * (height + 2)];
  for (int y = 0; y < height + 2; ++y) {
    kernels().gray_u8(crop + 3 * ((y + kFaceTop - 1) * kCropSize + kFaceLeft - 1), gray + y * stride, stride);
  }
  const Sums sums = kernels().sums_u8(gray + stride + 1, stride, width, height);
  const Edges edges = kernels().edges_u8(gray + stride + 1, stride, width, height);
  const double n = width * height, mean = sums.sum / n, edge_mean = edges.sum / n;
  return {mean, std::sqrt(std::max(0.0, sums.squares / n - mean * mean)), sums.bright / n,
          edges.squares / n - edge_mean * edge_mean, signal_to_noise(crop)};
}

bool align(const Image& frame, const FivePoints& points, std::vector<uint8_t>& scratch, uint8_t* crop) {
  const Affine exact = inverse(similarity(points, kArcFacePoints)), map = on_grid(exact);
  const double scale = scale_of(exact);
  if (!(scale > 0) || !std::isfinite(scale)) return false;
  // How many samples make a pixel goes by the exact scale, so faces at either side of a whole one get other crops,
  // however near they are. By the grid's, one of twice the size would have samples half-way between pixels alone.
  const int fine = static_cast<int>(std::clamp(scale, 1.0, 8.0));
  if (fine == 1) {
    kernels().warp_u8(frame, map, crop, kCropSize, kCropSize);
    return true;
  }
  // Samples at the centres of a fine x fine grid in each pixel of the crop, averaged.
  const double shift = (1.0 / fine - 1.0) / 2.0;
  const Affine finer{map.a / fine, map.b / fine, map.c + (map.a + map.b) * shift,
                     map.d / fine, map.e / fine, map.f + (map.d + map.e) * shift};
  const int side = kCropSize * fine;
  scratch.resize(static_cast<size_t>(side) * side * 3);
  kernels().warp_u8(frame, finer, scratch.data(), side, side);
  kernels().box_u8(scratch.data(), crop, kCropSize, fine);
  return true;
}

Pipeline::Pipeline(std::shared_ptr<Network> detector, std::shared_ptr<Network> mesh, std::vector<Embedder> embedders)
    : detector_(std::move(detector)), mesh_(std::move(mesh)), embedders_(std::move(embedders)) {
  static_assert(mesh::kSize >= blazeface::kShortRange.size && mesh::kSize >= blazeface::kFullRange.size);
  pixels_.resize(size_t{mesh::kSize} * mesh::kSize * 3);
  if (detector_) {
    const size_t full = size_t{blazeface::kFullRange.anchors()} * blazeface::kValues;
    for (const TensorInfo& t : detector_->output_infos()) {
      if (t.elements() == full) form_ = blazeface::kFullRange;
    }
    expect_input(*detector_, form_.size, ElementType::float32, "detector");
    regressors_ = detector_->output_of_size(static_cast<size_t>(form_.anchors()) * blazeface::kValues);
    logits_ = detector_->output_of_size(static_cast<size_t>(form_.anchors()));
    expect_float(*detector_, regressors_, "detector");
    expect_float(*detector_, logits_, "detector");
  }
  if (mesh_) {
    expect_input(*mesh_, mesh::kSize, ElementType::float32, "face mesh");
    points_ = mesh_->output_of_size(size_t{mesh::kPoints} * 3);
    presence_ = mesh_->output_of_size(1);
    expect_float(*mesh_, points_, "face mesh");
    expect_float(*mesh_, presence_, "face mesh");
  }
  double weights = 0;
  for (const Embedder& e : embedders_) {
    if (!e.network) throw RuntimeFailure("embedder: a network was expected, there is none");
    if (!std::isfinite(e.mean) || !(e.scale > 0) || !std::isfinite(e.scale) || !(e.weight > 0)) {
      throw RuntimeFailure("embedder: a finite mean, a positive scale and a positive weight were expected");
    }
    weights += e.weight;
    expect_input(*e.network, kCropSize, e.network->input_info().type, "embedder");
    if (e.network->output_infos().size() != 1) throw RuntimeFailure("embedder: one output was expected");
    input_tables_.push_back(make_table(e.network->input_info(), e));
    dimension_ += e.network->output_infos()[0].elements();
  }
  if (!embedders_.empty() && !(std::abs(weights - 1) < 1e-6)) {
    throw RuntimeFailure("embedder: weights that sum to 1 were expected, these sum to " + std::to_string(weights));
  }
}

std::unique_lock<std::mutex> Pipeline::enter() {
  process_.check();  // before the lock, which nobody in a child would ever give back
  return std::unique_lock(mutex_);
}

std::vector<Detection> Pipeline::detect(const Image& frame) {
  return detect_in(frame, blazeface::letterbox(frame.width, frame.height));
}

std::vector<Detection> Pipeline::detect_in(const Image& frame, const Region& region) {
  const auto lock = enter();
  if (!detector_) throw RuntimeFailure("this pipeline has no detector");
  const int size = form_.size;
  kernels().warp_u8(frame, region_to_frame(region, size), pixels_.data(), size, size);
  kernels().scale_u8_f32(pixels_.data(), static_cast<float*>(detector_->input()), static_cast<size_t>(size) * size * 3,
                         2.0f / 255.0f, -1.0f);
  detector_->invoke();
  auto found = blazeface::suppress(blazeface::decode(form_, static_cast<const float*>(detector_->output(regressors_)),
                                                     static_cast<const float*>(detector_->output(logits_)), region));
  blazeface::sort_by_area(found);
  // Callers keep faces in float32: a face handed back must lead to the very features it led to here.
  for (Detection& d : found) {
    for (double* v : {&d.box.x0, &d.box.y0, &d.box.x1, &d.box.y1}) *v = static_cast<float>(*v);
    for (Point& p : d.keypoints) p = {static_cast<float>(p.x), static_cast<float>(p.y)};
  }
  return found;
}

MeshResult Pipeline::find_mesh(const Image& frame, const Detection& face) {
  const auto lock = enter();
  return find_mesh_locked(frame, face);
}

MeshResult Pipeline::find_mesh_locked(const Image& frame, const Detection& face) {
  if (!mesh_) throw RuntimeFailure("this pipeline has no face mesh");
  const Region region = mesh::region_of(face);
  kernels().warp_u8(frame, region_to_frame(region, mesh::kSize), pixels_.data(), mesh::kSize, mesh::kSize);
  kernels().scale_u8_f32(pixels_.data(), static_cast<float*>(mesh_->input()), pixels_.size(), 1.0f / 255.0f, 0.0f);
  mesh_->invoke();
  MeshResult result;
  mesh::to_frame(static_cast<const float*>(mesh_->output(points_)), region, result.points);
  const double logit = *static_cast<const float*>(mesh_->output(presence_));
  result.presence = 1.0 / (1.0 + std::exp(-std::clamp(logit, -80.0, 80.0)));
  const bool finite = std::all_of(result.points.begin(), result.points.end(), [](const mesh::Point3& p) {
    return std::isfinite(p.x) && std::isfinite(p.y) && std::isfinite(p.z);
  });
  if (!finite || std::isnan(logit)) result.presence = 0;
  result.pose = mesh::pose_of(result.points);
  return result;
}

Look Pipeline::look(const Image& frame, const Detection& face, uint8_t* crop) {
  const auto lock = enter();
  Look look{find_mesh_locked(frame, face), {}, 0, 0, false};
  const FivePoints points = mesh::five_points(look.mesh.points);
  const double dx = points[1].x - points[0].x, dy = points[1].y - points[0].y;
  look.eye_distance = std::sqrt(dx * dx + dy * dy);
  look.apart = apart(face, points, look.eye_distance);
  look.aligned = align(frame, points, scratch_, crop);
  if (look.aligned) look.statistics = measure(crop);
  return look;
}

void Pipeline::embed(const uint8_t* crop, float* out) {
  const auto lock = enter();
  if (embedders_.empty()) throw RuntimeFailure("this pipeline has no embedder");
  float* part = out;
  try {
    for (size_t i = 0; i < embedders_.size(); ++i) {
      run_embedder(i, crop, part);
      part += embedders_[i].network->output_infos()[0].elements();
    }
  } catch (...) {
    wipe(out, dimension_ * sizeof(float));
    throw;
  }
}

void Pipeline::run_embedder(size_t index, const uint8_t* crop, float* out) {
  Network& network = *embedders_[index].network;
  const std::vector<uint8_t>& table = input_tables_[index];
  if (network.input_info().type == ElementType::int8) {
    kernels().table_u8(crop, static_cast<uint8_t*>(network.input()), kCropBytes, table.data());
  } else {
    float values[256];
    std::memcpy(values, table.data(), sizeof(values));
    auto* to = static_cast<float*>(network.input());
    for (size_t i = 0; i < kCropBytes; ++i) to[i] = values[crop[i]];
  }
  network.invoke();
  const TensorInfo& info = network.output_infos()[0];
  const size_t n = info.elements();
  // The scale of an int8 output cancels in the unit vector, so its features follow from integers alone.
  if (info.type == ElementType::int8) {
    const auto* integers = static_cast<const int8_t*>(network.output(0));
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(integers[i] - info.zero_point);
  } else {
    std::memcpy(out, network.output(0), n * sizeof(float));
  }
  const double squared = kernels().dot_f32(out, out, n);
  if (!(squared > 0) || !std::isfinite(squared)) throw RuntimeFailure("the embedder gave features without a direction");
  const float factor = static_cast<float>(std::sqrt(embedders_[index].weight / squared));
  for (size_t i = 0; i < n; ++i) out[i] *= factor;
}

void Pipeline::run_network(size_t index) {
  const auto lock = enter();
  Network* network = index == 0 ? detector_.get() : index == 1 ? mesh_.get() : nullptr;
  if (index >= 2 && index - 2 < embedders_.size()) network = embedders_[index - 2].network.get();
  if (network == nullptr) throw RuntimeFailure("this pipeline has no network " + std::to_string(index));
  network->invoke();
}

}  // namespace facesdk
