/* SPDX-License-Identifier: BSD-2-Clause */
/* See harness.h. The heap is small on purpose: tests use it up. */
#include "tests/procs/libc/harness.h"

LIBC_ROOT_HEAP(512 * 1024);

static struct test *tests, **tests_end = &tests;
static const char *failed;

void test_register(struct test *t)
{
    *tests_end = t;
    tests_end = &t->next;
}

void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
    failed = what;
    printf("# %s:%d: %s is %#lx, expected %#lx\n", strrchr(file, '/') + 1, line, what, got, want);
}

int main(void)
{
    unsigned n = 0;

    for (struct test *t = tests; t; t = t->next, n++) {
        failed = NULL;
        t->run();
        printf(failed ? "FAIL %s: %s\n" : "ok %s\n", t->name, failed);
    }
    printf("1..%u\n", n);
    return 0;
}
