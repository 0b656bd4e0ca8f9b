/* SPDX-License-Identifier: BSD-2-Clause */
/* The harness of root tasks with musl: TEST(name) functions and checks, printed by printf. One program is one
 * process without memory of its own making; tests of kernel objects belong to tests/procs/support. */
#ifndef TEST_LIBC_HARNESS_H
#define TEST_LIBC_HARNESS_H

#include "libc/libc.h"
#include <stdio.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};
void test_register(struct test *t);
void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want);

#define TEST(n)                                                                                              \
    static void test_##n(void);                                                                              \
    static struct test entry_##n = { #n, test_##n, NULL };                                                   \
    __attribute__((constructor)) static void register_##n(void)                                              \
    {                                                                                                        \
        test_register(&entry_##n);                                                                           \
    }                                                                                                        \
    static void test_##n(void)

#define CHECK_EQ(got, want)                                                                                  \
    do {                                                                                                     \
        uint64_t g_ = (uint64_t)(got), w_ = (uint64_t)(want);                                                \
        if (g_ != w_) {                                                                                      \
            test_fail(__FILE__, __LINE__, #got, g_, w_);                                                     \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)
#define CHECK(x) CHECK_EQ(!!(x), 1)

#endif
