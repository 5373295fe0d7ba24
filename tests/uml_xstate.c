/* Preloaded into user-mode Linux, whose kernel moves the vector registers of its processes by ptrace.
 *
 * A kernel of the 6.1 kind asks for the registers it has room for. Linux gives a part of them, but takes only all, and
 * on processors that have more (AMX) such a guest cannot start its first process. So the whole set is kept here for
 * every buffer that is asked for: what the guest has room for is its own, the rest goes with it. After a fork the new
 * buffer begins with the rest of whoever ran before; these registers are the caller's to save, so nobody relies on it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define LARGEST_SET 16384
#define MOST_BUFFERS 4096

static struct {
    const void *buffer;
    size_t size;
    char bytes[LARGEST_SET];
} sets[MOST_BUFFERS];

static int set_of(const void *buffer)
{
    unsigned long at = (unsigned long)buffer / 64 % MOST_BUFFERS;
    for (int step = 0; step < MOST_BUFFERS; step++, at = (at + 1) % MOST_BUFFERS)
        if (sets[at].buffer == buffer || sets[at].buffer == NULL)
            return at;
    return -1;
}

long ptrace(enum __ptrace_request request, ...)
{
    static long (*real)(enum __ptrace_request, ...);
    va_list rest;
    va_start(rest, request);
    pid_t pid = va_arg(rest, pid_t);
    void *address = va_arg(rest, void *);
    void *data = va_arg(rest, void *);
    va_end(rest);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "ptrace");
    int gets = request == PTRACE_GETREGSET, puts = request == PTRACE_SETREGSET;
    if (!(gets || puts) || (long)address != NT_X86_XSTATE)
        return real(request, pid, address, data);

    struct iovec *part = data;
    int at = set_of(part->iov_base);
    if (at < 0) {
        errno = ENOMEM;
        return -1;
    }
    struct iovec whole = {sets[at].bytes, LARGEST_SET};
    if (gets || sets[at].buffer == NULL) {
        if (real(PTRACE_GETREGSET, pid, address, &whole) != 0)
            return -1;
        sets[at].buffer = part->iov_base;
        sets[at].size = whole.iov_len;
    }
    size_t size = part->iov_len < sets[at].size ? part->iov_len : sets[at].size;
    if (gets) {
        memcpy(part->iov_base, sets[at].bytes, size);
        part->iov_len = size;
        return 0;
    }
    memcpy(sets[at].bytes, part->iov_base, size);
    whole.iov_len = sets[at].size;
    return real(PTRACE_SETREGSET, pid, address, &whole);
}
