// What each file of bindings adds to the module.
#pragma once

#include <pybind11/pybind11.h>

// The networks that run a model, LiteRT's and those of a Python function, and the errors of running one.
void register_networks(pybind11::module_& m);

// The way from a frame to features, and its single steps.
void register_pipeline(pybind11::module_& m);

// The lids and irises of a face's eyes.
void register_eyes(pybind11::module_& m);

// The kernels, each variant by its name.
void register_kernels(pybind11::module_& m);

// YUYV and NV12 to RGB.
void register_yuv(pybind11::module_& m);

// Pillow's pictures to RGB.
void register_rgbx(pybind11::module_& m);

// All pairs of many vectors, for measuring.
void register_pairs(pybind11::module_& m);

// Secret, wipe, equal, rotate and the keyring.
void register_secrets(pybind11::module_& m);

// Tracks of a face's pixels, and what they say about its relief.
void register_liveness(pybind11::module_& m);
