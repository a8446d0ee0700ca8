// Runs every registered test, or those whose name contains the first argument.
#include <exception>
#include <iostream>

#include "test.h"

namespace {

bool run(const test::Case& test) {
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
