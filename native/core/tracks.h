// Points of a face that are carried from frame to frame by their pixels (Lucas and Kanade), whatever a mesh says.
//
// Everything that decides is whole numbers or single operations of doubles, so that it is the same on every processor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "image.h"
#include "mesh.h"

namespace facesdk::tracks {

constexpr size_t kMost = 60;     // tracks of one face
constexpr int kLevels = 3;       // of a pyramid, each half as large as the one before
constexpr int kWindow = 16;      // side of what is compared, pixels
constexpr int kEnough = 320;     // pixels of a face's longer side: of more, every so many make one
constexpr int kMaxPlane = 448;   // sides of a gray picture at most
constexpr int kMinFace = 48;     // pixels of a face's longer side at least

// A gray picture, rows without gaps; kSpare bytes behind the last may be read.
constexpr int kSpare = 32;
struct Plane {
  std::vector<uint8_t> pixels;
  int width = 0, height = 0;

  void resize(int w, int h) {
    width = w;
    height = h;
    pixels.resize(static_cast<size_t>(w) * static_cast<size_t>(h) + kSpare);
  }
  const uint8_t* row(int y) const { return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width); }
  uint8_t* row(int y) { return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width); }
};

// Level 0 is the picture, pixel (x, y) of a level the rounded mean of the four around (2 x + .5, 2 y + .5) below it.
using Pyramid = std::array<Plane, kLevels>;
void build(Pyramid& pyramid);  // levels 1 and up from level 0

// Where a gray picture lies in its frame: pixel (x, y) of it is the mean of so many pixels, at most 4 x 4, of the block
// with the corner (left + x factor, top + y factor).
struct Part {
  int left = 0, top = 0, factor = 1;

  int step() const { return (factor + 3) / 4; }                     // from one pixel of a block to the next
  int count() const { return (factor + step() - 1) / step(); }      // pixels of a block's row
  double middle() const { return (count() - 1) * step() / 2.0; }    // of a block, from its corner
  Point to_frame(Point p) const { return {left + factor * p.x + middle(), top + factor * p.y + middle()}; }
  Point from_frame(Point p) const { return {(p.x - middle() - left) / factor, (p.y - middle() - top) / factor}; }
};

// The gray picture of this part, out.width x out.height, which lies within the frame. Gray is the kernels' gray_u8, the
// mean of a block rounded to the nearest, halves up.
void shrink_gray(const Image& frame, const Part& part, Plane& out);

// A point's place in another picture, in level 0's pixels; found is false where it cannot be told.
struct Carried {
  Point at;
  bool found;
};

// Where the window around `start` of one picture is in another, looked for from `guess`. Least squares of what is left
// without the mean, by the inverse compositional algorithm for a shift, from the smallest level to level 0.
// Source: Baker and Matthews, Lucas-Kanade 20 years on, IJCV 56 (2004); Bouguet, Pyramidal implementation of the Lucas
// Kanade feature tracker, 2000.
Carried carry(const Pyramid& from, const Pyramid& to, Point start, Point guess);

// The same, and back again from there to within kMaxBack pixels of `start`.
// Source: Kalal, Mikolajczyk and Matas, Forward-backward error, ICPR 2010.
constexpr double kMaxBack = 0.6;
Carried carry_and_return(const Pyramid& from, const Pyramid& to, Point start, Point guess);

// The best places of a picture to carry, the best first: the smaller eigenvalue of the gradients' products (Shi and
// Tomasi, Good features to track, CVPR 1994), at least `apart` pixels from each other, where `allowed` says so.
class Chooser {
 public:
  void scores_of(const Plane& plane);
  template <typename Allowed>
  void choose(double apart, size_t most, const Allowed& allowed, std::vector<Point>& out);

 private:
  struct Place {
    double score;
    int x, y;
  };
  void collect();
  std::vector<int32_t> blocks_;  // three sums of each block of 4 x 4 pixels
  std::vector<Place> places_;
  int across_ = 0, down_ = 0;
};

struct Track {
  Point anchor;  // frame pixels where it was chosen
  double depth;  // of the mesh there, eye distances, smaller is nearer
  Point at;      // frame pixels now
};

// The tracks of one face, their buffers made once. Frames are not kept, a gray picture of the face is.
class FaceTracks {
 public:
  // Chooses tracks inside the face's contour, away from what moves by itself (eyes, mouth); all tracks before are gone.
  size_t start(const Image& frame, const mesh::Points& face);

  // Carries them to the next frame; those that are lost, or left the contour, are gone. All are where the frame has
  // another size or the face one of another order.
  size_t follow(const Image& frame, const mesh::Points& face);

  void reset();
  std::span<const Track> tracks() const { return tracks_; }

 private:
  bool look_at(const Image& frame, const mesh::Points& face);

  Pyramid before_, now_;
  Part part_before_, part_;
  Point middle_before_{0, 0}, middle_{0, 0};
  int width_ = 0, height_ = 0;
  Chooser chooser_;
  std::vector<Point> chosen_;
  std::vector<Track> tracks_;
};

template <typename Allowed>
void Chooser::choose(double apart, size_t most, const Allowed& allowed, std::vector<Point>& out) {
  collect();
  out.clear();
  for (const Place& place : places_) {
    if (out.size() == most) return;
    // Middle of the window, as carry() lays it.
    const Point p{place.x - 0.5, place.y - 0.5};
    bool good = true;
    for (const Point& o : out) good = good && (o.x - p.x) * (o.x - p.x) + (o.y - p.y) * (o.y - p.y) >= apart * apart;
    if (good && allowed(p)) out.push_back(p);
  }
}

}  // namespace facesdk::tracks
