#include "keyring.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace facesdk::keyring {
namespace {

constexpr char kType[] = "user", kRing[] = "keyring";
// Whoever possesses the key, and every process of its user, may do all but change its owner; nobody else anything.
constexpr uint32_t kPermissions = 0x3f3f0000;

[[noreturn]] void refuse(const char* call) { throw std::system_error(errno, std::generic_category(), call); }

bool gone(int error) { return error == ENOKEY || error == EKEYEXPIRED || error == EKEYREVOKED; }

// Lets this process use the user's keyring where its session's does not link to it: systemd units, cron jobs.
void possess() { syscall(SYS_keyctl, KEYCTL_LINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_PROCESS_KEYRING); }

// Revoked first: whoever has the number of it cannot read it any more, whatever else links to it.
void drop(Serial key, Serial ring = KEY_SPEC_USER_KEYRING) {
  if (syscall(SYS_keyctl, KEYCTL_REVOKE, key) < 0 && !gone(errno)) refuse("keyctl revoke");
  if (syscall(SYS_keyctl, KEYCTL_UNLINK, key, ring) < 0 && !gone(errno) && errno != ENOENT) {
    refuse("keyctl unlink");
  }
}

Serial search(Serial ring, const char* type, const std::string& description) {
  const long key = syscall(SYS_keyctl, KEYCTL_SEARCH, ring, type, description.c_str(), 0);
  if (key >= 0) return static_cast<Serial>(key);
  if (gone(errno)) return 0;
  refuse("keyctl search");
}

// The numbers in a keyring; none where it was revoked.
std::vector<Serial> listed(Serial ring) {
  const long size = syscall(SYS_keyctl, KEYCTL_READ, ring, nullptr, 0);
  if (size < 0 && gone(errno)) return {};
  if (size < 0) refuse("keyctl read keyring");
  // Some more room for keys that come in between; what does not fit is left out by the kernel.
  std::vector<Serial> keys(static_cast<size_t>(size) / sizeof(Serial) + 16);
  const long found = syscall(SYS_keyctl, KEYCTL_READ, ring, keys.data(), keys.size() * sizeof(Serial));
  if (found < 0 && gone(errno)) return {};
  if (found < 0) refuse("keyctl read keyring");
  keys.resize(std::min(keys.size(), static_cast<size_t>(found) / sizeof(Serial)));
  return keys;
}

}  // namespace

Serial put(const std::string& description, const uint8_t* payload, size_t size, uint32_t timeout_s) {
  possess();
  // add_key updates a key that is there, but not an expired one: that goes first.
  const long key = syscall(SYS_add_key, kType, description.c_str(), payload, size, KEY_SPEC_USER_KEYRING);
  if (key < 0) refuse("add_key");
  const bool failed = syscall(SYS_keyctl, KEYCTL_SETPERM, key, kPermissions) < 0 ||
                      syscall(SYS_keyctl, KEYCTL_SET_TIMEOUT, key, timeout_s) < 0;
  if (failed) {
    const int error = errno;
    syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_USER_KEYRING);
    errno = error;
    refuse("keyctl");
  }
  return static_cast<Serial>(key);
}

bool update(Serial key, const uint8_t* payload, size_t size, uint32_t timeout_s) {
  possess();
  // An update takes the expiry away.
  const bool done = syscall(SYS_keyctl, KEYCTL_UPDATE, key, payload, size) == 0 &&
                    syscall(SYS_keyctl, KEYCTL_SET_TIMEOUT, key, timeout_s) == 0;
  if (done) return true;
  if (gone(errno)) return false;
  refuse("keyctl update");
}

Serial find(const std::string& description) {
  possess();
  return search(KEY_SPEC_USER_KEYRING, kType, description);
}

size_t read(Serial key, uint8_t* out, size_t size) {
  const long length = syscall(SYS_keyctl, KEYCTL_READ, key, out, size);
  if (length >= 0) return static_cast<size_t>(length);
  if (gone(errno)) return 0;
  refuse("keyctl read");
}

