// A library with LiteRT's symbols that records how it is used and fails where it is told to.
//
// Ownership as in LiteRT: a call that fails has taken nothing over; AddOpaqueOptions hands the opaque options to the
// options; the payload is freed with its own function.
#include "fake_litert.h"

#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

FakeState state;

enum class Kind { environment, model, options, opaque, compiled, buffer };

struct Object {
  explicit Object(Kind k) : kind(k) {}

  Kind kind;
  void* payload = nullptr;
  void (*release)(void*) = nullptr;
  std::vector<Object*> owned;
  std::vector<uint8_t> bytes;
  bool locked = false;
};

struct RankedType {
  int element_type;
  unsigned rank : 7;
  unsigned has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
};

struct Quantization {
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

int answer(std::string_view call) {
  if (state.fail_call == nullptr || call != state.fail_call) return 0;
  return state.times++ == state.fail_at ? state.status : 0;
}

int make(Kind kind, void** out) {
  *out = new Object(kind);
  ++state.live;
  return 0;
}

void destroy(void* handle, Kind kind) {
  auto* object = static_cast<Object*>(handle);
  if (object->kind != kind || object->locked) ++state.misuse;
  if (object->release != nullptr) object->release(object->payload);
  for (Object* child : object->owned) destroy(child, Kind::opaque);
  delete object;
  --state.live;
}

// Counts a handle of another kind than the function takes.
void expect(void* handle, Kind kind) {
  if (handle == nullptr || static_cast<Object*>(handle)->kind != kind) ++state.misuse;
}

}  // namespace

