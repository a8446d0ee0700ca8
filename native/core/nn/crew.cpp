#include "crew.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <new>
#include <string>

#include "../network.h"

namespace facesdk::nn {
namespace {

// Looks at the ticket, some 10 to 40 ns each, before a thread goes to sleep or lets another one have the core.
constexpr int kAwake = 8000;

void pause() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

uint64_t Crew::pack(Ticket t) noexcept {
  return uint64_t{t.layer} << 32 | static_cast<uint64_t>(t.count) << 16 | static_cast<uint64_t>(t.next);
}

Crew::Ticket Crew::unpack(uint64_t bits) noexcept {
  return {static_cast<uint32_t>(bits >> 32), static_cast<int>(bits >> 16 & 0xffff), static_cast<int>(bits & 0xffff)};
}

std::shared_ptr<Crew> Crew::make(int threads) {
  return {new Crew(threads), [](Crew* crew) {
            if (!crew->process_.left()) delete crew;
          }};
}

Crew::Crew(int threads) : others_(static_cast<size_t>(threads - 1)) {
  // Signals are for the program's own threads: they must interrupt what those wait for.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    workers_.reserve(others_);
    for (size_t i = 0; i < others_; ++i) workers_.emplace_back([this, i] { work(static_cast<int>(i) + 1); });
  } catch (...) {  // no more threads are to be had: those that there are do
    others_ = workers_.size();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Crew::~Crew() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  woken_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

Crew::Reservation::Reservation(Crew& crew, size_t bytes) : crew_(crew), bytes_(bytes) {
  const std::lock_guard lock(crew_.mutex_);
  crew_.reserved_.insert(bytes_);
}

Crew::Reservation::~Reservation() {
  if (crew_.process_.left()) return;  // a thread may have had the mutex, which nobody would ever give back
  const std::lock_guard lock(crew_.mutex_);
  crew_.reserved_.erase(crew_.reserved_.find(bytes_));
}

Crew::Shift::Shift(Crew& crew, size_t bytes) : crew_(&crew) {
  if (crew.process_.left() || crew.taken_.test_and_set(std::memory_order_acquire)) crew_ = nullptr;
  AlignedVector<uint8_t>& memory = crew_ == nullptr ? own_ : crew.memory_;
  try {
    if (memory.size() < bytes) {
      memory = {};  // before as much again
      memory.resize(crew_ == nullptr ? bytes : std::max(bytes, crew.largest()));
    }
  } catch (const std::bad_alloc&) {
    if (crew_ != nullptr) crew.taken_.clear(std::memory_order_release);
    throw RuntimeFailure("there are no " + std::to_string(bytes >> 10) + " KiB of memory for a network to work in");
  }
  memory_ = memory.data();
  if (crew_ == nullptr || !crew.make_way()) return;
  {
    const std::lock_guard lock(crew.mutex_);
    ++crew.shifts_;
  }
  crew.woken_.notify_all();
}

Crew::Shift::~Shift() {
  if (crew_ != nullptr) crew_->taken_.clear(std::memory_order_release);
}

size_t Crew::largest() {
  const std::lock_guard lock(mutex_);
  return reserved_.empty() ? 0 : *reserved_.rbegin();
}

// Whether there are threads, and processors for them besides the caller's. They may use what the caller may; where that is
// one processor alone they stay where they are.
bool Crew::make_way() noexcept {
  if (workers_.empty()) return false;
  const int here = sched_getcpu();
  cpu_set_t wanted, now;
  if (here < 0 || sched_getaffinity(0, sizeof(wanted), &wanted) != 0 ||
      pthread_getaffinity_np(workers_.front().native_handle(), sizeof(now), &now) != 0) {
    return true;  // the system chooses
  }
  CPU_CLR(static_cast<size_t>(here), &wanted);
  if (CPU_COUNT(&wanted) == 0) {
    CPU_CLR(static_cast<size_t>(here), &now);
    return CPU_COUNT(&now) > 0;
  }
  if (CPU_EQUAL(&wanted, &now)) return true;
  for (std::thread& worker : workers_) pthread_setaffinity_np(worker.native_handle(), sizeof(wanted), &wanted);
  return true;
}

void Crew::share(int count, Call call, void* context) noexcept {
  call_ = call;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(pack({++layer_, count, 0}), std::memory_order_release);
  while (take_piece(0)) {
  }
  for (int looks = 0; done_.load(std::memory_order_acquire) != count; ++looks) {
    if (looks < kAwake) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

// Whether there was a piece to be done. Whoever has one keeps its layer from ending, so call_ and context_ are of it.
bool Crew::take_piece(int thread) noexcept {
  Ticket ticket = unpack(ticket_.load(std::memory_order_acquire));
  if (ticket.next >= ticket.count) return false;
  ticket = unpack(ticket_.fetch_add(1, std::memory_order_acq_rel));
  if (ticket.next >= ticket.count) return false;
  call_(context_, ticket.next, thread);
  done_.fetch_add(1, std::memory_order_release);
  return true;
}

void Crew::work(int thread) noexcept {
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040);  // as in executor.cpp: numbers too small to be normal count as zero
#endif
  uint64_t seen = 0;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [&] { return ends_ || shifts_ != seen; });
      if (ends_) return;
      seen = shifts_;
    }
    for (int looks = 0; looks < kAwake; ++looks) {
      if (take_piece(thread)) looks = 0;
      pause();
    }
  }
}

}  // namespace facesdk::nn
