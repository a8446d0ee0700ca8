// LiteRT ships no headers with its wheel and promises no ABI: these declarations ran with 2.1.6, 2.2.0 and 2.3.0
// (pyproject.toml names the one that is built in). Every symbol is resolved at load and every status checked.
#include "litert.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "kept_stderr.h"

namespace facesdk {

using Handle = void*;
using Status = int;

struct RankedType {  // 72 bytes
  int element_type;
  unsigned rank : 7;
  unsigned has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
};
static_assert(sizeof(RankedType) == 72);

struct PerTensorQuantization {
  float scale;
  int64_t zero_point;
};

struct EnvironmentOption {
  int tag;
  struct alignas(8) {
    int type;
    int64_t integer;
  } value;
};
static_assert(sizeof(EnvironmentOption) == 24);

// One line for each function: name without prefix, then its parameters.
#define FACESDK_LITERT_FUNCTIONS(X)                                                        \
  X(CreateEnvironment, int, const void*, Handle*)                                          \
  X(CreateModelFromBuffer, Handle, const void*, size_t, Handle*)                           \
  X(CreateOptions, Handle*)                                                                \
  X(SetOptionsHardwareAccelerators, Handle, int)                                           \
  X(CreateOpaqueOptions, const char*, void*, void (*)(void*), Handle*)                     \
  X(AddOpaqueOptions, Handle, Handle)                                                      \
  X(CreateCompiledModel, Handle, Handle, Handle, Handle*)                                  \
  X(GetModelSubgraph, Handle, size_t, Handle*)                                             \
  X(GetNumSubgraphInputs, Handle, size_t*)                                                 \
  X(GetNumSubgraphOutputs, Handle, size_t*)                                                \
  X(GetSubgraphInput, Handle, size_t, Handle*)                                             \
  X(GetSubgraphOutput, Handle, size_t, Handle*)                                            \
  X(GetTensorName, Handle, const char**)                                                   \
  X(GetRankedTensorType, Handle, RankedType*)                                              \
  X(GetPerTensorQuantization, Handle, PerTensorQuantization*)                              \
  X(GetCompiledModelInputBufferRequirements, Handle, size_t, size_t, Handle*)              \
  X(GetCompiledModelOutputBufferRequirements, Handle, size_t, size_t, Handle*)             \
  X(CreateManagedTensorBufferFromRequirements, Handle, const RankedType*, Handle, Handle*) \
  X(GetTensorBufferPackedSize, Handle, size_t*)                                            \
  X(LockTensorBuffer, Handle, void**, int)                                                 \
  X(UnlockTensorBuffer, Handle)                                                            \
  X(RunCompiledModel, Handle, size_t, size_t, Handle*, size_t, Handle*)

#define FACESDK_LITERT_DESTRUCTORS(X) \
  X(DestroyEnvironment)               \
  X(DestroyModel)                     \
  X(DestroyOptions)                   \
  X(DestroyOpaqueOptions)             \
  X(DestroyCompiledModel)             \
  X(DestroyTensorBuffer)

struct LiteRtApi {
#define X(name, ...) Status (*name)(__VA_ARGS__);
  FACESDK_LITERT_FUNCTIONS(X)
#undef X
#define X(name) void (*name)(Handle);
  FACESDK_LITERT_DESTRUCTORS(X)
#undef X
};

namespace {

constexpr int kOptionAccelerators = 24, kOptionLogSeverity = 25, kAnyInt = 2;
constexpr int kCpu = 1, kSilent = 4;
constexpr int kLockRead = 0, kLockWrite = 1;
constexpr int kFloat32 = 1, kInt8 = 9;  // TfLiteType

template <typename Function>
void resolve(void* library, const char* name, Function& function) {
  void* symbol = dlsym(library, name);
  if (symbol == nullptr) throw RuntimeFailure(std::string("the LiteRT library has no symbol ") + name);
  std::memcpy(&function, &symbol, sizeof(function));
}

void check(Status status, const char* call) {
  if (status != 0) throw RuntimeFailure(std::string("LiteRT ") + call + " answered status " + std::to_string(status));
}

// Makes calls of the library. What it says about one that fails is in the exception; what only informs is dropped.
template <typename Calls>
void listening(const Calls& calls) {
  KeptStderr said;
  try {
    calls();
  } catch (const RuntimeFailure& failure) {
    const std::string why = said.take("; ");
    throw RuntimeFailure(why.empty() ? failure.what() : failure.what() + (": " + why));
  }
}

// A handle with its destructor.
class Owned {
 public:
  Owned() = default;
  Owned(Handle handle, void (*destroy)(Handle)) : handle_(handle), destroy_(destroy) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), destroy_(other.destroy_) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  ~Owned() {
    if (handle_ != nullptr) destroy_(handle_);
  }
  Handle get() const { return handle_; }
  void release() { handle_ = nullptr; }

