// The LiteRT network against a library of our own that fails where it is told to.
#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fake_litert.h"
#include "litert.h"
#include "test.h"

using namespace facesdk;

namespace {

// TEST_LIBRARIES is the folder of libfake.so and of without_X.so for each exported function X.
const std::string kFolder = TEST_LIBRARIES;
const std::string kFake = kFolder + "/libfake.so";
constexpr int kFloat32 = 1, kInt8 = 9, kInt32 = 2;
const std::string kModel = "the model's bytes";

FakeTensor float_tensor(const char* name, int32_t n) { return {name, kFloat32, 2, {1, n}, 0, 0, static_cast<size_t>(4 * n)}; }
FakeTensor int8_tensor(const char* name, int32_t n) { return {name, kInt8, 2, {1, n}, 0.25f, -3, static_cast<size_t>(n)}; }

// The fake's state with one int8 input of 6, one float output of 4 and one int8 output of 5.
FakeState& fresh() {
  static void* const handle = dlopen(kFake.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw std::runtime_error(std::string("the fake does not load: ") + dlerror());
  static auto* const get = reinterpret_cast<FakeState* (*)()>(dlsym(handle, "FakeLiteRtState"));
  FakeState& state = *get();
  state = FakeState{};
  state.inputs = 1;
  state.outputs = 2;
  state.input = int8_tensor("in", 6);
  state.output[0] = float_tensor("first", 4);
  state.output[1] = int8_tensor("second", 5);
  return state;
}

std::shared_ptr<LiteRtLibrary> library() { return std::make_shared<LiteRtLibrary>(kFake); }

std::unique_ptr<Network> network(int threads = 2) { return make_litert_network(library(), kModel, threads); }

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A whole life: load, compile, write, run, read, destroy.
void live_once() {
  const auto s = network();
  std::memset(s->input(), 7, 6);
  s->invoke();
  s->output(0);
  s->output(1);
}

void check_balanced(const FakeState& state) {
  CHECK_EQ(state.live, 0);
  CHECK_EQ(state.locks, state.unlocks);
  CHECK_EQ(state.misuse, 0);
}

// The nth such call of a life fails: the exception names it, and nothing is left over.
void fail_once(const std::string& call, int at) {
  FakeState& state = fresh();
  state.fail_call = call.c_str();
  state.fail_at = at;
  state.status = 500 + at;
  const std::string message = test::message_of<RuntimeFailure>(live_once);
  test::check(contains(message, call) && contains(message, std::to_string(500 + at)), __FILE__, __LINE__,
              call + " failed with the message: " + message);
  test::check(state.live == 0, __FILE__, __LINE__, call + " failed and left " + std::to_string(state.live) + " handles");
  CHECK_EQ(state.locks, state.unlocks);
  CHECK_EQ(state.misuse, 0);
}

std::string refusal(const FakeTensor& input) {
  FakeState& state = fresh();
  state.input = input;
  const std::string message = test::message_of<RuntimeFailure>([] { network(); });
  check_balanced(state);
  return message;
}

}  // namespace

TEST(litert_describes_its_tensors) {
  const FakeState& state = fresh();
  {
    const auto s = network();
    CHECK_EQ(s->input_info().name, std::string("in"));
    CHECK(s->input_info().type == ElementType::int8);
    CHECK(s->input_info().shape == (std::vector<int>{1, 6}));
    CHECK_EQ(s->input_info().scale, 0.25f);
    CHECK_EQ(s->input_info().zero_point, -3);
    CHECK_EQ(s->output_infos().size(), size_t{2});
    CHECK(s->output_infos()[0].type == ElementType::float32);
    CHECK_EQ(s->output_infos()[1].name, std::string("second"));
    CHECK_EQ(s->output_of_size(4), size_t{0});
    CHECK_EQ(s->output_of_size(5), size_t{1});
    CHECK_THROWS(RuntimeFailure, "0 outputs of 6 elements", s->output_of_size(6));
  }
  check_balanced(state);
}

TEST(litert_gives_the_very_bytes_and_options) {
  const FakeState& state = fresh();
  network(3);
  CHECK_EQ(state.model_bytes, static_cast<const void*>(kModel.data()));
  CHECK_EQ(state.model_size, kModel.size());
  CHECK_EQ(std::string(state.payload_id), std::string("xnnpack"));
  CHECK_EQ(std::string(state.payload), std::string("num_threads = 3\n"));
  CHECK_EQ(state.accelerators, 1);
  CHECK_EQ(state.option_tags[0], 24);
  CHECK_EQ(state.option_values[0], int64_t{1});
  CHECK_EQ(state.option_tags[1], 25);
  CHECK_EQ(state.option_values[1], int64_t{4});
  check_balanced(state);
}

TEST(litert_runs_again_and_again) {
  const FakeState& state = fresh();
  {
    const auto s = network();
    for (int round = 0; round < 5; ++round) {
      std::memset(s->input(), 10 * round, 6);
      CHECK_EQ(s->input(), s->input());
      s->invoke();
      for (size_t i = 0; i < 2; ++i) {
        const auto* out = static_cast<const uint8_t*>(s->output(i));
        CHECK_EQ(s->output(i), static_cast<const void*>(out));
        CHECK_EQ(static_cast<int>(out[0]), 10 * round + static_cast<int>(i) + 1);
        CHECK_EQ(static_cast<int>(out[4]), 10 * round + static_cast<int>(i) + 1);
      }
    }
    s->invoke();  // with nothing locked
    CHECK_EQ(state.locks, state.unlocks);
    s->input();
    s->output(1);
    CHECK_THROWS(std::out_of_range, "", s->output(2));
  }
  check_balanced(state);
}

TEST(litert_every_failing_call_is_named) {
  // Those that report a status to somebody; unlocking is done in destructors too, where nobody could be told.
  const std::vector<const char*> calls = {
#define X(name) #name,
      FAKE_LITERT_CALLS(X)
#undef X
  };
  size_t failed = 0;
  for (const char* call : calls) {
    if (std::strncmp(call, "Destroy", 7) == 0 || std::strcmp(call, "UnlockTensorBuffer") == 0) continue;
    FakeState& state = fresh();
    state.fail_call = call;
    state.fail_at = -1;
    live_once();
    const int times = state.times;
    CHECK(times > 0);
    for (int at = 0; at < times; ++at) {
      fail_once(call, at);
      ++failed;
    }
  }
  CHECK(failed >= 30);
}

TEST(litert_failure_has_what_the_library_said) {
  FakeState& state = fresh();
  state.says = "INFO: of no interest\nERROR: this model is too large";
  state.fail_call = "CreateCompiledModel";
  state.status = 7;
  const std::string message = test::message_of<RuntimeFailure>([] { network(); });
  CHECK(contains(message, "CreateCompiledModel answered status 7: ERROR: this model is too large"));
  CHECK(!contains(message, "of no interest"));
  check_balanced(state);
}

TEST(litert_works_after_a_failed_run) {
  FakeState& state = fresh();
  {
    const auto s = network();
    state.fail_call = "RunCompiledModel";
    state.status = 3;
    std::memset(s->input(), 1, 6);
    CHECK_THROWS(RuntimeFailure, "RunCompiledModel answered status 3", s->invoke());
    std::memset(s->input(), 20, 6);
    s->invoke();
    CHECK_EQ(static_cast<int>(*static_cast<const uint8_t*>(s->output(1))), 22);
  }
  check_balanced(state);
}

TEST(litert_works_after_a_failed_lock) {
  FakeState& state = fresh();
  {
    const auto s = network();
    state.fail_call = "LockTensorBuffer";
    state.status = 4;
    CHECK_THROWS(RuntimeFailure, "LockTensorBuffer answered status 4", s->input());
    std::memset(s->input(), 20, 6);
    s->invoke();
    state.times = 0;
    CHECK_THROWS(RuntimeFailure, "LockTensorBuffer answered status 4", s->output(0));
    CHECK_EQ(static_cast<int>(*static_cast<const uint8_t*>(s->output(0))), 21);
  }
  check_balanced(state);
}

TEST(litert_refuses_small_buffers) {
  FakeTensor small = int8_tensor("in", 6);
  small.buffer_bytes = 5;
  CHECK(contains(refusal(small), "in needs 6 bytes, its buffer has 5"));
  small = float_tensor("in", 6);
  small.buffer_bytes = 23;
  CHECK(contains(refusal(small), "in needs 24 bytes, its buffer has 23"));
  FakeState& state = fresh();
  state.output[1].buffer_bytes = 0;
  CHECK_THROWS(RuntimeFailure, "second needs 5 bytes", network());
  check_balanced(state);
  // A larger one is how runtimes pad.
  FakeState& padded = fresh();
  padded.input.buffer_bytes = 64;
  live_once();
  check_balanced(padded);
}

TEST(litert_refuses_other_types_and_shapes) {
  for (const int type : {0, kInt32, 3, 4, 10, 16, -1, 1000}) {
    FakeTensor other = float_tensor("in", 6);
    other.element_type = type;
    CHECK(contains(refusal(other), "tensor in has element type " + std::to_string(type)));
  }
  for (const unsigned rank : {9u, 64u, 127u}) {
    FakeTensor deep = float_tensor("in", 6);
    deep.rank = rank;
    CHECK(contains(refusal(deep), "more than eight dimensions"));
  }
  for (const int32_t size : {0, -1, INT32_MIN}) {
    FakeTensor open = float_tensor("in", 6);
    open.dimensions[1] = size;
    CHECK(contains(refusal(open), "no fixed shape"));
  }
  FakeState& state = fresh();
  state.output[0].element_type = kInt32;
  CHECK_THROWS(RuntimeFailure, "tensor first has element type 2", network());
  check_balanced(state);
  // A name may be missing, a scalar has no dimensions.
  FakeState& bare = fresh();
  bare.input = {nullptr, kFloat32, 0, {}, 0, 0, 4};
  CHECK_EQ(network()->input_info().elements(), size_t{1});
  check_balanced(bare);
}

TEST(litert_wants_one_input) {
  for (const size_t inputs : {0, 2, 7}) {
    FakeState& state = fresh();
    state.inputs = inputs;
    CHECK_THROWS(RuntimeFailure, "one input was expected, this has " + std::to_string(inputs), network());
    check_balanced(state);
  }
}

TEST(litert_library_outlives_its_networks) {
  const FakeState& state = fresh();
  {
    auto lib = library();
    const auto first = make_litert_network(lib, kModel, 1), second = make_litert_network(lib, kModel, 1);
    lib.reset();
    std::memset(first->input(), 1, 6);
    std::memset(second->input(), 2, 6);
    first->invoke();
    second->invoke();
    CHECK_EQ(static_cast<int>(*static_cast<const uint8_t*>(first->output(1))), 3);
    CHECK_EQ(static_cast<int>(*static_cast<const uint8_t*>(second->output(1))), 4);
  }
  check_balanced(state);
}

TEST(litert_names_the_missing_symbol) {
  // DestroyOpaqueOptions matters only where handing the options over failed; every other function is needed always.
  const std::vector<std::string> calls = {
#define X(name) #name,
      FAKE_LITERT_CALLS(X)
#undef X
  };
  for (const std::string& call : calls) {
    const std::string path = kFolder + "/without_" + call + ".so";
    CHECK_THROWS(RuntimeFailure, "no symbol LiteRt" + call, LiteRtLibrary{path});
  }
}

TEST(litert_refuses_what_is_no_library) {
  CHECK_THROWS(RuntimeFailure, "cannot load", LiteRtLibrary{kFolder + "/does_not_exist.so"});
  CHECK_THROWS(RuntimeFailure, "cannot load", LiteRtLibrary{kFolder + "/not_a_library.so"});
  CHECK_THROWS(RuntimeFailure, "cannot load", LiteRtLibrary{kFolder + "/empty.so"});
  CHECK_THROWS(RuntimeFailure, "cannot load", LiteRtLibrary{kFolder});
}