bool forget(const std::string& description) {
  const Serial key = find(description);
  if (key == 0) return false;
  drop(key);
  return true;
}

Serial find_ring(const std::string& description) {
  possess();
  return search(KEY_SPEC_USER_KEYRING, kRing, description);
}

Serial ring(const std::string& description) {
  if (const Serial found = find_ring(description)) return found;
  const long made = syscall(SYS_add_key, kRing, description.c_str(), nullptr, size_t{0}, KEY_SPEC_USER_KEYRING);
  if (made < 0) refuse("add_key keyring");
  if (syscall(SYS_keyctl, KEYCTL_SETPERM, made, kPermissions) < 0) {
    const int error = errno;
    syscall(SYS_keyctl, KEYCTL_UNLINK, made, KEY_SPEC_USER_KEYRING);
    errno = error;
    refuse("keyctl setperm");
  }
  return static_cast<Serial>(made);
}

Serial find_in(Serial ring, const std::string& description) { return search(ring, kType, description); }

Serial put_into(Serial ring, const std::string& description, const uint8_t* payload, size_t size, uint32_t timeout_s) {
  possess();
  // A key with a number of its own: who has the number of the one before cannot save over it.
  if (const Serial before = find_in(ring, description)) drop(before, ring);
  const long key = syscall(SYS_add_key, kType, description.c_str(), payload, size, ring);
  if (key < 0) {
    if (gone(errno)) return 0;
    refuse("add_key");
  }
  if (syscall(SYS_keyctl, KEYCTL_SETPERM, key, kPermissions) == 0 &&
      syscall(SYS_keyctl, KEYCTL_SET_TIMEOUT, key, timeout_s) == 0) {
    return static_cast<Serial>(key);
  }
  const int error = errno;
  if (gone(error)) return 0;  // revoked with its ring in between
  syscall(SYS_keyctl, KEYCTL_UNLINK, key, ring);
  errno = error;
  refuse("keyctl");
}

bool forget_in(Serial ring, const std::string& description) {
  possess();
  const Serial key = find_in(ring, description);
  if (key == 0) return false;
  drop(key, ring);
  return true;
}

bool forget_ring(Serial ring) {
  possess();
  bool open = false;
  int failure = 0;
  std::vector<Serial> keys;
  try {
    keys = listed(ring);
  } catch (const std::system_error&) {
    open = true;  // for all that is known; the keys go with the ring
  }
  // The keys first, as it is by the ring that this process possesses one whose permissions are not set yet.
  for (const Serial key : keys) {
    const bool revoked = syscall(SYS_keyctl, KEYCTL_REVOKE, key) == 0;
    if (!revoked && !gone(errno)) failure = errno;
    open = open || revoked;
  }
  // What was put there in between has no other place: the kernel drops it with the ring, and takes nothing more.
  if (syscall(SYS_keyctl, KEYCTL_REVOKE, ring) < 0 && !gone(errno)) refuse("keyctl revoke");
  if (failure != 0) {
    errno = failure;
    refuse("keyctl revoke");
  }
  if (syscall(SYS_keyctl, KEYCTL_UNLINK, ring, KEY_SPEC_USER_KEYRING) < 0 && !gone(errno) && errno != ENOENT) {
    refuse("keyctl unlink");
  }
  return open;
}

std::vector<std::pair<std::string, Serial>> rings(const std::string& prefix) {
  possess();
  std::vector<std::pair<std::string, Serial>> found;
  for (const Serial key : listed(KEY_SPEC_USER_KEYRING)) {
    char text[512];  // type;uid;gid;permissions;description
    const long length = syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof(text));
    if (length <= 0 || static_cast<size_t>(length) > sizeof(text)) continue;  // gone, not ours, or a name too long for ours
    const std::string_view described(text, static_cast<size_t>(length) - 1);
    const std::string_view description = described.substr(described.rfind(';') + 1);
    if (described.substr(0, 8) != "keyring;" || description.substr(0, prefix.size()) != prefix) continue;
    found.emplace_back(description, key);
  }
  return found;
}

}  // namespace facesdk::keyring
