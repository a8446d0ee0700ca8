// What a library says on stderr during one call, for the caller instead of the terminal.
#pragma once

#include <string>

namespace facesdk {

// While one lives, what this thread writes to the C library's `stderr` is kept. What other threads write there arrives
// as ever, and file descriptor 2 stays as it is. Where the C library is not glibc, nothing is kept. One a thread.
class KeptStderr {
 public:
  KeptStderr();
  // Writes what was not taken to stderr after all, without lines that only inform (INFO, VERBOSE).
  ~KeptStderr();
  KeptStderr(const KeptStderr&) = delete;
  KeptStderr& operator=(const KeptStderr&) = delete;

  // The kept lines that do more than inform, with `between` between them.
  std::string take(const char* between = "\n");

 private:
  std::string text_;
};

}  // namespace facesdk
