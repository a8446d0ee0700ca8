// One kernel's work for benchmarks/kernels.py, which builds this with the extension's own flags.
//
// kernels_run list               variant, kernel and case of every function of its own, one a line
// kernels_run once VARIANT CASE  a small piece of the work, once, for tracing; prints how many elements it has
// kernels_run time CASE ROUNDS   the pipeline's own size, variants in turn; prints each one's median ns and element count
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels.h"

using namespace facesdk;

namespace {

struct Buffers {
  std::vector<uint8_t> frame = std::vector<uint8_t>(640 * 480 * 3), bytes = std::vector<uint8_t>(896 * 896 * 3);
  std::vector<uint8_t> out = std::vector<uint8_t>(896 * 896 * 3), table = std::vector<uint8_t>(256);
  std::vector<float> a = std::vector<float>(65536), b = std::vector<float>(65536), floats = std::vector<float>(192 * 192 * 3);

  Buffers() {
    std::mt19937 random(1);
    for (std::vector<uint8_t>* v : {&frame, &bytes, &table}) {
      for (uint8_t& byte : *v) byte = static_cast<uint8_t>(random());
    }
    for (std::vector<float>* v : {&a, &b}) {
      for (float& value : *v) value = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
    }
  }
};

Buffers buffers;
int64_t sink;

constexpr Affine kTurned{1.2, 0.2, 150, -0.2, 1.2, 120}, kFine{0.4, 0.1, 150, -0.1, 0.4, 150}, kLetterbox{5, 0, 0, 0, 5, -80};

size_t warp(const Kernels& k, int channels, const Affine& map, int width, int height) {
  k.warp_u8({buffers.frame.data(), 640, 480, channels, size_t{640} * channels}, map, buffers.out.data(), width, height);
  return size_t(width) * height;
}

size_t box(const Kernels& k, int factor, bool small) {
  const int side = small ? 32 : 112;
  k.box_u8(buffers.bytes.data(), buffers.out.data(), side, factor);
  return size_t(side) * side;
}

// The rows of the face area in the crop, each with a border.
size_t gray(const Kernels& k, int rows) {
  for (int y = 0; y < rows; ++y) k.gray_u8(buffers.bytes.data() + 336 * y, buffers.out.data() + 70 * y, 70);
  return size_t{70} * rows;
}

size_t sums(const Kernels& k, int rows) {
  sink += k.sums_u8(buffers.bytes.data() + 71, 70, 68, rows).squares;
  return size_t{68} * rows;
}

size_t edges(const Kernels& k, int rows) {
  sink += k.edges_u8(buffers.bytes.data() + 71, 70, 68, rows).squares;
  return size_t{68} * rows;
}

struct Case {
  const char* kernel;
  const char* name;
  const char* unit;
  size_t (*run)(const Kernels& k, bool small);  // how many elements
};

const Case cases[] = {
    {"warp_u8", "RGB, turned", "pixel", [](const Kernels& k, bool s) { return warp(k, 3, kTurned, s ? 64 : 192, s ? 16 : 192); }},
    {"warp_u8", "gray, turned", "pixel", [](const Kernels& k, bool s) { return warp(k, 1, kTurned, s ? 64 : 192, s ? 16 : 192); }},
    {"warp_u8", "RGB, fine crop", "pixel", [](const Kernels& k, bool s) { return warp(k, 3, kFine, s ? 64 : 224, s ? 16 : 224); }},
    {"warp_u8", "RGB, letterbox", "pixel", [](const Kernels& k, bool s) { return warp(k, 3, kLetterbox, 128, s ? 32 : 128); }},
    {"scale_u8_f32", "mesh input", "byte",
     [](const Kernels& k, bool s) {
       const size_t n = s ? 4096 : 192 * 192 * 3;
       k.scale_u8_f32(buffers.bytes.data(), buffers.floats.data(), n, 1.0f / 255.0f, 0.0f);
       return n;
     }},
    {"dot_f32", "one comparison", "element",
     [](const Kernels& k, bool s) {
       const size_t n = s ? 2048 : 16384;
       sink += k.dot_f32(buffers.a.data(), buffers.b.data(), n) > 0;
       return n;
     }},
    {"scores_f32", "all pairs", "pair",
     [](const Kernels& k, bool s) {
       const size_t n = s ? 64 : 320, rows = s ? 8 : 96, columns = s ? 12 : 192;
       k.scores_f32(buffers.a.data(), rows, buffers.b.data(), columns, n, buffers.floats.data());
       return rows * columns;
     }},
    {"gray_u8", "face area", "pixel", [](const Kernels& k, bool s) { return gray(k, s ? 16 : 78); }},
    {"table_u8", "embedder input", "byte",
     [](const Kernels& k, bool s) {
       const size_t n = s ? 4096 : 112 * 112 * 3;
       k.table_u8(buffers.bytes.data(), buffers.out.data(), n, buffers.table.data());
       return n;
     }},
    {"box_u8", "2 x 2", "output pixel", [](const Kernels& k, bool s) { return box(k, 2, s); }},
    {"box_u8", "3 x 3", "output pixel", [](const Kernels& k, bool s) { return box(k, 3, s); }},
    {"box_u8", "4 x 4", "output pixel", [](const Kernels& k, bool s) { return box(k, 4, s); }},
    {"box_u8", "8 x 8", "output pixel", [](const Kernels& k, bool s) { return box(k, 8, s); }},
    {"sums_u8", "face area", "pixel", [](const Kernels& k, bool s) { return sums(k, s ? 16 : 76); }},
    {"edges_u8", "face area", "pixel", [](const Kernels& k, bool s) { return edges(k, s ? 16 : 76); }},
};

// Where a variant's function stands, to tell which variants share one.
const void* function_of(const Kernels& k, const std::string& kernel) {
  if (kernel == "warp_u8") return reinterpret_cast<const void*>(k.warp_u8);
  if (kernel == "scale_u8_f32") return reinterpret_cast<const void*>(k.scale_u8_f32);
  if (kernel == "dot_f32") return reinterpret_cast<const void*>(k.dot_f32);
  if (kernel == "scores_f32") return reinterpret_cast<const void*>(k.scores_f32);
  if (kernel == "gray_u8") return reinterpret_cast<const void*>(k.gray_u8);
  if (kernel == "table_u8") return reinterpret_cast<const void*>(k.table_u8);
  if (kernel == "box_u8") return reinterpret_cast<const void*>(k.box_u8);
  if (kernel == "sums_u8") return reinterpret_cast<const void*>(k.sums_u8);
  return reinterpret_cast<const void*>(k.edges_u8);
}

// The variants with a function of their own for this kernel, the scalar one among them, fastest first.
std::vector<const Kernels*> own(const Case& c) {
  std::vector<const Kernels*> list;
  const std::span<const Kernels> all = variants();
  for (size_t i = 0; i < all.size(); ++i) {
    const bool last = i + 1 == all.size();
    if (last || function_of(all[i], c.kernel) != function_of(all[i + 1], c.kernel)) list.push_back(&all[i]);
  }
  return list;
}

void time_all(const Case& c, int rounds) {
  using Clock = std::chrono::steady_clock;
  const std::vector<const Kernels*> list = own(c);
  std::vector<std::vector<double>> taken(list.size());
  size_t elements = 0;
  for (int round = 0; round < rounds + 5; ++round) {
    for (size_t i = 0; i < list.size(); ++i) {
      const Clock::time_point start = Clock::now();
      elements = c.run(*list[i], false);
      const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
      if (round >= 5) taken[i].push_back(ns);
    }
  }
  for (size_t i = 0; i < list.size(); ++i) {
    std::nth_element(taken[i].begin(), taken[i].begin() + rounds / 2, taken[i].end());
    std::printf("%s\t%.1f\t%zu\n", list[i]->name, taken[i][rounds / 2], elements);
  }
}

}  // namespace

// By this name the instruction counter of x86-64 is switched on and off.
extern "C" __attribute__((noinline)) size_t traced_call(const Case& c, const Kernels& k) { return c.run(k, true); }

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "list") {
    for (const Case& c : cases) {
      for (const Kernels* k : own(c)) std::printf("%s\t%s\t%s\t%s\n", k->name, c.kernel, c.name, c.unit);
    }
    return 0;
  }
  const std::string label = what == "once" && argc == 4 ? argv[3] : what == "time" && argc == 4 ? argv[2] : "";
  for (const Case& c : cases) {
    if (std::string(c.kernel) + " " + c.name != label) continue;
    if (what == "time") return time_all(c, std::max(1, std::atoi(argv[3]))), 0;
    for (const Kernels& k : variants()) {
      if (std::strcmp(k.name, argv[2]) == 0) return std::printf("%zu\n", traced_call(c, k)), 0;
    }
  }
  std::fprintf(stderr, "kernels_run: list | once VARIANT CASE | time CASE ROUNDS\n");
  return 2;
}
