// The module. Bindings know both Python and the core: they check, release the GIL, call.
#include "register.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native core: sessions, the pipeline from frame to features, and its kernels.";
  register_sessions(m);
  register_pipeline(m);
  register_kernels(m);
  register_pairs(m);
  register_secrets(m);
}
