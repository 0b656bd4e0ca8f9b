/* SPDX-License-Identifier: BSD-2-Clause */
/* State of the processor that belongs to one thread: general registers, x87, SSE and AVX. Threads and
 * processes fill it with values of their own, give the processor away, and look again.
 */
#pragma once
#include "base.h"
#include <cpuid.h>
#include <limits.h>
#include <pthread.h>

/* --- threads --- */

static void futex_wait(volatile uint32_t *word, uint32_t value)
{
    long r = syscall(SYS_futex, word, 0, value, NULL, NULL, 0);
    REQUIRE(r == 0 || errno == EAGAIN || errno == EINTR, "futex wait: %s", strerror(errno));
}

static void futex_wake(volatile uint32_t *word)
{
    REQUIRE(syscall(SYS_futex, word, 1, INT_MAX, NULL, NULL, 0) >= 0, "futex wake: %s", strerror(errno));
}

static pthread_t start_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, argument);
    REQUIRE(!error, "pthread_create: %s", strerror(error));
    return thread;
}

struct ping {
    volatile uint32_t turn;
    unsigned turns;
};

static void play(struct ping *p, uint32_t us)
{
    for (unsigned i = 0; i < p->turns; i++) {
        while (p->turn % 2 != us)
            futex_wait(&p->turn, p->turn % 2 != us ? p->turn : p->turn + 1);
        REQUIRE(p->turn == 2 * i + us, "ping-pong: turn %u is %u", 2 * i + us, p->turn);
        p->turn++;
        futex_wake(&p->turn);
    }
}

static void *second_player(void *argument)
{
    play(argument, 1);
    return NULL;
}

static void ping_pong(void)
{
    struct ping p = { 0, scaled(400) };
    pthread_t thread = start_thread(second_player, &p);

    play(&p, 0);
    pthread_join(thread, NULL);
    REQUIRE(p.turn == 2 * p.turns, "ping-pong ended at turn %u", p.turn);
}

