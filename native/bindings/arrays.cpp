#include "arrays.h"

namespace py = pybind11;
using namespace facesdk;

void wrong(const std::string& expected, const std::string& came) {
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

const Kernels& variant_named(const std::string& name) {
  for (const Kernels& k : variants()) {
    if (name == k.name) {
      if (!k.supported()) throw py::value_error("this processor does not run the " + name + " kernels");
      return k;
    }
  }
  throw py::value_error("no kernels are named " + name);
}
