/* SPDX-License-Identifier: BSD-2-Clause */
/* A small machine for the capability side of the kernel: 8 MB of memory, a root CNode, one Untyped, and calls
 * on behalf of a thread whose CSpace is whatever CNode the argument lies in. */
#ifndef TESTS_KERNEL_WORLD_H
#define TESTS_KERNEL_WORLD_H

#include "kernel/invoke.h"
#include "kernel/ipc.h"
#include "kernel/space.h"
#undef CHECK
#include "check.h"
#include "fake_arch.h"

#define WORLD_BYTES  (8ul << 20)
#define UNTYPED_AT   0x400000ul
#define UNTYPED_BITS 22
#define CNODE_AT     0x200000ul
#define CNODE_BITS   8
enum { SLOT_ROOT = 1, SLOT_UNTYPED, SLOT_SCHEDCTL, SLOT_FREE };

extern struct cap *root_slots;

void world_init(void);
/* Invoke cap once with words; the CSpace of the caller is `cspace` (slots of 2^bits), for arguments that are
 * cptrs. */
struct call {
    struct cap *cap;
    uint32_t method, words;
    uint64_t w[6];
    struct cap *cspace;
    unsigned cspace_bits;
};
err_t call_once(const struct call *c);
/* The same again while it is preempted. */
err_t call(const struct call *c);
/* The next check for a preemption comes after n steps of long work. */
void preempt_after(unsigned n);

/* The CNode whose slots contain `slot`, among those that live: its slot array and size. */
struct slots {
    struct cap *first;
    unsigned bits;
};

/* tree_check.c: checks every invariant of cap.h over all that is reachable; collects on the way. */
#define NODES_MAX 8192
struct census {
    struct cap *node[NODES_MAX];
    unsigned nodes;
    struct slots cnode[NODES_MAX];
    unsigned cnodes;
};
extern struct census census;
void tree_check(void);
bool below(const struct cap *c, const struct cap *ancestor);

/* The next dying CNode of a list behind z (NULL: the first); head NULL: of threads that have ended.
 * tests/host/kernel/cap_inside.c */
struct cap *next_dying(const struct cap *head, const struct cap *z);
/* Threads that call; call_once is the chosen one's. */
#define CALLERS 3
struct tcb *world_caller(unsigned i);
void world_choose(unsigned i);
bool anything_dying(void);

#endif
