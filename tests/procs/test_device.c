/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt lines, I/O ports and the Kernel capability, with the devices of every PC: the 8254 on line 0, the
 * clock on line 8 (behind the second interrupt controller). */
#include "support/harness.h"

static err_t in(cptr_t port_cap, uint64_t port, uint64_t width, uint64_t *value)
{
    return sys_invoke(port_cap, IOPORT_IN, 2, port, width, 0, 0, value);
}
static err_t out(cptr_t port_cap, uint64_t port, uint64_t width, uint64_t value)
{
    return sys_invoke3(port_cap, IOPORT_OUT, port, width, value);
}

static cptr_t get_irq(unsigned line)
{
    cptr_t s = new_slot();
    return sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, line, s) == ERR_OK ? s : 0;
}

/* --- ports --- */

TEST(ports_are_read_and_written)
{
    uint64_t v = 0;

    CHECK_OK(out(SLOT_IOPORT, 0x70, 1, 0x0f)); /* a byte of the clock's memory */
    CHECK_OK(out(SLOT_IOPORT, 0x71, 1, 0x5a));
    CHECK_OK(out(SLOT_IOPORT, 0x70, 1, 0x0f));
    CHECK_OK(in(SLOT_IOPORT, 0x71, 1, &v));
    CHECK_EQ(v, 0x5a);
    CHECK_OK(out(SLOT_IOPORT, 0xcf8, 4, 0x80000000)); /* PCI bus 0, device 0: the host bridge */
    CHECK_OK(in(SLOT_IOPORT, 0xcfc, 4, &v));
    CHECK_EQ(v & 0xffff, 0x8086);
    CHECK_OK(in(SLOT_IOPORT, 0xcfc, 2, &v));
    CHECK_EQ(v, 0x8086);
}

TEST(a_narrowed_port_range_holds)
{
    cptr_t p = new_slots(4);

    CHECK_OK(sys_invoke3(SLOT_IOPORT, IOPORT_NARROW, p, 0x70, 0x73));
    for (unsigned method = 0; method < 2; method++) {
        static const struct {
            uint64_t port, width;
            err_t e;
        } rows[] = {
            { 0x70, 1, ERR_OK },      { 0x73, 1, ERR_OK },    { 0x6f, 1, ERR_PORT },  { 0x74, 1, ERR_PORT },
            { 0x72, 2, ERR_OK },      { 0x73, 2, ERR_PORT },  { 0x6f, 2, ERR_PORT },  { 0x71, 4, ERR_PORT },
            { 0x70, 4, ERR_OK },      { 0x70, 0, ERR_RANGE }, { 0x70, 3, ERR_RANGE }, { 0x70, 8, ERR_RANGE },
            { 0x10070, 1, ERR_PORT }, { ~0ul, 2, ERR_PORT },
        };
        for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            CHECK_EQ(method ? out(p, rows[i].port, rows[i].width, 0x0f0f0f0f)
                            : in(p, rows[i].port, rows[i].width, NULL),
                     rows[i].e);
    }
    CHECK_EQ(sys_invoke3(p, IOPORT_NARROW, p + 1, 0x6f, 0x70), ERR_PORT);
    CHECK_EQ(sys_invoke3(p, IOPORT_NARROW, p + 1, 0x70, 0x74), ERR_PORT);
    CHECK_EQ(sys_invoke3(p, IOPORT_NARROW, p + 1, 0x72, 0x71), ERR_PORT);
    CHECK_EQ(sys_invoke3(p, IOPORT_NARROW, 0, 0x70, 0x71), ERR_RANGE);
    CHECK_EQ(sys_invoke3(p, IOPORT_NARROW, 1 << ROOT_CNODE_BITS, 0x70, 0x71), ERR_RANGE);
    CHECK_EQ(sys_invoke3(p, IOPORT_NARROW, p, 0x70, 0x71), ERR_SLOT_OCCUPIED);
    CHECK_OK(sys_invoke3(p, IOPORT_NARROW, p + 1, 0x71, 0x71));
    cptr_t copy = copy_cap(p + 1, RIGHT_ALL);
    CHECK_OK(in(copy, 0x71, 1, NULL));
    CHECK_EQ(in(copy, 0x70, 1, NULL), ERR_PORT);
    CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, p));
    CHECK_EQ(sys_invoke2(copy, IOPORT_IN, 0x71, 1), ERR_NO_CAP);
}

