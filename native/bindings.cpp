// The module, with the pipeline and the kernels. Bindings know both Python and the core: they check, release the GIL, call.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "bindings_arrays.h"
#include "bindings_pairs.h"
#include "bindings_secret.h"
#include "bindings_sessions.h"
#include "core/kernels.h"
#include "core/pipeline.h"

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

Detection detection_of(const py::array& box, const py::array& keypoints, double score) {
  const float* b = floats_of<float>(box, 1, "float32 box of shape (4,)");
  const float* k = floats_of<float>(keypoints, 2, "float32 array of keypoints of shape (6, 2)");
  if (box.size() != 4 || keypoints.shape(0) != 6 || keypoints.shape(1) != 2) {
    wrong("a box of shape (4,) and keypoints of shape (6, 2)", describe(box) + " and " + describe(keypoints));
  }
  Detection d{{b[0], b[1], b[2], b[3]}, {}, score};
  for (int i = 0; i < 6; ++i) d.keypoints[i] = {k[2 * i], k[2 * i + 1]};
  bool finite = true;
  for (int i = 0; i < 4; ++i) finite = finite && std::abs(b[i]) < 1e6f;
  for (int i = 0; i < 12; ++i) finite = finite && std::abs(k[i]) < 1e6f;
  if (!finite || !(d.box.area() > 0)) wrong("a face with a box of positive area and finite points", "other numbers");
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

const uint8_t* crop_of(const py::array& crop) {
  const uint8_t* pixels = floats_of<uint8_t>(crop, 3, "uint8 array of shape (112, 112, 3)");
  if (crop.size() != kCropBytes || crop.shape(1) != kCropSize || crop.shape(2) != 3) {
    wrong("an aligned crop, uint8 of shape (112, 112, 3)", describe(crop));
  }
  return pixels;
}

float compare(const py::array& a, const py::array& b) {
  const float* x = floats_of<float>(a, 1, "float32 vector");
  const float* y = floats_of<float>(b, 1, "float32 vector");
  if (a.size() != b.size()) wrong("two vectors of one length", describe(a) + " and " + describe(b));
  return kernels().dot_f32(x, y, static_cast<size_t>(a.size()));
}

void bind_pipeline(py::module_& m) {
  using Kept = std::shared_ptr<Session>;
  py::class_<Pipeline>(m, "Pipeline")
      .def(py::init([](Kept detector, Kept mesh, const std::vector<std::tuple<Kept, double, double, double>>& embedders) {
        std::vector<Embedder> list;
        for (const auto& [session, mean, scale, weight] : embedders) list.push_back({session, mean, scale, weight});
        return std::make_unique<Pipeline>(std::move(detector), std::move(mesh), std::move(list));
      }))
      .def_property_readonly("dimension", &Pipeline::dimension)
      .def("run_network", &Pipeline::run_network, py::call_guard<py::gil_scoped_release>())
      .def("detect",
           [](Pipeline& p, const py::object& frame) {
             const Image image = image_of(frame);
             std::vector<Detection> found;
             {
               const py::gil_scoped_release release;
               found = p.detect(image);
             }
             py::list out;
             for (const Detection& d : found) out.append(detection_tuple(d));
             return out;
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
      .def("detect_and_look",
           [](Pipeline& p, const py::object& frame) {
             const Image image = image_of(frame);
             py::array_t<uint8_t> crop = empty_crop();
             uint8_t* pixels = crop.mutable_data();
             std::vector<Detection> found;
             Look look;
             {
               const py::gil_scoped_release release;
               found = p.detect(image);
               if (!found.empty()) look = p.look(image, found.front(), pixels);
             }
             py::list faces;
             for (const Detection& d : found) faces.append(detection_tuple(d));
             return py::make_tuple(faces, found.empty() ? py::object(py::none()) : py::object(look_tuple(look, crop)));
           })
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

void bind_kernels(py::module_& m) {
  m.def("variants", [] {
    std::vector<std::string> names;
    for (const Kernels& k : variants()) {
      if (k.supported()) names.emplace_back(k.name);
    }
    return names;
  });
  m.def("variant", [] { return std::string(kernels().name); });
  m.def("compare", &compare);
  m.def("dot_f32", [](const std::string& variant, const py::array& a, const py::array& b) {
    const float *x = floats_of<float>(a, 1, "float32 vector"), *y = floats_of<float>(b, 1, "float32 vector");
    if (a.size() != b.size()) wrong("two vectors of one length", describe(a) + " and " + describe(b));
    return variant_named(variant).dot_f32(x, y, static_cast<size_t>(a.size()));
  });
  m.def("scale_u8_f32", [](const std::string& variant, const py::array& a, float scale, float bias) {
    const uint8_t* in = floats_of<uint8_t>(a, 1, "uint8 vector");
    py::array_t<float> out(a.size());
    variant_named(variant).scale_u8_f32(in, out.mutable_data(), static_cast<size_t>(a.size()), scale, bias);
    return out;
  });
  m.def("warp_u8", [](const std::string& variant, const py::object& frame, const std::array<double, 6>& map,
                      std::pair<int, int> size) {
    const Image image = image_of(frame);
    if (size.first < 1 || size.second < 1 || size.first > kMaxSide || size.second > kMaxSide) {
      wrong("a size (height, width) of 1 to 8192 pixels", std::to_string(size.first) + ", " + std::to_string(size.second));
    }
    py::array_t<uint8_t> out({size.first, size.second, 3});
    const Affine affine{map[0], map[1], map[2], map[3], map[4], map[5]};
    variant_named(variant).warp_u8(image, affine, out.mutable_data(), size.second, size.first);
    return out;
  });
  m.def("gray_u8", [](const std::string& variant, const py::array& rgb) {
    const uint8_t* in = floats_of<uint8_t>(rgb, 2, "uint8 array of shape (n, 3)");
    if (rgb.shape(1) != 3) wrong("a uint8 array of shape (n, 3)", describe(rgb));
    py::array_t<uint8_t> out(rgb.shape(0));
    variant_named(variant).gray_u8(in, out.mutable_data(), static_cast<size_t>(rgb.shape(0)));
    return out;
  });
  m.def("table_u8", [](const std::string& variant, const py::array& a, const py::array& table) {
    const uint8_t *in = floats_of<uint8_t>(a, 1, "uint8 vector"), *entries = floats_of<uint8_t>(table, 1, "uint8 table");
    if (table.size() != 256) wrong("a table of 256 bytes", describe(table));
    py::array_t<uint8_t> out(a.size());
    variant_named(variant).table_u8(in, out.mutable_data(), static_cast<size_t>(a.size()), entries);
    return out;
  });
  m.def("box_u8", [](const std::string& variant, const py::array& a, int factor) {
    const uint8_t* in = floats_of<uint8_t>(a, 3, "uint8 array of shape (n, n, 3)");
    if (factor < 1 || factor > kMaxBox) wrong("a factor of 1 to 8", std::to_string(factor));
    if (a.shape(0) != a.shape(1) || a.shape(2) != 3 || a.shape(0) > kMaxSide || a.shape(0) % factor != 0) {
      wrong("a square of at most 8192 RGB pixels a side, a multiple of the factor", describe(a));
    }
    const int side = static_cast<int>(a.shape(0)) / factor;
    py::array_t<uint8_t> out({side, side, 3});
    variant_named(variant).box_u8(in, out.mutable_data(), side, factor);
    return out;
  });
  m.def("sums_u8", [](const std::string& variant, const py::array& gray) {
    const uint8_t* in = floats_of<uint8_t>(gray, 2, "uint8 array of shape (height, width)");
    if (gray.shape(0) > kMaxSide || gray.shape(1) > kMaxRow) wrong("at most 8192 rows of at most 2048 bytes", describe(gray));
    const int height = static_cast<int>(gray.shape(0)), width = static_cast<int>(gray.shape(1));
    const Sums s = variant_named(variant).sums_u8(in, static_cast<size_t>(width), width, height);
    return py::make_tuple(s.sum, s.squares, s.bright);
  });
  m.def("edges_u8", [](const std::string& variant, const py::array& gray) {
    const uint8_t* in = floats_of<uint8_t>(gray, 2, "uint8 array of shape (height, width)");
    if (gray.shape(0) < 3 || gray.shape(1) < 3 || gray.shape(0) > kMaxSide || gray.shape(1) > kMaxRow) {
      wrong("3 to 8192 rows of 3 to 2048 bytes", describe(gray));
    }
    const int height = static_cast<int>(gray.shape(0)), width = static_cast<int>(gray.shape(1));
    const Edges e = variant_named(variant).edges_u8(in + width + 1, static_cast<size_t>(width), width - 2, height - 2);
    return py::make_tuple(e.sum, e.squares);
  });
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native core: sessions, the pipeline from frame to features, and its kernels.";
  py::register_exception<RuntimeFailure>(m, "RuntimeFailure", PyExc_RuntimeError);
  py::register_exception<MadeBeforeFork>(m, "MadeBeforeFork", PyExc_RuntimeError);
  bind_sessions(m);
  bind_pipeline(m);
  bind_kernels(m);
  bind_pairs(m);
  bind_secrets(m);
}
