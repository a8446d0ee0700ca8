// Adds the sessions that run a model, LiteRT's and those of a Python function, to the module.
#pragma once

#include <pybind11/pybind11.h>

void bind_sessions(pybind11::module_& m);
