// All pairs of many vectors, for measuring.
#include <pybind11/numpy.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "arrays.h"
#include "core/pairs.h"
#include "register.h"

namespace py = pybind11;
using namespace facesdk;

namespace {

// Rows that the kernels take: padded by zeros to a multiple of eight, which changes no bit of a score.
struct Rows {
  std::vector<float> copy;
  const float* data;
  size_t n, d;
};

Rows rows_of(const py::array& a) {
  const float* in = floats_of<float>(a, 2, "float32 array of shape (n, d)");
  const size_t n = static_cast<size_t>(a.shape(0)), d = static_cast<size_t>(a.shape(1)), padded = (d + 7) / 8 * 8;
  if (d < 1 || padded > kMaxFeatures || n > std::numeric_limits<uint32_t>::max()) wrong("rows of 1 to 1024 features", describe(a));
  Rows rows{{}, in, n, padded};
  if (d != padded) {
    rows.copy.resize(n * padded);
    for (size_t i = 0; i < n; ++i) std::copy_n(in + i * d, d, rows.copy.data() + i * padded);
    rows.data = rows.copy.data();
  }
  return rows;
}

void check_unit(const Rows& rows) {
  for (size_t i = 0; i < rows.n; ++i) {
    double squares = 0;
    for (size_t k = 0; k < rows.d; ++k) squares += static_cast<double>(rows.data[i * rows.d + k]) * rows.data[i * rows.d + k];
    // Written so that NaN fails.
    if (!(std::abs(squares - 1) < 0.01)) wrong("vectors of unit length", "another length in row " + std::to_string(i));
  }
}

py::array_t<uint64_t> array_of(const std::vector<uint64_t>& values, py::ssize_t cells, py::ssize_t last) {
  return py::array_t<uint64_t>({cells, py::ssize_t{2}, last}, values.data());
}

py::tuple tail_of(const std::vector<Pair>& pairs, bool cut) {
  const auto n = static_cast<py::ssize_t>(pairs.size());
  py::array_t<float> scores(n);
  py::array_t<uint32_t> both({n, py::ssize_t{2}});
  float* s = scores.mutable_data();
  uint32_t* p = both.mutable_data();
  for (const Pair& pair : pairs) {
    *s++ = pair.score;
    *p++ = pair.a;
    *p++ = pair.b;
  }
  return py::make_tuple(scores, both, cut);
}

py::tuple count_all(const py::array& vectors, const py::array& people, const py::array& classes,
                    const py::array& thresholds, const py::tuple& keep, py::ssize_t part, py::ssize_t parts,
                    const std::string& variant) {
  const Rows rows = rows_of(vectors);
  const auto* person = floats_of<int32_t>(people, 1, "int32 vector of people");
  const auto* of_class = floats_of<int32_t>(classes, 1, "int32 vector of classes");
  if (static_cast<size_t>(people.size()) != rows.n || static_cast<size_t>(classes.size()) != rows.n) {
    wrong("a person and a class for each vector", describe(people) + " and " + describe(classes));
  }
  if (keep.size() != 2) wrong("how many pairs to keep of either kind", std::to_string(keep.size()) + " numbers");
  const auto highest = keep[0].cast<py::ssize_t>(), lowest = keep[1].cast<py::ssize_t>();
  if (highest < 1 || lowest < 1) wrong("at least one pair to keep of either kind", std::to_string(std::min(highest, lowest)));
  if (part < 0 || part >= parts) wrong("a part of 0 to parts - 1", std::to_string(part) + " of " + std::to_string(parts));
  const std::span<const double> at(floats_of<double>(thresholds, 1, "float64 vector of thresholds"),
                                   static_cast<size_t>(thresholds.size()));
  for (const double t : at) {
    if (!(std::abs(t) <= 1)) wrong("thresholds from -1 to 1", std::to_string(t));
  }
  int32_t most = 0;
  for (size_t i = 0; i < rows.n; ++i) {
    if (of_class[i] < 0 || of_class[i] >= static_cast<int32_t>(kMaxClasses)) wrong("classes of 0 to 31", std::to_string(of_class[i]));
    most = std::max(most, of_class[i]);
  }
  const PairsOf all{rows.data, person, of_class, rows.n, rows.d, static_cast<size_t>(most) + 1};
  const Kernels& chosen = variant.empty() ? kernels() : variant_named(variant);
  PairCounts counts;
  {
    const py::gil_scoped_release release;
    check_unit(rows);
    counts = count_pairs(all, at, {static_cast<size_t>(highest), static_cast<size_t>(lowest)}, static_cast<size_t>(part), static_cast<size_t>(parts), chosen);
  }
  const auto cells = static_cast<py::ssize_t>(all.class_count * (all.class_count + 1) / 2);
  return py::make_tuple(array_of(counts.bins, cells, kBins),
                        array_of(counts.above, cells, thresholds.size()),
                        tail_of(counts.highest, counts.highest_cut), tail_of(counts.lowest, counts.lowest_cut));
}

}  // namespace

void register_pairs(py::module_& m) {
  m.def("count_pairs", &count_all, py::arg("vectors"), py::arg("people"), py::arg("classes"), py::arg("thresholds"),
        py::kw_only(), py::arg("keep"), py::arg("part") = 0, py::arg("parts") = 1, py::arg("variant") = "");
  m.def("scores_f32", [](const std::string& variant, const py::array& a, const py::array& b) {
    const Rows x = rows_of(a), y = rows_of(b);
    if (x.d != y.d || a.shape(1) != b.shape(1)) wrong("rows of one length", describe(a) + " and " + describe(b));
    py::array_t<float> out({a.shape(0), b.shape(0)});
    float* to = out.mutable_data();
    const Kernels& chosen = variant_named(variant);
    const py::gil_scoped_release release;
    chosen.scores_f32(x.data, x.n, y.data, y.n, x.d, to);
    return out;
  });
}
