/* SPDX-License-Identifier: BSD-2-Clause */
/* A workload that verifies the machine below it: what a kernel under test gives its processes is compared
 * with what this program knows must come out. Each part runs in a process of its own and says `verify PART
 * ok`, `verify PART FAIL why` or `verify PART absent why` (the kernel does not offer it); the last line is
 * `verify all ok` or `verify all FAIL n`. verify [--scale X] [--seed N] [--memory MB] [--seconds S] [--ticks]
 * [--list] [PART...] As the first process of a machine it mounts what it needs and powers off when it has
 * finished. Output depends on nothing but the outcome (without --ticks), so runs can be compared byte for
 * byte. One processor is used. The part that somebody must type for runs only if it is named. */
#include "verify/base.h"
#include "verify/faults.h"
#include "verify/process.h"
#include "verify/memory.h"
#include "verify/maps.h"
#include "verify/traps.h"
#include "verify/code.h"
#include "verify/state.h"
#include "verify/timers.h"
#include "verify/files.h"
#include "verify/compat.h"
#include "verify/console.h"
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct part {
    const char *name;
    void (*run)(void);
};

static const struct part parts[] = {
    { "storm", part_storm },       { "tree", part_tree },
    { "exec", part_exec },         { "ring", part_ring },
    { "memory", part_memory },     { "huge", part_huge },
    { "cow", part_cow },           { "maps", part_maps },
    { "sparse", part_sparse },     { "advise", part_advise },
    { "stack", part_stack },       { "bits", part_bits },
    { "shared", part_shared },     { "faults", part_faults },
    { "retry", part_retry },       { "uaccess", part_uaccess },
    { "traps", part_traps },       { "step", part_step },
    { "debug", part_debug },       { "privileged", part_privileged },
    { "signals", part_signals },   { "code", part_code },
    { "jit", part_jit },           { "threads", part_threads },
    { "segments", part_segments }, { "fpu", part_fpu },
    { "timers", part_timers },     { "clocks", part_clocks },
    { "cpuid", part_cpuid },       { "pipes", part_pipes },
    { "file", part_file },         { "compat", part_compat },
    { "echo", part_echo },
};

/* Only if its name is given. */
static bool is_asked(const struct part *part)
{
    return part->run == part_echo;
}

struct options {
    bool ticks;
    unsigned seconds; /* a part that takes longer hangs */
};

/* Runs in a process group of its own, so that nothing of a part outlives it. */
static void child_of_part(const struct part *part)
{
    uint64_t name = 0;

    setpgid(0, 0);
    for (const char *c = part->name; *c; c++)
        name = name * 257 + (uint8_t)*c;
    random_state = mix(seed) ^ mix(name);
    catch_faults();
    part->run();
    _exit(0);
}

/* Waits for a part, but not for ever; false if it hangs. SIGCHLD is blocked. */
static bool part_ended(pid_t pid, int *status, unsigned seconds)
{
    uint64_t deadline = now_ns(CLOCK_MONOTONIC) + seconds * 1000000000ull, grace = 0;
    const struct timespec second = { 1, 0 };
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    for (;;) {
        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
        if (now_ns(CLOCK_MONOTONIC) >= deadline || grace > 3)
            return false;
        grace += report->written != 0; /* a descendant failed, and others may wait for it in vain */
        sigtimedwait(&child, NULL, &second);
    }
}

enum outcome { PASSED, FAILED, ABSENT };

static enum outcome judge(const struct part *part, bool ended, int status)
{
    bool is_absent = ended && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_ABSENT;

    if (ended && WIFEXITED(status) && !WEXITSTATUS(status) && !report->written) {
        dprintf(1, "verify %s ok\n", part->name);
        return PASSED;
    }
    if (report->written)
        dprintf(1, "verify %s %s %s\n", part->name, is_absent ? "absent" : "FAIL", report->why);
    else if (!ended)
        dprintf(1, "verify %s FAIL hangs\n", part->name);
    else
        dprintf(1, "verify %s FAIL wait status %#x\n", part->name, status);
    return is_absent ? ABSENT : FAILED;
}

