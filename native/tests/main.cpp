// Runs every registered test, or those whose name contains the first argument.
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <exception>
#include <iostream>

#include "test.h"

namespace {

#if !defined(__SANITIZE_ADDRESS__)
const char* running = "";

// A read outside the guarded memory ends here; the sanitizers have a better report of their own.
void on_fault(int) {
  const char* parts[] = {"FAIL ", running, ": memory fault\n0 passed, 1 failed\n"};
  for (const char* part : parts) {
    if (write(STDOUT_FILENO, part, std::strlen(part)) < 0) break;
  }
  _exit(1);
}
#endif

bool run(const test::Case& test) {
#if !defined(__SANITIZE_ADDRESS__)
  running = test.name.c_str();
#endif
  test::counts().failures = 0;
  try {
    test.body();
  } catch (const std::exception& error) {
    test::check(false, __FILE__, __LINE__, std::string("unexpected exception: ") + error.what());
  }
  const long failures = test::counts().failures;
  std::cout << (failures == 0 ? "ok   " : "FAIL ") << test.name << std::endl;
  return failures == 0;
}

}  // namespace

int main(int argc, char** argv) {
#if !defined(__SANITIZE_ADDRESS__)
  std::signal(SIGSEGV, on_fault);
  std::signal(SIGBUS, on_fault);
#endif
  const std::string wanted = argc > 1 ? argv[1] : "";
  long passed = 0, failed = 0;
  for (const test::Case& test : test::cases()) {
    if (test.name.find(wanted) == std::string::npos) continue;
    ++(run(test) ? passed : failed);
  }
  std::cout << test::counts().checks << " checks\n" << passed << " passed, " << failed << " failed" << std::endl;
  // A filter that matches nothing, or a link without the tests, is not a success.
  return failed == 0 && passed > 0 ? 0 : 1;
}
