#include "keyring.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace facesdk::keyring {
namespace {

constexpr char kType[] = "user";
// Whoever possesses the key, and every process of its user, may do all but change its owner; nobody else anything.
constexpr uint32_t kPermissions = 0x3f3f0000;

[[noreturn]] void refuse(const char* call) { throw std::system_error(errno, std::generic_category(), call); }

bool gone(int error) { return error == ENOKEY || error == EKEYEXPIRED || error == EKEYREVOKED; }

}  // namespace

Serial put(const std::string& description, const uint8_t* payload, size_t size, uint32_t timeout_s) {
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

Serial find(const std::string& description) {
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
  // Revoked first: whoever has the number of it cannot read it any more, whatever else links to it.
  if (syscall(SYS_keyctl, KEYCTL_REVOKE, key) < 0 && !gone(errno)) refuse("keyctl revoke");
  if (syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_USER_KEYRING) < 0 && !gone(errno) && errno != ENOENT) {
    refuse("keyctl unlink");
  }
  return true;
}

}  // namespace facesdk::keyring
