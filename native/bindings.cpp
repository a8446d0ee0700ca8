// Knows both Python and the core, with bindings_secret.cpp: checks arguments, releases the GIL, calls.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "bindings_secret.h"
#include "core/kernels.h"
#include "core/kept_stderr.h"
#include "core/litert.h"
#include "core/pipeline.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

[[noreturn]] void wrong(const std::string& expected, const std::string& came) {
  throw py::value_error("expected " + expected + ", got " + came);
}

std::string describe(const py::array& a) {
  std::string text = py::str(a.dtype()).cast<std::string>() + " of shape (";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) text += (i ? ", " : "") + std::to_string(a.shape(i));
  return text + ")" + ((a.flags() & py::array::c_style) ? "" : ", not C-contiguous");
}

Image image_of(const py::object& object) {
  const std::string expected = "a C-contiguous uint8 array of shape (height, width, 3) in RGB or (height, width) in gray";
  if (!py::isinstance<py::array>(object)) wrong(expected, py::str(py::type::of(object)).cast<std::string>());
  const auto a = py::reinterpret_borrow<py::array>(object);
  const bool shape = a.ndim() == 2 || (a.ndim() == 3 && a.shape(2) == 3);
  if (!py::isinstance<py::array_t<uint8_t>>(a) || !shape || !(a.flags() & py::array::c_style)) wrong(expected, describe(a));
  if (a.shape(0) < kMinSide || a.shape(1) < kMinSide || a.shape(0) > kMaxSide || a.shape(1) > kMaxSide) {
    wrong("both sides of the picture between " + std::to_string(kMinSide) + " and " + std::to_string(kMaxSide) + " pixels",
          describe(a));
  }
  const int width = static_cast<int>(a.shape(1)), channels = a.ndim() == 3 ? 3 : 1;
  return {static_cast<const uint8_t*>(a.data()), width, static_cast<int>(a.shape(0)), channels,
          static_cast<size_t>(width) * channels};
}

template <typename T>
const T* floats_of(const py::array& a, py::ssize_t ndim, const char* what) {
  // Equivalent dtypes, not the same object: arrays that were pickled bring their own.
  const int needed = static_cast<int>(py::array::c_style) | static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  if (!py::isinstance<py::array_t<T>>(a) || a.ndim() != ndim || (a.flags() & needed) != needed) {
    wrong(std::string("a C-contiguous ") + what, describe(a));
  }
  return static_cast<const T*>(a.data());
}

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
  return py::make_tuple(mesh_tuple(look.mesh), py::make_tuple(q.brightness, q.contrast, q.overexposed, q.sharpness),
                        look.eye_distance, look.aligned ? py::object(crop) : py::object(py::none()));
}

py::dict tensor_dict(const TensorInfo& t) {
  using namespace py::literals;
  return py::dict("name"_a = t.name, "dtype"_a = t.type == ElementType::int8 ? "int8" : "float32", "shape"_a = t.shape,
                  "scale"_a = t.scale, "zero_point"_a = t.zero_point);
}

TensorInfo tensor_of(const py::dict& d) {
  const auto type = d["dtype"].cast<std::string>();
  if (type != "int8" && type != "float32") wrong("dtype int8 or float32", type);
  return {d["name"].cast<std::string>(), type == "int8" ? ElementType::int8 : ElementType::float32,
          d["shape"].cast<std::vector<int>>(), d["scale"].cast<float>(), d["zero_point"].cast<int>()};
}

