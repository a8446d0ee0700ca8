// What the bindings share: arrays from Python, checked, and the error where they are not as expected.
#pragma once

#include <pybind11/numpy.h>

#include <string>

#include "core/image.h"
#include "core/kernels.h"

[[noreturn]] void wrong(const std::string& expected, const std::string& came);  // ValueError

// dtype and shape, in words.
std::string describe(const pybind11::array& a);

// The pixels of a uint8 array, in RGB or gray; ValueError for anything else.
facesdk::Image image_of(const pybind11::object& object);

// The kernels of this name; ValueError where there are none, or the processor does not run them.
const facesdk::Kernels& variant_named(const std::string& name);

template <typename T>
const T* floats_of(const pybind11::array& a, pybind11::ssize_t ndim, const char* what) {
  // Equivalent dtypes, not the same object: arrays that were pickled bring their own.
  const int needed = static_cast<int>(pybind11::array::c_style) | static_cast<int>(pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_);
  if (!pybind11::isinstance<pybind11::array_t<T>>(a) || a.ndim() != ndim || (a.flags() & needed) != needed) {
    wrong(std::string("a C-contiguous ") + what, describe(a));
  }
  return static_cast<const T*>(a.data());
}
