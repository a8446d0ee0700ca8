#include "secret.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

namespace facesdk {
namespace {

constexpr size_t kLargest = size_t{64} << 20;

[[noreturn]] void refuse(const char* call, int error) {
  const char* hint = error == ENOMEM || error == EPERM || error == EAGAIN
                         ? "; raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)"
                         : "";
  throw MemoryNotLocked(std::string("memory for keys cannot be protected: ") + call + ": " + std::strerror(error) + hint);
}

}  // namespace

void wipe(void* data, size_t size) noexcept {
  if (size != 0) explicit_bzero(data, size);
}

void scrub_freed() noexcept {
  // One more of each size than the cache holds, so that none is left out.
  constexpr size_t kSmallest = 24, kLargestCached = 1032, kStep = 16, kEach = 8;
  void* blocks[kEach];
  for (size_t size = kSmallest; size <= kLargestCached; size += kStep) {
    for (void*& block : blocks) {
      block = std::malloc(size);
      if (block != nullptr) wipe(block, size);
    }
    for (void* block : blocks) std::free(block);
  }
}

namespace {

std::mutex wiping_mutex;
int wiping_count = 0;

constexpr uint8_t kCanary[16] = {0x9d, 0x31, 0xe6, 0x5b, 0xc8, 0x7a, 0x04, 0xf1, 0x62, 0xad, 0x13, 0xbe, 0x48, 0xd7, 0x2c, 0x95};

void set_perturb([[maybe_unused]] int byte) noexcept {
#if defined(M_PERTURB)
  mallopt(M_PERTURB, byte);
#endif
}

}  // namespace

// A thread that forks while another is inside must not leave the lock taken in the child, nor the count that the other
// thread would have taken back.
[[maybe_unused]] const int wiping_at_fork = at_fork([] { wiping_mutex.lock(); }, [] { wiping_mutex.unlock(); },
                                                [] {
                                                  wiping_count = 0;
                                                  set_perturb(0);
                                                  wiping_mutex.unlock();
                                                });

WipingFree::WipingFree() noexcept {
  const std::lock_guard lock(wiping_mutex);
  if (wiping_count++ == 0) set_perturb(0xff);
}

WipingFree::~WipingFree() {
  const std::lock_guard lock(wiping_mutex);
  if (wiping_count > 0 && --wiping_count == 0) set_perturb(0);
}

bool equal(const uint8_t* a, const uint8_t* b, size_t size) noexcept {
  uint8_t difference = 0;
  for (size_t i = 0; i < size; ++i) {
    difference = static_cast<uint8_t>(difference | (a[i] ^ b[i]));
    __asm__ volatile("" : "+r"(difference));  // no early way out
  }
  return difference == 0;
}

Secret::Secret(size_t size) : size_(size) {
  if (size == 0 || size > kLargest) throw std::invalid_argument("a secret has from 1 byte to 64 MiB");
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t inner = (size + sizeof kCanary + page - 1) / page * page;
  whole_ = inner + 2 * page;
  void* base = mmap(nullptr, whole_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) refuse("mmap", errno);
  base_ = static_cast<uint8_t*>(base);
  uint8_t* begin = base_ + page;
  const char* call = nullptr;
  if (mprotect(begin, inner, PROT_READ | PROT_WRITE) != 0) call = "mprotect";
  if (call == nullptr && mlock(begin, inner) != 0) call = "mlock";
  if (call == nullptr && madvise(begin, inner, MADV_DONTDUMP) != 0) call = "madvise(MADV_DONTDUMP)";
  if (call == nullptr && madvise(begin, inner, MADV_WIPEONFORK) != 0) call = "madvise(MADV_WIPEONFORK)";
  if (call != nullptr) {
    const int error = errno;
    munmap(base_, whole_);
    refuse(call, error);
  }
  std::memcpy(begin, kCanary, sizeof kCanary);
  // At the end of the pages: reading past it meets the guard. Aligned for floats and doubles.
  data_ = begin + (inner - size) / 16 * 16;
}

Secret::~Secret() {
  close();
  munmap(base_, whole_);  // unlocks too
}

bool Secret::forked() const noexcept {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return process_.left() || std::memcmp(base_ + page, kCanary, sizeof kCanary) != 0;
}

void Secret::close() noexcept {
  wipe(data_, size_);
  closed_ = true;
}

}  // namespace facesdk