#define FAIL_IF_TOLD(call) \
  if (const int status = answer(#call); status != 0) return status

EXPORT FakeState* FakeLiteRtState() { return &state; }

EXPORT int LiteRtCreateEnvironment(int n, const void* options, void** out) {
  FAIL_IF_TOLD(CreateEnvironment);
  for (int i = 0; i < n && i < 4; ++i) {
    const auto& option = static_cast<const EnvironmentOption*>(options)[i];
    state.option_tags[i] = option.tag;
    state.option_values[i] = option.value.type == 2 ? option.value.integer : -1;
  }
  return make(Kind::environment, out);
}

EXPORT int LiteRtCreateModelFromBuffer(void* environment, const void* bytes, size_t size, void** out) {
  expect(environment, Kind::environment);
  FAIL_IF_TOLD(CreateModelFromBuffer);
  state.model_bytes = bytes;
  state.model_size = size;
  return make(Kind::model, out);
}

EXPORT int LiteRtCreateOptions(void** out) {
  FAIL_IF_TOLD(CreateOptions);
  return make(Kind::options, out);
}

EXPORT int LiteRtSetOptionsHardwareAccelerators(void* options, int mask) {
  expect(options, Kind::options);
  FAIL_IF_TOLD(SetOptionsHardwareAccelerators);
  state.accelerators = mask;
  return 0;
}

EXPORT int LiteRtCreateOpaqueOptions(const char* id, void* payload, void (*release)(void*), void** out) {
  FAIL_IF_TOLD(CreateOpaqueOptions);
  std::strncpy(state.payload_id, id, sizeof(state.payload_id) - 1);
  std::strncpy(state.payload, static_cast<const char*>(payload), sizeof(state.payload) - 1);
  make(Kind::opaque, out);
  static_cast<Object*>(*out)->payload = payload;
  static_cast<Object*>(*out)->release = release;
  return 0;
}

EXPORT int LiteRtAddOpaqueOptions(void* options, void* opaque) {
  expect(options, Kind::options);
  expect(opaque, Kind::opaque);
  FAIL_IF_TOLD(AddOpaqueOptions);
  static_cast<Object*>(options)->owned.push_back(static_cast<Object*>(opaque));
  return 0;
}

EXPORT int LiteRtCreateCompiledModel(void* environment, void* model, void* options, void** out) {
  expect(environment, Kind::environment);
  expect(model, Kind::model);
  expect(options, Kind::options);
  if (state.says != nullptr) {
    std::fprintf(stderr, "%s", state.says);
    std::fputc('\n', stderr);
  }
  FAIL_IF_TOLD(CreateCompiledModel);
  return make(Kind::compiled, out);
}

// Subgraphs, tensors and requirements belong to the model: they are pointers into the state.
EXPORT int LiteRtGetModelSubgraph(void* model, size_t, void** out) {
  expect(model, Kind::model);
  FAIL_IF_TOLD(GetModelSubgraph);
  *out = &state;
  return 0;
}

EXPORT int LiteRtGetNumSubgraphInputs(void*, size_t* out) {
  FAIL_IF_TOLD(GetNumSubgraphInputs);
  *out = state.inputs;
  return 0;
}

EXPORT int LiteRtGetNumSubgraphOutputs(void*, size_t* out) {
  FAIL_IF_TOLD(GetNumSubgraphOutputs);
  *out = state.outputs;
  return 0;
}

EXPORT int LiteRtGetSubgraphInput(void*, size_t, void** out) {
  FAIL_IF_TOLD(GetSubgraphInput);
  *out = &state.input;
  return 0;
}

EXPORT int LiteRtGetSubgraphOutput(void*, size_t i, void** out) {
  FAIL_IF_TOLD(GetSubgraphOutput);
  *out = &state.output[i];
  return 0;
}

EXPORT int LiteRtGetTensorName(void* tensor, const char** out) {
  FAIL_IF_TOLD(GetTensorName);
  *out = static_cast<FakeTensor*>(tensor)->name;
  return 0;
}

EXPORT int LiteRtGetRankedTensorType(void* tensor, RankedType* out) {
  FAIL_IF_TOLD(GetRankedTensorType);
  const auto* t = static_cast<FakeTensor*>(tensor);
  out->element_type = t->element_type;
  out->rank = t->rank;
  std::memcpy(out->dimensions, t->dimensions, sizeof(out->dimensions));
  return 0;
}

EXPORT int LiteRtGetPerTensorQuantization(void* tensor, Quantization* out) {
  FAIL_IF_TOLD(GetPerTensorQuantization);
  *out = {static_cast<FakeTensor*>(tensor)->scale, static_cast<FakeTensor*>(tensor)->zero_point};
  return 0;
}

EXPORT int LiteRtGetCompiledModelInputBufferRequirements(void* compiled, size_t, size_t, void** out) {
  expect(compiled, Kind::compiled);
  FAIL_IF_TOLD(GetCompiledModelInputBufferRequirements);
  *out = &state.input;
  return 0;
}

EXPORT int LiteRtGetCompiledModelOutputBufferRequirements(void* compiled, size_t, size_t i, void** out) {
  expect(compiled, Kind::compiled);
  FAIL_IF_TOLD(GetCompiledModelOutputBufferRequirements);
  *out = &state.output[i];
  return 0;
}

EXPORT int LiteRtCreateManagedTensorBufferFromRequirements(void* environment, const RankedType*, void* requirements,
                                                           void** out) {
  expect(environment, Kind::environment);
  FAIL_IF_TOLD(CreateManagedTensorBufferFromRequirements);
  make(Kind::buffer, out);
  static_cast<Object*>(*out)->bytes.resize(static_cast<FakeTensor*>(requirements)->buffer_bytes);
  return 0;
}

EXPORT int LiteRtGetTensorBufferPackedSize(void* buffer, size_t* out) {
  expect(buffer, Kind::buffer);
  FAIL_IF_TOLD(GetTensorBufferPackedSize);
  *out = static_cast<Object*>(buffer)->bytes.size();
  return 0;
}

EXPORT int LiteRtLockTensorBuffer(void* buffer, void** address, int) {
  expect(buffer, Kind::buffer);
  FAIL_IF_TOLD(LockTensorBuffer);
  auto* object = static_cast<Object*>(buffer);
  if (object->locked) ++state.misuse;
  object->locked = true;
  ++state.locks;
  *address = object->bytes.data();
  return 0;
}

EXPORT int LiteRtUnlockTensorBuffer(void* buffer) {
  expect(buffer, Kind::buffer);
  auto* object = static_cast<Object*>(buffer);
  if (!object->locked) ++state.misuse;
  object->locked = false;
  ++state.unlocks;
  return answer("UnlockTensorBuffer");
}

// Output i is the input's bytes over and over, each plus i + 1.
EXPORT int LiteRtRunCompiledModel(void* compiled, size_t, size_t n_in, void** in, size_t n_out, void** out) {
  expect(compiled, Kind::compiled);
  FAIL_IF_TOLD(RunCompiledModel);
  if (n_in != 1 || n_out != state.outputs) ++state.misuse;
  const auto* source = static_cast<Object*>(in[0]);
  if (source->locked) ++state.misuse;
  for (size_t i = 0; i < n_out; ++i) {
    auto* target = static_cast<Object*>(out[i]);
    if (target->locked) ++state.misuse;
    for (size_t j = 0; j < target->bytes.size(); ++j) {
      target->bytes[j] = static_cast<uint8_t>(source->bytes[j % source->bytes.size()] + i + 1);
    }
  }
  return 0;
}

EXPORT void LiteRtDestroyEnvironment(void* handle) { destroy(handle, Kind::environment); }
EXPORT void LiteRtDestroyModel(void* handle) { destroy(handle, Kind::model); }
EXPORT void LiteRtDestroyOptions(void* handle) { destroy(handle, Kind::options); }
EXPORT void LiteRtDestroyOpaqueOptions(void* handle) { destroy(handle, Kind::opaque); }
EXPORT void LiteRtDestroyCompiledModel(void* handle) { destroy(handle, Kind::compiled); }
EXPORT void LiteRtDestroyTensorBuffer(void* handle) { destroy(handle, Kind::buffer); }
