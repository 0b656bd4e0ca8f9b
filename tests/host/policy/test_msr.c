/* SPDX-License-Identifier: BSD-2-Clause */
/* MSRs: each row of the table read and written, refused values, TSC and its adjustment, what Linux touches
 * unasked. */
// USES: servers/vmm/policy/*.c
#include "check.h"
#include "servers/vmm/policy/msr.h"

#include <string.h>

#define APIC_ON  0xfee00900ull
#define APIC_OFF 0xfee00100ull

struct rig {
    struct msr_state s;
    struct msr_cpu cpu;
    struct cr_limits limits;
};

static struct rig make(void)
{
    struct rig r;
    struct cpuid_host h;
    memset(&r, 0, sizeof(r));
    memset(&h, 0xff, sizeof(h));
    msr_init(&r.s);
    r.limits = cr_limits_of(&h);
    r.cpu.now = 1000000;
    r.cpu.apic_base = APIC_ON;
    return r;
}

static uint64_t read(struct rig *r, uint32_t index)
{
    uint64_t v = 0xdead;
    struct msr_outcome o = msr_read(&r->s, &r->cpu, index, &v);
    CHECK(!o.gp && o.known);
    return v;
}

static struct msr_outcome write(struct rig *r, uint32_t index, uint64_t v)
{
    return msr_write(&r->s, &r->cpu, &r->limits, NULL, index, v);
}

/* value: written; reads: what comes back, or GP. */
#define GP 0xbadbadbadull
TEST(msr_table)
{
    static const struct {
        uint32_t index;
        uint64_t first, value, reads;
        uint32_t groups;
    } row[] = {
        { 0x1b, APIC_ON, APIC_OFF, APIC_OFF, 0 },
        { 0x1b, APIC_ON, APIC_ON, APIC_ON, 0 },
        { 0x1b, APIC_ON, APIC_ON | BIT(10), GP, 0 }, /* no x2APIC */
        { 0x1b, APIC_ON, APIC_ON & ~BIT(8), GP, 0 }, /* this is the bootstrap processor */
        { 0x1b, APIC_ON, APIC_ON | 1, GP, 0 },
        { 0x1b, APIC_ON, 0xfed00900, GP, 0 }, /* the base cannot move */
        { 0x1b, APIC_ON, APIC_ON | BIT(40), GP, 0 },
        { 0x6e0, 0, 0x123456789abc, 0x123456789abc, 0 },
        { 0x8b, 0, 5, GP, 0 },
        { 0x174, 0, 0x10, 0x10, STATE_MSRS },
        { 0x175, 0, 0xffffc900deadbeef, 0xffffc900deadbeef, STATE_MSRS },
        { 0x176, 0, 0x1234, 0x1234, STATE_MSRS },
        { 0x1d9, 0, 0x02, 0x02, 0 },
        { 0x1d9, 0, 0x40, GP, 0 },
        { 0x1db, 0, 7, 0, 0 },
        { 0x1de, 0, 7, 0, 0 },
        { 0x277, 0x0007040600070406, 0x0407050600070106, 0x0407050600070106, 0 },
        { 0x277, 0x0007040600070406, 0x0007040600070402, GP, 0 },
        { 0x277, 0x0007040600070406, 0x0807040600070406, GP, 0 },
        { 0xc0000080, 0, EFER_SCE | EFER_NXE, EFER_SCE | EFER_NXE, STATE_CONTROL },
        { 0xc0000080, 0, EFER_SVME, GP, 0 },
        { 0xc0000081, 0, 0x23001000000000, 0x23001000000000, STATE_MSRS },
        { 0xc0000082, 0, 0xffffffff81000000, 0xffffffff81000000, STATE_MSRS },
        { 0xc0000082, 0, 0x0000800000000000, GP, 0 },
        { 0xc0000083, 0, 0xffff800000000000, 0xffff800000000000, STATE_MSRS },
        { 0xc0000083, 0, 0xffff7fffffffffff, GP, 0 },
        { 0xc0000084, 0, 0x257fd5, 0x257fd5, STATE_MSRS },
        { 0xc0000084, 0, BIT(32), GP, 0 },
        { 0xc0000100, 0, 0x7fffffffffff, 0x7fffffffffff, STATE_SEGMENTS },
        { 0xc0000100, 0, BIT(47), GP, 0 },
        { 0xc0000101, 0, 0xffff888000000000, 0xffff888000000000, STATE_SEGMENTS },
        { 0xc0000102, 0, 0x1000, 0x1000, STATE_MSRS },
        { 0xc0010010, 0, 0x40000, 0x40000, 0 },
        { 0xc0010015, BIT(24), BIT(24) | BIT(6), BIT(24) | BIT(6), 0 },
        { 0xc001001a, 0, 1, 0, 0 },
        { 0xc001001d, 0, 1, 0, 0 },
        { 0xc001001f, 0, 1, 0, 0 },
        { 0xc0010055, 0, 1, 0, 0 },
        { 0xc0011004, 0, 1, 0, 0 },
        { 0xc001100d, 0, 1, 0, 0 },
        { 0xc0011020, 0, 1, 0, 0 },
        { 0xc0011023, 0, 1, 0, 0 },
        { 0xc0011029, 2, 3, 3, 0 },
        { 0xc001102a, 0, 1, 0, 0 },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r = make();
        check_note("row %zu: %x", i, row[i].index);
        CHECK_EQ(read(&r, row[i].index), row[i].first);
        struct rig before = r;
        struct msr_outcome o = write(&r, row[i].index, row[i].value);
        CHECK(o.known);
        CHECK_EQ(o.gp, row[i].reads == GP);
        CHECK_EQ(o.groups, row[i].groups);
        CHECK_EQ(read(&r, row[i].index), o.gp ? row[i].first : row[i].reads);
        if (o.gp)
            CHECK_MEM_EQ(&r, &before, sizeof(r));
    }
}

