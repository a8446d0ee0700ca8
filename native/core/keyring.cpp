#include "keyring.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace facesdk::keyring {
namespace {

constexpr char kType[] = "user";
// Whoever possesses the key, and every process of its user, may do all but change its owner; nobody else anything.
constexpr uint32_t kPermissions = 0x3f3f0000;

[[noreturn]] void refuse(const char* call) { throw std::system_error(errno, std::generic_category(), call); }

bool gone(int error) { return error == ENOKEY || error == EKEYEXPIRED || error == EKEYREVOKED; }

// Lets this process use the user's keyring where its session's does not link to it: systemd units, cron jobs.
void possess() { syscall(SYS_keyctl, KEYCTL_LINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_PROCESS_KEYRING); }

// Revoked first: whoever has the number of it cannot read it any more, whatever else links to it.
void drop(Serial key) {
  if (syscall(SYS_keyctl, KEYCTL_REVOKE, key) < 0 && !gone(errno)) refuse("keyctl revoke");
  if (syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_USER_KEYRING) < 0 && !gone(errno) && errno != ENOENT) {
    refuse("keyctl unlink");
  }
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
  const long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, kType, description.c_str(), 0);
  if (key >= 0) return static_cast<Serial>(key);
  if (gone(errno)) return 0;
  refuse("keyctl search");
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

std::vector<std::string> forget_all(const std::string& prefix) {
  possess();
  const long size = syscall(SYS_keyctl, KEYCTL_READ, KEY_SPEC_USER_KEYRING, nullptr, 0);
  if (size < 0) refuse("keyctl read keyring");
  // Some more room for keys that come in between; what does not fit is left out by the kernel.
  std::vector<Serial> keys(static_cast<size_t>(size) / sizeof(Serial) + 16);
  const long found = syscall(SYS_keyctl, KEYCTL_READ, KEY_SPEC_USER_KEYRING, keys.data(), keys.size() * sizeof(Serial));
  if (found < 0) refuse("keyctl read keyring");
  keys.resize(std::min(keys.size(), static_cast<size_t>(found) / sizeof(Serial)));
  std::vector<std::string> forgotten;
  std::system_error first{std::error_code{}};
  for (const Serial key : keys) {
    char text[512];  // type;uid;gid;permissions;description
    const long length = syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof(text));
    if (length <= 0 || static_cast<size_t>(length) > sizeof(text)) continue;  // gone, not ours, or a name too long for ours
    const std::string_view described(text, static_cast<size_t>(length) - 1);
    const std::string_view description = described.substr(described.rfind(';') + 1);
    if (described.substr(0, 5) != "user;" || description.substr(0, prefix.size()) != prefix) continue;
    try {
      drop(key);
      forgotten.emplace_back(description);
    } catch (const std::system_error& error) {
      if (first.code().value() == 0) first = error;  // the others first
    }
  }
  if (first.code().value() != 0) throw first;
  return forgotten;
}

}  // namespace facesdk::keyring
