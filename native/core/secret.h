// Memory for keys and reference features: locked, outside core dumps, empty in a forked child, wiped before it is freed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "process.h"

namespace facesdk {

// The system does not give memory that stays in memory; the message says which call, why, and what to do.
class MemoryNotLocked : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Overwrites bytes in a way that no compiler leaves out.
void wipe(void* data, size_t size) noexcept;

// Overwrites the small blocks that this thread freed last, which the C library keeps as they are for its next
// allocations: what another library frees without wiping lies there. (glibc: the thread's cache, up to 1032 bytes.)
void scrub_freed() noexcept;

// While any of these lives, free() overwrites the larger blocks in the whole process (glibc's M_PERTURB, mallopt(3)).
class WipingFree {
 public:
  WipingFree() noexcept;
  ~WipingFree();
  WipingFree(const WipingFree&) = delete;
  WipingFree& operator=(const WipingFree&) = delete;
};

// Whether two byte strings of one length are the same, in a time that depends on the length alone.
bool equal(const uint8_t* a, const uint8_t* b, size_t size) noexcept;

// Whole pages between two that nobody may touch. mlock keeps them out of swap, MADV_DONTDUMP out of core dumps, and
// MADV_WIPEONFORK makes them zeros in a child. A canary in the same pages tells those from a secret of zeros: without it
// the secret counts as closed. Root and whoever may trace this process read them all the same.
class Secret {
 public:
  // size bytes of zeros; throws MemoryNotLocked.
  explicit Secret(size_t size);
  ~Secret();
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  uint8_t* data() noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  // Wiped by close(), or by the kernel because this process is a child of the one that made it.
  bool closed() const noexcept { return closed_ || forked(); }
  bool forked() const noexcept;
  // Wipes; the memory itself goes with the object, as views of it may still be held.
  void close() noexcept;

 private:
  size_t size_, whole_ = 0;
  uint8_t *base_ = nullptr, *data_ = nullptr;
  bool closed_ = false;
  Process process_;
};

}  // namespace facesdk
