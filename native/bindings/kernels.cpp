// The kernels, each variant by its name, for tests; and the comparison that decides, by the one in use.
#include "core/kernels.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

float compare(const py::array& a, const py::array& b) {
  const float* x = floats_of<float>(a, 1, "float32 vector");
  const float* y = floats_of<float>(b, 1, "float32 vector");
  if (a.size() != b.size()) wrong("two vectors of one length", describe(a) + " and " + describe(b));
  return kernels().dot_f32(x, y, static_cast<size_t>(a.size()));
}

}  // namespace

void register_kernels(py::module_& m) {
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
