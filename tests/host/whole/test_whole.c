/* SPDX-License-Identifier: BSD-2-Clause */
/* Histories of hostile processes on the whole kernel (whole.h), of a fixed seed and of a fresh one. One that
 * fails is made shorter while it still fails; its steps are printed, its input lies in
 * build/host/whole/failed.bin for the fuzz target, and UMBRA_SEED=N in the environment chooses the seed
 * again. */
// USES: kernel/obj/a*.c kernel/obj/cnode.c kernel/obj/[d-v]*.c kernel/[dfils]*.c
// USES: tests/host/whole/[!t]*.c tests/host/whole/threads.c tests/host/whole/tree.c
#include "whole.h"
#include "check.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS     300u
#define HISTORIES 120u
#define FRESH     20u
#define TRIES     600u /* chosen: of making a history shorter */
#define FAILED    "build/host/whole/failed.bin"

static uint8_t input[STEPS * STEP_BYTES];
static struct progress {
    uint64_t history, steps;
} * progress; /* of the child */

static void make_input(uint64_t seed, uint64_t history)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15 + history * 0xd1342543de82ef95;

    for (size_t i = 0; i < sizeof(input); i += sizeof(x)) {
        x += 0x9e3779b97f4a7c15;
        uint64_t z = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        z ^= z >> 31;
        memcpy(input + i, &z, sizeof(z));
    }
}

static bool ended_well(pid_t child)
{
    int status;

    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return status == 0;
}

static bool all_pass(uint64_t seed, unsigned histories)
{
    pid_t child = fork();

    if (child)
        return ended_well(child);
    for (unsigned h = 0; h < histories; h++) {
        progress->history = h;
        make_input(seed, h);
        progress->steps += whole_run(input, sizeof(input));
    }
    _exit(0);
}

static bool passes(const uint8_t *steps, size_t bytes, bool trace)
{
    pid_t child = fork();

    if (child)
        return ended_well(child);
    whole_trace = trace;
    if (!trace)
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    whole_run(steps, bytes);
    _exit(0);
}

/* Takes away what is not needed, in smaller and smaller pieces; the bytes that are left. */
static size_t shorten(uint8_t *steps, size_t bytes)
{
    static uint8_t without[sizeof(input)];
    unsigned tries = 0;

    for (size_t piece = STEPS / 2 * STEP_BYTES; piece >= STEP_BYTES;
         piece = piece / 2 / STEP_BYTES * STEP_BYTES)
        for (size_t at = 0; at < bytes && tries < TRIES; tries++) {
            size_t n = piece < bytes - at ? piece : bytes - at;
            memcpy(without, steps, at);
            memcpy(without + at, steps + at + n, bytes - at - n);
            if (passes(without, bytes - n, false)) {
                at += n;
                continue;
            }
            bytes -= n;
            memcpy(steps, without, bytes);
        }
    return bytes;
}

static void keep(const uint8_t *steps, size_t bytes)
{
    FILE *f = fopen(FAILED, "wb");

    if (f) {
        fwrite(steps, 1, bytes, f);
        fclose(f);
    }
}

static void histories(uint64_t seed, unsigned n)
{
    progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    whole_init();
    if (!all_pass(seed, n)) {
        make_input(seed, progress->history);
        size_t bytes = shorten(input, sizeof(input));
        keep(input, bytes);
        passes(input, bytes, true);
        FAIL("seed %llu, history %llu: %zu steps, above and in " FAILED, (unsigned long long)seed,
             (unsigned long long)progress->history, bytes / STEP_BYTES);
    }
    CHECK_LT(n * STEPS * 3 / 4, progress->steps); /* the others stopped: nothing could happen any more */
}

TEST(hostile_processes_leave_everything_consistent)
{
    histories(1, HISTORIES);
}

TEST(hostile_processes_of_a_fresh_seed_leave_everything_consistent)
{
    const char *chosen = getenv("UMBRA_SEED");
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed =
        chosen ? strtoull(chosen, NULL, 0) : (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    check_note("UMBRA_SEED=%llu", (unsigned long long)seed);
    histories(seed, FRESH);
}
