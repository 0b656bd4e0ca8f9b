/* SPDX-License-Identifier: BSD-2-Clause */
/* Host tests: TEST(name) { ... CHECK_EQ(a, b); ... }.
 * Every test runs in a child process of its own, so none sees what another left and a crash ends only itself.
 * A failed check ends the test at once. Output: `ok NAME` or `FAIL NAME: why` a test and `1..N` at the end.
 * Run the program with names, with -k PART, with --list, or with --no-fork NAME under a debugger. */
#ifndef TESTS_HOST_CHECK_H
#define TESTS_HOST_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
};

/* check_register - appends a test to the list; only TEST calls it. */
void check_register(struct check_test *test);

/* check_note - what the failing check prints besides, for example the row of a table. The text is copied; ""
 * forgets. */
void check_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* check_fail - ends the present test as failed. */
_Noreturn void check_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The comparisons behind the macros; integers are compared as 64 bits after the usual conversion. */
void check_compare(const char *file, int line, const char *text, unsigned long long a, unsigned long long b,
                   bool holds);
void check_strings(const char *file, int line, const char *text, const char *a, const char *b);
void check_bytes(const char *file, int line, const char *text, const void *a, const void *b, size_t bytes);

#define TEST(id)                                                                                             \
    static void check_run_##id(void);                                                                        \
    static struct check_test check_test_##id = { #id, check_run_##id, NULL };                                \
    __attribute__((constructor)) static void check_add_##id(void)                                            \
    {                                                                                                        \
        check_register(&check_test_##id);                                                                    \
    }                                                                                                        \
    static void check_run_##id(void)

#define CHECK_RELATION(a, relation, b)                                                                       \
    do {                                                                                                     \
        unsigned long long check_a_ = (unsigned long long)(a), check_b_ = (unsigned long long)(b);           \
        check_compare(__FILE__, __LINE__, #a " " #relation " " #b, check_a_, check_b_,                       \
                      check_a_ relation check_b_);                                                           \
    } while (0)

#define CHECK_EQ(a, b)            CHECK_RELATION(a, ==, b)
#define CHECK_NE(a, b)            CHECK_RELATION(a, !=, b)
#define CHECK_LT(a, b)            CHECK_RELATION(a, <, b)
#define CHECK_LE(a, b)            CHECK_RELATION(a, <=, b)
#define CHECK_STR_EQ(a, b)        check_strings(__FILE__, __LINE__, #a " == " #b, a, b)
#define CHECK_MEM_EQ(a, b, bytes) check_bytes(__FILE__, __LINE__, #a " == " #b, a, b, bytes)
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            check_fail(__FILE__, __LINE__, "%s", #condition);                                                \
    } while (0)
#define FAIL(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)

#endif
