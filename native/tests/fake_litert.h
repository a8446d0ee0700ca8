// What the tests tell the fake LiteRT library, and what it tells them.
#pragma once

#include <cstddef>
#include <cstdint>

// One line for each exported function; the Makefile reads the names to build libraries that lack one of them.
#define FAKE_LITERT_CALLS(X)                   \
  X(CreateEnvironment)                         \
  X(CreateModelFromBuffer)                     \
  X(CreateOptions)                             \
  X(SetOptionsHardwareAccelerators)            \
  X(CreateOpaqueOptions)                       \
  X(AddOpaqueOptions)                          \
  X(CreateCompiledModel)                       \
  X(GetModelSubgraph)                          \
  X(GetNumSubgraphInputs)                      \
  X(GetNumSubgraphOutputs)                     \
  X(GetSubgraphInput)                          \
  X(GetSubgraphOutput)                         \
  X(GetTensorName)                             \
  X(GetRankedTensorType)                       \
  X(GetPerTensorQuantization)                  \
  X(GetCompiledModelInputBufferRequirements)   \
  X(GetCompiledModelOutputBufferRequirements)  \
  X(CreateManagedTensorBufferFromRequirements) \
  X(GetTensorBufferPackedSize)                 \
  X(LockTensorBuffer)                          \
  X(UnlockTensorBuffer)                        \
  X(RunCompiledModel)                          \
  X(DestroyEnvironment)                        \
  X(DestroyModel)                              \
  X(DestroyOptions)                            \
  X(DestroyOpaqueOptions)                      \
  X(DestroyCompiledModel)                      \
  X(DestroyTensorBuffer)

struct FakeTensor {
  const char* name;
  int element_type;
  unsigned rank;
  int32_t dimensions[8];
  float scale;
  int64_t zero_point;
  size_t buffer_bytes;
};

struct FakeState {
  // Told by the test.
  const char* fail_call;  // this call answers `status` ...
  int fail_at;            // ... at its nth time, from 0
  int status;
  size_t inputs, outputs;
  FakeTensor input, output[3];
  const char* says;  // on stderr while compiling, piece by piece as TFLite's logger does; may be null

  // Told by the fake.
  int times;        // how often fail_call was called
  int live;         // handles made and not destroyed
  int locks, unlocks;
  int misuse;       // locked twice, unlocked or destroyed in the wrong state, run while locked, used after destruction
  int accelerators;
  int option_tags[4];
  int64_t option_values[4];
  const void* model_bytes;
  size_t model_size;
  char payload_id[32], payload[64];
};

extern "C" FakeState* FakeLiteRtState();
