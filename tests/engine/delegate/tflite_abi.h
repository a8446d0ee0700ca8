// What a delegate shares with the TFLite interpreter, declared from the public headers tensorflow/lite/core/c/common.h
// (TensorFlow 2.14) and tflite/core/c/common.h (LiteRT 2.3): the layouts used here are the same in both. Only members up
// to the last one that is used are declared where the interpreter owns the structure; TfLiteRegistration is declared as
// its longest form, since a delegate passes it by value.
#pragma once

#include <cstddef>
#include <cstdint>

enum TfLiteStatus { kOk = 0, kError = 1 };
constexpr int kInt8 = 9;            // TfLiteType
constexpr int kMaximum = 55;        // TfLiteBuiltinOperator
constexpr int kDelegateCode = 51;   // kTfLiteBuiltinDelegate

struct TfLiteContext;
struct TfLiteDelegate;

struct TfLiteIntArray {
  int size;
  int data[];
};

struct TfLiteTensor {
  int type;
  union {
    int8_t* int8;
    void* data;
  } data;
  TfLiteIntArray* dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  TfLiteDelegate* delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct {
    int type;
    void* params;
  } quantization;
  void* sparsity;
  const TfLiteIntArray* dims_signature;
};

struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  TfLiteIntArray* temporaries;
  void* user_data;
  void* builtin_data;
};

struct TfLiteRegistration {
  void* (*init)(TfLiteContext*, const char* buffer, size_t length);
  void (*free)(TfLiteContext*, void* buffer);
  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*);
  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*);
  const char* (*profiling_string)(const TfLiteContext*, const TfLiteNode*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* registration_external;
  void* async_kernel;
  uint64_t inplace_operator;
};

struct TfLiteDelegateParams {
  TfLiteDelegate* delegate;
  TfLiteIntArray* nodes_to_replace;
  TfLiteIntArray* input_tensors;
  TfLiteIntArray* output_tensors;
};

struct TfLiteContext {
  size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext*, TfLiteIntArray** execution_plan);
  TfLiteTensor* tensors;
  void* impl_;
  TfLiteStatus (*ResizeTensor)(TfLiteContext*, TfLiteTensor*, TfLiteIntArray* new_size);
  void (*ReportError)(TfLiteContext*, const char* message, ...);
  TfLiteStatus (*AddTensors)(TfLiteContext*, int count, int* first);
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext*, int index, TfLiteNode**, TfLiteRegistration**);
  TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext*, TfLiteRegistration registration,
                                                        const TfLiteIntArray* nodes, TfLiteDelegate*);
};

struct TfLiteDelegate {
  void* data_;
  TfLiteStatus (*Prepare)(TfLiteContext*, TfLiteDelegate*);
  TfLiteStatus (*CopyFromBufferHandle)(TfLiteContext*, TfLiteDelegate*, int handle, TfLiteTensor*);
  TfLiteStatus (*CopyToBufferHandle)(TfLiteContext*, TfLiteDelegate*, int handle, TfLiteTensor*);
  void (*FreeBufferHandle)(TfLiteContext*, TfLiteDelegate*, int* handle);
  int64_t flags;
  void* opaque_delegate_builder;
};

#if defined(__LP64__)  // what the two headers give on the 64-bit machines that are supported
static_assert(sizeof(TfLiteTensor) == 112 && offsetof(TfLiteTensor, bytes) == 40 && sizeof(TfLiteRegistration) == 88);
static_assert(offsetof(TfLiteContext, ReplaceNodeSubsetsWithDelegateKernels) == 64 && sizeof(TfLiteDelegate) == 56);
#endif