TEST(msr_of_hidden_features_are_general_protection_faults)
{
    static const uint32_t hidden[] = { 0x0,        0x1,        0x17,       0x2a,       0x48,       0x49,
                                       0xce,       0xfe,       0x10a,      0x179,      0x17a,      0x1a0,
                                       0x200,      0x250,      0x2ff,      0x400,      0x6e1,      0x800,
                                       0xda0,      0x4b564d00, 0xc0000103, 0xc0000104, 0xc0000408, 0xc0010000,
                                       0xc0010004, 0xc0010020, 0xc0010111, 0xc0010114, 0xc0010117, 0xc0010140,
                                       0xc001011f, 0xffffffff };
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        struct rig r = make();
        uint64_t v = 77;
        check_note("%x", hidden[i]);
        CHECK(msr_read(&r.s, &r.cpu, hidden[i], &v).gp);
        CHECK_EQ(v, 77);
        struct msr_outcome o = write(&r, hidden[i], 0);
        CHECK(o.gp && !o.known);
    }
}

TEST(msr_of_the_apic_says_which_device_register_was_written)
{
    struct rig r = make();
    CHECK_EQ(write(&r, 0x1b, APIC_OFF).device, MSR_DEVICE_APIC_BASE);
    CHECK_EQ(r.cpu.apic_base, APIC_OFF);
    CHECK_EQ(write(&r, 0x1b, APIC_ON).device, MSR_DEVICE_APIC_BASE);
    CHECK_EQ(write(&r, 0x6e0, 99).device, MSR_DEVICE_TSC_DEADLINE);
    CHECK_EQ(r.cpu.tsc_deadline, 99);
    CHECK_EQ(write(&r, 0x1b, 0).device, MSR_DEVICE_NONE);
    CHECK_EQ(write(&r, 0x10, 0).device, MSR_DEVICE_NONE);
}

