#include <vector>

#include "rgbx.h"
#include "test.h"

TEST(rgbx_leaves_every_fourth_byte_out_and_writes_nothing_behind) {
  for (size_t pixels = 0; pixels < 40; ++pixels) {
    std::vector<uint8_t> in(4 * pixels), out(3 * pixels);  // of their very size: the sanitizers see what is beyond
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(37 * i + 11);
    facesdk::rgbx_to_rgb(in.data(), out.data(), pixels);
    for (size_t i = 0; i < out.size(); ++i) CHECK_EQ(out[i], in[i / 3 * 4 + i % 3]);
  }
}
