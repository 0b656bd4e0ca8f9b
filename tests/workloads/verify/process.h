/* SPDX-License-Identifier: BSD-2-Clause */
/* Many processes: each must begin as a true copy, keep its own memory at addresses that others use too, run
 * the program it asked for, and hand its result to its parent. What a parent can see of its children is all
 * that is checked. */
#pragma once
#include "base.h"
#include "faults.h"

#define EXEC_CHILD "--exec-child"

/* --- storm: processes begin and end, one after the other and many at once --- */

static void one_after_the_other(void)
{
    uint8_t *page = map(PAGE, PROT_READ | PROT_WRITE, 0);

    for (unsigned n = scaled(150); n; n--) {
        int code = 1 + (int)below(90);
        fill_page(page, n);
        pid_t pid = spawn();
        if (!pid) {
            check_page(page, n, "storm");
            _exit(code);
        }
        stamp_page(page, ~n & 0xffff); /* the child must not see this */
        expect_exit(pid, code);
    }
    munmap(page, PAGE);
}

/* Works on pages of its own, at the addresses that its brothers use, while they run. */
static _Noreturn void concurrent_child(int number)
{
    uint8_t *pages = map(6 * PAGE, PROT_READ | PROT_WRITE, 0);

    for (unsigned turn = 0; turn < 3; turn++) {
        for (unsigned i = 0; i < 6; i++)
            stamp_page(pages + i * PAGE, 1000ul * (unsigned)number + 10 * turn + i);
        sched_yield();
        for (unsigned i = 0; i < 6; i++)
            check_stamp(pages + i * PAGE, 1000ul * (unsigned)number + 10 * turn + i, "concurrent child");
    }
    _exit(number);
}

static void many_at_once(unsigned count)
{
    pid_t pid_of[64] = { 0 };
    bool seen[64] = { false };
    int status;

    for (unsigned i = 0; i < count; i++) {
        pid_of[i] = spawn();
        if (!pid_of[i])
            concurrent_child((int)i);
    }
    for (unsigned n = 0; n < count; n++) {
        pid_t pid = wait(&status);
        if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_FAILED)
            _exit(STATUS_FAILED);
        REQUIRE(pid > 0 && WIFEXITED(status), "wait gave %d, status %#x", pid, status);
        unsigned number = (unsigned)WEXITSTATUS(status);
        REQUIRE(number < count && pid_of[number] == pid && !seen[number],
                "process %d ended with the code of another", pid);
        seen[number] = true;
    }
    REQUIRE(wait(&status) == -1 && errno == ECHILD, "a child too many");
}

static void children_that_are_killed(void)
{
    static const int numbers[] = { SIGKILL, SIGTERM, SIGUSR1, SIGHUP };

    for (unsigned i = 0; i < COUNT(numbers); i++) {
        pid_t pid = spawn();
        if (!pid)
            for (;;)
                pause();
        REQUIRE_OK(kill(pid, numbers[i]));
        expect_killed(pid, numbers[i]);
    }
    pid_t pid = spawn();
    if (!pid) {
        signal(SIGSEGV, SIG_DFL);
        access_write8(16);
        _exit(0);
    }
    expect_killed(pid, SIGSEGV);
}

static void part_storm(void)
{
    one_after_the_other();
    for (unsigned n = scaled(2); n; n--)
        many_at_once(48);
    children_that_are_killed();
}

/* --- tree: processes that make processes --- */

/* A chain: each exits with one more than its child. */
static int chain(unsigned length)
{
    uint64_t mark = random64();
    volatile uint64_t *kept = map(PAGE, PROT_READ | PROT_WRITE, 0);

    *kept = mark;
    if (!length)
        return 0;
    pid_t pid = spawn();
    if (!pid)
        _exit(chain(length - 1));
    int status = status_of(pid);
    REQUIRE(WIFEXITED(status), "chain: wait status %#x", status);
    REQUIRE(*kept == mark, "chain: a descendant changed our page");
    return WEXITSTATUS(status) + 1;
}

/* A binary tree: each exits with the number of processes in its subtree. */
static int tree(unsigned depth)
{
    int count = 1;
    pid_t pid[2];

    if (!depth)
        return 1;
    for (unsigned i = 0; i < 2; i++) {
        pid[i] = spawn();
        if (!pid[i])
            _exit(tree(depth - 1));
    }
    for (unsigned i = 0; i < 2; i++) {
        int status = status_of(pid[i]);
        REQUIRE(WIFEXITED(status), "tree: wait status %#x", status);
        count += WEXITSTATUS(status);
    }
    return count;
}

static void part_tree(void)
{
    for (unsigned n = scaled(2); n; n--) {
        int length = chain(30), count = tree(5);
        REQUIRE(length == 30, "a chain of 30 processes counted %d", length);
        REQUIRE(count == 63, "a tree of 63 processes counted %d", count);
    }
}

