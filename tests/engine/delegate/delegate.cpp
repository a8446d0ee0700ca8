// An external TFLite delegate of our own, in the place of libedgetpu.so.1: claims every int8 MAXIMUM node, runs it, and
// fails in the ways that an accelerator fails. Built by tests/engine/test_edgetpu.py.
//
// Options of tflite_plugin_create_delegate, all of them numbers but `device`:
//   device         what facesdk asks for; "usb:<index>" of a device that is not listed makes no delegate
//   fail_create    1: no delegate, with a message; 2: without one, as libedgetpu does
//   fail_prepare   1: the graph cannot be taken over
//   wrong          added to every result, within -128..127
// What happens later is set by test_set(): see Setting.

#include "tflite_abi.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

enum Setting { kDevices = 0, kFailAt = 1, kVanishAt = 2 };

// kFailAt and kVanishAt count node runs from 1 (0: never): at kFailAt one run fails, from kVanishAt on all do.
std::atomic<long> g_settings[3] = {{1}, {0}, {0}};
std::atomic<long> g_runs{0};       // claimed nodes that were run, failed ones included
std::atomic<long> g_delegates{0};  // alive
std::atomic<long> g_kernels{0};    // alive
std::atomic<long> g_lists{0};      // lists of devices that were not given back

struct Delegate : TfLiteDelegate {
  int wrong = 0;
  bool fail_prepare = false;
};

struct Kernel {
  int inputs[2];
  int output;
  int wrong;
};

bool gone() {
  const long at = g_settings[kVanishAt];
  return g_settings[kDevices] == 0 || (at > 0 && g_runs >= at);
}

bool is_int8_maximum(const TfLiteContext* context, const TfLiteNode* node, const TfLiteRegistration* registration) {
  if (registration->builtin_code != kMaximum || node->inputs->size != 2 || node->outputs->size != 1) return false;
  const TfLiteTensor* tensors = context->tensors;
  const TfLiteTensor& out = tensors[node->outputs->data[0]];
  for (int i = 0; i < 2; ++i) {
    const TfLiteTensor& in = tensors[node->inputs->data[i]];
    if (in.type != kInt8 || in.bytes != out.bytes) return false;  // no broadcast
  }
  return out.type == kInt8;
}

void* kernel_init(TfLiteContext* context, const char* buffer, size_t) {
  const auto* params = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (params->nodes_to_replace->size != 1 ||
      context->GetNodeAndRegistration(context, params->nodes_to_replace->data[0], &node, &registration) != kOk)
    return nullptr;
  ++g_kernels;
  const int wrong = static_cast<Delegate*>(params->delegate)->wrong;
  return new Kernel{{node->inputs->data[0], node->inputs->data[1]}, node->outputs->data[0], wrong};
}

void kernel_free(TfLiteContext*, void* data) {
  if (data == nullptr) return;
  --g_kernels;
  delete static_cast<Kernel*>(data);
}

TfLiteStatus kernel_prepare(TfLiteContext*, TfLiteNode* node) { return node->user_data ? kOk : kError; }

TfLiteStatus kernel_invoke(TfLiteContext* context, TfLiteNode* node) {
  const Kernel& kernel = *static_cast<Kernel*>(node->user_data);
  const long run = ++g_runs;
  if (run == g_settings[kFailAt]) {
    context->ReportError(context, "test delegate: node run %ld fails on demand", run);
    return kError;
  }
  if (gone()) {
    context->ReportError(context, "test delegate: the device has vanished");
    return kError;
  }
  const TfLiteTensor& out = context->tensors[kernel.output];
  const int8_t* a = context->tensors[kernel.inputs[0]].data.int8;
  const int8_t* b = context->tensors[kernel.inputs[1]].data.int8;
  for (size_t i = 0; i < out.bytes; ++i) {
    const int value = std::max(a[i], b[i]) + kernel.wrong;
    out.data.int8[i] = static_cast<int8_t>(std::min(127, std::max(-128, value)));
  }
  return kOk;
}

TfLiteStatus prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  if (static_cast<Delegate*>(delegate)->fail_prepare) {
    context->ReportError(context, "test delegate: the graph is refused on demand");
    return kError;
  }
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kOk) return kError;
  const std::vector<int> nodes(plan->data, plan->data + plan->size);  // the plan changes while nodes are replaced
  TfLiteRegistration registration = {};
  registration.init = kernel_init;
  registration.free = kernel_free;
  registration.prepare = kernel_prepare;
  registration.invoke = kernel_invoke;
  registration.builtin_code = kDelegateCode;
  registration.custom_name = "FacesdkTestDelegate";
  registration.version = 1;
  for (const int index : nodes) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* found = nullptr;
    if (context->GetNodeAndRegistration(context, index, &node, &found) != kOk) return kError;
    if (!is_int8_maximum(context, node, found)) continue;
    int one[2] = {1, index};  // a TfLiteIntArray of one element
    const auto* array = reinterpret_cast<const TfLiteIntArray*>(one);
    if (context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, array, delegate) != kOk) return kError;
  }
  return kOk;
}

struct edgetpu_device {
  int type;  // 0: PCI, 1: USB
  const char* path;
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count,
                                                     void (*report)(const char*)) {
  auto option = [&](const char* name) -> std::string {
    for (size_t i = 0; i < count; ++i)
      if (std::strcmp(keys[i], name) == 0) return values[i];
    return "";
  };
  const int fail = std::atoi(option("fail_create").c_str());
  const std::string device = option("device");
  const bool listed = device.rfind("usb:", 0) != 0 || std::atol(device.c_str() + 4) < g_settings[kDevices];
  if (fail == 1 && report != nullptr) report("test delegate: creation fails on demand");
  if (fail != 0 || !listed || gone()) return nullptr;
  auto* delegate = new Delegate{};
  delegate->Prepare = prepare;
  delegate->wrong = std::atoi(option("wrong").c_str());
  delegate->fail_prepare = option("fail_prepare") == "1";
  ++g_delegates;
  return delegate;
}

EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate == nullptr) return;
  --g_delegates;
  delete static_cast<Delegate*>(delegate);
}

EXPORT edgetpu_device* edgetpu_list_devices(size_t* count) {
  *count = gone() ? 0 : static_cast<size_t>(g_settings[kDevices]);
  if (*count == 0) return nullptr;
  ++g_lists;
  auto* devices = new edgetpu_device[*count];
  std::fill(devices, devices + *count, edgetpu_device{1, "/sys/bus/usb/devices/1-1"});
  return devices;
}

EXPORT void edgetpu_free_devices(edgetpu_device* devices) {
  --g_lists;
  delete[] devices;
}

EXPORT const char* edgetpu_version() { return "facesdk test delegate 1"; }

EXPORT void test_set(int setting, long value) { g_settings[setting] = value; }

EXPORT void test_reset() {
  g_settings[kDevices] = 1;
  g_settings[kFailAt] = g_settings[kVanishAt] = g_runs = 0;
}

EXPORT long test_runs() { return g_runs; }

// 0: delegates, 1: kernels, 2: lists of devices that are alive.
EXPORT long test_alive(int what) { return what == 2 ? g_lists : what == 1 ? g_kernels : g_delegates; }
