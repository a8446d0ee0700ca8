#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "nn/crew.h"
#include "test.h"

using facesdk::nn::Crew;

namespace {

constexpr size_t kBytes = 1000;

// Whether each piece was done once, by a thread of the crew, before run returned, and nobody else wrote to its memory.
bool shares(Crew* crew, int count) {
  std::vector<int> done(static_cast<size_t>(count));
  const int threads = crew->threads();
  std::atomic<bool> known{true};
  Crew::Shift shift(*crew, kBytes);
  std::memset(shift.memory(), count, kBytes);
  shift.run(count, [&](int piece, int thread) {
    ++done[static_cast<size_t>(piece)];
    if (thread < 0 || thread >= threads) known = false;
  });
  for (size_t i = 0; i < kBytes; ++i) {
    if (shift.memory()[i] != count) return false;
  }
  for (const int times : done) {
    if (times != 1) return false;
  }
  return known;
}

}  // namespace

TEST(crew_does_each_piece_once) {
  for (const int threads : {1, 2, 3, 5}) {
    const auto crew = Crew::make(threads);
    CHECK_EQ(crew->threads(), threads);
    for (int round = 0; round < 300; ++round) CHECK(shares(crew.get(), 1 + round % 40));
  }
}

TEST(crew_layers_do_not_overlap) {
  const auto crew = Crew::make(4);
  Crew::Shift shift(*crew, 0);
  std::vector<int> values(64, 1);
  for (int layer = 0; layer < 2000; ++layer) {
    // Each layer reads what others wrote in the one before.
    std::vector<int> next(values.size());
    shift.run(static_cast<int>(values.size()), [&](int piece, int) {
      const size_t i = static_cast<size_t>(piece);
      next[i] = values[(i + 1) % values.size()] + 1;
    });
    values = std::move(next);
  }
  for (const int value : values) CHECK_EQ(value, 2001);
}

TEST(crew_works_again_after_it_slept) {
  const auto crew = Crew::make(3);
  for (int i = 0; i < 5; ++i) {
    CHECK(shares(crew.get(), 16));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

TEST(crew_has_memory_for_the_largest_of_its_networks_that_there_are) {
  const auto crew = Crew::make(1);
  const auto rubbish = [&](size_t bytes) {
    Crew::Shift shift(*crew, bytes);
    return shift.memory();
  };
  const Crew::Reservation small(*crew, 4096);
  {
    const Crew::Reservation large(*crew, size_t{1} << 40);  // nobody works in it
  }
  const Crew::Reservation middle(*crew, 1 << 20);
  const uint8_t* first = rubbish(4096);
  CHECK(rubbish(1 << 20) == first);  // it was there already
}

TEST(crew_serves_one_caller_and_others_work_alone) {
  const auto crew = Crew::make(2);
  std::vector<std::thread> callers;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, i] {
      for (int round = 0; round < 200; ++round) good += shares(crew.get(), 9 + i);
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(good.load(), 800);
}

TEST(crew_keeps_off_the_callers_processor) {
  cpu_set_t before;
  CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
  if (CPU_COUNT(&before) < 2) {
    std::puts("     crew_keeps_off_the_callers_processor: not run, there is one processor");
    return;
  }
  const auto crew = Crew::make(2);
  std::atomic<int> elsewhere{0}, here{0};
  for (int round = 0; round < 500 && elsewhere + here < 20; ++round) {
    const int from = sched_getcpu();
    Crew::Shift shift(*crew, 0);
    if (sched_getcpu() != from) continue;
    shift.run(2, [&](int piece, int thread) {
      if (thread == 0) std::this_thread::sleep_for(std::chrono::milliseconds(piece == 0 ? 20 : 0));
      if (thread == 0) return;
      cpu_set_t allowed;
      sched_getaffinity(0, sizeof(allowed), &allowed);
      ++(CPU_ISSET(static_cast<size_t>(from), &allowed) ? here : elsewhere);
    });
  }
  CHECK(elsewhere > 0);
  CHECK_EQ(here.load(), 0);
}

namespace {

void move_all_threads(const cpu_set_t& processors) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    sched_setaffinity(std::stoi(task.path().filename()), sizeof(processors), &processors);
  }
}

// Whether a thread besides the caller's has a piece, in so many rounds: on a busy machine it can be late for many.
bool others_help(Crew& crew, int rounds) {
  std::atomic<int> others{0};
  for (int i = 0; i < rounds && others == 0; ++i) {
    Crew::Shift shift(crew, 0);
    shift.run(20, [&](int, int thread) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      others += thread != 0;
    });
  }
  return others > 0;
}

}  // namespace

TEST(crew_on_one_processor_works_alone) {
  const auto crew = Crew::make(2);
  cpu_set_t before, one;
  CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
  CPU_ZERO(&one);
  for (size_t i = 0; CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  }
  move_all_threads(one);
  CHECK(!others_help(*crew, 3));
  CHECK(!others_help(*Crew::make(3), 3));
  move_all_threads(before);
  if (CPU_COUNT(&before) > 1) CHECK(others_help(*crew, 200));
  // Nor do its threads leave the processor that all were told to use, where that is the one that they were on.
  cpu_set_t theirs = before;
  CPU_CLR(static_cast<size_t>(sched_getcpu()), &theirs);
  if (CPU_COUNT(&before) == 2) {
    move_all_threads(theirs);
    CHECK(!others_help(*crew, 3));
    move_all_threads(before);
  }
  // They need not stay with a caller that is.
  CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
  if (CPU_COUNT(&before) > 1) CHECK(others_help(*crew, 200));
  CHECK(sched_setaffinity(0, sizeof(before), &before) == 0);
}

TEST(crew_in_a_child_works_alone_and_ends) {
  auto crew = Crew::make(3);
  CHECK(shares(crew.get(), 8));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // its threads sleep
  const pid_t child = fork();
  if (child == 0) {
    const bool good = shares(crew.get(), 8);
    crew.reset();
    _exit(good ? 0 : 1);
  }
  int status = -1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(shares(crew.get(), 8));
}
