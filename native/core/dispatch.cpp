// The one list of kernel variants, fastest first.
#include "kernels.h"

namespace facesdk {

std::span<const Kernels> variants() noexcept {
#if defined(__x86_64__)
  static const Kernels list[] = {kAvx512, kAvx2, kScalar};
#elif defined(__aarch64__)
  static const Kernels list[] = {kDotprod, kNeon, kScalar};
#else
  static const Kernels list[] = {kScalar};
#endif
  return list;
}

const Kernels& kernels() noexcept {
  static const Kernels& chosen = []() -> const Kernels& {
    for (const Kernels& k : variants()) {
      if (k.supported()) return k;
    }
    return variants().back();
  }();
  return chosen;
}

}  // namespace facesdk
