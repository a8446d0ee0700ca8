// The networks that run a model: our executor's, LiteRT's, and those of a Python function.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "arrays.h"
#include "core/kept_stderr.h"
#include "core/litert.h"
#include "core/network.h"
#include "core/nn/executor.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

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

// A LiteRT network together with the Python buffer (bytes, mmap) that its model lies in.
class KeptNetwork final : public Network {
 public:
  KeptNetwork(std::shared_ptr<LiteRtLibrary> library, const py::buffer& model, int threads) {
    // Held for as long as the network lives: an mmap cannot be closed meanwhile.
    if (PyObject_GetBuffer(model.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
    const std::string_view bytes(static_cast<const char*>(view_.buf), static_cast<size_t>(view_.len));
    try {
      open(std::move(library), bytes, threads);
    } catch (...) {
      PyBuffer_Release(&view_);
      throw;
    }
  }
  ~KeptNetwork() override {
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
    inner_ = make_litert_network(std::move(library), bytes, threads);
    input_info_ = inner_->input_info();
    output_infos_ = inner_->output_infos();
  }

  Py_buffer view_{};
  std::vector<std::pair<void*, size_t>> released_;
  std::unique_ptr<Network> inner_;
};

// Variants of our executor that this processor runs, fastest first, the scalar definition last.
std::vector<std::string> native_variants() {
  std::vector<std::string> names;
  for (const nn::Variant& variant : nn::variants()) {
    if (variant.supported()) names.emplace_back(variant.name);
  }
  return names;
}

std::shared_ptr<nn::Crew> crew_of(int threads) {
  if (threads < 1 || threads > 64) wrong("1 to 64 threads", std::to_string(threads));
  return nn::Crew::make(threads);
}

std::shared_ptr<Network> native_network(const py::buffer& model, const std::string& name, std::shared_ptr<nn::Crew> crew) {
  Py_buffer view{};  // of bytes that lie side by side, or BufferError
  if (PyObject_GetBuffer(model.ptr(), &view, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  const std::unique_ptr<Py_buffer, void (*)(Py_buffer*)> held(&view, PyBuffer_Release);
  const std::string_view bytes(static_cast<const char*>(view.buf), static_cast<size_t>(view.len));
  for (const nn::Variant& variant : nn::variants()) {
    if (variant.name != name || !variant.supported()) continue;
    const py::gil_scoped_release release;
    return nn::make_native_network(bytes, variant, std::move(crew));
  }
  wrong("a variant that this processor runs", name);
}

// A network whose model is run by a Python function: run(input, outputs) reads one array and fills the others.
class PythonNetwork final : public Network {
 public:
  PythonNetwork(const py::dict& input, const std::vector<py::dict>& outputs, py::function run) : run_(std::move(run)) {
    input_info_ = tensor_of(input);
    input_array_ = make_array(input_info_);
    for (const py::dict& d : outputs) {
      output_infos_.push_back(tensor_of(d));
      output_arrays_.append(make_array(output_infos_.back()));
      output_data_.push_back(py::array(output_arrays_[output_arrays_.size() - 1]).mutable_data());
    }
    input_data_ = input_array_.mutable_data();
  }
  ~PythonNetwork() override {
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

}  // namespace

void register_networks(py::module_& m) {
  py::register_exception<RuntimeFailure>(m, "RuntimeFailure", PyExc_RuntimeError);
  py::register_exception<MadeBeforeFork>(m, "MadeBeforeFork", PyExc_RuntimeError);
  py::class_<LiteRtLibrary, std::shared_ptr<LiteRtLibrary>>(m, "LiteRtLibrary").def(py::init<const std::string&>());
  py::class_<Network, std::shared_ptr<Network>>(m, "Network")
      .def_property_readonly("input_info", [](const Network& s) { return tensor_dict(s.input_info()); })
      .def_property_readonly("output_infos",
                             [](const Network& s) {
                               py::list out;
                               for (const TensorInfo& t : s.output_infos()) out.append(tensor_dict(t));
                               return out;
                             })
      .def("run", [](Network& s, const py::array& in) {
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
  py::class_<KeptNetwork, Network, std::shared_ptr<KeptNetwork>>(m, "LiteRtNetwork")
      .def(py::init<std::shared_ptr<LiteRtLibrary>, const py::buffer&, int>(), py::arg("library"), py::arg("model"),
           py::arg("threads"))
      .def("release", &KeptNetwork::release);
  m.def("native_variants", native_variants);
  // Threads that the networks made with it share, the caller's among them.
  py::class_<nn::Crew, std::shared_ptr<nn::Crew>>(m, "Crew")
      .def(py::init(&crew_of), py::arg("threads"))
      .def_property_readonly("threads", &nn::Crew::threads);
  m.def("native_network", native_network, py::arg("model"), py::arg("variant"), py::arg("crew") = nullptr);
  // A context manager: what this thread's libraries say on stderr, kept; see core/kept_stderr.h.
  py::class_<KeptStderr>(m, "KeptStderr")
      .def(py::init<>())
      .def("take", [](KeptStderr& said) { return said.take("; "); });
  py::class_<PythonNetwork, Network, std::shared_ptr<PythonNetwork>>(m, "PythonNetwork")
      .def(py::init<const py::dict&, const std::vector<py::dict>&, py::function>());
}