static enum outcome run_part(const struct part *part, const struct options *options)
{
    uint64_t began = ticks();
    int status = 0;

    memset(report, 0, sizeof(*report));
    pid_t pid = fork();
    if (pid < 0) {
        dprintf(1, "verify %s FAIL fork: %s\n", part->name, strerror(errno));
        return FAILED;
    }
    if (!pid)
        child_of_part(part);
    setpgid(pid, pid);
    bool ended = part_ended(pid, &status, options->seconds);
    kill(-pid, SIGKILL);
    if (!ended)
        waitpid(pid, NULL, 0);
    enum outcome outcome = judge(part, ended, status);
    if (options->ticks)
        dprintf(1, "ticks %s %llu\n", part->name, (unsigned long long)(ticks() - began));
    return outcome;
}

static bool named(const char *name, char **names)
{
    while (*names && strcmp(*names, name))
        names++;
    return *names != NULL;
}

static int run_parts(char **names, const struct options *options)
{
    unsigned failed = 0, missing = 0, passed = 0;

    for (unsigned i = 0; i < COUNT(parts); i++) {
        bool all = !*names && !is_asked(&parts[i]);
        if (!all && !named(parts[i].name, names))
            continue;
        enum outcome outcome = run_part(&parts[i], options);
        failed += outcome == FAILED;
        missing += outcome == ABSENT;
        passed += outcome == PASSED;
    }
    if (failed || !passed)
        dprintf(1, "verify all FAIL %u\n", failed);
    else if (missing)
        dprintf(1, "verify all ok but %u absent\n", missing);
    else
        dprintf(1, "verify all ok\n");
    return failed || !passed;
}

static void become_init(void)
{
    is_init = true;
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/dev", 0755);
    mkdir("/tmp", 01777);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("tmp", "/tmp", "tmpfs", 0, NULL);
}

static _Noreturn void usage(void)
{
    dprintf(
        2, "usage: verify [--scale X] [--seed N] [--memory MB] [--seconds S] [--ticks] [--list] [PART...]\n");
    exit(2);
}

static char **parse(char **words, struct options *options)
{
    for (; *words && !strncmp(*words, "--", 2); words++) {
        const char *value = words[1] ? words[1] : "";
        if (!strcmp(*words, "--ticks")) {
            options->ticks = true;
            continue;
        }
        if (!strcmp(*words, "--list")) {
            for (unsigned i = 0; i < COUNT(parts); i++)
                if (!is_asked(&parts[i]))
                    dprintf(1, "%s\n", parts[i].name);
            exit(0);
        }
        char *end;
        double number = strtod(value, &end);
        if (end == value || *end || number < 0)
            usage();
        if (!strcmp(*words, "--scale"))
            scale = number;
        else if (!strcmp(*words, "--seed"))
            seed = (uint64_t)number;
        else if (!strcmp(*words, "--memory"))
            memory_bytes = (size_t)number << 20;
        else if (!strcmp(*words, "--seconds"))
            options->seconds = (unsigned)number;
        else
            usage();
        words++;
    }
    for (char **name = words; *name; name++) {
        bool known = false;
        for (unsigned i = 0; i < COUNT(parts); i++)
            known |= !strcmp(*name, parts[i].name);
        if (!known)
            usage();
    }
    return words;
}

int main(int count, char **words)
{
    struct options options = { .seconds = 300 };
    cpu_set_t one;
    sigset_t child;

    if (count == 5 && !strcmp(words[1], EXEC_CHILD))
        return exec_child(words);
    if (getpid() == 1)
        become_init();
    char **names = parse(words + 1, &options);
    report = map_shared(sizeof(*report));
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu() < 0 ? 0 : sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    int result = run_parts(names, &options);
    if (is_init)
        reboot(RB_POWER_OFF);
    return result;
}
