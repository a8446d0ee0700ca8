// All pairs of many vectors, for measuring.
#pragma once

#include <pybind11/pybind11.h>

void bind_pairs(pybind11::module_& m);
