// Keys in the kernel's user keyring. Where the kernel, a container or an emulator refuses the calls, the tests say so.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "keyring.h"
#include "test.h"

using namespace facesdk;

namespace {

std::string name_of(const char* what) { return "facesdk-test:" + std::to_string(getpid()) + ":" + what; }

// Whether the keyring can be used here. What it refuses with must be a known way to refuse.
bool usable() {
  static const bool answer = [] {
    try {
      const uint8_t byte = 1;
      keyring::put(name_of("probe"), &byte, 1, 60);
      keyring::forget(name_of("probe"));
      return true;
    } catch (const std::system_error& error) {
      const int code = error.code().value();
      CHECK(code == ENOSYS || code == EPERM || code == EACCES || code == EDQUOT || code == ENOKEY || code == EOPNOTSUPP);
      std::cout << "skipped: the keyring cannot be used here (" << error.what() << ")" << std::endl;
      return false;
    }
  }();
  return answer;
}

// A key that goes with this object.
struct Key {
  explicit Key(const char* what) : name(name_of(what)) {}
  ~Key() {
    try {
      keyring::forget(name);
    } catch (const std::system_error& error) {
      CHECK_EQ(std::string(error.what()), "");
    }
  }
  std::string name;
};

}  // namespace

TEST(keyring_gives_back_what_was_put) {
  if (!usable()) return;
  for (const size_t size : {size_t{1}, size_t{32}, size_t{168}, size_t{4096}}) {
    const Key key("put");
    std::vector<uint8_t> payload(size), found(size + 16, 0xee);
    for (size_t i = 0; i < size; ++i) payload[i] = static_cast<uint8_t>(7 * i + size);
    const keyring::Serial serial = keyring::put(key.name, payload.data(), size, 60);
    CHECK(serial > 0);
    CHECK_EQ(keyring::find(key.name), serial);
    CHECK_EQ(keyring::read(serial, found.data(), found.size()), size);
    CHECK(std::memcmp(found.data(), payload.data(), size) == 0);
    CHECK_EQ(found[size], 0xee);
  }
}

TEST(keyring_put_replaces) {
  if (!usable()) return;
  const Key key("replace");
  const uint8_t one[] = {1, 2, 3}, two[] = {4, 5, 6, 7};
  uint8_t found[8] = {};
  const keyring::Serial first = keyring::put(key.name, one, sizeof one, 60);
  const keyring::Serial second = keyring::put(key.name, two, sizeof two, 60);
  CHECK_EQ(first, second);
  CHECK_EQ(keyring::read(keyring::find(key.name), found, sizeof found), sizeof two);
  CHECK(std::memcmp(found, two, sizeof two) == 0);
}

TEST(keyring_read_never_writes_past_the_room) {
  if (!usable()) return;
  const Key key("room");
  const std::vector<uint8_t> payload(64, 0x11);
  const keyring::Serial serial = keyring::put(key.name, payload.data(), payload.size(), 60);
  std::vector<uint8_t> found(64, 0xee);
  CHECK_EQ(keyring::read(serial, found.data(), 8), size_t{64});  // the payload's size, so that the caller sees it
  for (size_t i = 8; i < 64; ++i) CHECK_EQ(found[i], 0xee);
}

TEST(keyring_names_do_not_meet) {
  if (!usable()) return;
  const Key one("one"), other("one-more");
  const uint8_t byte = 9;
  keyring::put(one.name, &byte, 1, 60);
  CHECK_EQ(keyring::find(other.name), 0);
  CHECK(!keyring::forget(other.name));
  CHECK(keyring::find(one.name) != 0);
}

TEST(keyring_forget_ends_the_key_for_every_holder) {
  if (!usable()) return;
  const Key key("forget");
  const uint8_t byte = 9;
  uint8_t found = 0;
  const keyring::Serial serial = keyring::put(key.name, &byte, 1, 60);
  CHECK(keyring::forget(key.name));
  CHECK_EQ(keyring::find(key.name), 0);
  CHECK_EQ(keyring::read(serial, &found, 1), size_t{0});
  CHECK_EQ(found, 0);
  CHECK(!keyring::forget(key.name));
  // The same name can be used again at once.
  const uint8_t again = 3;
  keyring::put(key.name, &again, 1, 60);
  CHECK_EQ(keyring::read(keyring::find(key.name), &found, 1), size_t{1});
  CHECK_EQ(found, 3);
}