TEST(port_ranges_have_the_depth_limit)
{
    cptr_t p = SLOT_IOPORT;
    err_t e = ERR_OK;

    for (unsigned i = 0; i < 100 && e == ERR_OK; i++) {
        cptr_t s = new_slot();
        e = sys_invoke3(p, IOPORT_NARROW, s, 0x70, 0x71);
        p = s;
    }
    CHECK_EQ(e, ERR_TOO_DEEP);
}

/* --- interrupt lines --- */

TEST(irq_refusals)
{
    cptr_t irq = get_irq(5), n = new_object(OBJ_NOTIFICATION, 0), s = new_slot();

    CHECK(irq);
    CHECK_EQ(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 5, s), ERR_IRQ_TAKEN);
    CHECK_EQ(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 16, s), ERR_RANGE);
    CHECK_EQ(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 2, s), ERR_RANGE);
    CHECK_EQ(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, ~0ul, s), ERR_RANGE);
    CHECK_EQ(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 6, irq), ERR_SLOT_OCCUPIED);
    CHECK_EQ(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 6, 0), ERR_RANGE);
    CHECK_EQ(sys_invoke0(irq, IRQ_ACK), ERR_NOT_BOUND);
    CHECK_EQ(sys_invoke1(irq, IRQ_BIND, s), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(irq, IRQ_BIND, irq), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(irq, IRQ_BIND, copy_cap(n, RIGHT_READ)), ERR_NO_RIGHT);
    cptr_t deep = n;
    for (unsigned i = 0; i < 100; i++) {
        cptr_t next = copy_cap(deep, RIGHT_ALL);
        if (!next)
            break;
        deep = next;
    }
    CHECK_EQ(sys_invoke1(irq, IRQ_BIND, deep), ERR_TOO_DEEP);
    CHECK_OK(sys_invoke1(irq, IRQ_BIND, n));
    CHECK_EQ(sys_invoke1(irq, IRQ_BIND, n), ERR_ALREADY_BOUND);
    CHECK_OK(sys_invoke0(irq, IRQ_ACK));
    CHECK_OK(delete_cap(n));
    CHECK_EQ(sys_invoke0(irq, IRQ_ACK), ERR_NOT_BOUND);
    cptr_t copy = copy_cap(irq, RIGHT_ALL);
    CHECK_OK(delete_cap(copy)); /* the line stays with the original */
    CHECK_EQ(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 5, s), ERR_IRQ_TAKEN);
    CHECK_OK(delete_cap(irq));
    CHECK_OK(sys_invoke2(SLOT_IRQCONTROL, IRQCONTROL_GET, 5, s));
}

/* One-shot of the 8254: line 0 after n of its ticks. */
static void pit_after(unsigned n)
{
    out(SLOT_IOPORT, 0x43, 1, 0x30);
    out(SLOT_IOPORT, 0x40, 1, n & 0xff);
    out(SLOT_IOPORT, 0x40, 1, n >> 8);
}

static cptr_t timed_notification(uint64_t ms, cptr_t n)
{
    cptr_t t = new_object(OBJ_TIMER, 0), b = new_slot();

    if (sys_invoke4(SLOT_CNODE, CNODE_MINT, b, n, RIGHT_ALL, 0x8000) != ERR_OK ||
        sys_invoke1(t, TIMER_BIND, b) != ERR_OK)
        return 0;
    return sys_invoke1(t, TIMER_SET, now() + ms * (boot->tsc_hz / 1000)) == ERR_OK ? t : 0;
}

