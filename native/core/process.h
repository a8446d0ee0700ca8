// Which process this is: a child after fork is another one, with the parent's memory but none of its other threads.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace facesdk {

// A number of this process that no child of it has; also true where a process id comes again or fork was called in C.
uint64_t process_token() noexcept;

// As pthread_atfork(3).
int at_fork(void (*prepare)(), void (*parent)(), void (*child)()) noexcept;

// Used in a child of the process that made it: its threads and whoever held its lock are not there.
class MadeBeforeFork : public std::runtime_error {
 public:
  MadeBeforeFork()
      : std::runtime_error("this engine was made before a fork: its threads are not in the child; make an Engine there") {}
};

// Notes the process that makes it.
class Process {
 public:
  bool left() const noexcept { return token_ != process_token(); }
  // Throws MadeBeforeFork.
  void check() const {
    if (left()) throw MadeBeforeFork();
  }

 private:
  uint64_t token_ = process_token();
};

}  // namespace facesdk
