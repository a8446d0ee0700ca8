// The way from a frame to features, and its single steps.
#include "core/pipeline.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

py::array_t<float> points_array(const Point* points, size_t n) {
  py::array_t<float> out({static_cast<py::ssize_t>(n), py::ssize_t{2}});
  auto view = out.mutable_unchecked<2>();
  for (size_t i = 0; i < n; ++i) {
    view(i, 0) = static_cast<float>(points[i].x);
    view(i, 1) = static_cast<float>(points[i].y);
  }
  return out;
}

py::tuple detection_tuple(const Detection& d) {
  py::array_t<float> box(4);
  const double corners[4] = {d.box.x0, d.box.y0, d.box.x1, d.box.y1};
  for (int i = 0; i < 4; ++i) box.mutable_at(i) = static_cast<float>(corners[i]);
  const Pose pose = pose_of(d);
  return py::make_tuple(box, points_array(d.keypoints.data(), d.keypoints.size()), d.score,
                        py::make_tuple(pose.yaw, pose.pitch, pose.roll));
}

// Which faces can be looked at; a network that gives others is no detector.
void check_face(const Detection& d) {
  constexpr double kFar = 1e6;
  const auto fits = [](double v) { return std::abs(v) < kFar; };
  const bool finite = std::ranges::all_of(std::array{d.box.x0, d.box.y0, d.box.x1, d.box.y1}, fits) &&
                      std::ranges::all_of(d.keypoints, [&](const Point& p) { return fits(p.x) && fits(p.y); });
  if (!finite || !(d.box.area() > 0)) wrong("a face with a box of positive area and finite points", "other numbers");
}

Detection detection_of(const py::array& box, const py::array& keypoints, double score) {
  const float* b = floats_of<float>(box, 1, "float32 box of shape (4,)");
  const float* k = floats_of<float>(keypoints, 2, "float32 array of keypoints of shape (6, 2)");
  if (box.size() != 4 || keypoints.shape(0) != 6 || keypoints.shape(1) != 2) {
    wrong("a box of shape (4,) and keypoints of shape (6, 2)", describe(box) + " and " + describe(keypoints));
  }
  Detection d{{b[0], b[1], b[2], b[3]}, {}, score};
  for (int i = 0; i < 6; ++i) d.keypoints[i] = {k[2 * i], k[2 * i + 1]};
  check_face(d);
  return d;
}

py::tuple mesh_tuple(const MeshResult& m) {
  py::array_t<float> points({py::ssize_t{mesh::kPoints}, py::ssize_t{3}});
  auto view = points.mutable_unchecked<2>();
  for (py::ssize_t i = 0; i < mesh::kPoints; ++i) {
    view(i, 0) = static_cast<float>(m.points[i].x);
    view(i, 1) = static_cast<float>(m.points[i].y);
    view(i, 2) = static_cast<float>(m.points[i].z);
  }
  return py::make_tuple(points, m.presence, py::make_tuple(m.pose.yaw, m.pose.pitch, m.pose.roll));
}

py::array_t<uint8_t> empty_crop() { return py::array_t<uint8_t>({kCropSize, kCropSize, 3}); }

py::tuple look_tuple(const Look& look, const py::array_t<uint8_t>& crop) {
  const CropStatistics& q = look.statistics;
  const py::tuple quality = py::make_tuple(q.brightness, q.contrast, q.overexposed, q.sharpness, q.signal_to_noise);
  return py::make_tuple(mesh_tuple(look.mesh), quality, look.eye_distance,
                        look.aligned ? py::object(crop) : py::object(py::none()), look.apart);
}

py::list detections_list(Pipeline& p, const Image& image, const Region& region) {
  std::vector<Detection> found;
  {
    const py::gil_scoped_release release;
    found = p.detect_in(image, region);
  }
  py::list out;
  for (const Detection& d : found) out.append(detection_tuple(d));
  return out;
}

const uint8_t* crop_of(const py::array& crop) {
  const uint8_t* pixels = floats_of<uint8_t>(crop, 3, "uint8 array of shape (112, 112, 3)");
  if (crop.size() != kCropBytes || crop.shape(1) != kCropSize || crop.shape(2) != 3) {
    wrong("an aligned crop, uint8 of shape (112, 112, 3)", describe(crop));
  }
  return pixels;
}

}  // namespace

