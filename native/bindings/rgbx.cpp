// Pictures of Pillow's, read where they lie, by the Arrow C data interface.
#include "core/rgbx.h"

#include <pybind11/numpy.h>

#include <cstring>
#include <string_view>

#include "arrays.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

// Source: https://arrow.apache.org/docs/format/CDataInterface.html
struct ArrowSchema {
  const char *format, *name, *metadata;
  int64_t flags, n_children;
  ArrowSchema **children, *dictionary;
  void (*release)(ArrowSchema*);
  void* private_data;
};
struct ArrowArray {
  int64_t length, null_count, offset, n_buffers, n_children;
  const void** buffers;
  ArrowArray **children, *dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

// What Pillow's __arrow_c_array__ of a picture of four bytes a pixel gives, which keeps the picture as long as it lives.
py::array_t<uint8_t> from_arrow(const py::capsule& schema, const py::capsule& array, int width, int height) {
  const auto* kind = static_cast<const ArrowSchema*>(PyCapsule_GetPointer(schema.ptr(), "arrow_schema"));
  if (kind == nullptr) throw py::error_already_set();
  const auto* pixels = static_cast<const ArrowArray*>(PyCapsule_GetPointer(array.ptr(), "arrow_array"));
  if (pixels == nullptr) throw py::error_already_set();
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    wrong("sides from 1 to 8192", std::to_string(width) + " x " + std::to_string(height));
  }
  if (kind->release == nullptr || pixels->release == nullptr) wrong("an Arrow array", "one that was released");
  const std::string_view format = kind->format;
  if (format != "+w:4" || kind->n_children != 1 || std::string_view(kind->children[0]->format) != "C") {
    wrong("four bytes a pixel, +w:4 of C", std::string(format));
  }
  const ArrowArray* bytes = pixels->n_children == 1 ? pixels->children[0] : nullptr;
  const int64_t count = int64_t{width} * height;
  if (pixels->length != count || pixels->offset != 0 || bytes == nullptr || bytes->length != 4 * count || bytes->offset != 0 ||
      bytes->n_buffers != 2 || bytes->buffers[1] == nullptr) {
    wrong(std::to_string(count) + " pixels side by side", std::to_string(pixels->length));
  }
  py::array_t<uint8_t> out({height, width, 3});
  uint8_t* rgb = out.mutable_data();
  {
    const py::gil_scoped_release released;
    rgbx_to_rgb(static_cast<const uint8_t*>(bytes->buffers[1]), rgb, static_cast<size_t>(count));
  }
  return out;
}

}  // namespace

void register_rgbx(py::module_& m) {
  m.def("arrow_to_rgb", &from_arrow, py::arg("schema"), py::arg("array"), py::arg("width"), py::arg("height"));
}
