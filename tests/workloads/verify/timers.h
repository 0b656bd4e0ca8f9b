/* SPDX-License-Identifier: BSD-2-Clause */
/* Time: timers fire, sleeps last at least as long as asked, clocks never go back; the time-stamp counter and
 * CPUID as a process sees them. Lower bounds are exact; upper bounds (PATIENCE) only tell a lost interrupt
 * from a slow machine. */
#pragma once
#include "base.h"
#include <cpuid.h>
#include <poll.h>
#include <sys/time.h>

#define MS       1000000ull /* nanoseconds */
#define PATIENCE (20000 * MS)

/* --- timers --- */

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms++;
}

/* Spins, so that the interrupt must interrupt; ends by patience when it never comes. */
static void spin_until_alarms(int wanted, const char *what)
{
    uint64_t began = now_ns(CLOCK_MONOTONIC);
    while (alarms < wanted)
        REQUIRE(now_ns(CLOCK_MONOTONIC) - began < PATIENCE, "%s: %d of %d signals came", what, (int)alarms,
                wanted);
}

static void interval_timer(int which, int number, const char *what)
{
    struct sigaction action = { .sa_handler = count_alarm };
    struct itimerval each = { { 0, 2000 }, { 0, 2000 } }, none = { { 0, 0 }, { 0, 0 } };
    uint64_t began = now_ns(CLOCK_MONOTONIC);

    sigaction(number, &action, NULL);
    alarms = 0;
    REQUIRE_OK(setitimer(which, &each, NULL));
    spin_until_alarms(4, what);
    REQUIRE_OK(setitimer(which, &none, NULL));
    REQUIRE(now_ns(CLOCK_MONOTONIC) - began >= 4 * 2 * MS - MS, "%s: four intervals of 2 ms took %llu ns",
            what, (unsigned long long)(now_ns(CLOCK_MONOTONIC) - began));
}

static void posix_timer(void)
{
    struct sigaction action = { .sa_handler = count_alarm };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 5 };
    struct itimerspec once = { { 0, 0 }, { 0, 5000000 } };
    timer_t timer;

    sigaction(SIGRTMIN + 5, &action, NULL);
    alarms = 0;
    REQUIRE_OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
    for (int n = 1; n <= 3; n++) {
        uint64_t began = now_ns(CLOCK_MONOTONIC);
        REQUIRE_OK(timer_settime(timer, 0, &once, NULL));
        spin_until_alarms(n, "timer_create");
        REQUIRE(now_ns(CLOCK_MONOTONIC) - began >= 5 * MS, "a timer of 5 ms fired after %llu ns",
                (unsigned long long)(now_ns(CLOCK_MONOTONIC) - began));
    }
    REQUIRE_OK(timer_delete(timer));
}

static void sleeps(void)
{
    static const unsigned microseconds[] = { 1, 50, 1000, 4000, 10000 };

    for (unsigned i = 0; i < COUNT(microseconds); i++) {
        struct timespec t = { 0, microseconds[i] * 1000l };
        uint64_t began = now_ns(CLOCK_MONOTONIC);
        REQUIRE_OK(nanosleep(&t, NULL));
        uint64_t took = now_ns(CLOCK_MONOTONIC) - began;
        REQUIRE(took >= microseconds[i] * 1000ull && took < PATIENCE, "a sleep of %u us took %llu ns",
                microseconds[i], (unsigned long long)took);
    }
}

static void poll_times_out(void)
{
    int ends[2];
    struct pollfd fd = { .events = POLLIN };

    REQUIRE_OK(pipe(ends));
    fd.fd = ends[0];
    uint64_t began = now_ns(CLOCK_MONOTONIC);
    REQUIRE(poll(&fd, 1, 8) == 0, "poll of an empty pipe found something");
    uint64_t took = now_ns(CLOCK_MONOTONIC) - began;
    REQUIRE(took >= 8 * MS && took < PATIENCE, "a poll of 8 ms took %llu ns", (unsigned long long)took);
    pid_t pid = spawn();
    if (!pid) {
        usleep(3000);
        tell(ends[1]);
        _exit(0);
    }
    REQUIRE(poll(&fd, 1, (int)(PATIENCE / MS)) == 1 && fd.revents == POLLIN, "poll missed what was written");
    expect_exit(pid, 0);
    close(ends[0]);
    close(ends[1]);
}