TEST(keyring_update_needs_the_key_to_be_there) {
  if (!usable()) return;
  const Key key("update");
  const uint8_t one[] = {1, 2}, two[] = {3, 4, 5};
  uint8_t found[4] = {};
  const keyring::Serial first = keyring::put(key.name, one, sizeof one, 60);
  CHECK(keyring::update(first, two, sizeof two, 60));
  CHECK_EQ(keyring::read(keyring::find(key.name), found, sizeof found), sizeof two);
  CHECK(std::memcmp(found, two, sizeof two) == 0);
  // One that was forgotten does not come back, whatever took its name since.
  keyring::forget(key.name);
  CHECK(!keyring::update(first, two, sizeof two, 60));
  CHECK_EQ(keyring::find(key.name), 0);
  const keyring::Serial second = keyring::put(key.name, one, sizeof one, 60);
  CHECK(second != first);
  CHECK(!keyring::update(first, two, sizeof two, 60));
  CHECK_EQ(keyring::read(second, found, sizeof found), sizeof one);
}

TEST(keyring_ring_takes_nothing_once_it_is_forgotten) {
  if (!usable()) return;
  const std::string name = name_of("ring");
  const uint8_t one[] = {1, 2}, two[] = {3, 4};
  uint8_t found[2] = {};
  const keyring::Serial ring = keyring::ring(name);
  CHECK_EQ(keyring::ring(name), ring);
  CHECK_EQ(keyring::find_ring(name), ring);
  CHECK_EQ(keyring::find_in(ring, "key"), 0);
  const keyring::Serial first = keyring::put_into(ring, "key", one, sizeof one, 60);
  CHECK(first > 0);
  CHECK_EQ(keyring::find_in(ring, "key"), first);
  const keyring::Serial second = keyring::put_into(ring, "key", two, sizeof two, 60);
  CHECK(second != first);  // so that what was loaded before cannot be saved over it
  CHECK(!keyring::update(first, one, sizeof one, 60));
  CHECK_EQ(keyring::read(keyring::find_in(ring, "key"), found, sizeof found), sizeof two);
  CHECK(std::memcmp(found, two, sizeof two) == 0);
  CHECK(keyring::forget_ring(ring));
  CHECK_EQ(keyring::find_ring(name), 0);
  CHECK_EQ(keyring::find_in(ring, "key"), 0);
  CHECK_EQ(keyring::read(second, found, sizeof found), size_t{0});
  CHECK(!keyring::update(second, one, sizeof one, 60));
  CHECK_EQ(keyring::put_into(ring, "key", one, sizeof one, 60), 0);
  CHECK(!keyring::forget_ring(ring));
  const keyring::Serial next = keyring::ring(name);
  CHECK(next != ring);
  CHECK_EQ(keyring::find_in(next, "key"), 0);
  CHECK(!keyring::forget_ring(next));  // nothing was open in it
}

TEST(keyring_rings_are_listed_by_prefix) {
  if (!usable()) return;
  std::vector<keyring::Serial> made;
  for (const char* what : {"all:1", "all:2", "al", "xall:3"}) made.push_back(keyring::ring(name_of(what)));
  auto found = keyring::rings(name_of("all:"));
  std::sort(found.begin(), found.end());
  CHECK_EQ(found.size(), size_t{2});
  CHECK(found[0] == std::make_pair(name_of("all:1"), made[0]) && found[1] == std::make_pair(name_of("all:2"), made[1]));
  for (const keyring::Serial ring : made) keyring::forget_ring(ring);
  CHECK(keyring::rings(name_of("all:")).empty());
}

TEST(keyring_refuses_with_the_errno) {
  if (!usable()) return;
  const uint8_t byte = 1;
  const std::vector<uint8_t> large(32768, 1);  // a user key holds up to 32,767 bytes
  const auto code_of = [](auto body) {
    try {
      body();
    } catch (const std::system_error& error) {
      return error.code().value();
    }
    return 0;
  };
  CHECK_EQ(code_of([&] { keyring::put(name_of("large"), large.data(), large.size(), 60); }), EINVAL);
  CHECK_EQ(code_of([&] { keyring::put(name_of("empty"), &byte, 0, 60); }), EINVAL);
  CHECK_EQ(code_of([&] { keyring::put("", &byte, 1, 60); }), EINVAL);
  CHECK_EQ(keyring::find(name_of("large")), 0);
}
