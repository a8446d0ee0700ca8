// Whether what was carried lies on a relief like a head's, or on a sheet: how pixels moved, against what a turn of the
// mesh would have moved them.
#pragma once

#include <span>

#include "image.h"
#include "mesh.h"

namespace facesdk::parallax {

// Fewer tracks say nothing.
constexpr size_t kLeast = 12;

// z of the mesh at a place of its picture, in eye distances from the mean of the mesh: of the points around the plane
// that fits them best. NaN where the points tell none.
double depth_at(const mesh::Points& face, Point at);

// The same for several places.
void depths_at(const mesh::Points& face, std::span<const Point> at, std::span<double> out);

// How the mesh turned from one frame to another: the similarity of space that fits it best.
struct Turn {
  bool known;
  double turn_deg;  // of the line of sight, whatever the roll
  Point shift;      // of a point in the picture by one eye distance of depth, eye distances
};
Turn turn_between(const mesh::Points& before, const mesh::Points& after);

// Of the displacements of n points the part that a homography explains is taken out, and so is that of what is
// predicted (depth times the turn's shift); rho is the regression of what is left of the one on what is left of the
// other: 1 for the mesh's own relief, 0 for a sheet. rho_bent is the same with every displacement that is quadratic in
// x and y taken out as well, which is what bent paper shows.
// One robust least-squares fit gives both steps (Frisch and Waugh 1933): residuals are weighted by Huber's function,
// their scale from the median; those beyond six of it count for nothing.
struct Relief {
  double rho, rho_bent;
  double rho_error, rho_bent_error;  // standard errors
  double residual;                   // scale of what is left, eye distances
  int used;                          // tracks that count for rho
};

// anchors and points in pixels, depths in eye distances; `size` is the eye distance of the anchors' frame in pixels.
// False where the numbers tell nothing: too few, not finite, in one line, no relief in them.
bool relief_of(std::span<const Point> anchors, std::span<const double> depths, std::span<const Point> points,
               double size, Point shift, Relief& out);

// Pixels between the middles of the mesh's eyes.
double eye_distance(const mesh::Points& face);

}  // namespace facesdk::parallax
