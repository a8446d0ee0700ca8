// Which kernels this processor gets, and that the emulated ones without UDOT would not survive it.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <fcntl.h>
#include <sys/auxv.h>
#endif

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels.h"
#include "test.h"

using namespace facesdk;

namespace {

std::vector<std::string> usable() {
  std::vector<std::string> names;
  for (const Kernels& k : variants()) {
    if (k.supported()) names.emplace_back(k.name);
  }
  return names;
}

// What the processor says of itself, not by way of the variants' own questions.
std::vector<std::string> expected() {
#if defined(__aarch64__)
  std::vector<std::string> names = {"neon", "scalar"};
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) names.insert(names.begin(), "dotprod");
  return names;
#elif defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2")) return {"scalar"};
  std::vector<std::string> names = {"avx2", "scalar"};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    names.insert(names.begin(), "avx512");
  }
  return names;
#else
  return {"scalar"};
#endif
}

#if defined(__aarch64__)
// How a child process ends that calls this variant's sums: 0 if they are right, 1 if not, or minus a signal.
int outcome_of_sums(const Kernels& k) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    std::signal(SIGILL, SIG_DFL);
    // The emulator reports the signal on the same standard error.
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    uint8_t bytes[64];
    for (int i = 0; i < 64; ++i) bytes[i] = static_cast<uint8_t>(200 + i);  // 200 to 255, then 0 to 7
    const Sums got = k.sums_u8(bytes, 64, 64, 1), right = sums_u8_scalar(bytes, 64, 64, 1);
    _exit(got.sum == right.sum && got.squares == right.squares && got.bright == 6 && right.bright == 6 ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1000;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
#endif

}  // namespace

TEST(dispatch_takes_the_first_usable) {
  std::string list;
  for (const std::string& name : usable()) list += " " + name;
  std::cout << "kernels: " << kernels().name << " (usable:" << list << ")" << std::endl;
  CHECK_EQ(std::string(kernels().name), usable().front());
  CHECK(usable() == expected());
}

TEST(dispatch_takes_what_the_makefile_says) {
  // Set for each emulated processor; nothing but this test reads it.
  const char* named = std::getenv("TEST_EXPECTED_KERNELS");
  if (named == nullptr || *named == 0) return;
  CHECK_EQ(std::string(kernels().name), std::string(named));
  for (const std::string& name : usable()) CHECK(std::string(named) == "dotprod" || name != "dotprod");
}

#if defined(__aarch64__)
TEST(dispatch_dotprod_ends_in_sigill_where_it_is_not_usable) {
  CHECK_EQ(outcome_of_sums(kScalar), 0);
  CHECK_EQ(outcome_of_sums(kNeon), 0);
  CHECK_EQ(outcome_of_sums(kDotprod), kDotprod.supported() ? 0 : -SIGILL);
}
#endif
