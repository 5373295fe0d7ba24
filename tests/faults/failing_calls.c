/* Preloaded: asks somebody before every file call below one folder, and fails it as he says.

   `ask(call, path)` answers 0 (let it happen), an errno (it fails and nothing happens), or minus an errno (it happens,
   and fails all the same: a reply that was lost). What a descriptor is of is known from the call that opened it. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 65536
typedef int (*Ask)(const char *call, const char *path);

static Ask ask;
static char below[4096];
static size_t length;
static char *paths[MOST];
static __thread int asking;

void failing_calls(const char *folder, Ask asked) {
    snprintf(below, sizeof below, "%s/", folder);
    length = strlen(below);
    ask = asked;
}

static int is_below(const char *path) {
    return length && (!strncmp(path, below, length) || (!strncmp(path, below, length - 1) && !path[length - 1]));
}

/* The path of `name` in the open folder `at`, or of the descriptor itself; NULL where that is not below. */
static const char *where(int at, const char *name, char *room) {
    if (name && name[0] == '/')
        return is_below(name) ? name : NULL;
    if (at < 0 || at >= MOST || !paths[at])
        return NULL;
    if (!name || !*name)
        return paths[at];
    snprintf(room, 4096, "%s/%s", paths[at], name);
    return room;
}

static int asked(const char *call, const char *path) {
    int before = errno, answer;
    if (!ask || !path || asking)
        return 0;
    asking = 1;
    answer = ask(call, path);
    asking = 0;
    errno = before;
    return answer;
}

static void forget(int fd) {
    if (fd >= 0 && fd < MOST && paths[fd]) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
}

