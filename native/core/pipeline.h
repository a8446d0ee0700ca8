// From a frame to features: detect, look (mesh, align, measure), embed. Buffers are made once and reused.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "blazeface.h"
#include "geometry.h"
#include "image.h"
#include "mesh.h"
#include "network.h"

namespace facesdk {

// One embedding network: how bytes become its input, and its share of the joined features.
struct Embedder {
  std::shared_ptr<Network> network;
  double mean;    // input = (byte - mean) / scale
  double scale;
  double weight;  // of its squared length in the joined vector; the weights of all embedders sum to 1
};

// What quality is judged by, measured on the aligned crop's face area (gray = (77 R + 150 G + 29 B) / 256).
struct CropStatistics {
  double brightness;     // mean gray, 0..255
  double contrast;       // standard deviation of gray
  double overexposed;    // share of pixels >= 250
  double sharpness;      // variance of the 4-neighbour Laplacian of gray
  double signal_to_noise;  // see signal_to_noise()
};

struct MeshResult {
  mesh::Points points;
  double presence;  // 0..1: the network's own opinion that there is a face
  Pose pose;
};

// What the frame shows of one face: enough to say whether features of it are worth making.
struct Look {
  MeshResult mesh;
  CropStatistics statistics;
  double eye_distance;  // frame pixels, between the eye centres
  double apart;         // of the detector's eyes, nose and mouth from the mesh's, at most, in eye distances
  bool aligned;         // false: the mesh gave no points to align by; crop and statistics mean nothing
};

CropStatistics measure(const uint8_t* crop);

// Contrast of the crop's face area (standard deviation of 5 x 5 means) over the noise in it, which is taken for 0.6 gray
// levels at least. From integers alone: sums of 77 R + 150 G + 29 B. Noise: Immerkaer, Fast Noise Variance Estimation, 1996.
double signal_to_noise(const uint8_t* crop);

// Brings the face with these five points into crop (112 x 112 x 3). Faces larger than the crop are averaged, not
// skipped over. Returns false for points that no similarity can bring there (all in one place).
bool align(const Image& frame, const FivePoints& points, std::vector<uint8_t>& scratch, uint8_t* crop);

// Not copyable; calls from several threads wait for each other (one pipeline a thread runs them side by side). In a child
// of the process that made it every call throws MadeBeforeFork, at once: a thread may have been inside.
class Pipeline {
 public:
  // detector: BlazeFace short or full range, told apart by its outputs. mesh and embedders may be left out (nullptr,
  // empty) where only detection is wanted. Throws RuntimeFailure if a model's tensors are not those of the named networks.
  Pipeline(std::shared_ptr<Network> detector, std::shared_ptr<Network> mesh, std::vector<Embedder> embedders);

  // Faces in the frame, the largest first.
  std::vector<Detection> detect(const Image& frame);

  // Faces in a square of the frame, which may reach over its edge (black there), the largest first.
  std::vector<Detection> detect_in(const Image& frame, const Region& region);

  // The mesh of one detected face.
  MeshResult find_mesh(const Image& frame, const Detection& face);

  // The mesh of the given face, its aligned crop (112 x 112 x 3, written to `crop`) and what that shows. Whether
  // presence and statistics are good enough for features is the caller's to say.
  Look look(const Image& frame, const Detection& face, uint8_t* crop);

  // Features of an aligned crop, of unit length, into `out` (dimension() floats), which is wiped if it throws. Of the
  // last crop the networks' own buffers keep traces until the next.
  void embed(const uint8_t* crop, float* out);

  // Runs one network alone on what its input holds: 0 the detector, 1 the mesh, then the embedders. For timing.
  void run_network(size_t index);

  size_t dimension() const { return dimension_; }

 private:
  std::unique_lock<std::mutex> enter();
  MeshResult find_mesh_locked(const Image& frame, const Detection& face);
  void run_embedder(size_t index, const uint8_t* crop, float* out);

  Process process_;
  std::mutex mutex_;
  std::shared_ptr<Network> detector_, mesh_;
  blazeface::Form form_ = blazeface::kShortRange;
  std::vector<Embedder> embedders_;
  std::vector<std::vector<uint8_t>> input_tables_;  // byte -> input element, 256 entries (of 1 or 4 bytes) each
  size_t regressors_ = 0, logits_ = 0, points_ = 0, presence_ = 0, dimension_ = 0;
  std::vector<uint8_t> pixels_, scratch_;
};

}  // namespace facesdk
