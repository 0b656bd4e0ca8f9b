/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC: its registers, wiring, edges and levels, and that it and the 8259 pair see the same lines. */
// USES: servers/vmm/dev/*.c
#include "rig.h"

#define EOI (LAPIC_BASE + 0xb0)
#define LDR (LAPIC_BASE + 0xd0)

static uint32_t rd(struct rig *r, uint32_t index)
{
    mem_out(r, IOAPIC_BASE, index);
    return mem_in(r, IOAPIC_BASE + 0x10);
}

static void wr(struct rig *r, uint32_t index, uint32_t v)
{
    mem_out(r, IOAPIC_BASE, index);
    mem_out(r, IOAPIC_BASE + 0x10, v);
}

static void entry(struct rig *r, uint32_t input, uint64_t v)
{
    wr(r, 0x10 + 2 * input, (uint32_t)v), wr(r, 0x11 + 2 * input, (uint32_t)(v >> 32));
}

static void line(struct rig *r, unsigned irq, bool high)
{
    struct dev_ctx ctx = { .now = r->now, .lines = &r->m.lines };
    dev_line(&ctx, irq, high);
    in8(r, 0x21); /* an access to a device that interrupts: the controllers look */
}

TEST(ioapic_registers)
{
    static const struct {
        uint32_t index, first, value, reads;
    } row[] = {
        { 0x00, 0x01000000, 0xffffffff, 0x0f000000 },
        { 0x01, 0x00170011, 0, 0x00170011 },
        { 0x02, 0x01000000, 0, 0x01000000 },
        { 0x03, 0, 5, 0 },
        { 0x10, 0x00010000, 0xffffffff, 0x0001afff },
        { 0x11, 0, 0xffffffff, 0xff000000 },
        { 0x3e, 0x00010000, 0x8931, 0x8931 },
        { 0x3f, 0, 0x12345678, 0x12000000 },
        { 0x40, 0, 1, 0 },
        { 0xff, 0, 1, 0 },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        check_note("index %x", row[i].index);
        CHECK_EQ(rd(&r, row[i].index), row[i].first);
        wr(&r, row[i].index, row[i].value);
        CHECK_EQ(rd(&r, row[i].index), row[i].reads);
        CHECK_EQ(mem_in(&r, IOAPIC_BASE), row[i].index);
        CHECK_EQ(mem_in(&r, IOAPIC_BASE + 0x20), 0);
    }
}

TEST(ioapic_lines_reach_their_inputs)
{
    for (unsigned irq = 0; irq < 16; irq++) {
        struct rig r;
        rig_init(&r);
        line(&r, irq, false);
        for (uint32_t i = 0; i < IOAPIC_INPUTS; i++)
            entry(&r, i, 0x40 + i);
        CHECK_EQ(ioapic_masked(&r.m.ioapic, irq), irq == 2);
        line(&r, irq, true);
        check_note("line %u", irq);
        CHECK_EQ(rig_ack(&r), irq == 2 ? -1 : irq ? (int)(0x40 + irq) : 0x42);
    }
}

TEST(ioapic_edge_is_lost_behind_its_mask)
{
    struct rig r;
    rig_init(&r);
    line(&r, 4, true);
    entry(&r, 4, 0x44);
    CHECK_EQ(rig_ack(&r), -1);
    line(&r, 4, false), line(&r, 4, true);
    CHECK_EQ(rig_ack(&r), 0x44);
    line(&r, 4, false), line(&r, 4, true); /* one more waits while the first is in service */
    mem_out(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), 0x44);
}

TEST(ioapic_level_sends_again_after_its_end)
{
    struct rig r;
    rig_init(&r);
    entry(&r, 10, 0x804a);
    line(&r, 10, true);
    CHECK_EQ(rd(&r, 0x24), 0xc04a); /* remote IRR */
    CHECK_EQ(rig_ack(&r), 0x4a);
    CHECK_EQ(rig_ack(&r), -1);
    mem_out(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), 0x4a);
    line(&r, 10, false);
    mem_out(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), -1);
    CHECK_EQ(rd(&r, 0x24), 0x804a);
    entry(&r, 10, 0x1804a);
    line(&r, 10, true);
    CHECK_EQ(rig_ack(&r), -1);
    entry(&r, 10, 0x804a); /* a level is still there when it is unmasked */
    CHECK_EQ(rig_ack(&r), 0x4a);
    entry(&r, 10, 0x4a); /* edge for a moment: ends it by hand */
    CHECK_EQ(rd(&r, 0x24), 0x4a);
}

TEST(ioapic_active_low_inputs)
{
    struct rig r;
    rig_init(&r);
    line(&r, 5, true);
    entry(&r, 5, 0xa045);
    CHECK_EQ(rig_ack(&r), -1);
    line(&r, 5, false);
    CHECK_EQ(rig_ack(&r), 0x45);
    line(&r, 6, true);
    entry(&r, 6, 0x2056);
    CHECK_EQ(rig_ack(&r), -1);
    line(&r, 6, false);
    CHECK_EQ(rig_ack(&r), 0x56);
}

TEST(ioapic_sends_to_its_destination_only)
{
    static const struct {
        uint64_t entry;
        int vector;
        bool nmi;
    } row[] = {
        { 0x00000000000044, 0x44, false },   { 0x0100000000000044, -1, false },
        { 0xff00000000000044, 0x44, false }, { 0x0200000000000844, 0x44, false },
        { 0x0400000000000844, -1, false },   { 0x0000000000000144, 0x44, false },
        { 0x0000000000000400, -1, true },    { 0x0000000000000700, -1, false },
        { 0x0000000000000500, -1, false },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        mem_out(&r, LDR, 0x02000000);
        entry(&r, 4, row[i].entry);
        line(&r, 4, true);
        check_note("row %zu", i);
        CHECK_EQ(rig_ack(&r), row[i].vector);
        CHECK_EQ(machine_nmi(&r.m), row[i].nmi);
        CHECK_EQ(machine_nmi_possible(&r.m), row[i].nmi);
        CHECK_EQ(r.m.lines.request, DEV_REQUEST_NONE);
    }
}

TEST(ioapic_keeps_a_level_that_nobody_accepted)
{
    struct rig r;
    rig_init(&r);
    mem_out(&r, LAPIC_BASE + 0xf0, 0xff); /* software-disabled */
    entry(&r, 10, 0x804a);
    line(&r, 10, true);
    CHECK_EQ(rd(&r, 0x24), 0x804a);
    mem_out(&r, LAPIC_BASE + 0xf0, 0x1ff);
    CHECK_EQ(rig_ack(&r), 0x4a);
}

/* A masked timer wakes nobody only if both controllers mask it. */
TEST(ioapic_unmasked_timer_has_deadlines)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0xffff);
    out8(&r, 0x43, 0x34), out8(&r, 0x40, 0x9c), out8(&r, 0x40, 0x2e); /* 100 Hz */
    CHECK_EQ(r.m.deadline, DEV_NEVER);
    entry(&r, 2, 0x30);
    rig_wait(&r, 15 * MS);
    CHECK_EQ(rig_ack(&r), 0x30);
}
