// Python's side of what guards keys and reference features: locked memory, the secret rotation, the kernel's keyring.
#include <pybind11/stl.h>

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstring>
#include <memory>
#include <string>

#include "core/keyring.h"
#include "core/process.h"
#include "core/rotation.h"
#include "core/secret.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

// The bytes of a buffer for as long as this lives.
class View {
 public:
  View(const py::buffer& object, bool writable) {
    const int flags = writable ? PyBUF_WRITABLE : PyBUF_SIMPLE;
    if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) throw py::error_already_set();
  }
  ~View() { PyBuffer_Release(&view_); }
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  uint8_t* data() const { return static_cast<uint8_t*>(view_.buf); }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_{};
};

[[noreturn]] void raise_named(const char* name, const std::string& message) {
  const py::object kind = py::module_::import("facesdk.errors").attr(name);
  PyErr_SetString(kind.ptr(), message.c_str());
  throw py::error_already_set();
}

std::unique_ptr<Secret> make_secret(size_t size) {
  try {
    return std::make_unique<Secret>(size);
  } catch (const MemoryNotLocked& error) {
    raise_named("KeyUnavailableError", error.what());
  }
}

py::buffer_info buffer_of(Secret& secret) {
  if (secret.forked()) throw py::value_error("this secret was made before a fork: its bytes are not in the child");
  if (secret.closed()) throw py::value_error("this secret was closed: its bytes are gone");
  return py::buffer_info(secret.data(), 1, py::format_descriptor<uint8_t>::format(), 1,
                         {static_cast<py::ssize_t>(secret.size())}, {py::ssize_t{1}});
}

template <typename Call>
auto reporting(Call&& call) {
  try {
    return call();
  } catch (const std::system_error& error) {
    errno = error.code().value();
    PyErr_SetFromErrno(PyExc_OSError);
    throw py::error_already_set();
  }
}

void rotate_buffer(const py::buffer& stream, const py::buffer& vectors, size_t dimension, bool inverse) {
  const View random(stream, false), values(vectors, true);
  if (dimension == 0 || random.size() != rotation_stream_size(dimension)) {
    throw py::value_error("a stream of rotation_stream_size(dimension) bytes was expected, got " +
                          std::to_string(random.size()));
  }
  const size_t row = dimension * sizeof(float);
  if (values.size() % row != 0 || reinterpret_cast<uintptr_t>(values.data()) % alignof(float) != 0) {
    throw py::value_error("whole, aligned vectors of float32 were expected, got " + std::to_string(values.size()) + " bytes");
  }
  rotate(random.data(), dimension, reinterpret_cast<float*>(values.data()), values.size() / row, inverse);
}

// The key's number and its payload; None where there is none.
py::object read_secret(keyring::Serial key, size_t size) {
  if (key == 0) return py::none();
  auto secret = make_secret(size);
  const size_t length = keyring::read(key, secret->data(), size);
  if (length == 0) return py::none();
  if (length != size) throw py::value_error("the key in the keyring has " + std::to_string(length) + " bytes");
  return py::make_tuple(key, py::cast(std::move(secret)));
}

// No core dump, and no debugger, /proc/PID/mem or core of this user's other programs (prctl(2), PR_SET_DUMPABLE).
void protect_process() {
  const rlimit none{0, 0};
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0) {
    throw std::system_error(errno, std::generic_category(), "prctl");
  }
}

}  // namespace

void register_secrets(py::module_& m) {
  py::class_<Secret>(m, "Secret", py::buffer_protocol())
      .def(py::init(&make_secret), py::arg("size"))
      .def_static("of", [](const py::buffer& source) {
        const View bytes(source, false);
        auto secret = make_secret(bytes.size());
        std::memcpy(secret->data(), bytes.data(), bytes.size());
        return secret;
      })
      .def_property_readonly("closed", &Secret::closed)
      .def_property_readonly("forked", &Secret::forked)
      .def("close", &Secret::close)
      .def("__len__", &Secret::size)
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](Secret& s, const py::object&, const py::object&, const py::object&) { s.close(); })
      .def("__repr__", [](const Secret& s) {
        return "Secret(" + std::to_string(s.size()) + " bytes" + (s.closed() ? ", closed)" : ")");
      })
      .def_buffer(&buffer_of);
  // Read-only arrays too: who asks for this owns the bytes and is done with them.
  m.def("wipe", [](const py::buffer& target) {
    const View bytes(target, false);
    wipe(bytes.data(), bytes.size());
  });
  m.def("scrub_freed", &scrub_freed);
  m.def("process_token", &process_token);
  m.def("protect_process", [] { reporting([] { protect_process(); }); });
  py::class_<WipingFree>(m, "WipingFree").def(py::init<>());
  m.def("equal", [](const py::buffer& a, const py::buffer& b) {
    const View x(a, false), y(b, false);
    return x.size() == y.size() && equal(x.data(), y.data(), x.size());
  });
  m.def("rotation_stream_size", &rotation_stream_size);
  m.def("rotate", &rotate_buffer, py::arg("stream"), py::arg("vectors"), py::arg("dimension"), py::kw_only(),
        py::arg("inverse") = false);
  m.def("keyring_put", [](const std::string& description, const py::buffer& payload, uint32_t timeout_s) {
    const View bytes(payload, false);
    return reporting([&] { return keyring::put(description, bytes.data(), bytes.size(), timeout_s); });
  });
  m.def("keyring_get", [](const std::string& description, size_t size) -> py::object {
    return reporting([&] { return read_secret(keyring::find(description), size); });
  });
  m.def("keyring_update", [](keyring::Serial key, const py::buffer& payload, uint32_t timeout_s) {
    const View bytes(payload, false);
    return reporting([&] { return keyring::update(key, bytes.data(), bytes.size(), timeout_s); });
  });
  m.def("keyring_ring", [](const std::string& description) {
    return reporting([&] { return keyring::ring(description); });
  });
  m.def("keyring_find_ring", [](const std::string& description) {
    return reporting([&] { return keyring::find_ring(description); });
  });
  m.def("keyring_put_into", [](keyring::Serial ring, const std::string& description, const py::buffer& payload,
                               uint32_t timeout_s) {
    const View bytes(payload, false);
    return reporting([&] { return keyring::put_into(ring, description, bytes.data(), bytes.size(), timeout_s); });
  });
  m.def("keyring_get_in", [](keyring::Serial ring, const std::string& description, size_t size) {
    return reporting([&] { return read_secret(keyring::find_in(ring, description), size); });
  });
  m.def("keyring_forget_in", [](keyring::Serial ring, const std::string& description) {
    return reporting([&] { return keyring::forget_in(ring, description); });
  });
  m.def("keyring_forget_ring", [](keyring::Serial ring) {
    return reporting([&] { return keyring::forget_ring(ring); });
  });
  m.def("keyring_rings", [](const std::string& prefix) {
    return reporting([&] { return keyring::rings(prefix); });
  });
  m.def("keyring_forget", [](const std::string& description) {
    return reporting([&] { return keyring::forget(description); });
  });
}
