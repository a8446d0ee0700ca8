// Keys of type "user" in the user's keyring of the Linux kernel (keyrings(7), user-keyring(7)): held in kernel memory,
// never on disk, gone with a restart.
//
// An opened key lies in a ring of its own, a keyring within the user's. Whoever is going to open a key takes the ring's
// number first; to forget is to revoke the ring: from then on the kernel itself refuses to put anything into it, however
// long ago its number was taken and wherever that process was stopped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace facesdk::keyring {

using Serial = int32_t;

// The payload is put under this description, in place of one that is there, in one step; the kernel forgets it after
// timeout_s seconds of its own clock (0: never). Every function throws std::system_error with the call's errno.
Serial put(const std::string& description, const uint8_t* payload, size_t size, uint32_t timeout_s);

// The number of the ring of this description, made where there is none. Not for two callers at once.
Serial ring(const std::string& description);

// The number of the ring of this description; 0 where there is none.
Serial find_ring(const std::string& description);

// A new key in this ring, in place of the one that is there; 0 where the ring was revoked.
Serial put_into(Serial ring, const std::string& description, const uint8_t* payload, size_t size, uint32_t timeout_s);

// The key of this description in this ring; 0 where there is none or the ring was revoked.
Serial find_in(Serial ring, const std::string& description);

// Whether there was such a key in the ring to forget.
bool forget_in(Serial ring, const std::string& description);

// Revokes the ring and all that is in it. Whether a key was open in it.
bool forget_ring(Serial ring);

// The descriptions of the rings in the user's keyring that begin so, with their numbers.
std::vector<std::pair<std::string, Serial>> rings(const std::string& prefix);

// A new payload and expiry for the key with this number; false where it has gone or was revoked meanwhile.
bool update(Serial key, const uint8_t* payload, size_t size, uint32_t timeout_s);

// The key of this description; 0 where there is none, or it has expired or was revoked.
Serial find(const std::string& description);

// Bytes of the payload, copied into `out` where they fit. 0 where the key has gone meanwhile.
size_t read(Serial key, uint8_t* out, size_t size);

// Whether there was such a key to forget. The kernel wipes the payload.
bool forget(const std::string& description);

}  // namespace facesdk::keyring
