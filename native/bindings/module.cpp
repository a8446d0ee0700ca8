// The module. Bindings know both Python and the core: they check, release the GIL, call.
#include "register.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native core: networks, the pipeline from frame to features, and its kernels.";
  register_networks(m);
  register_pipeline(m);
  register_eyes(m);
  register_kernels(m);
  register_yuv(m);
  register_rgbx(m);
  register_pairs(m);
  register_secrets(m);
  register_liveness(m);
}