TEST(a_line_interrupts_once_until_acknowledged)
{
    cptr_t irq = get_irq(0), n = new_object(OBJ_NOTIFICATION, 0), badged = new_slot();

    CHECK_OK(sys_invoke4(SLOT_CNODE, CNODE_MINT, badged, n, RIGHT_WRITE, 4));
    pit_after(100); /* whatever stood before */
    CHECK(timed_notification(3, n));
    CHECK_EQ(sys_wait(n), 0x8000);
    pit_after(0xffff); /* output low again */
    CHECK_OK(sys_invoke1(irq, IRQ_BIND, badged));
    CHECK_OK(sys_invoke0(irq, IRQ_ACK));
    struct sys_message m = { 0 };
    sys_poll(n, 0, &m); /* an edge from before may have been kept by the controller */
    sys_invoke0(irq, IRQ_ACK);
    for (unsigned i = 0; i < 5; i++) {
        pit_after(2000);
        CHECK_EQ(sys_wait(n), 4);
        pit_after(100); /* not acknowledged: no second one comes */
        CHECK(timed_notification(5, n));
        CHECK_EQ(sys_wait(n), 0x8000);
        CHECK_OK(sys_invoke0(irq, IRQ_ACK)); /* the controller kept the edge */
        CHECK_EQ(sys_wait(n), 4);
        CHECK_OK(sys_invoke0(irq, IRQ_ACK));
    }
    CHECK_OK(delete_cap(irq));
    pit_after(100);
    CHECK(timed_notification(5, n));
    CHECK_EQ(sys_wait(n), 0x8000);
}

static uint64_t clock_register(unsigned reg)
{
    uint64_t v = 0;

    out(SLOT_IOPORT, 0x70, 1, reg);
    in(SLOT_IOPORT, 0x71, 1, &v);
    return v;
}
static void clock_write(unsigned reg, uint64_t v)
{
    out(SLOT_IOPORT, 0x70, 1, reg);
    out(SLOT_IOPORT, 0x71, 1, v);
}

TEST(lines_of_the_second_controller_arrive)
{
    cptr_t irq = get_irq(8), n = new_object(OBJ_NOTIFICATION, 0);

    CHECK_OK(sys_invoke1(irq, IRQ_BIND, n));
    clock_write(0x0a, 0x26); /* 1024 a second */
    clock_write(0x0b, 0x42); /* the periodic interrupt, 24 hours */
    for (unsigned i = 0; i < 5; i++) {
        CHECK_EQ(sys_wait(n), 1);
        CHECK_EQ(clock_register(0x0c) & 0xc0, 0xc0);
        CHECK_OK(sys_invoke0(irq, IRQ_ACK));
    }
    clock_write(0x0b, 0x02);
    clock_register(0x0c);
}

/* --- the Kernel capability --- */

TEST(kernel_refusals)
{
    cptr_t g = new_object(OBJ_GUESTSPACE, 0), none = new_slot();

    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_LOG, 481), ERR_RANGE);
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_LOG, ~0ul), ERR_RANGE);
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_LOG, 8), ERR_SHORT_MESSAGE);
    CHECK_OK(sys_invoke1(SLOT_KERNEL, KERNEL_LOG, 0));
    CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_DUMP, none), ERR_NO_CAP);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, none, 0, 1), ERR_NO_CAP);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, SLOT_KERNEL, 0, 1), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, copy_cap(g, RIGHT_WRITE), 0, 1), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, g, 0, 0), ERR_RANGE);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, g, 0, 61), ERR_RANGE);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, g, GUEST_FRAMES_MAX, 1), ERR_RANGE);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, g, GUEST_FRAMES_MAX - 1, 2), ERR_RANGE);
    CHECK_EQ(sys_invoke3(SLOT_KERNEL, KERNEL_FRAMES, g, ~0ul, 1), ERR_RANGE);
    uint64_t frame = 0;
    CHECK_OK(sys_invoke(SLOT_KERNEL, KERNEL_FRAMES, 3, g, 0, 1, 0, &frame));
    CHECK_EQ(frame, ~0ul);
}

TEST(the_log_takes_a_long_line)
{
    struct sys_message m = { .tag = TAG(KERNEL_LOG, 61), .w = { 480 } };
    char *text = (char *)IPC->words;

    for (unsigned i = 8; i < 488; i++)
        text[i] = i == 487 ? '\n' : i == 8 ? '#' : '.';
    m.w[1] = IPC->words[1], m.w[2] = IPC->words[2], m.w[3] = IPC->words[3];
    CHECK_OK(sys_call(SLOT_KERNEL, &m));
}