static __thread uint64_t thread_value[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t locked_sum;
static unsigned arrived;

/* Thread-local values, a sum under a lock, and a gathering of all threads. */
static void *busy_thread(void *argument)
{
    uint64_t number = (uint64_t)argument;

    for (unsigned i = 0; i < 64; i++)
        thread_value[i] = number << 8 | i;
    for (unsigned n = 0; n < 200; n++) {
        pthread_mutex_lock(&lock);
        locked_sum += number;
        pthread_mutex_unlock(&lock);
        if (n % 40 == 0)
            sched_yield();
        REQUIRE(thread_value[n % 64] == (number << 8 | n % 64), "thread %llu sees the variable of another",
                (unsigned long long)number);
    }
    pthread_mutex_lock(&lock);
    arrived++;
    pthread_cond_broadcast(&changed);
    while (arrived < 8)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return (void *)(number * number);
}

static void many_threads(void)
{
    pthread_t threads[8];
    void *result;

    locked_sum = arrived = 0;
    for (uint64_t i = 0; i < 8; i++)
        threads[i] = start_thread(busy_thread, (void *)(i + 1));
    for (uint64_t i = 0; i < 8; i++) {
        pthread_join(threads[i], &result);
        REQUIRE((uint64_t)result == (i + 1) * (i + 1), "thread %llu returned %p", (unsigned long long)i,
                result);
    }
    REQUIRE(locked_sum == 200 * 36, "sum under a lock: %llu", (unsigned long long)locked_sum);
}

/* One thread changes mappings that another reads: each read sees one of the two pages, never anything else.
 */
static volatile bool stop_reading;
static uint8_t *volatile exchanged;

static void *reader(void *argument)
{
    (void)argument;
    uint64_t reads = 0;
    while (!stop_reading) {
        uint64_t word = *(volatile uint64_t *)exchanged;
        REQUIRE(word == page_word(1, 0) || word == page_word(2, 0),
                "a page that is being exchanged reads %#llx", (unsigned long long)word);
        if (++reads % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void mappings_change_under_a_thread(void)
{
    int file = anonymous_file(2 * PAGE);
    uint8_t *both = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

    REQUIRE(both != MAP_FAILED, "mmap: %s", strerror(errno));
    fill_page(both, 1);
    fill_page(both + PAGE, 2);
    exchanged = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    stop_reading = false;
    pthread_t thread = start_thread(reader, NULL);
    for (unsigned n = scaled(100); n; n--) {
        void *at = exchanged;
        REQUIRE(mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, (off_t)(n % 2 * PAGE)) == at,
                "mmap: %s", strerror(errno));
        check_stamp(at, n % 2 + 1, "exchanged under a thread");
        sched_yield();
    }
    stop_reading = true;
    pthread_join(thread, NULL);
    munmap(both, 2 * PAGE);
    munmap(exchanged, PAGE);
    close(file);
}

static void part_threads(void)
{
    ping_pong();
    for (unsigned n = scaled(4); n; n--)
        many_threads();
    mappings_change_under_a_thread();
}

/* --- fpu --- */

struct fx_area {
    uint8_t byte[512];
} __attribute__((aligned(64)));

static bool has_avx(void)
{
    unsigned a, b, c, d;
    uint32_t low, high;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_AVX) || !(c & bit_OSXSAVE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

/* Values that belong to `number` for x87, MXCSR and xmm0..15 (the layout of FXSAVE: AMD APM vol. 5,
 * FXSAVE64). */
static void make_state(struct fx_area *state, uint64_t number)
{
    uint16_t control = (uint16_t)(0x37f ^ (number & 1) << 10); /* rounding differs */
    uint32_t mxcsr = 0x1f80u | (uint32_t)(number & 3) << 13;

    memset(state, 0, sizeof(*state));
    memcpy(state->byte, &control, 2);
    state->byte[4] = 0xff; /* all x87 registers in use */
    memcpy(state->byte + 24, &mxcsr, 4);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t mantissa = mix(number * 100 + i) | 1ull << 63;
        uint16_t exponent = (uint16_t)(0x3fff + i);
        memcpy(state->byte + 32 + 16 * i, &mantissa, 8);
        memcpy(state->byte + 40 + 16 * i, &exponent, 2);
    }
    for (unsigned i = 0; i < 32; i++) {
        uint64_t half = mix(number * 1000 + i);
        memcpy(state->byte + 160 + 8 * i, &half, 8);
    }
}

static const char *different_state(const struct fx_area *found, const struct fx_area *wanted)
{
    if (memcmp(found->byte, wanted->byte, 2))
        return "x87 control word";
    if (memcmp(found->byte + 24, wanted->byte + 24, 4))
        return "mxcsr";
    for (unsigned i = 0; i < 8; i++)
        if (memcmp(found->byte + 32 + 16 * i, wanted->byte + 32 + 16 * i, 10))
            return "an x87 register";
    if (memcmp(found->byte + 160, wanted->byte + 160, XMM_BYTES))
        return "an xmm register";
    return NULL;
}

/* Upper halves of ymm0..3. */
static void load_upper(const uint64_t *upper)
{
    __asm__ volatile("vinsertf128 $1, (%0), %%ymm0, %%ymm0\n vinsertf128 $1, 16(%0), %%ymm1, %%ymm1\n"
                     "vinsertf128 $1, 32(%0), %%ymm2, %%ymm2\n vinsertf128 $1, 48(%0), %%ymm3, %%ymm3"
                     :
                     : "r"(upper)
                     : "memory");
}

static void save_upper(uint64_t *upper)
{
    __asm__ volatile("vextractf128 $1, %%ymm0, (%0)\n vextractf128 $1, %%ymm1, 16(%0)\n"
                     "vextractf128 $1, %%ymm2, 32(%0)\n vextractf128 $1, %%ymm3, 48(%0)"
                     :
                     : "r"(upper)
                     : "memory");
}

/* Without yields: over a sleep. */
static const char *hold_state(const struct fx_area *wanted, unsigned yields, bool avx, const uint64_t *upper)
{
    static __thread struct fx_area found, usual;
    static __thread uint64_t upper_found[8];

    __asm__ volatile(FXSAVE " %0" : "=m"(usual));
    __asm__ volatile(FXRSTOR " %0" : : "m"(*wanted));
    if (avx)
        load_upper(upper);
    for (unsigned i = 0; i < yields; i++)
        bare_call(SYS_sched_yield, 0, 0);
    if (!yields)
        bare_sleep();
    for (volatile unsigned spin = 0; spin < 2000; spin++)
        ;
    if (avx)
        save_upper(upper_found);
    __asm__ volatile(FXSAVE " %0" : "=m"(found));
    __asm__ volatile(FXRSTOR " %0" : : "m"(usual));
    if (avx && memcmp(upper_found, upper, sizeof(upper_found)))
        return "the upper half of a ymm register";
    return different_state(&found, wanted);
}

static void fpu_worker(uint64_t number, unsigned rounds, bool sleeps)
{
    struct fx_area state;
    uint64_t upper[8];
    bool avx = has_avx();

    for (unsigned n = 0; n < rounds; n++) {
        make_state(&state, number * 10000 + n);
        for (unsigned i = 0; i < 8; i++)
            upper[i] = mix(number * 333 + n * 8 + i);
        const char *lost = hold_state(&state, sleeps ? 0 : 1 + below(3), avx, upper);
        REQUIRE(!lost, "worker %llu lost %s", (unsigned long long)number, lost);
    }
}

static void *fpu_thread(void *argument)
{
    fpu_worker((uint64_t)argument, scaled(150), false);
    return NULL;
}

/* The child of a fork begins with its parent's registers. */
static void state_is_inherited(void)
{
    static struct fx_area wanted, found, usual;
    long pid;

    make_state(&wanted, random64());
    __asm__ volatile(FXSAVE " %0" : "=m"(usual));
    __asm__ volatile(FXRSTOR " %0" : : "m"(wanted));
    pid = bare_call(SYS_fork, 0, 0);
    __asm__ volatile(FXSAVE " %0" : "=m"(found));
    __asm__ volatile(FXRSTOR " %0" : : "m"(usual));
    const char *lost = different_state(&found, &wanted);
    REQUIRE(!lost, "%s lost over a fork", lost);
    if (!pid)
        _exit(2);
    expect_exit((pid_t)pid, 2);
}

static struct fx_area handler_state;

static void clobber_state(int number)
{
    uint32_t mxcsr;

    (void)number;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    REQUIRE(mxcsr == 0x1f80, "a signal handler begins with mxcsr %#x", mxcsr);
    __asm__ volatile(FXRSTOR " %0" : : "m"(handler_state));
}

/* A handler may use all registers; its victim sees nothing of it. */
static void state_survives_signals(void)
{
    struct sigaction action = { .sa_handler = clobber_state };
    static struct fx_area wanted, found, usual;
    long pid = getpid(), result;

    sigaction(SIGUSR1, &action, NULL);
    make_state(&wanted, random64());
    make_state(&handler_state, random64());
    __asm__ volatile(FXSAVE " %0" : "=m"(usual));
    __asm__ volatile(FXRSTOR " %0" : : "m"(wanted));
    result = bare_call(SYS_kill, pid, SIGUSR1);
    __asm__ volatile(FXSAVE " %0" : "=m"(found));
    __asm__ volatile(FXRSTOR " %0" : : "m"(usual));
    const char *lost = different_state(&found, &wanted);
    REQUIRE(result == 0 && !lost, "%s lost over a signal", lost ? lost : "the signal");
}

/* A computation whose result is known, in x87 and SSE, while others compute: pi by a series. */
static void computing_worker(unsigned turns)
{
    volatile double first = 0;
    volatile long double first_long = 0;

    for (unsigned n = 0; n < turns; n++) {
        double sum = 0;
        long double sum_long = 0;
        for (unsigned i = 0; i < 2000; i++) {
            sum += (i % 2 ? -4.0 : 4.0) / (2 * i + 1);
            sum_long += (i % 2 ? -4.0L : 4.0L) / (2 * i + 1);
        }
        if (!n) {
            first = sum;
            first_long = sum_long;
        }
        REQUIRE(sum == first && sum_long == first_long && sum > 3.1410 && sum < 3.1412,
                "a sum came out differently: %.17g", sum);
        sched_yield();
    }
}

static void part_fpu(void)
{
    pid_t pid[4];
    pthread_t threads[2];

    for (unsigned i = 0; i < COUNT(pid); i++) {
        pid[i] = spawn();
        if (!pid[i]) {
            if (i < 3)
                fpu_worker(i + 1, scaled(150), false);
            else
                computing_worker(scaled(40));
            _exit((int)i);
        }
    }
    for (uint64_t i = 0; i < COUNT(threads); i++)
        threads[i] = start_thread(fpu_thread, (void *)(i + 10));
    for (unsigned n = scaled(20); n; n--) {
        state_is_inherited();
        state_survives_signals();
    }
    for (unsigned i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < COUNT(pid); i++)
        expect_exit(pid[i], (int)i);
    fpu_worker(20, scaled(100), true);
}
