// The variants that this processor runs, and both ends of the memory that they are tried at.
#pragma once

#include <vector>

#include "frames.h"
#include "kernels.h"

namespace test {

constexpr Edge kEdges[] = {Edge::first_byte, Edge::last_byte};

inline std::vector<const facesdk::Kernels*> supported() {
  std::vector<const facesdk::Kernels*> list;
  for (const facesdk::Kernels& k : facesdk::variants()) {
    if (k.supported()) list.push_back(&k);
  }
  return list;
}

}  // namespace test