 private:
  Handle handle_ = nullptr;
  void (*destroy_)(Handle) = nullptr;
};

TensorInfo describe(const LiteRtApi& api, Handle tensor, RankedType& type) {
  const char* name = nullptr;
  check(api.GetTensorName(tensor, &name), "GetTensorName");
  std::memset(&type, 0, sizeof(type));
  check(api.GetRankedTensorType(tensor, &type), "GetRankedTensorType");
  TensorInfo info{name == nullptr ? "" : name, ElementType::float32, {}};
  if (type.element_type == kInt8) {
    info.type = ElementType::int8;
    PerTensorQuantization quantization{};
    check(api.GetPerTensorQuantization(tensor, &quantization), "GetPerTensorQuantization");
    info.scale = quantization.scale;
    info.zero_point = static_cast<int>(quantization.zero_point);
  } else if (type.element_type != kFloat32) {
    throw RuntimeFailure("tensor " + info.name + " has element type " + std::to_string(type.element_type) +
                         "; float32 or int8 was expected");
  }
  if (type.rank > 8) throw RuntimeFailure("tensor " + info.name + " has more than eight dimensions");
  for (unsigned i = 0; i < type.rank; ++i) {
    if (type.dimensions[i] <= 0) throw RuntimeFailure("tensor " + info.name + " has no fixed shape");
    info.shape.push_back(type.dimensions[i]);
  }
  return info;
}

class LiteRtNetwork final : public Network {
 public:
  LiteRtNetwork(std::shared_ptr<LiteRtLibrary> library, std::string_view bytes, int threads)
      : library_(std::move(library)), api_(library_->api()) {
    listening([&] {
      load(bytes);
      compile(threads);
      make_buffers();
    });
  }

  ~LiteRtNetwork() override { unlock_all(); }

  void* input() override {
    if (input_address_ == nullptr) {
      check(api_.LockTensorBuffer(input_.get(), &input_address_, kLockWrite), "LockTensorBuffer");
    }
    return input_address_;
  }

  void invoke() override {
    unlock_all();
    Handle in = input_.get();
    check(api_.RunCompiledModel(compiled_.get(), 0, 1, &in, output_handles_.size(), output_handles_.data()),
          "RunCompiledModel");
  }

  const void* output(size_t i) override {
    void*& address = output_addresses_.at(i);
    if (address == nullptr) {
      check(api_.LockTensorBuffer(output_handles_[i], &address, kLockRead), "LockTensorBuffer");
    }
    return address;
  }

 private:
  void load(std::string_view bytes) {
    Handle handle = nullptr;
    check(api_.CreateModelFromBuffer(library_->environment(), bytes.data(), bytes.size(), &handle),
          "CreateModelFromBuffer");
    model_ = Owned(handle, api_.DestroyModel);
  }

  void compile(int threads) {
    Handle handle = nullptr;
    check(api_.CreateOptions(&handle), "CreateOptions");
    const Owned options(handle, api_.DestroyOptions);
    check(api_.SetOptionsHardwareAccelerators(options.get(), kCpu), "SetOptionsHardwareAccelerators");
    // A call that succeeds takes over what it is given, one that fails does not.
    std::unique_ptr<char, void (*)(void*)> payload(
        strdup(("num_threads = " + std::to_string(threads) + "\n").c_str()), std::free);
    if (payload == nullptr) throw std::bad_alloc();
    check(api_.CreateOpaqueOptions("xnnpack", payload.get(), std::free, &handle), "CreateOpaqueOptions");
    payload.release();
    Owned opaque(handle, api_.DestroyOpaqueOptions);
    check(api_.AddOpaqueOptions(options.get(), opaque.get()), "AddOpaqueOptions");
    opaque.release();
    check(api_.CreateCompiledModel(library_->environment(), model_.get(), options.get(), &handle),
          "CreateCompiledModel");
    compiled_ = Owned(handle, api_.DestroyCompiledModel);
  }

