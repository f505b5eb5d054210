/* A disk that fails when it is told to: loaded before the C library.
 *
 * Counts every call by which this process changes something below one folder, or
 * with READS also those by which it reads there, and lets the chosen one fail with
 * an error number, or end the process as a power cut would. SQLite is counted like
 * everything else. Nothing is changed by a call that fails.
 *
 * Source: ld.so(8), "LD_PRELOAD"; dlsym(3), "RTLD_NEXT".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ONCE = 0, FULL = 1, DIE = 2, READS = 4 };

static char folder[PATH_MAX];
static size_t folder_length;
static int mode, number;
static atomic_long left, seen;
static char struck[2 * PATH_MAX];

/* Let the `nth` call below `place` fail with `error`, counted from 0; with a
 * negative one, only count. FULL: every later one that needs room fails as well. */
void disk_arm(const char *place, long nth, int error, int how) {
  snprintf(folder, sizeof folder, "%s/", place);
  folder_length = strlen(folder);
  struck[0] = 0;
  mode = how;
  number = error;
  atomic_store(&seen, 0);
  atomic_store(&left, nth < 0 ? LONG_MAX : nth);
}

void disk_disarm(void) { folder_length = 0; }

/* How many calls were counted. */
long disk_seen(void) { return atomic_load(&seen); }

/* The call that failed first, as "fsync store/sha256/ab", or nothing. */
const char *disk_struck(void) { return struck; }

static int below(const char *path) {
  return folder_length && !strncmp(path, folder, folder_length);
}

static int strike(const char *call, const char *path, int needs_room) {
  long before = atomic_fetch_sub(&left, 1);
  atomic_fetch_add(&seen, 1);
  if (before > 0) return 0;
  if (before < 0 && !((mode & FULL) && needs_room)) return 0;
  if (mode & DIE) kill(getpid(), SIGKILL);
  if (!struck[0])
    snprintf(struck, sizeof struck, "%s %s", call, path + folder_length);
  errno = number;
  return 1;
}

/* Whether a call on a path fails; relative ones begin at the folder `at`. */
static int at_path(const char *call, int at, const char *path, int needs_room) {
  char whole[2 * PATH_MAX], link[64];
  ssize_t length = 0;
  if (!folder_length || !path) return 0;
  if (path[0] != '/' && at >= 0) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    length = readlink(link, whole, PATH_MAX);
    if (length < 0) return 0;
    whole[length++] = '/';
  }
  snprintf(whole + length, PATH_MAX, "%s", path);
  return below(whole) && strike(call, whole, needs_room);
}

static int at_file(const char *call, int file, int needs_room) {
  char whole[PATH_MAX], link[64];
  if (!folder_length) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, whole, sizeof whole - 1);
  if (length < 0) return 0;
  whole[length] = 0;
  return below(whole) && strike(call, whole, needs_room);
}

