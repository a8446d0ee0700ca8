// Maps between frame, region and aligned crop.
#pragma once

#include <array>

#include "image.h"

namespace facesdk {

// A square in the frame, turned by angle (radians, clockwise as seen, since y points down).
struct Region {
  Point centre;
  double side;
  double angle;
};

constexpr int kCropSize = 112;
constexpr int kCropBytes = kCropSize * kCropSize * 3;
using FivePoints = std::array<Point, 5>;  // right eye, left eye, nose tip, right and left mouth corner (the person's)

// Where the ArcFace networks expect the five points in a 112 x 112 crop.
// Source: the reference points that ArcFace and its followers (SFace among them) were trained with.
extern const FivePoints kArcFacePoints;

// Pixel (x, y) of a size x size picture of the region -> frame, with (0, 0) at the region's corner
// (MediaPipe's convention: no half-pixel shift).
Affine region_to_frame(const Region& region, int size);

// Least-squares similarity (scale, rotation, shift; no mirroring) that brings from onto to.
// Source: Umeyama 1991, in its closed form for two dimensions. Degenerate points (all equal) give a zero scale.
Affine similarity(const FivePoints& from, const FivePoints& to);

// The inverse; a map with determinant 0 gives all zeros.
Affine inverse(const Affine& map);

// The nearest similarity, from a crop to the frame, on a grid: with s the power of two above its scale, the
// coefficients a and d are multiples of s / 2048, where the crop's middle comes to lie of s / 64. It moves no corner of
// the crop by more than 0.073 of the crop's pixels. Landmarks of one face that differ in their last digits, as those of
// two processors do, so lead to the same map, unless they lie at an edge of the grid.
Affine on_grid(const Affine& map);

// Length in the frame of one pixel's step of the map.
double scale_of(const Affine& map);

}  // namespace facesdk
