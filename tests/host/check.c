/* SPDX-License-Identifier: BSD-2-Clause */
/* The runner behind check.h: chooses tests, runs each in a child, turns its end into a line.
 * Invariant (tests/tools/test_host_harness.py): every chosen test gives exactly one line, also when it
 * crashes or hangs. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_SECONDS 120 /* chosen: exhaustive tests take up to 20 s on a slow machine */
#define REPORTED     77  /* exit status of a child that printed its own FAIL line */

static struct check_test *tests;
static struct check_test **tests_end = &tests;
static const char *current = "?";
static char note[512];

void check_register(struct check_test *test)
{
    *tests_end = test;
    tests_end = &test->next;
}

void check_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(note, sizeof(note), format, args);
    va_end(args);
}

void check_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("FAIL %s: %s:%d: ", current, file, line);
    vprintf(format, args);
    va_end(args);
    printf(note[0] ? " [%s]\n" : "%s\n", note);
    fflush(stdout);
    _exit(REPORTED);
}

void check_compare(const char *file, int line, const char *text, unsigned long long a, unsigned long long b,
                   bool holds)
{
    if (!holds)
        check_fail(file, line, "%s: left is %#llx (%lld), right is %#llx (%lld)", text, a, (long long)a, b,
                   (long long)b);
}

void check_strings(const char *file, int line, const char *text, const char *a, const char *b)
{
    if (strcmp(a, b))
        check_fail(file, line, "%s: left is \"%s\", right is \"%s\"", text, a, b);
}

void check_bytes(const char *file, int line, const char *text, const void *a, const void *b, size_t bytes)
{
    const uint8_t *left = a, *right = b;
    for (size_t i = 0; i < bytes; i++) {
        if (left[i] != right[i])
            check_fail(file, line, "%s: byte %zu of %zu: left is %#x, right is %#x", text, i, bytes, left[i],
                       right[i]);
    }
}

static bool chosen(const struct check_test *test, int count, char **words)
{
    if (count == 0)
        return true;
    if (count == 2 && !strcmp(words[0], "-k"))
        return strstr(test->name, words[1]) != NULL;
    for (int i = 0; i < count; i++) {
        if (!strcmp(test->name, words[i]))
            return true;
    }
    return false;
}

static void report_end(const char *name, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        printf("ok %s\n", name);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf("FAIL %s: no end within %d s\n", name, TEST_SECONDS);
    else if (WIFSIGNALED(status))
        printf("FAIL %s: killed by signal %d\n", name, WTERMSIG(status));
    else if (WEXITSTATUS(status) != REPORTED)
        printf("FAIL %s: exit status %d (99: a sanitizer, its report is on standard error)\n", name,
               WEXITSTATUS(status));
    fflush(stdout);
}

static bool run_in_child(const struct check_test *test)
{
    int status = 0;
    pid_t child = fork();
    if (child < 0) {
        printf("FAIL %s: fork failed\n", test->name);
        return false;
    }
    if (child == 0) {
        current = test->name;
        fprintf(stderr, "=== %s\n", test->name);
        alarm(TEST_SECONDS);
        test->run();
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    report_end(test->name, status);
    return status == 0;
}

static void run_here(const struct check_test *test)
{
    current = test->name;
    test->run();
    printf("ok %s\n", test->name);
}

int main(int argc, char **argv)
{
    bool list = argc > 1 && !strcmp(argv[1], "--list");
    bool here = argc > 1 && !strcmp(argv[1], "--no-fork");
    int skip = 1 + (list || here), count = 0, failed = 0;

    for (const struct check_test *test = tests; test; test = test->next) {
        if (!chosen(test, argc - skip, argv + skip))
            continue;
        count++;
        if (list)
            printf("%s\n", test->name);
        else if (here)
            run_here(test);
        else if (!run_in_child(test))
            failed++;
    }
    if (!list)
        printf("1..%d\n", count);
    return failed != 0;
}