#define NEXT(kind, name, given)                      \
  static kind(*next) given;                          \
  if (!next) next = (kind(*) given)dlsym(RTLD_NEXT, #name)

/* A function of a file: `given` are its arguments, `passed` their names. */
#define OF_FILE(kind, name, needs_room, given, passed) \
  kind name given {                                    \
    NEXT(kind, name, given);                           \
    return at_file(#name, file, needs_room) ? -1 : next passed; \
  }

#define OF_READ(kind, name, given, passed)                              \
  kind name given {                                                     \
    NEXT(kind, name, given);                                            \
    return (mode & READS) && at_file(#name, file, 0) ? -1 : next passed; \
  }

/* A function of a path below the folder `at`. */
#define OF_PATH(name, at, needs_room, given, passed)          \
  int name given {                                            \
    NEXT(int, name, given);                                   \
    return at_path(#name, at, path, needs_room) ? -1 : next passed; \
  }

OF_FILE(ssize_t, write, 1, (int file, const void *data, size_t n), (file, data, n))
OF_FILE(ssize_t, pwrite, 1, (int file, const void *data, size_t n, off_t at), (file, data, n, at))
OF_FILE(ssize_t, pwrite64, 1, (int file, const void *data, size_t n, off64_t at), (file, data, n, at))
OF_FILE(ssize_t, writev, 1, (int file, const struct iovec *v, int n), (file, v, n))
OF_FILE(ssize_t, pwritev, 1, (int file, const struct iovec *v, int n, off_t at), (file, v, n, at))
OF_FILE(ssize_t, sendfile, 1, (int file, int from, off_t *at, size_t n), (file, from, at, n))
OF_FILE(ssize_t, sendfile64, 1, (int file, int from, off64_t *at, size_t n), (file, from, at, n))
OF_FILE(int, fsync, 0, (int file), (file))
OF_FILE(int, fdatasync, 0, (int file), (file))
OF_FILE(int, ftruncate, 0, (int file, off_t size), (file, size))
OF_FILE(int, ftruncate64, 0, (int file, off64_t size), (file, size))
OF_FILE(int, fallocate, 1, (int file, int how, off_t at, off_t size), (file, how, at, size))
OF_FILE(int, fallocate64, 1, (int file, int how, off64_t at, off64_t size), (file, how, at, size))
OF_FILE(int, fchmod, 0, (int file, mode_t bits), (file, bits))

OF_READ(ssize_t, read, (int file, void *data, size_t n), (file, data, n))
OF_READ(ssize_t, pread, (int file, void *data, size_t n, off_t at), (file, data, n, at))
OF_READ(ssize_t, pread64, (int file, void *data, size_t n, off64_t at), (file, data, n, at))
OF_READ(ssize_t, readv, (int file, const struct iovec *v, int n), (file, v, n))
OF_READ(ssize_t, preadv, (int file, const struct iovec *v, int n, off_t at), (file, v, n, at))
OF_READ(ssize_t, preadv64, (int file, const struct iovec *v, int n, off64_t at), (file, v, n, at))

OF_PATH(mkdir, -1, 1, (const char *path, mode_t bits), (path, bits))
OF_PATH(mkdirat, at, 1, (int at, const char *path, mode_t bits), (at, path, bits))
OF_PATH(rmdir, -1, 0, (const char *path), (path))
OF_PATH(unlink, -1, 0, (const char *path), (path))
OF_PATH(unlinkat, at, 0, (int at, const char *path, int how), (at, path, how))
OF_PATH(chmod, -1, 0, (const char *path, mode_t bits), (path, bits))
OF_PATH(fchmodat, at, 0, (int at, const char *path, mode_t bits, int how), (at, path, bits, how))
OF_PATH(symlink, -1, 1, (const char *to, const char *path), (to, path))
OF_PATH(symlinkat, at, 1, (const char *to, int at, const char *path), (to, at, path))
OF_PATH(link, -1, 1, (const char *from, const char *path), (from, path))
OF_PATH(linkat, at, 1, (int of, const char *from, int at, const char *path, int how), (of, from, at, path, how))
OF_PATH(rename, -1, 0, (const char *from, const char *path), (from, path))
OF_PATH(renameat, at, 0, (int of, const char *from, int at, const char *path), (of, from, at, path))
OF_PATH(truncate, -1, 0, (const char *path, off_t size), (path, size))
OF_PATH(truncate64, -1, 0, (const char *path, off64_t size), (path, size))

/* Opening changes the disk where it makes the file or empties it. */
static int opening(const char *call, int at, const char *path, int how) {
  int changes = how & (O_CREAT | O_TRUNC);
  if (!folder_length || !(changes || (mode & READS))) return 0;
  int makes = (how & O_CREAT) && faccessat(at < 0 ? AT_FDCWD : at, path, F_OK, 0);
  return at_path(call, at, path, makes);
}

#define OF_OPEN(name, at, given, passed)                        \
  int name given {                                              \
    NEXT(int, name, given);                                     \
    mode_t bits = 0;                                            \
    if (how & (O_CREAT | O_TMPFILE)) {                          \
      va_list rest;                                             \
      va_start(rest, how);                                      \
      bits = va_arg(rest, mode_t);                              \
      va_end(rest);                                             \
    }                                                           \
    return opening(#name, at, path, how) ? -1 : next passed;    \
  }

OF_OPEN(open, -1, (const char *path, int how, ...), (path, how, bits))
OF_OPEN(open64, -1, (const char *path, int how, ...), (path, how, bits))
OF_OPEN(openat, at, (int at, const char *path, int how, ...), (at, path, how, bits))
OF_OPEN(openat64, at, (int at, const char *path, int how, ...), (at, path, how, bits))