static void remember(int fd, const char *path) {
    if (fd < 0 || fd >= MOST)
        return;
    forget(fd);
    paths[fd] = path ? strdup(path) : NULL;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ROOM char room[4096]
/* Ask, then do it or not. `fails`: what it answers then. */
#define CALL(type, fails, call, place, doing)      \
    do {                                           \
        const char *path_ = (place);               \
        int said = asked(call, path_);             \
        type result;                               \
        if (said > 0) {                            \
            errno = said;                          \
            return fails;                          \
        }                                          \
        result = (doing);                          \
        if (said < 0) {                            \
            errno = -said;                         \
            return fails;                          \
        }                                          \
        return result;                             \
    } while (0)

static int opened(const char *call, const char *path, int (*do_open)(void *), void *data) {
    int said = asked(call, path), fd;
    if (said > 0) {
        errno = said;
        return -1;
    }
    fd = do_open(data);
    if (fd >= 0)
        remember(fd, path);
    if (said < 0 && fd >= 0) {
        forget(fd);
        syscall(SYS_close, fd);
    }
    if (said < 0) {
        errno = -said;
        return -1;
    }
    return fd;
}

struct opening { int at; const char *name; int flags; mode_t mode; void *how; size_t size; };

static int plainly(void *data) {
    struct opening *it = data;
    return NEXT(openat)(it->at, it->name, it->flags, it->mode);
}

static int by_how(void *data) {
    struct opening *it = data;
    return (int)NEXT(syscall)(SYS_openat2, it->at, it->name, it->how, it->size);
}

static int open_one(int at, const char *name, int flags, mode_t mode) {
    ROOM;
    struct opening it = {at, name, flags, mode, NULL, 0};
    return opened("open", where(at, name, room), plainly, &it);
}

#define MODE                        \
    mode_t mode = 0;                \
    va_list more;                   \
    va_start(more, flags);          \
    mode = va_arg(more, mode_t);    \
    va_end(more)
int open(const char *name, int flags, ...) { MODE; return open_one(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE; return open_one(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE; return open_one(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE; return open_one(at, name, flags, mode); }

long syscall(long number, ...) {
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_openat2) {
        ROOM;
        struct opening it = {(int)a[0], (const char *)a[1], 0, 0, (void *)a[2], (size_t)a[3]};
        return opened("openat2", where((int)a[0], (const char *)a[1], room), by_how, &it);
    }
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int close(int fd) {
    const char *path = fd >= 0 && fd < MOST ? paths[fd] : NULL;
    int said = asked("close", path), done;
    forget(fd);
    done = NEXT(close)(fd);
    if (said) {
        errno = abs(said);
        return -1;
    }
    return done;
}

static int noted(int fd, int from) {
    if (fd >= 0 && from >= 0 && from < MOST)
        remember(fd, paths[from]);
    return fd;
}
int dup(int fd) { return noted(NEXT(dup)(fd), fd); }
int fcntl(int fd, int what, ...) {
    void *argument;
    va_list more;
    va_start(more, what);
    argument = va_arg(more, void *);
    va_end(more);
    int done = NEXT(fcntl)(fd, what, argument);
    return what == F_DUPFD || what == F_DUPFD_CLOEXEC ? noted(done, fd) : done;
}
int fcntl64(int fd, int what, ...) __attribute__((alias("fcntl")));

/* A stream of a folder has a descriptor of its own, which nobody closes by number. */
DIR *opendir(const char *name) {
    DIR *stream = NULL;
    ROOM;
    const char *path = where(AT_FDCWD, name, room);
    int said = asked("opendir", path);
    if (said > 0) {
        errno = said;
        return NULL;
    }
    stream = NEXT(opendir)(name);
    if (stream)
        remember(dirfd(stream), path);
    return stream;
}
int closedir(DIR *stream) { forget(dirfd(stream)); return NEXT(closedir)(stream); }
struct dirent *readdir(DIR *stream) { CALL(struct dirent *, NULL, "readdir", where(dirfd(stream), NULL, NULL), NEXT(readdir)(stream)); }
struct dirent64 *readdir64(DIR *stream) { CALL(struct dirent64 *, NULL, "readdir", where(dirfd(stream), NULL, NULL), NEXT(readdir64)(stream)); }

#define STAT(name, kind) \
    int name(const char *path, struct kind *to) { CALL(int, -1, "stat", where(AT_FDCWD, path, NULL), NEXT(name)(path, to)); }
#define FSTAT(name, kind) \
    int name(int fd, struct kind *to) { CALL(int, -1, "fstat", where(fd, NULL, NULL), NEXT(name)(fd, to)); }
#define STATAT(name, kind)                                            \
    int name(int at, const char *path, struct kind *to, int flags) {  \
        ROOM;                                                         \
        CALL(int, -1, "stat", where(at, path, room), NEXT(name)(at, path, to, flags)); \
    }
STAT(stat, stat) STAT(lstat, stat) FSTAT(fstat, stat) STATAT(fstatat, stat)
STAT(stat64, stat64) STAT(lstat64, stat64) FSTAT(fstat64, stat64) STATAT(fstatat64, stat64)
STAT(statvfs, statvfs) STAT(statvfs64, statvfs64)

ssize_t read(int fd, void *to, size_t size) { CALL(ssize_t, -1, "read", where(fd, NULL, NULL), NEXT(read)(fd, to, size)); }
ssize_t pread(int fd, void *to, size_t size, off_t at) { CALL(ssize_t, -1, "read", where(fd, NULL, NULL), NEXT(pread)(fd, to, size, at)); }
ssize_t pread64(int fd, void *to, size_t size, off64_t at) { CALL(ssize_t, -1, "read", where(fd, NULL, NULL), NEXT(pread64)(fd, to, size, at)); }
ssize_t write(int fd, const void *from, size_t size) { CALL(ssize_t, -1, "write", where(fd, NULL, NULL), NEXT(write)(fd, from, size)); }
int fsync(int fd) { CALL(int, -1, "fsync", where(fd, NULL, NULL), NEXT(fsync)(fd)); }
int ftruncate(int fd, off_t size) { CALL(int, -1, "truncate", where(fd, NULL, NULL), NEXT(ftruncate)(fd, size)); }
int fchmod(int fd, mode_t mode) { CALL(int, -1, "chmod", where(fd, NULL, NULL), NEXT(fchmod)(fd, mode)); }

#define ONE(name, call, arguments, pass) \
    int name arguments { ROOM; CALL(int, -1, call, where(AT_FDCWD, path, room), NEXT(name) pass); }
#define ONEAT(name, call, arguments, pass) \
    int name arguments { ROOM; CALL(int, -1, call, where(at, path, room), NEXT(name) pass); }
ONE(mkdir, "mkdir", (const char *path, mode_t mode), (path, mode))
ONE(rmdir, "rmdir", (const char *path), (path))
ONE(unlink, "unlink", (const char *path), (path))
ONE(chmod, "chmod", (const char *path, mode_t mode), (path, mode))
ONE(access, "access", (const char *path, int mode), (path, mode))
ONEAT(mkdirat, "mkdir", (int at, const char *path, mode_t mode), (at, path, mode))
ONEAT(unlinkat, "unlink", (int at, const char *path, int flags), (at, path, flags))
ONEAT(fchmodat, "chmod", (int at, const char *path, mode_t mode, int flags), (at, path, mode, flags))
ssize_t readlink(const char *path, char *to, size_t size) { ROOM; CALL(ssize_t, -1, "readlink", where(AT_FDCWD, path, room), NEXT(readlink)(path, to, size)); }
ssize_t readlinkat(int at, const char *path, char *to, size_t size) { ROOM; CALL(ssize_t, -1, "readlink", where(at, path, room), NEXT(readlinkat)(at, path, to, size)); }
int link(const char *from, const char *path) { ROOM; CALL(int, -1, "link", where(AT_FDCWD, path, room), NEXT(link)(from, path)); }
int linkat(int a, const char *from, int at, const char *path, int flags) { ROOM; CALL(int, -1, "link", where(at, path, room), NEXT(linkat)(a, from, at, path, flags)); }
int symlink(const char *to, const char *path) { ROOM; CALL(int, -1, "symlink", where(AT_FDCWD, path, room), NEXT(symlink)(to, path)); }
int symlinkat(const char *to, int at, const char *path) { ROOM; CALL(int, -1, "symlink", where(at, path, room), NEXT(symlinkat)(to, at, path)); }
int rename(const char *path, const char *to) { ROOM; CALL(int, -1, "rename", where(AT_FDCWD, path, room), NEXT(rename)(path, to)); }
int renameat(int at, const char *path, int b, const char *to) { ROOM; CALL(int, -1, "rename", where(at, path, room), NEXT(renameat)(at, path, b, to)); }
int renameat2(int at, const char *path, int b, const char *to, unsigned flags) { ROOM; CALL(int, -1, "rename", where(at, path, room), NEXT(renameat2)(at, path, b, to, flags)); }
