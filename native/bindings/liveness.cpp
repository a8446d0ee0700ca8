// Tracks of a face's pixels, and what they say about its relief.
#include <pybind11/numpy.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "arrays.h"
#include "core/parallax.h"
#include "core/tracks.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

mesh::Points mesh_of(const py::array& a) {
  const float* in = floats_of<float>(a, 2, "float32 array of landmarks of shape (468, 3)");
  if (a.shape(0) != mesh::kPoints || a.shape(1) != 3) wrong("landmarks of shape (468, 3)", describe(a));
  mesh::Points points;
  for (size_t i = 0; i < mesh::kPoints; ++i) points[i] = {in[3 * i], in[3 * i + 1], in[3 * i + 2]};
  return points;
}

std::vector<Point> points_of(const py::array& a) {
  const double* in = floats_of<double>(a, 2, "float64 array of points of shape (n, 2)");
  if (a.shape(1) != 2) wrong("points of shape (n, 2)", describe(a));
  std::vector<Point> points(static_cast<size_t>(a.shape(0)));
  for (size_t i = 0; i < points.size(); ++i) points[i] = {in[2 * i], in[2 * i + 1]};
  return points;
}

template <typename Get>
py::array_t<double> column(std::span<const tracks::Track> all, const Get& get) {
  py::array_t<double> out({static_cast<py::ssize_t>(all.size()), py::ssize_t{2}});
  double* to = out.mutable_data();
  for (const tracks::Track& track : all) {
    const Point p = get(track);
    *to++ = p.x;
    *to++ = p.y;
  }
  return out;
}

py::array_t<double> depths_of(std::span<const tracks::Track> all) {
  py::array_t<double> out(static_cast<py::ssize_t>(all.size()));
  double* to = out.mutable_data();
  for (const tracks::Track& track : all) *to++ = track.depth;
  return out;
}

// Calls from several threads wait for each other, without the GIL.
struct Locked {
  tracks::FaceTracks tracks;
  std::mutex mutex;

  std::vector<tracks::Track> copy() {
    const py::gil_scoped_release released;
    const std::lock_guard lock(mutex);
    return {tracks.tracks().begin(), tracks.tracks().end()};
  }
};

using Move = size_t (tracks::FaceTracks::*)(const Image&, const mesh::Points&);

template <Move kMove>
size_t move(Locked& all, const py::object& frame, const py::array& landmarks) {
  const Image image = image_of(frame);
  const mesh::Points points = mesh_of(landmarks);
  const py::gil_scoped_release released;
  const std::lock_guard lock(all.mutex);
  return (all.tracks.*kMove)(image, points);
}

py::array_t<uint8_t> gray_of(const py::object& frame, const py::tuple& corner, const py::tuple& size, int factor) {
  const Image image = image_of(frame);
  const tracks::Part part{corner[0].cast<int>(), corner[1].cast<int>(), factor};
  const int width = size[0].cast<int>(), height = size[1].cast<int>();
  const bool within = part.left >= 0 && part.top >= 0 && factor >= 1 && factor <= kMaxSide && width >= 1 && height >= 1 &&
                      width <= tracks::kMaxPlane && height <= tracks::kMaxPlane && part.left <= image.width &&
                      part.top <= image.height && width <= (image.width - part.left) / factor &&
                      height <= (image.height - part.top) / factor;
  if (!within) wrong("a part within the frame, at most 448 blocks a side", "another");
  tracks::Plane plane;
  plane.resize(width, height);
  tracks::shrink_gray(image, part, plane);
  return py::array_t<uint8_t>({height, width}, plane.pixels.data());
}

tracks::Pyramid pyramid_of(const py::array& a) {
  const uint8_t* in = floats_of<uint8_t>(a, 2, "uint8 array of shape (height, width)");
  if (a.shape(0) < 1 || a.shape(1) < 1 || a.shape(0) > kMaxSide || a.shape(1) > kMaxSide) {
    wrong("a gray picture of at most 8192 pixels a side", describe(a));
  }
  tracks::Pyramid pyramid;
  pyramid[0].resize(static_cast<int>(a.shape(1)), static_cast<int>(a.shape(0)));
  std::copy_n(in, static_cast<size_t>(a.size()), pyramid[0].pixels.data());
  build(pyramid);
  return pyramid;
}

