// The eyes of one face.
#include "core/eyes.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>
#include <memory>

#include "arrays.h"
#include "core/mesh.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

// The mesh's points of the corners: the person's right eye, then the left one.
constexpr int kCorners[2][2] = {{33, 133}, {362, 263}};

std::array<eyes::Corners, 2> corners_of(const py::array& landmarks) {
  const float* points = floats_of<float>(landmarks, 2, "float32 array of landmarks of shape (468, 3)");
  if (landmarks.shape(0) != mesh::kPoints || landmarks.shape(1) != 3) {
    wrong("landmarks of shape (468, 3)", describe(landmarks));
  }
  std::array<eyes::Corners, 2> corners;
  for (int e = 0; e < 2; ++e) {
    Point at[2];
    for (int c = 0; c < 2; ++c) at[c] = {points[3 * kCorners[e][c]], points[3 * kCorners[e][c] + 1]};
    corners[e] = {at[0], at[1]};
  }
  return corners;
}

template <size_t n>
py::array_t<float> points_array(const std::array<Point, n>& points) {
  py::array_t<float> out({static_cast<py::ssize_t>(n), py::ssize_t{2}});
  auto view = out.template mutable_unchecked<2>();
  for (size_t i = 0; i < n; ++i) {
    view(i, 0) = static_cast<float>(points[i].x);
    view(i, 1) = static_cast<float>(points[i].y);
  }
  return out;
}

}  // namespace

void register_eyes(py::module_& m) {
  py::class_<Eyes>(m, "Eyes")
      .def(py::init<std::shared_ptr<Network>>())
      .def("look", [](Eyes& e, const py::object& frame, const py::array& landmarks) {
        const Image image = image_of(frame);
        const auto corners = corners_of(landmarks);
        std::array<Eye, 2> found;
        {
          const py::gil_scoped_release release;
          found = e.look(image, corners);
        }
        py::list out;
        for (const Eye& eye : found) {
          out.append(py::make_tuple(eye.openness, points_array(eye.contour), points_array(eye.iris)));
        }
        return out;
      });
}
