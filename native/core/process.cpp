#include "process.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <atomic>
#include <new>

#ifdef __GLIBC__
extern "C" {
extern void* __dso_handle __attribute__((visibility("hidden")));
int __register_atfork(void (*prepare)(), void (*parent)(), void (*child)(), void* library) noexcept;
}
#endif

namespace facesdk {
namespace {

// On a page that the kernel makes zeros in a child. Without one (Linux before 4.14) only process ids tell.
std::atomic<uint64_t>* make_page() noexcept {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* at = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  if (madvise(at, page, MADV_WIPEONFORK) == 0) return new (at) std::atomic<uint64_t>{0};
  munmap(at, page);
  return nullptr;
}

}  // namespace

uint64_t process_token() noexcept {
  static std::atomic<uint64_t>* const token = make_page();
  const uint64_t id = static_cast<uint64_t>(getpid());
  if (token == nullptr) return id;
  uint64_t found = token->load();
  if (found != 0) return found ^ id;  // emulators may keep the page as it is
  uint64_t fresh = 0;
  if (getrandom(&fresh, sizeof fresh, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof fresh)) fresh = id << 32;
  fresh |= uint64_t{1} << 63;  // never zero
  return (token->compare_exchange_strong(found, fresh) ? fresh : found) ^ id;
}

int at_fork(void (*prepare)(), void (*parent)(), void (*child)()) noexcept {
#ifdef __GLIBC__
  // What pthread_atfork calls. That one is linked into each library from an object without the marks of branch protection,
  // which would take them from the whole.
  return __register_atfork(prepare, parent, child, &__dso_handle);
#else
  return pthread_atfork(prepare, parent, child);
#endif
}

}  // namespace facesdk
