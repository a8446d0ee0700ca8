// What the networks of an engine share: threads, and memory to work in.
#pragma once

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <type_traits>
#include <vector>

#include "../process.h"
#include "place.h"

namespace facesdk::nn {

// The pieces of a layer are taken by whoever is free, the caller too: a thread that is late, or whose core has other work,
// is waited for only while it has a piece. Between layers threads wait awake, and go to sleep soon after a network. They
// keep off the processor that the caller is on: a virtual machine's idle processors look to its system as if they were
// taken, so that it wakes a thread behind the one that waits for it. The memory is as large as the largest of the networks
// needs, and what one leaves there another overwrites.
class Crew {
 public:
  // threads: with the caller's, 1 or more. In a child of the process that made it, it is never freed: its threads are not
  // there, and what they waited for would be waited for without end.
  static std::shared_ptr<Crew> make(int threads);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int threads() const noexcept { return static_cast<int>(others_) + 1; }

  // Says how much memory a network needs, for as long as there is that network: who is first to need any takes for all.
  class Reservation {
   public:
    Reservation(Crew& crew, size_t bytes);
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

   private:
    Crew& crew_;
    size_t bytes_;
  };

  // A caller's use of the crew. One at a time: who comes meanwhile, or in a child of this process, works alone, in memory
  // of its own.
  class Shift {
   public:
    // bytes: of memory. Throws RuntimeFailure where there is none.
    Shift(Crew& crew, size_t bytes);
    ~Shift();
    Shift(const Shift&) = delete;
    Shift& operator=(const Shift&) = delete;

    // work(i, thread) for each i below `count`, at most kMost, on a thread of this number, below the crew's threads; all are
    // done when it returns. Nothing may be thrown.
    template <typename Work>
    void run(int count, Work&& work) noexcept {
      if (crew_ == nullptr || count == 1) {
        for (int i = 0; i < count; ++i) work(i, 0);
      } else {
        using Kind = std::remove_reference_t<Work>;
        crew_->share(count, [](void* at, int i, int thread) { (*static_cast<Kind*>(at))(i, thread); }, &work);
      }
    }

    // At least so many bytes, in whole lines of the cache; whatever they hold.
    uint8_t* memory() noexcept { return memory_; }

   private:
    Crew* crew_;
    AlignedVector<uint8_t> own_;
    uint8_t* memory_ = nullptr;
  };

  static constexpr int kMost = 1 << 12;

 private:
  using Call = void (*)(void* context, int piece, int thread);
  // Which layer it is, how many pieces it has, and the next one: in one number, so that they cannot be of two layers.
  struct Ticket {
    uint32_t layer;
    int count, next;
  };
  explicit Crew(int threads);
  static uint64_t pack(Ticket t) noexcept;
  static Ticket unpack(uint64_t bits) noexcept;

  size_t largest();
  bool make_way() noexcept;
  void share(int count, Call call, void* context) noexcept;
  bool take_piece(int thread) noexcept;
  void work(int thread) noexcept;

  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int> done_{0};
  alignas(64) Call call_ = nullptr;
  void* context_ = nullptr;
  uint32_t layer_ = 0;
  std::atomic_flag taken_;
  AlignedVector<uint8_t> memory_;  // of whoever has taken the crew
  std::mutex mutex_;
  std::condition_variable woken_;
  std::multiset<size_t> reserved_;  // bytes; under the mutex
  uint64_t shifts_ = 0;  // that have begun; under the mutex
  bool ends_ = false;    // under the mutex
  size_t others_ = 0;
  std::vector<std::thread> workers_;
  Process process_;
};

}  // namespace facesdk::nn
