/* SPDX-License-Identifier: BSD-2-Clause */
/* A thread in an address space and CSpace of its own, which makes the system calls that the test writes into
 * its page: for tests in which a process takes away what it stands on. It has no stack. */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include "harness.h"

/* In the process' page behind its code. It makes the call, stores RAX, counts, and waits on `park` for ever.
 */
struct script {
    uint64_t rax, rdi, rsi, rdx, r10, r8, r9;
    volatile uint64_t result, done;
    uint64_t park;
};

struct process {
    cptr_t tcb, sched, vspace, cspace;
    struct script *script; /* as the root task sees it */
};

#define PROCESS_ADDRESS     0x30000000ul
#define PROCESS_CSPACE_BITS 5

/* All objects come from `untyped`. The last slot of its CSpace holds what it waits on, the others are empty.
 */
bool process_make(struct process *p, cptr_t untyped, unsigned priority, cptr_t fault);
err_t process_call(struct process *p, uint64_t number, uint64_t target, uint64_t tag, uint64_t w0,
                   uint64_t w1);

#endif
