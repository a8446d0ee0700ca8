// Pictures as cameras send them, straight into the RGB array that Python gets.
#include "core/yuv.h"

#include <pybind11/numpy.h>

#include "arrays.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

py::array_t<uint8_t> from_yuyv(const py::array& a) {
  const uint8_t* in = floats_of<uint8_t>(a, 3, "uint8 array of shape (height, width, 2)");
  if (a.shape(2) != 2 || a.shape(1) % 2 != 0 || a.shape(0) < 1 || a.shape(1) < 2 || a.shape(0) > kMaxSide || a.shape(1) > kMaxSide) {
    wrong("YUYV of shape (height, width, 2), width even, at most 8192 a side", describe(a));
  }
  const int height = static_cast<int>(a.shape(0)), width = static_cast<int>(a.shape(1));
  py::array_t<uint8_t> out({height, width, 3});
  uint8_t* rgb = out.mutable_data();
  {
    const py::gil_scoped_release released;
    yuyv_to_rgb(in, rgb, width, height);
  }
  return out;
}

py::array_t<uint8_t> from_nv12(const py::array& a) {
  const uint8_t* in = floats_of<uint8_t>(a, 2, "uint8 array of shape (height * 3 / 2, width)");
  const py::ssize_t rows = a.shape(0) / 3 * 2;
  if (a.shape(0) % 3 != 0 || a.shape(1) % 2 != 0 || rows < 2 || a.shape(1) < 2 || rows > kMaxSide || a.shape(1) > kMaxSide) {
    wrong("NV12 of shape (height * 3 / 2, width), both even, at most 8192 a side", describe(a));
  }
  const int height = static_cast<int>(rows), width = static_cast<int>(a.shape(1));
  py::array_t<uint8_t> out({height, width, 3});
  uint8_t* rgb = out.mutable_data();
  {
    const py::gil_scoped_release released;
    nv12_to_rgb(in, rgb, width, height);
  }
  return out;
}

}  // namespace

void register_yuv(py::module_& m) {
  m.def("yuyv_to_rgb", &from_yuyv, py::arg("yuyv"));
  m.def("nv12_to_rgb", &from_nv12, py::arg("nv12"));
}