py::tuple carry_points(const py::array& before, const py::array& after, const py::array& starts, const py::array& guesses) {
  const tracks::Pyramid from = pyramid_of(before), to = pyramid_of(after);
  const std::vector<Point> start = points_of(starts), guess = points_of(guesses);
  if (start.size() != guess.size()) wrong("a guess for each point", describe(guesses));
  for (const auto* points : {&start, &guess}) {
    for (const Point& p : *points) {
      if (!(std::abs(p.x) < 1e5 && std::abs(p.y) < 1e5)) wrong("points within 1e5 pixels", "others");
    }
  }
  py::array_t<double> out({static_cast<py::ssize_t>(start.size()), py::ssize_t{2}});
  py::array_t<bool> found(static_cast<py::ssize_t>(start.size()));
  double* at = out.mutable_data();
  bool* good = found.mutable_data();
  for (size_t i = 0; i < start.size(); ++i) {
    const tracks::Carried carried = tracks::carry_and_return(from, to, start[i], guess[i]);
    *at++ = carried.at.x;
    *at++ = carried.at.y;
    *good++ = carried.found;
  }
  return py::make_tuple(out, found);
}

py::object turn_of(const py::array& before, const py::array& after) {
  const parallax::Turn turn = parallax::turn_between(mesh_of(before), mesh_of(after));
  if (!turn.known) return py::none();
  return py::make_tuple(turn.turn_deg, py::make_tuple(turn.shift.x, turn.shift.y));
}

py::object relief_of(const py::array& anchors, const py::array& depths, const py::array& points, double eye_distance_px,
                     const py::tuple& shift) {
  const std::vector<Point> from = points_of(anchors), to = points_of(points);
  const double* depth = floats_of<double>(depths, 1, "float64 vector of depths");
  const auto n = static_cast<size_t>(depths.size());
  if (from.size() != n || to.size() != n) wrong("an anchor, a depth and a point for each track", describe(depths));
  const Point by{shift[0].cast<double>(), shift[1].cast<double>()};
  parallax::Relief r{};
  bool good;
  {
    const py::gil_scoped_release released;
    good = parallax::relief_of(from, {depth, n}, to, eye_distance_px, by, r);
  }
  if (!good) return py::none();
  return py::make_tuple(r.rho, r.rho_bent, r.rho_error, r.rho_bent_error, r.residual, r.used);
}

py::array_t<double> depths_at(const py::array& landmarks, const py::array& points) {
  const mesh::Points face = mesh_of(landmarks);
  const std::vector<Point> at = points_of(points);
  py::array_t<double> out(static_cast<py::ssize_t>(at.size()));
  parallax::depths_at(face, at, {out.mutable_data(), at.size()});
  return out;
}

}  // namespace

void register_liveness(py::module_& m) {
  using tracks::FaceTracks;
  py::class_<Locked>(m, "FaceTracks")
      .def(py::init<>())
      .def("start", &move<&FaceTracks::start>, py::arg("frame"), py::arg("landmarks"))
      .def("follow", &move<&FaceTracks::follow>, py::arg("frame"), py::arg("landmarks"))
      .def("reset",
           [](Locked& all) {
             const py::gil_scoped_release released;
             const std::lock_guard lock(all.mutex);
             all.tracks.reset();
           })
      .def("take", [](Locked& all) {
        const std::vector<tracks::Track> now = all.copy();
        return py::make_tuple(column(now, [](const tracks::Track& track) { return track.anchor; }), depths_of(now),
                              column(now, [](const tracks::Track& track) { return track.at; }));
      });
  m.def("face_gray", &gray_of, py::arg("frame"), py::arg("corner"), py::arg("size"), py::arg("factor"));
  m.def("carry_points", &carry_points, py::arg("before"), py::arg("after"), py::arg("points"), py::arg("guesses"));
  m.def("mesh_depths", &depths_at, py::arg("landmarks"), py::arg("points"));
  m.def("eye_distance", [](const py::array& landmarks) { return parallax::eye_distance(mesh_of(landmarks)); }, py::arg("landmarks"));
  m.def("mesh_turn", &turn_of, py::arg("before"), py::arg("after"));
  m.def("relief", &relief_of, py::arg("anchors"), py::arg("depths"), py::arg("points"), py::arg("eye_distance_px"), py::arg("shift"));
}
