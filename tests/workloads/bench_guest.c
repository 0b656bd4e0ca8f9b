/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest kernel's memory management and process switching cost, in ticks of the time-stamp counter
 * (instructions, where the emulator counts them). Prints `BENCHG name ticks units` (ticks a unit, units done
 * in all) for each row of the benchmark list that begins with linux. and needs a program; a figure is the
 * median of SAMPLES samples, each long enough to make reading the counter negligible. bench_guest [NAME...]
 * As the first process it powers off at the end. Only `forkexec` needs other files: /bin/sh and /bin/true. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE       4096ul
#define SAMPLES    11
#define LONG_TICKS 2000000   /* chosen: a thousand times what two readings cost */
#define HUGE_TICKS 100000000 /* a sample of this length is taken only three times */
#define MOST_UNITS 4096

static uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static _Noreturn void give_up(const char *what)
{
    printf("BENCHG failed: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    exit(1);
}

static uint8_t *map(unsigned pages)
{
    uint8_t *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        give_up("mmap");
    madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
    return p;
}

static void touch(uint8_t *p, unsigned pages)
{
    for (unsigned i = 0; i < pages; i++)
        *(volatile uint8_t *)(p + i * PAGE) = 1;
}

static void wait_for(pid_t pid)
{
    int status;
    if (pid < 0)
        give_up("fork");
    if (waitpid(pid, &status, 0) != pid || status != 0)
        give_up("a child");
}

/* Each sample_* does its thing so many times and returns the ticks that all of them took together. */

/* fork, exit of the child, wait */
static uint64_t sample_fork_wait(unsigned n)
{
    uint64_t began = ticks();
    while (n--) {
        pid_t pid = fork();
        if (!pid)
            _exit(0);
        wait_for(pid);
    }
    return ticks() - began;
}

/* first write to an anonymous page */
static uint64_t sample_first_touch(unsigned n)
{
    uint8_t *p = map(n);
    uint64_t began = ticks();
    touch(p, n);
    uint64_t took = ticks() - began;
    munmap(p, n * PAGE);
    return took;
}

/* first read of an anonymous page, which gives the zero page */
static uint64_t sample_first_touch_read(unsigned n)
{
    uint8_t *p = map(n);
    uint64_t began = ticks();
    for (unsigned i = 0; i < n; i++)
        (void)*(volatile uint8_t *)(p + i * PAGE);
    uint64_t took = ticks() - began;
    munmap(p, n * PAGE);
    return took;
}

/* one page of a call of mprotect over 4096 pages; n counts pages */
static uint64_t sample_mprotect_page(unsigned n)
{
    static uint8_t *p;
    uint64_t took = 0;

    if (!p)
        touch(p = map(MOST_UNITS), MOST_UNITS);
    for (unsigned done = 0; done < n; done += MOST_UNITS)
        for (unsigned turn = 0; turn < 2; turn++) {
            uint64_t began = ticks();
            if (mprotect(p, MOST_UNITS * PAGE, turn ? PROT_READ | PROT_WRITE : PROT_READ))
                give_up("mprotect");
            took += ticks() - began;
        }
    return took / 2;
}

/* The parent's write to a page after a fork: while the child still has it the page is copied, afterwards only
 * taken back. */
static uint64_t write_after_fork(unsigned n, bool child_lives)
{
    uint8_t *p = map(n);
    int ends[2];
    char byte;

    touch(p, n);
    if (pipe(ends))
        give_up("pipe");
    pid_t pid = fork();
    if (!pid) {
        close(ends[1]);
        _exit(child_lives && read(ends[0], &byte, 1) != 0);
    }
    if (!child_lives)
        wait_for(pid);
    uint64_t began = ticks();
    touch(p, n);
    uint64_t took = ticks() - began;
    close(ends[0]);
    close(ends[1]);
    if (child_lives)
        wait_for(pid);
    munmap(p, n * PAGE);
    return took;
}

static uint64_t sample_cow_page(unsigned n)
{
    return write_after_fork(n, false);
}

static uint64_t sample_cow_copy(unsigned n)
{
    return write_after_fork(n, true);
}

/* fork, exit, wait of a process with 32 MB that it wrote once before all */
static uint64_t sample_fork_32mb(unsigned n)
{
    unsigned pages = 8192;
    uint8_t *p = map(pages);

    touch(p, pages);
    sample_fork_wait(1);
    uint64_t took = sample_fork_wait(n);
    munmap(p, pages * PAGE);
    return took;
}

/* a byte to another process and one back */
static uint64_t sample_pipe_pingpong(unsigned n)
{
    int there[2], back[2];
    char byte = 0;

    if (pipe(there) || pipe(back))
        give_up("pipe");
    pid_t pid = fork();
    if (!pid) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
            ;
        _exit(0);
    }
    uint64_t began = 0;
    for (unsigned i = 0; i <= n; i++) {
        if (i == 1) /* the first turn breaks copies on write */
            began = ticks();
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            give_up("pipe");
    }
    uint64_t took = ticks() - began;
    for (unsigned i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
    wait_for(pid);
    return took;
}

/* 200 times /bin/true from /bin/sh, with the start of that shell */
static uint64_t sample_forkexec(unsigned n)
{
    uint64_t began = ticks();
    while (n--) {
        pid_t pid = fork();
        if (!pid) {
            execl("/bin/sh", "sh", "-c", "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done",
                  (char *)NULL);
            _exit(127);
        }
        wait_for(pid);
    }
    return ticks() - began;
}

struct row {
    const char *name;
    uint64_t (*sample)(unsigned n);
    unsigned first, most; /* units of a sample, within which it is calibrated */
    const char *needs;
};

static const struct row rows[] = {
    { "fork_wait", sample_fork_wait, 4, MOST_UNITS, NULL },
    { "first_touch", sample_first_touch, 256, MOST_UNITS, NULL },
    { "first_touch_read", sample_first_touch_read, 256, MOST_UNITS, NULL },
    { "mprotect_page", sample_mprotect_page, MOST_UNITS, 8 * MOST_UNITS, NULL },
    { "cow_page", sample_cow_page, 256, MOST_UNITS, NULL },
    { "cow_copy", sample_cow_copy, 256, MOST_UNITS, NULL },
    { "fork_32mb", sample_fork_32mb, 4, 4, NULL },
    { "pipe_pingpong", sample_pipe_pingpong, 64, MOST_UNITS, NULL },
    { "forkexec", sample_forkexec, 1, 1, "/bin/true" },
};

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void measure(const struct row *row)
{
    uint64_t samples[SAMPLES];
    unsigned n = row->first;
    uint64_t took, units = n;

    while ((took = row->sample(n)) < LONG_TICKS && n < row->most)
        units += n *= 2;
    unsigned count = took < HUGE_TICKS ? SAMPLES : 3;
    for (unsigned i = 0; i < count; i++)
        samples[i] = row->sample(n);
    qsort(samples, count, sizeof(samples[0]), by_size);
    units += (uint64_t)count * n;
    printf("BENCHG %s %llu %llu\n", row->name, (unsigned long long)((samples[count / 2] + n / 2) / n),
           (unsigned long long)units);
    fflush(stdout);
}

static bool chosen(const char *name, char **names)
{
    if (!*names)
        return true;
    while (*names && strcmp(*names, name))
        names++;
    return *names != NULL;
}

int main(int count, char **words)
{
    (void)count;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (chosen(rows[i].name, words + 1) && (!rows[i].needs || !access(rows[i].needs, X_OK)))
            measure(&rows[i]);
    printf("BENCHG end %llu\n", (unsigned long long)ticks());
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    return 0;
}