/* Several sleepers at once, the last to begin the first to wake: none wakes early, none is forgotten. */
static void many_sleepers(void)
{
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    pid_t pid[6];

    for (unsigned i = 0; i < COUNT(pid); i++) {
        uint64_t deadline = begin + (60 - 10 * i) * MS;
        struct timespec t = { (time_t)(deadline / 1000000000), (long)(deadline % 1000000000) };
        pid[i] = spawn();
        if (!pid[i]) {
            int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
            uint64_t woke = now_ns(CLOCK_MONOTONIC);
            REQUIRE(!error && woke >= deadline && woke - deadline < PATIENCE,
                    "sleeper %u woke at %llu instead of %llu", i, (unsigned long long)woke,
                    (unsigned long long)deadline);
            _exit((int)i);
        }
    }
    for (unsigned i = 0; i < COUNT(pid); i++)
        expect_exit(pid[i], (int)i);
}

/* An alarm that comes before the sleep has begun interrupts nothing, so there are more. */
static void alarm_interrupts_a_sleep(void)
{
    struct sigaction action = { .sa_handler = count_alarm };
    struct itimerval each = { { 0, 3000 }, { 0, 3000 } }, none = { { 0, 0 }, { 0, 0 } };
    struct timespec t = { 1000, 0 };

    sigaction(SIGALRM, &action, NULL);
    alarms = 0;
    REQUIRE_OK(setitimer(ITIMER_REAL, &each, NULL));
    REQUIRE(nanosleep(&t, &t) == -1 && errno == EINTR && alarms >= 1,
            "a sleep was not interrupted by its alarm");
    REQUIRE_OK(setitimer(ITIMER_REAL, &none, NULL));
    REQUIRE(t.tv_sec >= 999 - (time_t)(PATIENCE / MS / 1000), "a sleep of 1000 s has %ld s left after 3 ms",
            (long)t.tv_sec);
}

static void part_timers(void)
{
    interval_timer(ITIMER_REAL, SIGALRM, "ITIMER_REAL");
    interval_timer(ITIMER_VIRTUAL, SIGVTALRM, "ITIMER_VIRTUAL");
    interval_timer(ITIMER_PROF, SIGPROF, "ITIMER_PROF");
    posix_timer();
    for (unsigned n = scaled(2); n; n--) {
        sleeps();
        poll_times_out();
        alarm_interrupts_a_sleep();
    }
    many_sleepers();
}

/* --- clocks: several, read here and in children, none ever goes back --- */

struct clocks {
    uint64_t monotonic, raw, boot, counter;
};

static void read_clocks(struct clocks *c)
{
    c->monotonic = now_ns(CLOCK_MONOTONIC);
    c->raw = now_ns(CLOCK_MONOTONIC_RAW);
    c->boot = now_ns(CLOCK_BOOTTIME);
    c->counter = ticks();
}

static void require_later(const struct clocks *before, const struct clocks *after)
{
    REQUIRE(after->monotonic >= before->monotonic, "CLOCK_MONOTONIC went back by %llu ns",
            (unsigned long long)(before->monotonic - after->monotonic));
    REQUIRE(after->raw >= before->raw, "CLOCK_MONOTONIC_RAW went back by %llu ns",
            (unsigned long long)(before->raw - after->raw));
    REQUIRE(after->boot >= before->boot, "CLOCK_BOOTTIME went back by %llu ns",
            (unsigned long long)(before->boot - after->boot));
    REQUIRE(after->counter > before->counter, "the time-stamp counter went back from %llu to %llu",
            (unsigned long long)before->counter, (unsigned long long)after->counter);
}

