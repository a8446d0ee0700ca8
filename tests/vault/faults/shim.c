// Faults at the calls of libc that change or read state, for tests: compiled by test_faults.py, loaded by LD_PRELOAD.
// Nothing happens until fault_arm(n, mode, exempt): calls are then counted from 1 and named; call n is treated as the
// mode says. Calls on the descriptor `exempt` are let through and not counted. One thread only.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The numbers are those of MODES in harness.py.
enum Mode {
  COUNT = 0, KILL_BEFORE, KILL_AFTER, FAIL_NOSPC, FAIL_IO, IO_AFTER, PARTIAL, TORN, SHORT, INTERRUPTED,
  FULL,  // this call and every later one that takes space: ENOSPC
  DEAD,  // this call and every later one on files, but close and flock: EIO
  KEYLESS,  // this call and every later one on the keyring: EACCES
  LOCKLESS,  // this call and every later one that locks memory: ENOMEM
  STOP,  // the process stops before this call, until it is told to go on
};
enum Kind { FILE_CALL, SPACE_CALL, DATA_CALL, FREE_CALL, KEY_CALL, MEMORY_CALL };
enum { LARGEST = 1 << 16 };

static long target, calls;
static int mode = -1, exempt = -1, out_of_space;
static const char *names[LARGEST];

void fault_arm(long n, int how, int except) {
  target = n, mode = how, exempt = except, calls = 0, out_of_space = 0;
}
long fault_disarm(void) {
  mode = -1;
  return calls;
}
const char *fault_name(long n) { return n > 0 && n <= calls && n < LARGEST ? names[n] : "none"; }

struct Plan { int active, error, before, after, stop; };

static int errno_of(enum Kind kind, int how, const char *name) {
  const int is_key = kind == KEY_CALL, is_memory = kind == MEMORY_CALL;
  if (how == FAIL_NOSPC) return is_key ? (name[0] == 'a' ? EDQUOT : ENOMEM) : is_memory ? ENOMEM : ENOSPC;
  return is_key ? EACCES : EIO;
}

static struct Plan plan(const char *name, enum Kind kind) {
  struct Plan p = {0, 0, 0, 0, 0};
  if (mode < 0) return p;
  if (++calls < LARGEST) names[calls] = name;
  const int now = calls == target, from_now = target > 0 && calls >= target;
  p.active = now;
  switch (mode) {
    case KILL_BEFORE: p.before = now; break;
    case KILL_AFTER: p.after = now ? KILL_AFTER : 0; break;
    case IO_AFTER: p.after = now ? IO_AFTER : 0; break;
    case FAIL_NOSPC: case FAIL_IO: if (now) p.error = errno_of(kind, mode, name); break;
    case INTERRUPTED: if (now) p.error = EINTR; break;
    case PARTIAL: if (out_of_space && kind == DATA_CALL) p.error = ENOSPC, out_of_space = 0; break;
    case FULL: if (from_now && (kind == SPACE_CALL || kind == DATA_CALL)) p.error = ENOSPC; break;
    case DEAD: if (from_now && (kind == FILE_CALL || kind == SPACE_CALL || kind == DATA_CALL)) p.error = EIO; break;
    case KEYLESS: if (from_now && kind == KEY_CALL) p.error = EACCES; break;
    case STOP: p.stop = now; break;
    case LOCKLESS: if (from_now && kind == MEMORY_CALL) p.error = ENOMEM; break;
  }
  return p;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define RUN(type, failed, call)                   \
  if (p.error) { errno = p.error; return failed; } \
  if (p.before) die();                            \
  if (p.stop) raise(SIGSTOP);                     \
  type result = call;                             \
  if (p.after == KILL_AFTER) die();               \
  if (p.after == IO_AFTER) { errno = EIO; return failed; } \
  return result

#define WRAP(type, failed, name, shown, kind, parameters, arguments) \
  type name parameters {                                             \
    REAL(name);                                                      \
    const struct Plan p = plan(shown, kind);                         \
    RUN(type, failed, real arguments);                               \
  }

static mode_t third(int flags, va_list list) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; }

#define WRAP_OPEN(name, parameters, arguments)                       \
  int name parameters {                                              \
    REAL(name);                                                      \
    va_list list;                                                    \
    va_start(list, flags);                                           \
    const mode_t m = third(flags, list);                             \
    va_end(list);                                                    \
    const int creates = flags & O_CREAT;                             \
    const struct Plan p = plan(creates ? "create" : "open", creates ? SPACE_CALL : FILE_CALL); \
    RUN(int, -1, real arguments);                                    \
  }
WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, m))
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, m))
WRAP_OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, m))
WRAP_OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, m))

static size_t half(const struct Plan *p, size_t size) {
  const int cut = p->active && (mode == SHORT || mode == PARTIAL || mode == TORN) && size > 1;
  if (cut && mode == PARTIAL) out_of_space = 1;
  return cut ? size / 2 : size;
}

