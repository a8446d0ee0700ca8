// TFLite's logger has no switch in LiteRT's library: the function that sets its severity is not linked in, and no
// environment variable is read. It writes to the variable `stderr`, which glibc lets a program assign. The stream put
// there looks at the thread that writes: no descriptor is redirected, and what another thread writes is neither lost nor
// late.
#include "kept_stderr.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <new>
#include <string_view>

#include "process.h"

namespace facesdk {

namespace {

thread_local std::string* kept = nullptr;

struct Streams {
  std::mutex mutex;
  int living = 0;
  // Never closed: another thread may have read `stderr` just before it was put back.
  FILE* ours = nullptr;
  std::atomic<FILE*> shown{nullptr};
};

// Never destroyed: a thread may still write while the program ends.
Streams& streams() {
  static auto* const all = [] {
    // A child must not wait for a thread that is not there.
    at_fork([] { streams().mutex.lock(); }, [] { streams().mutex.unlock(); }, [] { streams().mutex.unlock(); });
    return new Streams;
  }();
  return *all;
}

#ifdef __GLIBC__

ssize_t keep_or_show(void*, const char* bytes, size_t size) {
  if (kept != nullptr) {
    try {
      kept->append(bytes, size);
      return static_cast<ssize_t>(size);
    } catch (const std::bad_alloc&) {
      // Shown, then.
    }
  }
  return static_cast<ssize_t>(std::fwrite(bytes, 1, size, streams().shown.load()));
}

void assign_stderr(FILE* stream) { std::atomic_ref<FILE*>(stderr).store(stream); }

void begin() {
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  if (all.ours == nullptr) {
    all.ours = fopencookie(nullptr, "w", {nullptr, keep_or_show, nullptr, nullptr});
    if (all.ours == nullptr) return;
    std::setvbuf(all.ours, nullptr, _IONBF, 0);
  }
  if (all.living++ > 0 || stderr == all.ours) return;
  all.shown.store(stderr);
  assign_stderr(all.ours);
}

void end() {
  Streams& all = streams();
  const std::lock_guard lock(all.mutex);
  if (all.ours == nullptr || --all.living > 0) return;
  // Not ours any more where the program assigned it meanwhile.
  if (stderr == all.ours) assign_stderr(all.shown.load());
}

#else

void begin() {}
void end() {}

#endif

bool only_informs(std::string_view line) { return line.starts_with("INFO: ") || line.starts_with("VERBOSE: "); }

}  // namespace

KeptStderr::KeptStderr() {
  begin();
  kept = &text_;
}

KeptStderr::~KeptStderr() {
  kept = nullptr;
  end();
  const std::string rest = take();
  if (!rest.empty()) std::fprintf(stderr, "%s\n", rest.c_str());
}

std::string KeptStderr::take(const char* between) {
  std::string lines;
  std::string_view rest = text_;
  while (!rest.empty()) {
    const size_t size = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, size);
    if (!line.empty() && !only_informs(line)) lines.append(lines.empty() ? "" : between).append(line);
    rest.remove_prefix(std::min(size + 1, rest.size()));
  }
  text_.clear();
  return lines;
}

}  // namespace facesdk