// A LiteRT session together with the Python buffer (bytes, mmap) that its model lies in.
class KeptSession final : public Session {
 public:
  KeptSession(std::shared_ptr<LiteRtLibrary> library, const py::buffer& model, int threads) {
    // Held for as long as the session lives: an mmap cannot be closed meanwhile.
    if (PyObject_GetBuffer(model.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
    const std::string_view bytes(static_cast<const char*>(view_.buf), static_cast<size_t>(view_.len));
    try {
      open(std::move(library), bytes, threads);
    } catch (...) {
      PyBuffer_Release(&view_);
      throw;
    }
  }
  ~KeptSession() override {
    if (process_.left()) {
      // LiteRT would wait for its threads, which are not in this child; its memory goes with the process.
      static_cast<void>(inner_.release());
      return;
    }
    inner_.reset();  // before the bytes
    for (const auto& [begin, size] : released_) mprotect(begin, size, PROT_READ | PROT_WRITE);
    const py::gil_scoped_acquire acquire;
    PyBuffer_Release(&view_);
  }

  // Gives the pages that lie wholly within the ranges (offset, size) back to the system. Meant for weights that the
  // runtime keeps a repacked copy of: reading them again ends the process rather than computing with other weights.
  void release(const std::vector<std::pair<size_t, size_t>>& ranges) {
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t base = reinterpret_cast<uintptr_t>(view_.buf), length = static_cast<size_t>(view_.len);
    for (const auto& [offset, size] : ranges) {
      if (offset > length || size > length - offset) wrong("a range inside the model", std::to_string(offset));
      const uintptr_t begin = (base + offset + page - 1) / page * page, end = (base + offset + size) / page * page;
      if (end <= begin) continue;
      void* at = reinterpret_cast<void*>(begin);
      if (madvise(at, end - begin, MADV_DONTNEED) != 0) {
        if (errno == EINVAL) continue;  // locked memory (mlockall) is not given back
        throw RuntimeFailure(std::string("the system does not take pages back: ") + std::strerror(errno));
      }
      if (mprotect(at, end - begin, PROT_NONE) != 0) {
        throw RuntimeFailure(std::string("the system does not take pages back: ") + std::strerror(errno));
      }
      released_.emplace_back(at, end - begin);
    }
  }

  void* input() override { return inner_->input(); }
  void invoke() override { inner_->invoke(); }
  const void* output(size_t i) override { return inner_->output(i); }

 private:
  void open(std::shared_ptr<LiteRtLibrary> library, std::string_view bytes, int threads) {
    const py::gil_scoped_release release;
    inner_ = make_litert_session(std::move(library), bytes, threads);
    input_info_ = inner_->input_info();
    output_infos_ = inner_->output_infos();
  }

  Py_buffer view_{};
  std::vector<std::pair<void*, size_t>> released_;
  std::unique_ptr<Session> inner_;
};

// A session whose model is run by a Python function: run(input, outputs) reads one array and fills the others.
class PythonSession final : public Session {
 public:
  PythonSession(const py::dict& input, const std::vector<py::dict>& outputs, py::function run) : run_(std::move(run)) {
    input_info_ = tensor_of(input);
    input_array_ = make_array(input_info_);
    for (const py::dict& d : outputs) {
      output_infos_.push_back(tensor_of(d));
      output_arrays_.append(make_array(output_infos_.back()));
      output_data_.push_back(py::array(output_arrays_[output_arrays_.size() - 1]).mutable_data());
    }
    input_data_ = input_array_.mutable_data();
  }
  ~PythonSession() override {
    const py::gil_scoped_acquire acquire;
    run_ = py::function();
    input_array_ = py::array();
    output_arrays_ = py::list();
  }
  void* input() override { return input_data_; }
  void invoke() override {
    const py::gil_scoped_acquire acquire;
    run_(input_array_, output_arrays_);
  }
  const void* output(size_t i) override { return output_data_.at(i); }

 private:
  static py::array make_array(const TensorInfo& info) {
    const py::dtype type = info.type == ElementType::int8 ? py::dtype::of<int8_t>() : py::dtype::of<float>();
    py::array array(type, std::vector<py::ssize_t>(info.shape.begin(), info.shape.end()));
    std::memset(array.mutable_data(), 0, info.bytes());
    return array;
  }

  py::function run_;
  py::array input_array_;
  py::list output_arrays_;
  void* input_data_ = nullptr;
  std::vector<void*> output_data_;
};

const Kernels& variant_named(const std::string& name) {
  for (const Kernels& k : variants()) {
    if (name == k.name) {
      if (!k.supported()) throw py::value_error("this processor does not run the " + name + " kernels");
      return k;
    }
  }
  throw py::value_error("no kernels are named " + name);
}

float compare(const py::array& a, const py::array& b) {
  const float* x = floats_of<float>(a, 1, "float32 vector");
  const float* y = floats_of<float>(b, 1, "float32 vector");
  if (a.size() != b.size()) wrong("two vectors of one length", describe(a) + " and " + describe(b));
  return kernels().dot_f32(x, y, static_cast<size_t>(a.size()));
}

void bind_sessions(py::module_& m) {
  py::class_<LiteRtLibrary, std::shared_ptr<LiteRtLibrary>>(m, "LiteRtLibrary").def(py::init<const std::string&>());
  py::class_<Session, std::shared_ptr<Session>>(m, "Session")
      .def_property_readonly("input_info", [](const Session& s) { return tensor_dict(s.input_info()); })
      .def_property_readonly("output_infos",
                             [](const Session& s) {
                               py::list out;
                               for (const TensorInfo& t : s.output_infos()) out.append(tensor_dict(t));
                               return out;
                             })
      .def("run", [](Session& s, const py::array& in) {
        const TensorInfo& info = s.input_info();
        const py::dtype type = info.type == ElementType::int8 ? py::dtype::of<int8_t>() : py::dtype::of<float>();
        if (!in.dtype().equal(type) || in.size() != static_cast<py::ssize_t>(info.elements()) ||
            !(in.flags() & py::array::c_style)) {
          wrong("a C-contiguous array like the model's input", describe(in));
        }
        s.process().check();
        std::memcpy(s.input(), in.data(), info.bytes());
        s.invoke();
        py::list out;
        for (size_t i = 0; i < s.output_infos().size(); ++i) {
          const TensorInfo& o = s.output_infos()[i];
          const py::dtype kind = o.type == ElementType::int8 ? py::dtype::of<int8_t>() : py::dtype::of<float>();
          py::array a(kind, std::vector<py::ssize_t>(o.shape.begin(), o.shape.end()));
          std::memcpy(a.mutable_data(), s.output(i), o.bytes());
          out.append(a);
        }
        return out;
      });
  py::class_<KeptSession, Session, std::shared_ptr<KeptSession>>(m, "LiteRtSession")
      .def(py::init<std::shared_ptr<LiteRtLibrary>, const py::buffer&, int>(), py::arg("library"), py::arg("model"),
           py::arg("threads"))
      .def("release", &KeptSession::release);
  // A context manager: what this thread's libraries say on stderr, kept; see core/kept_stderr.h.
  py::class_<KeptStderr>(m, "KeptStderr")
      .def(py::init<>())
      .def("take", [](KeptStderr& said) { return said.take("; "); });
  py::class_<PythonSession, Session, std::shared_ptr<PythonSession>>(m, "PythonSession")
      .def(py::init<const py::dict&, const std::vector<py::dict>&, py::function>());
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
        const uint8_t* pixels = floats_of<uint8_t>(crop, 3, "uint8 array of shape (112, 112, 3)");
        if (crop.size() != kCropBytes || crop.shape(1) != kCropSize || crop.shape(2) != 3) {
          wrong("an aligned crop, uint8 of shape (112, 112, 3)", describe(crop));
        }
        // Into the array itself: a copy would leave features in freed memory.
        py::array_t<float> features(static_cast<py::ssize_t>(p.dimension()));
        float* out = features.mutable_data();
        {
          const py::gil_scoped_release release;
          p.embed(pixels, out);
        }
        return features;
      });
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
  bind_secrets(m);
}