  void make_buffers() {
    Handle graph = nullptr, tensor = nullptr, requirements = nullptr;
    size_t inputs = 0, outputs = 0;
    RankedType type;
    check(api_.GetModelSubgraph(model_.get(), 0, &graph), "GetModelSubgraph");
    check(api_.GetNumSubgraphInputs(graph, &inputs), "GetNumSubgraphInputs");
    check(api_.GetNumSubgraphOutputs(graph, &outputs), "GetNumSubgraphOutputs");
    if (inputs != 1) throw RuntimeFailure("a model with one input was expected, this has " + std::to_string(inputs));
    check(api_.GetSubgraphInput(graph, 0, &tensor), "GetSubgraphInput");
    input_info_ = describe(api_, tensor, type);
    check(api_.GetCompiledModelInputBufferRequirements(compiled_.get(), 0, 0, &requirements),
          "GetCompiledModelInputBufferRequirements");
    input_ = make_buffer(type, requirements, input_info_);
    for (size_t i = 0; i < outputs; ++i) {
      check(api_.GetSubgraphOutput(graph, i, &tensor), "GetSubgraphOutput");
      output_infos_.push_back(describe(api_, tensor, type));
      check(api_.GetCompiledModelOutputBufferRequirements(compiled_.get(), 0, i, &requirements),
            "GetCompiledModelOutputBufferRequirements");
      outputs_.push_back(make_buffer(type, requirements, output_infos_.back()));
      output_handles_.push_back(outputs_.back().get());
    }
    output_addresses_.assign(outputs, nullptr);
  }

  Owned make_buffer(const RankedType& type, Handle requirements, const TensorInfo& info) {
    Handle handle = nullptr;
    check(api_.CreateManagedTensorBufferFromRequirements(library_->environment(), &type, requirements, &handle),
          "CreateManagedTensorBufferFromRequirements");
    Owned buffer(handle, api_.DestroyTensorBuffer);
    size_t size = 0;
    check(api_.GetTensorBufferPackedSize(handle, &size), "GetTensorBufferPackedSize");
    if (size < info.bytes()) {
      throw RuntimeFailure("tensor " + info.name + " needs " + std::to_string(info.bytes()) + " bytes, its buffer has " +
                           std::to_string(size));
    }
    return buffer;
  }

  void unlock_all() {
    // Unlocking memory of the host cannot fail in a way that matters: the next lock would say so.
    if (std::exchange(input_address_, nullptr) != nullptr) api_.UnlockTensorBuffer(input_.get());
    for (size_t i = 0; i < output_addresses_.size(); ++i) {
      if (std::exchange(output_addresses_[i], nullptr) != nullptr) api_.UnlockTensorBuffer(output_handles_[i]);
    }
  }

  std::shared_ptr<LiteRtLibrary> library_;
  const LiteRtApi& api_;
  Owned model_, compiled_, input_;
  std::vector<Owned> outputs_;
  std::vector<Handle> output_handles_;
  void* input_address_ = nullptr;
  std::vector<void*> output_addresses_;
};

}  // namespace

LiteRtLibrary::LiteRtLibrary(const std::string& path) {
  handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    const char* reason = dlerror();
    throw RuntimeFailure(std::string("cannot load the LiteRT library: ") + (reason == nullptr ? path : reason));
  }
  api_ = std::make_unique<LiteRtApi>();
#define X(name, ...) resolve(handle_, "LiteRt" #name, api_->name);
  FACESDK_LITERT_FUNCTIONS(X)
#undef X
#define X(name) resolve(handle_, "LiteRt" #name, api_->name);
  FACESDK_LITERT_DESTRUCTORS(X)
#undef X
  // CPU only (no probing for GPUs), and none of LiteRT's log lines. They come all the same where ai_edge_litert was
  // imported first, and TFLite's have no switch: see kept_stderr.cpp.
  const EnvironmentOption options[] = {{kOptionAccelerators, {kAnyInt, kCpu}}, {kOptionLogSeverity, {kAnyInt, kSilent}}};
  listening([&] { check(api_->CreateEnvironment(2, options, &environment_), "CreateEnvironment"); });
}

LiteRtLibrary::~LiteRtLibrary() {
  // The library stays loaded: XNNPACK and cpuinfo keep process-wide state that does not survive dlclose.
  // In a child it stays too: it would wait for threads that are not there.
  if (environment_ != nullptr && !process_.left()) api_->DestroyEnvironment(environment_);
}

std::unique_ptr<Network> make_litert_network(std::shared_ptr<LiteRtLibrary> library, std::string_view bytes,
                                             int threads) {
  return std::make_unique<LiteRtNetwork>(std::move(library), bytes, threads);
}

size_t Network::output_of_size(size_t elements) const {
  size_t found = output_infos_.size(), matches = 0;
  for (size_t i = 0; i < output_infos_.size(); ++i) {
    if (output_infos_[i].elements() == elements) {
      found = i;
      ++matches;
    }
  }
  if (matches != 1) {
    throw RuntimeFailure("the model has " + std::to_string(matches) + " outputs of " + std::to_string(elements) +
                         " elements, one was expected");
  }
  return found;
}

}  // namespace facesdk
