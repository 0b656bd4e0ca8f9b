/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures of what happens between threads: capabilities in messages, wake-ups, turns, birth, interrupts. As
 * bench_kernel.c. */
// ICOUNT: 1
#include "support/bench.h"

/* The server's slot for the capability is emptied between two calls. */
TEST(ipc_call_reply_cap)
{
    cptr_t endpoint = new_object(OBJ_ENDPOINT, 0), reply = new_object(OBJ_REPLY, 0);
    cptr_t passed = new_object(OBJ_NOTIFICATION, 0), there = new_slot();
    struct counts before, after;
    struct peer p;

    CHECK(peer_make(&p, peer_take, 255, endpoint, reply));
    p.buffer->recv_slot = there;
    p.buffer->recv_limit = 1;
    IPC->caps[0] = passed;
    sys_yield();
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct sys_message m = { .tag = TAG(1, 0) | TAG_CAPS(1) };
        before = read_counts();
        uint64_t start = now();
        err_t e = sys_call(endpoint, &m);
        samples[i] = now() - start - clock_cost();
        after = read_counts();
        CHECK_OK(e);
        CHECK_OK(delete_cap(there));
        CHECK_OK(sys_invoke3(SLOT_CNODE, CNODE_COPY, there, passed,
                             RIGHT_ALL)); /* it had arrived: the slot was taken */
        CHECK_OK(delete_cap(there));
    }
    show_once("ipc.call_reply_cap", &before, &after, 1);
}

/* From before the system call to the first instruction of the waiter, which reads the clock. */
TEST(ipc_signal_wake)
{
    cptr_t n = new_object(OBJ_NOTIFICATION, 0);
    struct counts before, after;
    struct peer p;

    CHECK(peer_make(&p, peer_wait, 255, n, 0));
    CHECK_OK(root_priority(200));
    sys_signal(n);
    for (unsigned i = 0; i < ROUNDS; i++) {
        before = read_counts();
        uint64_t start = now();
        sys_signal(n);
        after = read_counts();
        samples[i] = p.buffer->words[0] - start;
    }
    before.c[COUNT_SYSCALLS]++; /* the waiter's next wait and the way back are not measured */
    before.c[COUNT_CR3_LOADS]++;
    show_once("ipc.signal_wake", &before, &after, 1);
    CHECK_OK(root_priority(255));
}

TEST(kernel_yield_switch)
{
    struct peer p;

    CHECK(peer_make(&p, peer_yield, 255, 0, 0));
    sys_yield();
    struct counts before = read_counts();
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        sys_yield();
        samples[i] = now() - start - clock_cost();
    }
    struct counts after = read_counts();
    show("kernel.yield_switch", &before, &after);
}

/* TCB and scheduling context of fresh memory, which is cleared; configured, its registers set, started, not
 * run. */
TEST(thread_create)
{
    cptr_t piece = new_slot(), tcb = new_slot(), sched = new_slot();
    struct counts before, after;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct sys_message m = { .tag = TAG(TCB_WRITE_REGS, 6), .w = { (uint64_t)thread_end, 0, 0, 0 } };
        CHECK_OK(sys_retype(IPC, TEST_UNTYPED, OBJ_UNTYPED, 13, SLOT_CNODE, piece, 1));
        before = read_counts();
        uint64_t start = now();
        err_t e = sys_retype(IPC, piece, OBJ_TCB, 0, SLOT_CNODE, tcb, 1);
        e |= sys_retype(IPC, piece, OBJ_SCHED, 0, SLOT_CNODE, sched, 1);
        e |= sys_invoke4(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, 1000000, 1000000, 255);
        e |= sys_invoke4(tcb, TCB_CONFIGURE, SLOT_CNODE, SLOT_VSPACE, 0, 0);
        e |= sys_invoke2(tcb, TCB_SET_SCHED, sched, 100);
        IPC->words[4] = IPC->words[5] = 0;
        e |= sys_call(tcb, &m);
        e |= sys_invoke0(tcb, TCB_RESUME);
        samples[i] = now() - start - clock_cost();
        after = read_counts();
        CHECK_OK(e);
        CHECK_OK(delete_cap(piece));
    }
    show_once("thread.create", &before, &after, 1);
}

static void port_out(unsigned port, unsigned value)
{
    sys_invoke3(SLOT_IOPORT, IOPORT_OUT, port, 1, value);
}

/* A peer writes the time into its page, over and over; the 8254 interrupts it. From the last time that it
 * wrote to the first instruction of the thread that waits, in another address space. */
TEST(irq_to_thread)
{
    cptr_t irq = new_slot(), n = new_object(OBJ_NOTIFICATION, 0);
    struct counts before, after;
    struct peer p;

    CHECK_OK(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 0, irq));
    CHECK_OK(sys_invoke1(irq, IRQ_BIND, n));
    CHECK(peer_make(&p, peer_spin, 100, 0, 0));
    for (unsigned i = 0; i < ROUNDS; i++) {
        port_out(0x43, 0x30); /* channel 0 once, 200 ticks */
        port_out(0x40, 200);
        port_out(0x40, 0);
        struct sys_message m = { 0 };
        before = read_counts();
        sys_recv(n, 0, &m);
        uint64_t woken = now();
        after = read_counts();
        samples[i] = woken - p.buffer->words[0];
        CHECK_OK(sys_invoke0(irq, IRQ_ACK));
    }
    before.c[COUNT_SYSCALLS]++; /* the wait itself is not measured, nor the switch to the peer */
    before.c[COUNT_CR3_LOADS]++;
    show_once("irq.to_thread", &before, &after, 1);
    CHECK_OK(delete_cap(irq));
}
