// Keys of type "user" in the user's keyring of the Linux kernel (keyrings(7), user-keyring(7)): held in kernel memory,
// never on disk, gone with a restart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

namespace facesdk::keyring {

using Serial = int32_t;

// The payload is put under this description, in place of one that is there, in one step; the kernel forgets it after
// timeout_s seconds of its own clock (0: never). Every function throws std::system_error with the call's errno.
Serial put(const std::string& description, const uint8_t* payload, size_t size, uint32_t timeout_s);

// A new payload and expiry for the key with this number; false where it has gone or was revoked meanwhile.
bool update(Serial key, const uint8_t* payload, size_t size, uint32_t timeout_s);

// The key of this description; 0 where there is none, or it has expired or was revoked.
Serial find(const std::string& description);

// Bytes of the payload, copied into `out` where they fit. 0 where the key has gone meanwhile.
size_t read(Serial key, uint8_t* out, size_t size);

// Whether there was such a key to forget. The kernel wipes the payload.
bool forget(const std::string& description);

// Forgets every key in the user's keyring whose description begins so, and returns the descriptions; a key that cannot
// be forgotten is thrown for after all others.
std::vector<std::string> forget_all(const std::string& prefix);

}  // namespace facesdk::keyring