/* The system call, without the vDSO, between two readings with it. */
static void clock_by_system_call(void)
{
    struct timespec t;
    uint64_t before = now_ns(CLOCK_MONOTONIC);

    REQUIRE(!syscall(SYS_MONOTONIC, CLOCK_MONOTONIC, &t), "clock_gettime: %s", strerror(errno));
    uint64_t between = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec, after = now_ns(CLOCK_MONOTONIC);
    REQUIRE(before <= between && between <= after, "the clock differs between vDSO and system call");
}

static void part_clocks(void)
{
    struct clocks *shared = map_shared(PAGE), now;

    read_clocks(shared);
    for (unsigned n = scaled(5000); n; n--) {
        read_clocks(&now);
        require_later(shared, &now);
        *shared = now;
        if (n % 16 == 0)
            clock_by_system_call();
    }
    for (unsigned n = scaled(40); n; n--) { /* by turns in processes */
        pid_t pid = spawn();
        if (!pid) {
            read_clocks(&now);
            require_later(shared, &now);
            *shared = now;
            _exit(0);
        }
        expect_exit(pid, 0);
        read_clocks(&now);
        require_later(shared, &now);
    }
    uint64_t monotonic = now_ns(CLOCK_MONOTONIC), boot = now_ns(CLOCK_BOOTTIME);
    REQUIRE(boot >= monotonic, "boot time %llu is less than monotonic time %llu", (unsigned long long)boot,
            (unsigned long long)monotonic);
    usleep(20000);
    uint64_t real = now_ns(CLOCK_REALTIME);
    REQUIRE(real > 1000000000 * 1000ull, "the clock stands at 1970");
}

/* --- cpuid: every leaf the same each time, upper halves of registers zero, other registers untouched --- */

struct leaf {
    uint64_t a, b, c, d;
    uint64_t others; /* changed registers that CPUID does not write */
};

static struct leaf read_leaf(uint32_t number, uint32_t sub)
{
    struct leaf l = {
        .a = number | 0xdeadbeef00000000, .c = sub | 0xdeadbeef00000000, .b = ~0ull, .d = ~0ull
    };
    uint64_t others;

    read_leaf_registers(&l.a, &l.b, &l.c, &l.d, &others);
    l.others = others;
    return l;
}

static void check_leaf(uint32_t number, uint32_t sub)
{
    struct leaf first = read_leaf(number, sub);

    REQUIRE(!((first.a | first.b | first.c | first.d) >> 32), "cpuid %#x: upper halves are not zero", number);
    REQUIRE(!first.others, "cpuid %#x changed another register", number);
    for (unsigned n = 0; n < 3; n++) {
        struct leaf again = read_leaf(number, sub);
        REQUIRE(!memcmp(&first, &again, sizeof(first)), "cpuid %#x differs from one time to the next",
                number);
        if (n == 1)
            sched_yield();
    }
}

static void part_cpuid(void)
{
    uint32_t last = (uint32_t)read_leaf(0, 0).a, last_extended = (uint32_t)read_leaf(0x80000000, 0).a;

    REQUIRE(last >= 1 && last < 0x100, "last basic leaf is %#x", last);
    REQUIRE(last_extended >= 0x80000008 && last_extended < 0x80000100, "last extended leaf is %#x",
            last_extended);
    for (unsigned n = scaled(20); n; n--) {
        for (uint32_t l = 0; l <= last; l++)
            check_leaf(l, 0);
        for (uint32_t l = 0x80000000; l <= last_extended; l++)
            check_leaf(l, 0);
        for (uint32_t sub = 0; sub < 3; sub++)
            check_leaf(7, sub);
    }
    REQUIRE((uint32_t)read_leaf(1, 0).d & (1u << 4), "no time-stamp counter");
    REQUIRE((uint32_t)read_leaf(0x80000001, 0).d & (1u << 29), "long mode runs but is not reported");
    pid_t pid = spawn();
    if (!pid) {
        check_leaf(1, 0);
        _exit(0);
    }
    expect_exit(pid, 0);
}