/* A guest's or an idle time is none; release builds count nothing. */
TEST(the_longest_stretch_is_of_the_kernel)
{
    struct sys_message m = { .tag = TAG(KERNEL_STRETCHES, 1), .w = { KERNEL_STRETCHES_FORGET } }, log = m;

    CHECK_OK(sys_call(SLOT_KERNEL, &m));
    CHECK_EQ(TAG_WORDS(m.tag), 3);
    cptr_t n = new_object(OBJ_NOTIFICATION, 0);
    CHECK(timed_notification(500, n));
    CHECK_EQ(sys_wait(n), 0x8000);
    log.tag = TAG(KERNEL_STRETCHES, 1), log.w[0] = KERNEL_STRETCHES_LOG;
    CHECK_OK(sys_call(SLOT_KERNEL, &log));
    CHECK(log.w[0] < boot->tsc_hz / 1000 * 400);
    CHECK_EQ(log.w[0] != 0, boot->debug);
}

static err_t graph(uint64_t go_on, uint64_t *more)
{
    return sys_invoke(SLOT_KERNEL, KERNEL_GRAPH, 1, go_on, 0, 0, 0, more);
}

TEST(all_capabilities_are_shown_by_parts_unless_one_comes_meanwhile)
{
    uint64_t more = 2, calls = 0;

    if (!boot->debug) {
        CHECK_EQ(graph(0, &more), ERR_BAD_METHOD);
        return;
    }
    CHECK_OK(graph(0, &more));
    CHECK_EQ(more, 1);
    cptr_t n = new_object(OBJ_NOTIFICATION, 0);
    CHECK_EQ(graph(1, &more), ERR_WRONG_STATE);
    CHECK_OK(graph(0, &more));
    cptr_t m = new_slot();
    CHECK_OK(sys_invoke2(SLOT_CNODE, CNODE_MOVE, m, n));
    CHECK_EQ(graph(1, &more), ERR_WRONG_STATE);
    CHECK_OK(graph(0, &more));
    for (; more; calls++)
        CHECK_OK(graph(1, &more));
    CHECK(calls > 4);
    CHECK_OK(graph(1, &more)); /* and stays at the end */
    CHECK_EQ(more, 0);
}

TEST(an_address_space_is_shown_by_parts)
{
    cptr_t none = new_slot();
    uint64_t at = 0, calls = 0;

    if (!boot->debug) {
        CHECK_EQ(sys_invoke2(SLOT_KERNEL, KERNEL_SPACE, SLOT_VSPACE, 0), ERR_BAD_METHOD);
        return;
    }
    CHECK_EQ(sys_invoke2(SLOT_KERNEL, KERNEL_SPACE, none, 0), ERR_NO_CAP);
    CHECK_EQ(sys_invoke2(SLOT_KERNEL, KERNEL_SPACE, SLOT_KERNEL, 0), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke2(SLOT_KERNEL, KERNEL_SPACE, copy_cap(SLOT_VSPACE, RIGHT_READ), 0), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke2(SLOT_KERNEL, KERNEL_SPACE, SLOT_VSPACE, USER_END), ERR_RANGE);
    CHECK_EQ(sys_invoke2(SLOT_KERNEL, KERNEL_SPACE, SLOT_VSPACE, ~0ul), ERR_RANGE);
    for (uint64_t from = 0; at != UINT64_MAX; calls++, from = at) {
        CHECK_OK(sys_invoke(SLOT_KERNEL, KERNEL_SPACE, 2, SLOT_VSPACE, from, 0, 0, &at));
        CHECK(at > from);
    }
    CHECK(calls > 2);
    CHECK_OK(sys_invoke(SLOT_KERNEL, KERNEL_SPACE, 2, new_object(OBJ_GUESTSPACE, 0), 0, 0, 0, &at));
    CHECK_EQ(at, UINT64_MAX);
}

TEST(counters_count)
{
    struct sys_message a = { .tag = TAG(KERNEL_COUNTERS, 0) }, b = a;

    CHECK_OK(sys_call(SLOT_KERNEL, &a));
    CHECK_EQ(TAG_WORDS(a.tag), COUNT_KERNEL_MAX);
    for (unsigned i = 0; i < 10; i++)
        sys_null();
    CHECK_OK(sys_call(SLOT_KERNEL, &b));
    CHECK_EQ(b.w[COUNT_SYSCALLS] - a.w[COUNT_SYSCALLS], 11);
}
