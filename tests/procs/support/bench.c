/* SPDX-License-Identifier: BSD-2-Clause */
/* See bench.h. */
#include "bench.h"
#include "figures.h"

uint64_t samples[ROUNDS];

struct counts read_counts(void)
{
    struct counts r;

    kernel_counters(r.c);
    return r;
}

void show_once(const char *name, const struct counts *before, const struct counts *after, unsigned rounds)
{
    static const struct {
        const char *key;
        unsigned counter;
    } keys[] = { { " exits=", COUNT_EXITS },
                 { " syscalls=", COUNT_SYSCALLS },
                 { " cr3=", COUNT_CR3_LOADS },
                 { " fpu=", COUNT_FPU_SWITCHES } };
    print("BENCH ");
    print(name);
    print(" ");
    print_decimal(median_of(samples, ROUNDS));
    print(" instructions");
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        uint64_t n = after->c[keys[i].counter] - before->c[keys[i].counter];
        print(keys[i].key);
        print_decimal((keys[i].counter == COUNT_SYSCALLS ? n - 1 : n) / rounds); /* one read the counters */
    }
    print("\n");
}

void show(const char *name, const struct counts *before, const struct counts *after)
{
    show_once(name, before, after, ROUNDS);
}

uint64_t clock_cost(void)
{
    uint64_t a = now(), b = now();
    return b - a;
}

/* A server in an address space of its own: code copied to a page there, an IPC buffer, no stack. */
#define PEER_CODE   0x500000ul
#define PEER_BUFFER 0x501000ul
#define COPY_AT     0x18000000ul

bool peer_make(struct peer *p, const uint8_t *entry, unsigned priority, cptr_t target, cptr_t reply)
{
    cptr_t space = new_object(OBJ_VSPACE, 0);
    cptr_t code = map_frame(SLOT_VSPACE, COPY_AT, RIGHT_ALL), there = new_slot();
    cptr_t buffer = map_frame(SLOT_VSPACE, COPY_AT + PAGE_BYTES, RIGHT_ALL), buffer_there = new_slot();
    volatile uint8_t *page = (volatile uint8_t *)COPY_AT;
    uint64_t start = PEER_CODE + (uint64_t)(entry - peer_echo);
    struct sys_message m = { .tag = TAG(TCB_WRITE_REGS, 6),
                             .w = { start, 0, target | (uint64_t)reply << 32, PEER_BUFFER } };

    if (!space || !code || !buffer || !map_tables(space, PEER_CODE))
        return false;
    for (const uint8_t *c = peer_echo; c < peer_end; c++)
        page[c - peer_echo] = *c;
    p->buffer = (struct umbra_ipc_buffer *)(COPY_AT + PAGE_BYTES);
    p->tcb = new_object(OBJ_TCB, 0);
    p->sched = new_object(OBJ_SCHED, 0);
    IPC->words[4] = IPC->words[5] = 0;
    return sys_invoke3(SLOT_CNODE, CNODE_COPY, there, code, RIGHT_ALL) == ERR_OK &&
           sys_invoke3(there, FRAME_MAP, space, PEER_CODE, RIGHT_READ | RIGHT_EXEC) == ERR_OK &&
           sys_invoke3(SLOT_CNODE, CNODE_COPY, buffer_there, buffer, RIGHT_ALL) == ERR_OK &&
           sys_invoke3(buffer_there, FRAME_MAP, space, PEER_BUFFER, RIGHT_READ | RIGHT_WRITE) == ERR_OK &&
           sys_invoke4(p->sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, 10000000, 10000000, 255) == ERR_OK &&
           sys_invoke4(p->tcb, TCB_CONFIGURE, SLOT_CNODE, space, buffer_there, 0) == ERR_OK &&
           sys_invoke2(p->tcb, TCB_SET_SCHED, p->sched, priority) == ERR_OK &&
           sys_call(p->tcb, &m) == ERR_OK && sys_invoke0(p->tcb, TCB_RESUME) == ERR_OK;
}
