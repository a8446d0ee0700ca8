// MediaPipe's iris network: lids and iris of each eye, and how far it is open.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "geometry.h"
#include "image.h"
#include "network.h"

namespace facesdk {

// Of one eye, in frame pixels. Of the contour, 0 to 8 run along the lower lid from the outer to the inner corner, 9 to 15
// along the upper one without the corners; the others are rings around them and the brow. iris: centre, then four of its
// edge. Source: the order of tensors_to_face_landmarks_with_attention of MediaPipe.
struct Eye {
  std::array<Point, 71> contour;
  std::array<Point, 5> iris;
  // Distance of the lids' means across the line of the corners, over that line's length: 0.15 to 0.3 when open. NaN where
  // the network gave no numbers, or the corners lie in one place, or not both in the frame.
  double openness;
};

namespace eyes {

constexpr int kSize = 64;  // input: kSize x kSize x 3, 0..1
constexpr double kAround = 2.3;  // the side of the region over the distance of the corners. Source: MediaPipe's graph.
constexpr int kContour = 71, kIris = 5;

// An eye in the picture: its corners at the picture's left and right (the mesh's 33 and 133, or 362 and 263).
struct Corners {
  Point left, right;
};

// The square around an eye, turned so that its corners are level.
Region region_of(const Corners& corners);

// A pixel of the network's input -> frame. The network was made for one side: the other eye is shown mirrored.
Affine map_of(const Region& region, bool mirrored);

// How far the eye is open, of the network's first 16 points (x, y, z); NaN for what is no eye.
double openness_of(const float* contour);

}  // namespace eyes

// Not copyable; threads and forks as with Pipeline.
class Eyes {
 public:
  // Throws RuntimeFailure if the tensors are not those of the network.
  explicit Eyes(std::shared_ptr<Network> network);

  // The person's right eye and left eye.
  std::array<Eye, 2> look(const Image& frame, const std::array<eyes::Corners, 2>& corners);

 private:
  Eye look_at(const Image& frame, const eyes::Corners& corners, bool mirrored);

  Process process_;
  std::mutex mutex_;
  std::shared_ptr<Network> network_;
  size_t contour_ = 0, iris_ = 0;
  std::vector<uint8_t> pixels_;
};

}  // namespace facesdk