/* --- exec: a fresh program, with the arguments given and nothing of the old one --- */

static uint64_t exec_data[1024] = { 0x1122334455667788, [1023] = 0x99aabbccddeeff00 };
static uint64_t exec_zero[1024];

/* The program that part_exec starts: verify --exec-child CODE NONCE BIG */
static int exec_child(char **words)
{
    const char *environment = getenv("NONCE");
    size_t big = strlen(words[4]);

    if (exec_data[0] != 0x1122334455667788 || exec_data[1023] != 0x99aabbccddeeff00)
        return 91;
    for (unsigned i = 0; i < COUNT(exec_zero); i++)
        if (exec_zero[i])
            return 92;
    if (!environment || strcmp(environment, words[3]))
        return 93;
    if (big != strtoull(words[3], NULL, 16) % 100000)
        return 94;
    for (size_t i = 0; i < big; i++)
        if (words[4][i] != 'a' + (char)(i % 23))
            return 95;
    return atoi(words[2]);
}

static pid_t start_program(int code, bool by_vfork)
{
    static char code_text[16], nonce[32], environment[48], big[100001];
    char *words[] = { "verify", EXEC_CHILD, code_text, nonce, big, NULL },
         *variables[] = { environment, NULL };
    uint64_t number = random64();
    size_t length = number % 100000;

    snprintf(code_text, sizeof(code_text), "%d", code);
    snprintf(nonce, sizeof(nonce), "%llx", (unsigned long long)number);
    snprintf(environment, sizeof(environment), "NONCE=%s", nonce);
    for (size_t i = 0; i < length; i++)
        big[i] = 'a' + (char)(i % 23);
    big[length] = 0;
    pid_t pid = by_vfork ? vfork() : fork();
    if (!pid) {
        execve("/proc/self/exe", words, variables);
        _exit(96);
    }
    REQUIRE(pid > 0, "%s: %s", by_vfork ? "vfork" : "fork", strerror(errno));
    return pid;
}

static void vfork_shares_memory(void)
{
    volatile uint64_t *shared = map(PAGE, PROT_READ | PROT_WRITE, 0);
    uint64_t value = random64();
    pid_t pid = vfork();

    if (!pid) {
        *shared = value;
        _exit(5);
    }
    REQUIRE(*shared == value, "vfork: the parent does not see what the child wrote");
    expect_exit(pid, 5);
}

static void part_exec(void)
{
    exec_data[0] = exec_data[1023] = exec_zero[0] = exec_zero[1023] = random64();
    for (unsigned n = scaled(25); n; n--) {
        int code = 1 + (int)below(90);
        expect_exit(start_program(code, n & 1), code);
        vfork_shares_memory();
    }
    pid_t pid = spawn();
    if (!pid) {
        char *const none[] = { NULL };
        execve("/no/such/program", none, none);
        _exit(errno == ENOENT ? 7 : 8);
    }
    expect_exit(pid, 7);
}

/* --- ring: a token goes round processes that use the same addresses for different things --- */

#define RING       10
#define RING_PAGES 12

static _Noreturn void ring_process(unsigned number, uint8_t *pages, unsigned turns, int in, int out)
{
    uint64_t stamp[RING_PAGES];

    for (unsigned i = 0; i < RING_PAGES; i++)
        fill_page(pages + i * PAGE, stamp[i] = number * 1000ul + i);
    for (unsigned turn = 0; turn < turns; turn++) {
        await(in);
        for (unsigned i = 0; i < RING_PAGES; i++)
            check_stamp(pages + i * PAGE, stamp[i], "ring");
        unsigned changed = below(RING_PAGES);
        stamp[changed] += RING_PAGES;
        fill_page(pages + changed * PAGE, stamp[changed]);
        tell(out);
    }
    for (unsigned i = 0; i < RING_PAGES; i++)
        check_page(pages + i * PAGE, stamp[i], "ring, at the end");
    _exit(0);
}

static void part_ring(void)
{
    uint8_t *pages = map(RING_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
    unsigned turns = scaled(60);
    int pipes[RING + 1][2]; /* process i reads from i and writes to i + 1; we write to the first and read from
                               the last */
    pid_t pid[RING];

    for (unsigned i = 0; i <= RING; i++)
        REQUIRE_OK(pipe(pipes[i]));
    for (unsigned i = 0; i < RING; i++) {
        pid[i] = spawn();
        if (!pid[i])
            ring_process(i + 1, pages, turns, pipes[i][0], pipes[i + 1][1]);
    }
    for (unsigned turn = 0; turn < turns; turn++) {
        tell(pipes[0][1]);
        await(pipes[RING][0]);
    }
    for (unsigned i = 0; i < RING; i++)
        expect_exit(pid[i], 0);
}
