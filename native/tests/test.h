// The whole test framework: tests registered by name, checks that count and say where they failed.
#pragma once

#include <cmath>
#include <iostream>
#include <string>
#include <vector>

namespace test {

struct Case {
  std::string name;
  void (*body)();
};

// All registered tests, in the order of their files.
inline std::vector<Case>& cases() {
  static std::vector<Case> list;
  return list;
}

struct Counts {
  long checks = 0;
  long failures = 0;
};

inline Counts& counts() {
  static Counts counts;
  return counts;
}

// More lines than this from one test say nothing new.
constexpr long kMaxLines = 10;

inline void check(bool good, const char* file, int line, const std::string& what) {
  ++counts().checks;
  if (good) return;
  if (++counts().failures <= kMaxLines) std::cout << file << ":" << line << ": " << what << std::endl;
}

template <typename A, typename B>
void check_eq(const A& a, const B& b, const char* file, int line, const char* what) {
  const bool good = a == b;
  if (good) return check(true, file, line, {});
  std::cout << std::boolalpha << "  left: " << a << ", right: " << b << std::endl;
  check(false, file, line, what);
}

inline void check_near(double a, double b, double tolerance, const char* file, int line, const char* what) {
  // A NaN is near nothing.
  const bool good = std::abs(a - b) <= tolerance;
  if (good) return check(true, file, line, {});
  check(false, file, line, std::string(what) + ": " + std::to_string(a) + " and " + std::to_string(b));
}

struct Registration {
  Registration(const char* name, void (*body)()) { cases().push_back({name, body}); }
};

// The message of the exception of this type that body() throws; "" if it throws none.
template <typename Exception, typename Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace test

#define TEST(name)                                                  \
  static void test_##name();                                        \
  static const test::Registration kTest_##name(#name, test_##name); \
  static void test_##name()

#define CHECK(condition) test::check(static_cast<bool>(condition), __FILE__, __LINE__, #condition)
#define CHECK_EQ(a, b) test::check_eq(a, b, __FILE__, __LINE__, #a " == " #b)
#define CHECK_NEAR(a, b, tolerance) test::check_near(a, b, tolerance, __FILE__, __LINE__, #a " near " #b)

// body throws Exception and its message contains text.
#define CHECK_THROWS(Exception, text, body)                                              \
  do {                                                                                   \
    const std::string message_ = test::message_of<Exception>([&] { body; });             \
    test::check(!message_.empty() && message_.find(text) != std::string::npos, __FILE__, \
                __LINE__, "expected " #Exception " with \"" + std::string(text) + "\", got \"" + message_ + "\""); \
  } while (false)