TEST(msr_of_kvms_clock_are_there_for_a_guest_that_is_told)
{
    struct rig r = make();
    r.cpu.enlighten = true;
    CHECK_EQ(write(&r, 0x4b564d01, 0x12345679).device, MSR_DEVICE_KVM_CLOCK);
    CHECK_EQ(read(&r, 0x4b564d01), 0x12345679);
    CHECK_EQ(write(&r, 0x4b564d00, 0x12345678).device, MSR_DEVICE_KVM_WALL);
    CHECK_EQ(read(&r, 0x4b564d00), 0x12345678);
    CHECK(write(&r, 0x4b564d00, 0x1001).gp);
    CHECK(write(&r, 0x4b564d01, 0x1003).gp);
    CHECK(write(&r, 0x4b564d01, BIT(40)).gp);
    CHECK_EQ(write(&r, 0x4b564d02, 0).known, false);
}

TEST(msr_tsc_deadline_is_gone_while_the_apic_is_off)
{
    struct rig r = make();
    uint64_t v;
    write(&r, 0x1b, APIC_OFF);
    CHECK(write(&r, 0x6e0, 5).gp);
    CHECK(msr_read(&r.s, &r.cpu, 0x6e0, &v).gp);
    write(&r, 0x1b, APIC_ON);
    CHECK(!write(&r, 0x6e0, 5).gp);
}

/* Linux 6.1 on family 17, without rdmsr_safe: a fault here is an oops. */
TEST(msr_linux_reads_these_without_asking)
{
    static const uint32_t unsafe[] = { 0x10,       0x277,      0xc0000080, 0xc0010015,
                                       0xc0010055, 0xc0000100, 0xc0000101, 0xc0000102 };
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++) {
        struct rig r = make();
        check_note("%x", unsafe[i]);
        read(&r, unsafe[i]);
    }
}

TEST(msr_tsc_and_its_adjustment_move_together)
{
    struct rig r = make();
    CHECK_EQ(read(&r, 0x10), 1000000);
    CHECK_EQ(write(&r, 0x10, 500).groups, STATE_TSC);
    CHECK_EQ(read(&r, 0x10), 500);
    CHECK_EQ(read(&r, 0x3b), (uint64_t)-999500);
    r.cpu.now += 100;
    CHECK_EQ(read(&r, 0x10), 600);
    CHECK_EQ(write(&r, 0x3b, 0).groups, STATE_TSC);
    CHECK_EQ(read(&r, 0x10), 1000100);
    CHECK_EQ(r.cpu.tsc_offset, 0);
}

TEST(msr_efer_write_tells_what_it_means)
{
    struct rig r = make();
    struct msr_outcome o = write(&r, 0xc0000080, EFER_NXE);
    CHECK(o.cr.rights_changed);
    CHECK_EQ(r.cpu.cr.efer, EFER_NXE);
    r.cpu.cr.cr0 = CR0_PE | CR0_PG;
    CHECK(write(&r, 0xc0000080, EFER_LME).gp);
}

static unsigned notes;
static void note(struct dev_undo *undo, void *field, size_t bytes)
{
    (void)undo, (void)field;
    CHECK_EQ(bytes, 8);
    notes++;
}

TEST(msr_changes_of_the_segment_are_announced)
{
    struct rig r = make();
    struct dev_undo undo = { .note = note };
    static const uint32_t stored[] = { 0x10, 0x3b, 0x1d9, 0x277, 0xc0010010, 0xc0010015, 0xc0011029 };
    for (unsigned i = 0; i < 7; i++) {
        CHECK(!msr_write(&r.s, &r.cpu, &r.limits, &undo, stored[i], 0).gp);
        CHECK_EQ(notes, i + 1);
    }
    msr_write(&r.s, &r.cpu, &r.limits, &undo, 0xc0000082, 0);
    CHECK_EQ(notes, 7); /* the vCPU's, not the segment's */
}
