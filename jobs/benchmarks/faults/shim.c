/* System calls that write fail on purpose: LD_PRELOAD=shim.so, and FAULT_* in the environment, or fault() by ctypes.
 *
 *     cc -shared -fPIC -o shim.so shim.c -ldl
 *
 * FAULT_FOLDER : files below it are meant; their real path
 * FAULT_AT     : which call fails, counted from 1 in each process; 0: none
 * FAULT_ERROR  : its errno, EINTR for calls alone that may return it; -9: the process is killed there, between this
 *                call and the one before
 * FAULT_ON     : 1: all later calls fail too
 * FAULT_SHORT  : 1: every second write before it writes half of what it is given
 * FAULT_RANK   : the rank under mpirun that is meant; without it, all
 * What fails is said on stderr.
 *
 * CLOCK_SEED, or jumping() by ctypes: the time of day jumps by up to 30 years, back and forth; 0: it does not
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char folder[4096];
static long at, calls;
static int error, on, halves;
static unsigned long clock_state, asked;

void jumping(unsigned long seed) { clock_state = seed, asked = 0; }

long fault(const char *below, long which, int number, int later, int shorten) {
    long before = calls;
    snprintf(folder, sizeof folder, "%s", below);
    at = which, error = number, on = later, halves = shorten, calls = 0;
    return before;
}

__attribute__((constructor)) static void from_environment(void) {
    const char *text[] = {getenv("FAULT_FOLDER"), getenv("FAULT_AT"), getenv("FAULT_ERROR"), getenv("FAULT_ON"),
                          getenv("FAULT_SHORT")};
    const char *meant = getenv("FAULT_RANK"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (!rank) rank = getenv("PMI_RANK");
    if (getenv("CLOCK_SEED")) jumping(strtoul(getenv("CLOCK_SEED"), NULL, 10) + (rank ? atoi(rank) : 0));
    if (meant && rank && atoi(meant) != atoi(rank)) return;
    if (text[0] && text[1] && text[2])
        fault(text[0], atol(text[1]), atoi(text[2]), text[3] && atoi(text[3]), text[4] && atoi(text[4]));
}

#define REAL(name) ({ static void *found; if (!found) found = dlsym(RTLD_NEXT, #name); (__typeof__(&name))found; })

static int below(const char *path) {
    size_t n = strlen(folder);
    return n && !strncmp(path, folder, n) && path[n] == '/';
}

static int named(const char *path) { /* whether a name is that of a file in the folder */
    char whole[8192], here[4096];
    if (!folder[0] || !path) return 0;
    if (path[0] == '/') return below(path);
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(whole, sizeof whole, "%s/%s", here, path);
    return below(whole);
}

static int opened(int fd) { /* whether an open file is one of the folder, open for writing */
    char link[64], path[4096];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    int flags = fcntl(fd, F_GETFL);
    return below(path) && flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

static int fails(int ours, const char *what, int may_be_interrupted) {
    if (!ours) return 0;
    calls++;
    if (!at || calls < at || (calls > at && !on) || (error == EINTR && !may_be_interrupted)) return 0;
    if (calls == at) dprintf(2, "fault: %s\n", what);
    if (error < 0) raise(-error);
    errno = error;
    return 1;
}

static size_t less(int ours, size_t count) { return ours && halves && count > 1 && calls % 2 ? count / 2 : count; }

ssize_t pwrite64(int fd, const void *content, size_t count, off64_t offset) {
    int ours = opened(fd);
    if (fails(ours, "pwrite", 1)) return -1;
    return REAL(pwrite64)(fd, content, less(ours, count), offset);
}
ssize_t pwrite(int fd, const void *content, size_t count, off_t offset) { return pwrite64(fd, content, count, offset); }
ssize_t write(int fd, const void *content, size_t count) {
    int ours = opened(fd);
    if (fails(ours, "write", 1)) return -1;
    return REAL(write)(fd, content, less(ours, count));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fails(opened(fd), "writev", 1) ? -1 : REAL(writev)(fd, parts, count);
}
int fsync(int fd) { return fails(opened(fd), "fsync", 1) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(opened(fd), "fdatasync", 1) ? -1 : REAL(fdatasync)(fd); }
int ftruncate64(int fd, off64_t size) { return fails(opened(fd), "ftruncate", 1) ? -1 : REAL(ftruncate64)(fd, size); }
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    return fails(opened(fd), "posix_fallocate", 1) ? error : REAL(posix_fallocate64)(fd, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) { return posix_fallocate64(fd, offset, size); }
int close(int fd) { /* on NFS an earlier write may fail here; the file is closed all the same */
    int failed = fails(opened(fd), "close", 0), result = REAL(close)(fd);
    if (failed) errno = error;
    return failed ? -1 : result;
}
int truncate64(const char *path, off64_t size) {
    return fails(named(path), "truncate", 0) ? -1 : REAL(truncate64)(path, size);
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }
int rename(const char *from, const char *to) { return fails(named(to), "rename", 0) ? -1 : REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    return fails(named(to), "rename", 0) ? -1 : REAL(renameat)(a, from, b, to);
}
int unlink(const char *path) { /* possible where nothing can be written */
    return fails(named(path) && !on, "unlink", 0) ? -1 : REAL(unlink)(path);
}
int mkdir(const char *path, mode_t mode) { return fails(named(path), "mkdir", 0) ? -1 : REAL(mkdir)(path, mode); }

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
static int creates(const char *path, int flags) {
    return fails(named(path) && (flags & O_ACCMODE) != O_RDONLY, "open", 1);
}
int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return creates(path, flags) ? -1 : REAL(open64)(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return creates(path, flags) ? -1 : REAL(open)(path, flags, mode);
}
int openat64(int fd, const char *path, int flags, ...) {
    MODE_OF(flags)
    return creates(path, flags) ? -1 : REAL(openat64)(fd, path, flags, mode);
}
int openat(int fd, const char *path, int flags, ...) {
    MODE_OF(flags)
    return creates(path, flags) ? -1 : REAL(openat)(fd, path, flags, mode);
}

static time_t wrong(void) { /* seconds: another number, of any size, at the first call and every eighth or so after it */
    static time_t by;
    if (!clock_state) return 0;
    clock_state = clock_state * 6364136223846793005UL + 1442695040888963407UL;
    if (!asked++ || clock_state >> 61 == 0) {
        by = 1;
        for (unsigned long n = (clock_state >> 32) % 10; n; n--) by *= 10;
        if (clock_state >> 40 & 1) by = -by;
    }
    return by;
}
int clock_gettime(clockid_t id, struct timespec *now) {
    int result = REAL(clock_gettime)(id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += wrong();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = REAL(gettimeofday)(now, zone);
    now->tv_sec += wrong();
    return result;
}
time_t time(time_t *now) {
    time_t found = REAL(time)(NULL) + wrong();
    if (now) *now = found;
    return found;
}