#define WRAP_DATA(name, shown, kind, parameters, arguments)          \
  ssize_t name parameters {                                          \
    REAL(name);                                                      \
    if (fd == exempt) return real arguments;                         \
    struct Plan p = plan(shown, kind);                               \
    size = half(&p, size);                                           \
    if (p.active && mode == TORN) p.after = KILL_AFTER;              \
    RUN(ssize_t, -1, real arguments);                                \
  }
WRAP_DATA(read, "read", FILE_CALL, (int fd, void *to, size_t size), (fd, to, size))
WRAP_DATA(pread, "pread", FILE_CALL, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
WRAP_DATA(pread64, "pread", FILE_CALL, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
WRAP_DATA(write, "write", DATA_CALL, (int fd, const void *from, size_t size), (fd, from, size))
WRAP_DATA(pwrite, "pwrite", DATA_CALL, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
WRAP_DATA(pwrite64, "pwrite", DATA_CALL, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))

WRAP(int, -1, fsync, "fsync", FILE_CALL, (int fd), (fd))
WRAP(int, -1, fdatasync, "fsync", FILE_CALL, (int fd), (fd))
WRAP(int, -1, rename, "rename", FILE_CALL, (const char *a, const char *b), (a, b))
WRAP(int, -1, renameat, "rename", FILE_CALL, (int i, const char *a, int j, const char *b), (i, a, j, b))
WRAP(int, -1, unlink, "unlink", FILE_CALL, (const char *path), (path))
WRAP(int, -1, unlinkat, "unlink", FILE_CALL, (int at, const char *path, int flags), (at, path, flags))
WRAP(int, -1, ftruncate, "ftruncate", FILE_CALL, (int fd, off_t size), (fd, size))
WRAP(int, -1, ftruncate64, "ftruncate", FILE_CALL, (int fd, off64_t size), (fd, size))
WRAP(int, -1, fchmod, "fchmod", FILE_CALL, (int fd, mode_t m), (fd, m))
WRAP(int, -1, mkdir, "mkdir", SPACE_CALL, (const char *path, mode_t m), (path, m))
WRAP(int, -1, mkdirat, "mkdir", SPACE_CALL, (int at, const char *path, mode_t m), (at, path, m))
WRAP(int, -1, flock, "flock", FREE_CALL, (int fd, int how), (fd, how))
WRAP(int, -1, close, "close", FREE_CALL, (int fd), (fd))
WRAP(int, -1, fstat, "stat", FILE_CALL, (int fd, struct stat *to), (fd, to))
WRAP(int, -1, fstat64, "stat", FILE_CALL, (int fd, struct stat64 *to), (fd, to))
WRAP(int, -1, stat, "stat", FILE_CALL, (const char *path, struct stat *to), (path, to))
WRAP(int, -1, stat64, "stat", FILE_CALL, (const char *path, struct stat64 *to), (path, to))
WRAP(int, -1, lstat, "stat", FILE_CALL, (const char *path, struct stat *to), (path, to))
WRAP(int, -1, lstat64, "stat", FILE_CALL, (const char *path, struct stat64 *to), (path, to))
WRAP(int, -1, fstatat, "stat", FILE_CALL, (int at, const char *path, struct stat *to, int f), (at, path, to, f))
WRAP(int, -1, fstatat64, "stat", FILE_CALL, (int at, const char *path, struct stat64 *to, int f), (at, path, to, f))
WRAP(DIR *, NULL, opendir, "opendir", FILE_CALL, (const char *path), (path))
WRAP(DIR *, NULL, fdopendir, "opendir", FILE_CALL, (int fd), (fd))
WRAP(struct dirent *, NULL, readdir, "readdir", FILE_CALL, (DIR * folder), (folder))
WRAP(struct dirent64 *, NULL, readdir64, "readdir", FILE_CALL, (DIR * folder), (folder))
WRAP(int, -1, mlock, "mlock", MEMORY_CALL, (const void *at, size_t size), (at, size))
WRAP(int, -1, madvise, "madvise", MEMORY_CALL, (void *at, size_t size, int how), (at, size, how))

static const char *keyctl_name(long operation) {
  switch (operation) {
    case KEYCTL_SEARCH: return "keyctl search";
    case KEYCTL_READ: return "keyctl read";
    case KEYCTL_UPDATE: return "keyctl update";
    case KEYCTL_DESCRIBE: return "keyctl describe";
    case KEYCTL_SETPERM: return "keyctl setperm";
    case KEYCTL_SET_TIMEOUT: return "keyctl timeout";
    case KEYCTL_REVOKE: return "keyctl revoke";
    case KEYCTL_UNLINK: return "keyctl unlink";
    default: return "keyctl other";
  }
}

long syscall(long number, ...) {
  REAL(syscall);
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  struct Plan p = {0, 0, 0, 0, 0};
  if (number == SYS_add_key) p = plan("add_key", KEY_CALL);
  if (number == SYS_keyctl) p = plan(keyctl_name(a[0]), KEY_CALL);
  RUN(long, -1, real(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}
