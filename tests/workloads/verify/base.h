/* SPDX-License-Identifier: BSD-2-Clause */
/* What every part of the verifying workload uses: failing, random numbers, children, pages with known
 * contents. Failing is final for the whole part: the first reason stands in a page that all descendants
 * share, and the process ends. Everything random comes from one seed, so a failure can be repeated. Nothing
 * here knows a particular part. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE          4096ul
#define PAGE_WORDS    (PAGE / 8)
#define HUGE          (2ul << 20)
#define COUNT(a)      (sizeof(a) / sizeof((a)[0]))
#define STATUS_FAILED 99 /* exit status of a process that called fail() */
#define STATUS_ABSENT 98 /* ... that called absent() */

struct report {
    int written; /* the first reason wins */
    char why[240];
};

static struct report *report; /* shared by all processes of a part */
static double scale = 1;
static uint64_t seed = 1;
static uint64_t random_state;
static bool is_init; /* the whole machine is ours */

static void set_reason(const char *format, va_list arguments)
{
    if (!__atomic_exchange_n(&report->written, 1, __ATOMIC_SEQ_CST))
        vsnprintf(report->why, sizeof(report->why), format, arguments);
}

__attribute__((format(printf, 1, 2))) static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_reason(format, arguments);
    _exit(STATUS_FAILED);
}

/* The kernel does not offer what the part is about: neither passed nor failed. */
__attribute__((format(printf, 1, 2))) static _Noreturn void absent(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_reason(format, arguments);
    _exit(STATUS_ABSENT);
}

#define REQUIRE(condition, ...)                                                                              \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail(__VA_ARGS__);                                                                               \
    } while (0)
#define REQUIRE_OK(call) REQUIRE((call) >= 0, "%s: %s", #call, strerror(errno))

/* A count of repetitions at the chosen scale, at least 1. */
static inline unsigned scaled(unsigned count)
{
    double n = count * scale;
    return n < 1 ? 1 : (unsigned)n;
}

static inline uint64_t mix(uint64_t x) /* splitmix64's output function: a bijection */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static inline uint64_t random64(void)
{
    return mix(random_state += 0x9e3779b97f4a7c15);
}

static inline unsigned below(unsigned limit)
{
    return (unsigned)((random64() >> 32) * limit >> 32);
}

static pid_t spawn(void)
{
    pid_t pid = fork();
    REQUIRE(pid >= 0, "fork: %s", strerror(errno));
    return pid;
}

/* The wait status of a child; a child that failed has said why already. */
static int status_of(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) != pid)
        REQUIRE(errno == EINTR, "waitpid(%d): %s", pid, strerror(errno));
    if (WIFEXITED(status) && (WEXITSTATUS(status) == STATUS_FAILED || WEXITSTATUS(status) == STATUS_ABSENT))
        _exit(WEXITSTATUS(status));
    return status;
}

static void expect_exit(pid_t pid, int code)
{
    int status = status_of(pid);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == code, "child should exit with %d, wait status is %#x",
            code, status);
}

static void expect_killed(pid_t pid, int number)
{
    int status = status_of(pid);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == number,
            "child should die of signal %d, wait status is %#x", number, status);
}

static void *map(size_t bytes, int prot, int flags)
{
    void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    REQUIRE(p != MAP_FAILED, "mmap of %zu bytes: %s", bytes, strerror(errno));
    return p;
}

/* Memory that begins on a 2 MB boundary; what is mapped beyond it stays reserved. */
static inline void *map_aligned(size_t bytes, int prot, int flags)
{
    uint8_t *p = map(bytes + HUGE, PROT_NONE, MAP_NORESERVE);
    p += -(uintptr_t)p % HUGE;
    REQUIRE(mmap(p, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0) == p, "mmap: %s",
            strerror(errno));
    return p;
}

static inline void *map_shared(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED, "shared mmap of %zu bytes: %s", bytes, strerror(errno));
    return p;
}

/* A file without a name, of so many bytes. */
static inline int anonymous_file(size_t bytes)
{
    int file = (int)syscall(SYS_memfd_create, "verify", 0);
    if (file < 0 && errno == ENOSYS)
        absent("no memfd_create");
    REQUIRE(file >= 0, "memfd_create: %s", strerror(errno));
    REQUIRE_OK(ftruncate(file, (off_t)bytes));
    return file;
}

/* Every word of a page tells its stamp and its place: a foreign, stale or shifted page does not pass. */
static inline uint64_t page_word(uint64_t stamp, unsigned i)
{
    return (stamp << 12 | i * 8ul) * 0x9e3779b97f4a7c15;
}

static inline void fill_page(void *page, uint64_t stamp)
{
    uint64_t *word = page;
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        word[i] = page_word(stamp, i);
}

static _Noreturn void wrong_page(const uint64_t *word, uint64_t stamp, unsigned i, const char *where)
{
    uint64_t found = word[i] * 0xf1de83e19937733d; /* the multiplier's inverse modulo 2^64 */
    if ((found & 0xfff) == i * 8ul)
        fail("%s: page %p word %u should hold stamp %llx, holds that of stamp %llx", where,
             (const void *)word, i, (unsigned long long)stamp, (unsigned long long)(found >> 12));
    fail("%s: page %p word %u should hold stamp %llx, holds %#llx", where, (const void *)word, i,
         (unsigned long long)stamp, (unsigned long long)word[i]);
}

static inline void check_page(const void *page, uint64_t stamp, const char *where)
{
    const volatile uint64_t *word = page;
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        if (word[i] != page_word(stamp, i))
            wrong_page(page, stamp, i, where);
}

static inline void check_zero(const void *page, const char *where)
{
    const volatile uint64_t *word = page;
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        REQUIRE(word[i] == 0, "%s: page %p word %u should be zero, is %#llx", where, page, i,
                (unsigned long long)word[i]);
}

/* The same with four words a page, where many pages matter more than every byte. */
static const unsigned few_words[] = { 0, 1, 255, 511 };

static inline void stamp_page(void *page, uint64_t stamp)
{
    for (unsigned i = 0; i < COUNT(few_words); i++)
        ((uint64_t *)page)[few_words[i]] = page_word(stamp, few_words[i]);
}

static inline void check_stamp(const void *page, uint64_t stamp, const char *where)
{
    for (unsigned i = 0; i < COUNT(few_words); i++)
        if (((const volatile uint64_t *)page)[few_words[i]] != page_word(stamp, few_words[i]))
            wrong_page(page, stamp, few_words[i], where);
}

static inline uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    REQUIRE_OK(clock_gettime(clock, &t));
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* One byte through a pipe: the other process has reached this point. */
static inline void tell(int pipe_end)
{
    REQUIRE(write(pipe_end, "x", 1) == 1, "write to pipe: %s", strerror(errno));
}

static inline void await(int pipe_end)
{
    char byte;
    ssize_t n;
    do
        n = read(pipe_end, &byte, 1);
    while (n < 0 && errno == EINTR);
    REQUIRE(n == 1 && byte == 'x', "the other end of a pipe is gone");
}

enum { ERR_P = 1, ERR_W = 2, ERR_U = 4, ERR_FETCH = 16 };

/* An access to an address that the processor finds in its destination register (see CALL_WITH); it touches
 * nothing that C cares about. */
#define ACCESS(name, code)                                                                                   \
    void access_##name(uint64_t address);                                                                    \
    __asm__(".pushsection .text\naccess_" #name ": " code "\n ret\n .popsection")

#include <setjmp.h>
#include <ucontext.h>
#ifdef __x86_64__
#include "x86_64.h"
#else
#include "i386.h"
#endif