void register_pipeline(py::module_& m) {
  using Kept = std::shared_ptr<Network>;
  py::class_<Pipeline>(m, "Pipeline")
      .def(py::init([](Kept detector, Kept mesh, const std::vector<std::tuple<Kept, double, double, double>>& embedders) {
        std::vector<Embedder> list;
        for (const auto& [network, mean, scale, weight] : embedders) list.push_back({network, mean, scale, weight});
        return std::make_unique<Pipeline>(std::move(detector), std::move(mesh), std::move(list));
      }))
      .def_property_readonly("dimension", &Pipeline::dimension)
      .def("run_network", &Pipeline::run_network, py::call_guard<py::gil_scoped_release>())
      .def("detect",
           [](Pipeline& p, const py::object& frame) {
             const Image image = image_of(frame);
             return detections_list(p, image, blazeface::letterbox(image.width, image.height));
           })
      .def("detect_in",
           [](Pipeline& p, const py::object& frame, double x, double y, double side) {
             const Image image = image_of(frame);
             if (!(std::abs(x) < 1e6 && std::abs(y) < 1e6 && side > 0 && side < 1e6)) {
               wrong("the centre and the side of a square, below a million pixels", "other numbers");
             }
             return detections_list(p, image, {{x, y}, side, 0});
           })
      .def("mesh",
           [](Pipeline& p, const py::object& frame, const py::array& box, const py::array& keypoints) {
             const Image image = image_of(frame);
             const Detection face = detection_of(box, keypoints, 1.0);
             MeshResult result;
             {
               const py::gil_scoped_release release;
               result = p.find_mesh(image, face);
             }
             return mesh_tuple(result);
           })
      .def("look",
           [](Pipeline& p, const py::object& frame, const py::array& box, const py::array& keypoints) {
             const Image image = image_of(frame);
             const Detection face = detection_of(box, keypoints, 1.0);
             py::array_t<uint8_t> crop = empty_crop();
             uint8_t* pixels = crop.mutable_data();
             Look look;
             {
               const py::gil_scoped_release release;
               look = p.look(image, face, pixels);
             }
             return look_tuple(look, crop);
           })
      // The largest face is looked at if its longer side is over `above` of the frame's: is_distant of distance.py.
      .def("detect_and_look",
           [](Pipeline& p, const py::object& frame, double above) {
             const Image image = image_of(frame);
             py::array_t<uint8_t> crop = empty_crop();
             uint8_t* pixels = crop.mutable_data();
             std::vector<Detection> found;
             std::optional<Look> look;
             {
               const py::gil_scoped_release release;
               found = p.detect(image);
               const double least = above * std::max(image.width, image.height);
               if (!found.empty() && std::max(found[0].box.width(), found[0].box.height()) > least) {
                 check_face(found[0]);
                 look = p.look(image, found[0], pixels);
               }
             }
             py::list faces;
             for (const Detection& d : found) faces.append(detection_tuple(d));
             return py::make_tuple(faces, look ? py::object(look_tuple(*look, crop)) : py::object(py::none()));
           },
           py::arg("frame"), py::arg("above") = 0.0)
      .def("embed", [](Pipeline& p, const py::array& crop) {
        const uint8_t* pixels = crop_of(crop);
        // Into the array itself: a copy would leave features in freed memory.
        py::array_t<float> features(static_cast<py::ssize_t>(p.dimension()));
        float* out = features.mutable_data();
        {
          const py::gil_scoped_release release;
          p.embed(pixels, out);
        }
        return features;
      });
  m.def("signal_to_noise", [](const py::array& crop) { return signal_to_noise(crop_of(crop)); });
  m.def("check_frame", [](const py::object& frame) { image_of(frame); });
  m.def("keypoint_pose", [](const py::array& box, const py::array& keypoints) {
    const Pose pose = pose_of(detection_of(box, keypoints, 1.0));
    return py::make_tuple(pose.yaw, pose.pitch, pose.roll);
  });
}
