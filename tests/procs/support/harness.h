/* SPDX-License-Identifier: BSD-2-Clause */
/* The harness of root tasks that test the kernel from user mode: TEST(name) functions, checks, and objects at
 * hand.
 *
 * Each test runs with a fresh part of the CSpace and of untyped memory, which is taken back after it. Lines
 * `ok NAME` and `FAIL NAME: why` go to the kernel's log, `1..N` ends the plan; then the machine is left. */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H

#include "sys/sys.h"
#include <umbra/bootinfo.h>
#include <umbra/vcpu.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};
void test_register(struct test *t);

#define TEST(n)                                                                                              \
    static void test_##n(void);                                                                              \
    static struct test entry_##n = { #n, test_##n, NULL };                                                   \
    __attribute__((constructor)) static void register_##n(void)                                              \
    {                                                                                                        \
        test_register(&entry_##n);                                                                           \
    }                                                                                                        \
    static void test_##n(void)

void test_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want);
#define CHECK_EQ(got, want)                                                                                  \
    do {                                                                                                     \
        uint64_t g_ = (uint64_t)(got), w_ = (uint64_t)(want);                                                \
        if (g_ != w_) {                                                                                      \
            test_fail(__FILE__, __LINE__, #got, g_, w_);                                                     \
            return;                                                                                          \
        }                                                                                                    \
    } while (0)
#define CHECK(x)    CHECK_EQ(!!(x), 1)
#define CHECK_OK(x) CHECK_EQ(x, ERR_OK)

extern struct umbra_bootinfo *boot;
#define IPC ((struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS)

void *memcpy(void *restrict d, const void *restrict s, size_t n);
void print(const char *s);
void print_number(const char *before, uint64_t v, const char *after);
_Noreturn void leave(unsigned status);

/* A slot not used since the test began. */
cptr_t new_slot(void);
cptr_t new_slots(unsigned n);
/* An object of fresh memory; 0: refused. */
cptr_t new_object(unsigned type, unsigned bits);
cptr_t new_objects(unsigned type, unsigned bits, unsigned n);
/* A derived capability in a new slot; 0: refused. */
cptr_t copy_cap(cptr_t source, unsigned rights);
/* One that is so deep that nothing can be derived from it. */
cptr_t deepest(cptr_t c);
/* Objects in order from an untyped of the test's own, so that their addresses are used again; 0: refused. */
cptr_t new_object_of(cptr_t untyped, unsigned type, unsigned bits);
err_t delete_cap(cptr_t slot);
/* The untyped memory that the test may use up: 64 MB or what there is. */
#define TEST_UNTYPED (boot->first_free)

/* Memory mapped at an address of the test's own; tables are made as needed. Returns the frame's cap. */
cptr_t map_frame(cptr_t vspace, uint64_t address, unsigned rights);
cptr_t map_tables(cptr_t vspace, uint64_t address); /* down to level 1; 0: refused */
#define TEST_ADDRESS 0x10000000ul                   /* the root task's free part */

/* A thread in this address space and CSpace, running f(argument) at a priority with a context of its own. */
struct thread {
    cptr_t tcb, sched, buffer_cap;
    struct umbra_ipc_buffer *buffer;
    uint64_t stack; /* its end */
};
#define THREAD_TICKS 10000000ul /* its budget and period: 10 ms at 1 GHz */
/* f NULL: configured, not started. A thread whose f returns waits for ever. */
bool thread_make(struct thread *t, void (*f)(uint64_t), uint64_t argument, unsigned priority, cptr_t fault);
err_t thread_start(struct thread *t, void (*f)(uint64_t), uint64_t argument);
_Noreturn void thread_end(void);
/* The root task runs at 255; tests that want others to run before it lower that. Each test begins at 255. */
err_t root_priority(unsigned priority);
uint64_t now(void);

#endif
