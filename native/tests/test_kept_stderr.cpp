// What is kept of stderr and what passes: the good case first, each case seen in a stream of our own in stderr's place.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kept_stderr.h"
#include "test.h"

using facesdk::KeptStderr;

namespace {

// Puts a stream in memory in stderr's place.
class Seen {
 public:
  Seen() : before_(stderr), stream_(open_memstream(&bytes_, &size_)) { stderr = stream_; }
  ~Seen() {
    stderr = before_;
    std::fclose(stream_);
    std::free(bytes_);
  }
  bool in_place() const { return stderr == stream_; }
  std::string text() {
    std::fflush(stream_);
    return std::string(bytes_, size_);
  }

 private:
  char* bytes_ = nullptr;
  size_t size_ = 0;
  FILE* before_;
  FILE* stream_;
};

void say(const char* severity, const char* text) {
  std::fprintf(stderr, "%s: ", severity);
  std::fprintf(stderr, "%s", text);
  std::fputc('\n', stderr);
}

}  // namespace

TEST(stderr_is_seen_where_nothing_keeps_it) {
  Seen seen;
  say("INFO", "hello");
  CHECK_EQ(seen.text(), std::string("INFO: hello\n"));
}

TEST(stderr_that_only_informs_is_dropped) {
  Seen seen;
  {
    const KeptStderr said;
    say("INFO", "hello");
    say("VERBOSE", "details");
    CHECK(!seen.in_place());
  }
  CHECK(seen.in_place());
  CHECK_EQ(seen.text(), std::string());
}

TEST(stderr_that_warns_is_taken_or_shown) {
  Seen seen;
  {
    KeptStderr said;
    say("INFO", "hello");
    say("ERROR", "first");
    say("WARNING", "second");
    CHECK_EQ(said.take(), std::string("ERROR: first\nWARNING: second"));
    CHECK_EQ(said.take(), std::string());
    std::fputs("half a line", stderr);
  }
  CHECK_EQ(seen.text(), std::string("half a line\n"));
}

TEST(stderr_of_other_threads_passes_at_once) {
  Seen seen;
  const KeptStderr said;
  std::thread([] { say("INFO", "from another thread"); }).join();
  CHECK_EQ(seen.text(), std::string("INFO: from another thread\n"));
}

TEST(stderr_is_kept_for_each_thread_and_comes_back) {
  Seen seen;
  {
    const KeptStderr outer;
    std::string taken;
    std::thread([&taken] {
      KeptStderr said;
      say("ERROR", "theirs");
      taken = said.take();
    }).join();
    CHECK_EQ(taken, std::string("ERROR: theirs"));
    CHECK(!seen.in_place());
    say("ERROR", "ours");
  }
  CHECK(seen.in_place());
  CHECK_EQ(seen.text(), std::string("ERROR: ours\n"));
}

TEST(stderr_under_many_threads_loses_nothing) {
  Seen seen;
  constexpr int kThreads = 4, kRounds = 500;
  {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([i] {
        for (int round = 0; round < kRounds; ++round) {
          if (i % 2 == 0) {
            const KeptStderr said;
            say("INFO", "kept");
          } else {
            std::fputs("shown\n", stderr);
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  CHECK(seen.in_place());
  CHECK_EQ(seen.text().size(), kThreads / 2 * kRounds * std::string("shown\n").size());
}

TEST(stderr_that_the_program_assigned_meanwhile_stays) {
  Seen outer;
  auto said = std::make_unique<KeptStderr>();
  {
    Seen inner;
    say("ERROR", "to the program's own");
    said.reset();
    CHECK(inner.in_place());
    CHECK_EQ(inner.text(), std::string("ERROR: to the program's own\n"));
  }
  say("ERROR", "after");
  CHECK_EQ(outer.text(), std::string("ERROR: after\n"));
}
