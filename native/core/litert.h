// LiteRT through the C API of the shared library in the ai-edge-litert wheel.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "network.h"

namespace facesdk {

struct LiteRtApi;

// The library, loaded with its own symbols only, and one CPU environment. Throws RuntimeFailure if a symbol is missing.
class LiteRtLibrary {
 public:
  explicit LiteRtLibrary(const std::string& path);
  ~LiteRtLibrary();
  LiteRtLibrary(const LiteRtLibrary&) = delete;
  LiteRtLibrary& operator=(const LiteRtLibrary&) = delete;

  const LiteRtApi& api() const { return *api_; }
  void* environment() const { return environment_; }

 private:
  void* handle_ = nullptr;
  std::unique_ptr<LiteRtApi> api_;
  void* environment_ = nullptr;
  Process process_;
};

// A network for the model in `bytes`, which must outlive it and must have been checked by the caller.
// The model must have one subgraph with one input. Throws RuntimeFailure, with what the library said about it on stderr.
std::unique_ptr<Network> make_litert_network(std::shared_ptr<LiteRtLibrary> library, std::string_view bytes,
                                             int threads);

}  // namespace facesdk
