// Locked memory, wiping, and comparison in constant time: what they hold, and what they refuse.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "secret.h"
#include "test.h"

using namespace facesdk;

namespace {

constexpr size_t kLargest = size_t{64} << 20;

bool all_zero(const uint8_t* data, size_t size) {
  return std::all_of(data, data + size, [](uint8_t byte) { return byte == 0; });
}

// The signal that a child dies by when it runs body(), 0 when it ends by itself. A handler of ours would hide it.
template <typename Body>
int signal_of(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);  // the sanitizers' report of what is wanted here
    body();
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  // The sanitizers catch the signal and leave with a code of their own.
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) == 0 ? 0 : SIGSEGV;
}

std::string refusal_of(size_t size) {
  return test::message_of<std::invalid_argument>([&] { Secret secret(size); });
}

}  // namespace

TEST(secret_wipe_zeroes_exactly_what_it_is_given) {
  for (size_t size = 0; size <= 70; ++size) {
    for (size_t start = 0; start < 17; ++start) {
      std::vector<uint8_t> bytes(size + start + 16, 0xa5);
      wipe(bytes.data() + start, size);
      CHECK(all_zero(bytes.data() + start, size));
      CHECK_EQ(std::count(bytes.begin(), bytes.end(), 0xa5), static_cast<long>(start + 16));
    }
  }
}

TEST(secret_equal_at_all_lengths_and_positions) {
  for (size_t size = 0; size <= 65; ++size) {
    std::vector<uint8_t> a(size), b;
    for (size_t i = 0; i < size; ++i) a[i] = static_cast<uint8_t>(31 * i + size);
    b = a;
    CHECK(equal(a.data(), b.data(), size));
    for (size_t i = 0; i < size; ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        b[i] = static_cast<uint8_t>(a[i] ^ (1 << bit));
        CHECK(!equal(a.data(), b.data(), size));
        // Nothing behind the length counts.
        CHECK(equal(a.data(), b.data(), i));
      }
      b[i] = a[i];
    }
    // Two differences that are the same must not cancel out.
    if (size >= 2) {
      b[0] = static_cast<uint8_t>(a[0] ^ 0x40);
      b[size - 1] = static_cast<uint8_t>(a[size - 1] ^ 0x40);
      CHECK(!equal(a.data(), b.data(), size));
    }
  }
}

TEST(secret_is_zero_aligned_and_ends_by_the_guard) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const size_t size : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{32}, page - 1, page, page + 1, 3 * page + 5}) {
    Secret secret(size);
    const auto address = reinterpret_cast<uintptr_t>(secret.data());
    CHECK_EQ(secret.size(), size);
    CHECK(!secret.closed());
    CHECK_EQ(address % 16, uintptr_t{0});
    CHECK(all_zero(secret.data(), size));
    // The end is less than 16 bytes before a page's end, where the guard begins.
    CHECK((page - (address + size) % page) % page < 16);
    std::memset(secret.data(), 0xff, size);
    secret.close();
    CHECK(secret.closed());
    CHECK_EQ(secret.size(), size);
    CHECK(all_zero(secret.data(), size));
    secret.close();
    CHECK(all_zero(secret.data(), size));
  }
}

TEST(secret_guards_before_and_behind) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  Secret secret(page);
  volatile uint8_t* data = secret.data();
  CHECK_EQ(signal_of([&] { data[page - 1] = static_cast<uint8_t>(data[0] + 1); }), 0);
  CHECK_EQ(signal_of([&] { (void)data[page]; }), SIGSEGV);
  CHECK_EQ(signal_of([&] { data[page] = 1; }), SIGSEGV);
  // Behind the page that the canary needs.
  CHECK_EQ(signal_of([&] { (void)*(data - page - 1); }), SIGSEGV);
}

TEST(secret_is_zero_in_a_child) {
  Secret secret(100);
  std::memset(secret.data(), 0x5a, 100);
  const pid_t child = fork();
  if (child == 0) _exit(all_zero(secret.data(), 100) ? 0 : 1);
  int status = -1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
    // An emulator that takes MADV_WIPEONFORK and does nothing: shown by memory that is not ours.
    auto* plain = static_cast<uint8_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(plain != MAP_FAILED && madvise(plain, 4096, MADV_WIPEONFORK) == 0);
    plain[0] = 1;
    const pid_t other = fork();
    if (other == 0) _exit(plain[0]);
    int kept = 0;
    CHECK(other > 0 && waitpid(other, &kept, 0) == other);
    munmap(plain, 4096);
    CHECK(WIFEXITED(kept) && WEXITSTATUS(kept) == 1);
    std::cout << "skipped: this kernel or emulator ignores MADV_WIPEONFORK" << std::endl;
  } else {
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  CHECK_EQ(secret.data()[99], 0x5a);
}

TEST(secret_of_zeros_is_told_from_one_that_a_fork_took) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const size_t size : {size_t{1}, size_t{32}, page - 16, page - 15, page, 2 * page}) {
    Secret secret(size);  // zeros
    CHECK(!secret.closed() && !secret.forked());
    const pid_t child = fork();
    if (child == 0) {
      Secret own(size);
      _exit(secret.closed() && secret.forked() && !own.closed() ? 0 : 1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(!secret.closed());
    secret.close();
    CHECK(secret.closed() && !secret.forked());
  }
}

TEST(process_token_is_of_this_process_alone) {
  const uint64_t mine = process_token();
  CHECK_EQ(process_token(), mine);
  const pid_t child = fork();
  if (child == 0) _exit(process_token() != mine && process_token() == process_token() ? 0 : 1);
  int status = -1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(secret_sizes_are_bounded) {
  for (const size_t size : {size_t{0}, kLargest + 1, ~size_t{0}, ~size_t{0} - 4096}) {
    CHECK_EQ(refusal_of(size), "a secret has from 1 byte to 64 MiB");
  }
}

TEST(secret_memory_is_given_back) {
  // More in turn than can be locked at once under the usual limit of 8 MiB.
  for (int i = 0; i < 64; ++i) {
    Secret secret(size_t{1} << 20);
    secret.data()[i] = 1;
  }
  CHECK(true);
}

TEST(secret_many_live_side_by_side) {
  std::vector<std::unique_ptr<Secret>> secrets;
  for (size_t i = 0; i < 100; ++i) {
    secrets.push_back(std::make_unique<Secret>(64));
    std::memset(secrets[i]->data(), static_cast<int>(i), 64);
  }
  secrets[50]->close();
  for (size_t i = 0; i < 100; ++i) CHECK_EQ(secrets[i]->data()[63], i == 50 ? 0 : static_cast<uint8_t>(i));
}
