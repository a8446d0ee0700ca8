// Adds Secret, wipe, equal, rotate and the keyring to the module.
#pragma once

#include <pybind11/pybind11.h>

void bind_secrets(pybind11::module_& m);
