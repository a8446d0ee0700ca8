// MediaPipe's face mesh: the region to look at, its points in the frame, and what follows from them.
#pragma once

#include <array>
#include <span>

#include "blazeface.h"
#include "geometry.h"

namespace facesdk {

// Degrees. Yaw: the nose towards the right edge of the picture is positive. Pitch: down is positive.
// Roll: clockwise in the picture is positive.
struct Pose {
  double yaw, pitch, roll;
};

namespace mesh {

constexpr int kSize = 192;  // input: kSize x kSize x 3, 0..1
constexpr int kPoints = 468;

struct Point3 {
  double x, y, z;
};
using Points = std::array<Point3, kPoints>;  // frame pixels; z in the same unit, smaller is nearer the camera

// 1.5 x the longer side of the box, turned so that the eyes are level.
// Source: FaceDetectionFrontDetectionToRoi of MediaPipe.
Region region_of(const Detection& face);

// The network's 1404 numbers (x, y, z in input pixels) in the frame.
void to_frame(const float* raw, const Region& region, Points& points);

// Eye centres, nose and mouth corners as the aligned crop needs them.
FivePoints five_points(const Points& points);

// From the line between the cheeks (234, 454) and that from forehead to chin (10, 152).
Pose pose_of(const Points& points);

}  // namespace mesh

// A rougher pose from the detector's six keypoints alone.
Pose pose_of(const Detection& face);

}  // namespace facesdk
