#include "secret.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
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

namespace {

// One page between two guards, of secrets that are gone: zeros, not locked, still kept out of core dumps and of children.
// Making such pages is five system calls and a fault, locking them again is one.
class SparePages {
 public:
  // A page with its guards; nullptr where there is none.
  uint8_t* take() noexcept {
    const std::lock_guard lock(mutex_);
    return count_ == 0 ? nullptr : pages_[--count_];
  }
  // False where there are enough already.
  bool keep(uint8_t* base) noexcept {
    const std::lock_guard lock(mutex_);
    if (count_ == std::size(pages_)) return false;
    pages_[count_++] = base;
    return true;
  }
  std::mutex mutex_;

 private:
  uint8_t* pages_[32] = {};
  size_t count_ = 0;
};

// Never destroyed: secrets may outlive what is destroyed at the end.
SparePages& spare_pages() {
  static SparePages* const pages = new SparePages;
  return *pages;
}

size_t page_size() noexcept {
  static const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return page;
}

// Pages between two guards, each call's error in errno.
const char* map_guarded(size_t inner, uint8_t** base) noexcept {
  const size_t page = page_size();
  void* at = mmap(nullptr, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return "mmap";
  *base = static_cast<uint8_t*>(at);
  uint8_t* begin = *base + page;
  if (mprotect(begin, inner, PROT_READ | PROT_WRITE) != 0) return "mprotect";
  if (madvise(begin, inner, MADV_DONTDUMP) != 0) return "madvise(MADV_DONTDUMP)";
  if (madvise(begin, inner, MADV_WIPEONFORK) != 0) return "madvise(MADV_WIPEONFORK)";
  return nullptr;
}

}  // namespace

// As above: a child must not find the lock taken.
[[maybe_unused]] const int spares_at_fork =
    at_fork([] { spare_pages().mutex_.lock(); }, [] { spare_pages().mutex_.unlock(); },
            [] { spare_pages().mutex_.unlock(); });

Secret::Secret(size_t size) : size_(size) {
  if (size == 0 || size > kLargest) throw std::invalid_argument("a secret has from 1 byte to 64 MiB");
  const size_t page = page_size();
  const size_t inner = (size + sizeof kCanary + page - 1) / page * page;
  whole_ = inner + 2 * page;
  if (inner == page) base_ = spare_pages().take();
  const char* call = base_ == nullptr ? map_guarded(inner, &base_) : nullptr;
  if (call == nullptr && mlock(base_ + page, inner) != 0) call = "mlock";
  if (call != nullptr) {
    const int error = errno;
    if (base_ != nullptr) munmap(base_, whole_);
    refuse(call, error);
  }
  uint8_t* begin = base_ + page;
  std::memcpy(begin, kCanary, sizeof kCanary);
  // At the end of the pages: reading past it meets the guard. Aligned for floats and doubles.
  data_ = begin + (inner - size) / 16 * 16;
}

Secret::~Secret() {
  const size_t page = page_size(), inner = whole_ - 2 * page;
  wipe(base_ + page, inner);
  if (inner == page && munlock(base_ + page, inner) == 0 && spare_pages().keep(base_)) return;
  munmap(base_, whole_);  // unlocks too
}

bool Secret::forked() const noexcept {
  return process_.left() || std::memcmp(base_ + page_size(), kCanary, sizeof kCanary) != 0;
}

void Secret::close() noexcept {
  wipe(data_, size_);
  closed_ = true;
}

}  // namespace facesdk
