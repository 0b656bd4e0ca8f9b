/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC: the register table, priorities, virtual wire, the timer's modes to the tick, interprocessor
 * interrupts, errors, and both ways of disabling it. Undo and copies: test_bus.c. */
// USES: servers/vmm/dev/*.c
#include "rig.h"

#define LAPIC(reg) (LAPIC_BASE + (reg))
enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    APR = 0x90,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_TO = 0x310,
    TIMER = 0x320,
    LINT0 = 0x350,
    LINT1 = 0x360,
    ERROR = 0x370,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
};

#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define TO_SELF  0x40000u

static uint32_t rd(struct rig *r, uint32_t reg)
{
    return mem_in(r, LAPIC(reg));
}

static void wr(struct rig *r, uint32_t reg, uint32_t v)
{
    mem_out(r, LAPIC(reg), v);
}

static void self(struct rig *r, uint32_t vector)
{
    wr(r, ICR, TO_SELF | vector);
}

/* ---- registers ---- */

TEST(lapic_register_table)
{
    static const struct {
        uint16_t reg;
        uint32_t first, value, reads; /* after firmware; written; what comes back */
    } row[] = {
        { ID, 0, 0x12345678, 0x12000000 },
        { VERSION, 0x00050010, 0xffffffff, 0x00050010 },
        { TPR, 0, 0xffffffff, 0xff },
        { APR, 0, 0xff, 0 },
        { PPR, 0, 0xff, 0 },
        { EOI, 0, 0, 0 },
        { 0xc0, 0, 5, 0 },
        { LDR, 0, 0xffffffff, 0xff000000 },
        { DFR, 0xffffffff, 0, 0x0fffffff },
        { SVR, 0x1ff, 0xffffffff, 0x3ff },
        { ISR + 0x70, 0, 0xff, 0 },
        { TMR, 0, 0xff, 0 },
        { IRR + 0x10, 0, 0xff, 0 },
        { ESR, 0, 0xff, 0 },
        { ICR, 0, 0x000c1730, 0x000c0730 }, /* ExtINT to others: nobody; the status bit reads idle */
        { ICR_TO, 0, 0xffffffff, 0xff000000 },
        { TIMER, 0x10000, 0xffffffff, 0x000700ff },
        { 0x330, 0x10000, 0xffffffff, 0x000107ff },
        { 0x340, 0x10000, 0xffffffff, 0x000107ff },
        { LINT0, 0x700, 0xffffffff, 0x0001a7ff },
        { LINT1, 0x400, 0xffffffff, 0x0001a7ff },
        { ERROR, 0x10000, 0xffffffff, 0x000107ff },
        { INITIAL, 0, 0xfffffff0, 0xfffffff0 },
        { CURRENT, 0, 5, 0 },
        { DIVIDE, 0, 0xffffffff, 0xb },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        check_note("register %x", row[i].reg);
        CHECK_EQ(rd(&r, row[i].reg), row[i].first);
        wr(&r, row[i].reg, row[i].value);
        CHECK_EQ(rd(&r, row[i].reg), row[i].reads);
        wr(&r, ESR, 0);
        CHECK_EQ(rd(&r, ESR), 0);
    }
}

TEST(lapic_what_is_no_register_reads_zero_and_is_an_error)
{
    static const uint16_t none[] = { 0x000, 0x010, 0x040, 0x070, 0x290, 0x2f0,
                                     0x3a0, 0x3d0, 0x3f0, 0x400, 0xff0 };
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        struct rig r;
        rig_init(&r);
        check_note("register %x", none[i]);
        CHECK_EQ(rd(&r, none[i]), 0);
        CHECK_EQ(rd(&r, ESR), 0); /* as it was at its last write */
        wr(&r, ESR, 0);
        CHECK_EQ(rd(&r, ESR), 0x80);
        wr(&r, none[i], 1);
        wr(&r, ESR, 0);
        CHECK_EQ(rd(&r, ESR), 0x80);
        wr(&r, ESR, 0);
        CHECK_EQ(rd(&r, ESR), 0);
    }
}

TEST(lapic_takes_aligned_words_only)
{
    static const uint8_t bytes[16] = { 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37 };
    static const struct {
        uint32_t offset, n;
    } ignored[] = { { TPR, 1 },     { TPR, 2 },     { TPR, 8 },    { TPR, 16 },
                    { TPR + 1, 3 }, { TPR + 4, 4 }, { TPR - 2, 4 } };
    struct rig r;
    rig_init(&r);
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        machine_write(&r.m, NULL, r.now, (gpa_t){ LAPIC(ignored[i].offset) }, bytes, ignored[i].n);
        check_note("row %zu", i);
        CHECK_EQ(rd(&r, TPR), 0);
    }
    wr(&r, SVR, 0x1f2);
    uint8_t seen[16];
    machine_read(&r.m, NULL, r.now, (gpa_t){ LAPIC(SVR - 2) }, seen, 16);
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(seen[i], i == 2 ? 0xf2 : i == 3 ? 1 : 0);
}

/* ---- priorities ---- */

TEST(lapic_delivers_by_priority_and_nests_by_class)
{
    struct rig r;
    rig_init(&r);
    self(&r, 0x41), self(&r, 0x52), self(&r, 0x55);
    CHECK_EQ(rig_ack(&r), 0x55);
    CHECK_EQ(rd(&r, PPR), 0x50);
    CHECK_EQ(rig_ack(&r), -1); /* 52h is of the class in service */
    self(&r, 0x60);
    CHECK_EQ(rig_ack(&r), 0x60);
    CHECK_EQ(rd(&r, ISR + 0x20), 0x00200000);
    CHECK_EQ(rd(&r, ISR + 0x30), 0x00000001);
    CHECK_EQ(rd(&r, IRR + 0x20), 0x00040002);
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), -1);
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), 0x52);
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), 0x41);
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), -1);
    wr(&r, EOI, 0); /* with nothing in service: nothing */
    CHECK_EQ(rd(&r, PPR), 0);
}

TEST(lapic_tpr_blocks_its_class_and_below_and_is_cr8)
{
    struct rig r;
    rig_init(&r);
    for (unsigned cr8 = 0; cr8 < 16; cr8++) {
        machine_set_tpr(&r.m, NULL, r.now, cr8 << 4);
        CHECK_EQ(rd(&r, TPR), cr8 << 4);
        CHECK_EQ(rd(&r, PPR), cr8 << 4);
        self(&r, 0x91);
        check_note("CR8 %u", cr8);
        CHECK_EQ(machine_intr(&r.m), cr8 < 9);
        machine_set_tpr(&r.m, NULL, r.now, 0);
        CHECK_EQ(rig_ack(&r), 0x91);
        wr(&r, EOI, 0);
    }
    wr(&r, TPR, 0x57);
    CHECK_EQ(r.m.lapic.tpr >> 4, 5); /* what CR8 reads */
    CHECK_EQ(rd(&r, PPR), 0x57);
}

TEST(lapic_arbitration_priority_follows_the_highest)
{
    struct rig r;
    rig_init(&r);
    wr(&r, TPR, 0x35);
    CHECK_EQ(rd(&r, APR), 0x35);
    self(&r, 0x48);
    CHECK_EQ(rd(&r, APR), 0x40);
    CHECK_EQ(rig_ack(&r), 0x48);
    CHECK_EQ(rd(&r, APR), 0x40);
}

TEST(lapic_acknowledge_without_a_request_is_spurious)
{
    struct rig r;
    rig_init(&r);
    wr(&r, SVR, 0x1ef), wr(&r, LINT0, MASKED);
    CHECK_EQ(machine_ack(&r.m, NULL, r.now), 0xef);
    for (uint32_t i = 0; i < 8; i++)
        CHECK_EQ(rd(&r, ISR + i * 16), 0);
}

/* ---- virtual wire ---- */

TEST(lapic_lint0_passes_the_8259_in_virtual_wire_mode)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    struct dev_ctx ctx = { .now = r.now, .lines = &r.m.lines };
    dev_line(&ctx, 3, true), machine_expire(&r.m, NULL, r.m.deadline);
    out8(&r, 0x80, 0);
    CHECK(machine_intr(&r.m));
    wr(&r, TPR, 0xff); /* ExtINT knows no priority */
    CHECK(machine_intr(&r.m));
    wr(&r, LINT0, MASKED | 0x700);
    CHECK(!machine_intr(&r.m));
    wr(&r, LINT0, 0x700);
    CHECK(machine_intr(&r.m));
    wr(&r, SVR, 0xff); /* software-disabled: not accepted, and the mask bit stays when enabled again */
    CHECK(!machine_intr(&r.m));
    wr(&r, LINT0, 0x700);
    CHECK_EQ(rd(&r, LINT0), 0x10700);
    wr(&r, SVR, 0x1ff);
    CHECK(!machine_intr(&r.m));
    machine_set_apic_base(&r.m, NULL, r.now, 0xfee00100); /* globally: the wire itself */
    CHECK(machine_intr(&r.m));
    CHECK_EQ(rig_ack(&r), 0x33);
}

/* Raises line 3 of the 8259 pair, on the way to LINT0. */
static void raise_line(struct rig *r, bool high)
{
    struct dev_ctx ctx = { .now = r->now, .lines = &r->m.lines };
    dev_line(&ctx, 3, high);
    in8(r, 0x21); /* the controllers look */
}

TEST(lapic_lint0_as_fixed_vector_takes_edges)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    wr(&r, LINT0, 0x61);
    raise_line(&r, true);
    CHECK_EQ(rig_ack(&r), 0x61);
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), -1); /* INTR is still up: no edge */
    raise_line(&r, false), raise_line(&r, true);
    CHECK_EQ(rig_ack(&r), 0x61);
}

TEST(lapic_lint0_as_level_asks_again_after_eoi)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    wr(&r, LINT0, 0x8061);
    raise_line(&r, true);
    CHECK_EQ(rd(&r, LINT0), 0xc061); /* remote IRR */
    CHECK_EQ(rd(&r, TMR + 0x30), 2);
    CHECK_EQ(rig_ack(&r), 0x61);
    CHECK(!machine_intr(&r.m));
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), 0x61);
    raise_line(&r, false);
    wr(&r, EOI, 0);
    CHECK_EQ(rd(&r, LINT0), 0x8061);
    CHECK_EQ(rig_ack(&r), -1);
}

TEST(lapic_lint0_as_nmi)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    CHECK(!machine_nmi_possible(&r.m));
    wr(&r, LINT0, 0x400);
    CHECK(machine_nmi_possible(&r.m));
    raise_line(&r, true);
    CHECK(machine_nmi(&r.m) && !machine_intr(&r.m));
    machine_nmi_taken(&r.m, NULL, r.now);
    CHECK(!machine_nmi(&r.m));
}

/* ---- the timer ---- */

TEST(lapic_timer_divides_as_configured)
{
    static const struct {
        uint32_t code, divisor;
    } row[] = { { 0, 2 }, { 1, 4 }, { 2, 8 }, { 3, 16 }, { 8, 32 }, { 9, 64 }, { 10, 128 }, { 11, 1 } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        wr(&r, DIVIDE, row[i].code), wr(&r, TIMER, 0x40), wr(&r, INITIAL, 1000000);
        check_note("code %x", row[i].code);
        CHECK_EQ(rd(&r, CURRENT), 1000000);
        r.now += row[i].divisor - 1;
        CHECK_EQ(rd(&r, CURRENT), 1000000);
        r.now++;
        CHECK_EQ(rd(&r, CURRENT), 999999);
        CHECK_EQ(r.m.deadline, r.now + 999999ull * row[i].divisor);
        rig_wait(&r, 999999ull * row[i].divisor - 1);
        CHECK_EQ(rd(&r, CURRENT), 1);
        CHECK(!machine_intr(&r.m));
        rig_wait(&r, 1);
        CHECK_EQ(rd(&r, CURRENT), 0);
        CHECK_EQ(rig_ack(&r), 0x40);
        wr(&r, EOI, 0);
        rig_wait(&r, 300 * MS); /* one shot */
        CHECK_EQ(rig_ack(&r), -1);
    }
}

TEST(lapic_timer_periodic_reloads_without_drift)
{
    struct rig r;
    rig_init(&r);
    wr(&r, DIVIDE, 11), wr(&r, TIMER, PERIODIC | 0x40), wr(&r, INITIAL, 1000000);
    uint64_t start = r.now;
    for (unsigned i = 1; i <= 5; i++) {
        rig_wait(&r, start + i * MS - r.now);
        check_note("period %u", i);
        CHECK_EQ(rig_ack(&r), 0x40);
        wr(&r, EOI, 0);
        CHECK_EQ(r.m.deadline, start + (i + 1) * MS);
        r.now += 1234 * i; /* the guest is late */
        CHECK_EQ(rd(&r, CURRENT), 1000000 - 1234 * i);
    }
    r.now = start + 20 * MS + 7; /* missed periods are one interrupt */
    machine_expire(&r.m, NULL, r.now);
    CHECK_EQ(rig_ack(&r), 0x40);
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), -1);
    CHECK_EQ(r.m.deadline, start + 21 * MS);
    wr(&r, INITIAL, 0);
    CHECK_EQ(rd(&r, CURRENT), 0);
    CHECK_EQ(r.m.deadline, DEV_NEVER);
}

TEST(lapic_timer_masked_wakes_nobody_and_goes_on)
{
    struct rig r;
    rig_init(&r);
    wr(&r, DIVIDE, 11), wr(&r, TIMER, MASKED | PERIODIC | 0x40), wr(&r, INITIAL, 1000000);
    CHECK_EQ(r.m.deadline, DEV_NEVER);
    r.now += 2500000;
    CHECK_EQ(rd(&r, CURRENT), 500000);
    wr(&r, TIMER, PERIODIC | 0x40);
    CHECK_EQ(rig_ack(&r), -1); /* what it did behind the mask is gone */
    CHECK_EQ(r.m.deadline, r.now + 500000);
}

TEST(lapic_timer_count_stays_when_its_rate_changes)
{
    struct rig r;
    rig_init(&r);
    wr(&r, DIVIDE, 11), wr(&r, TIMER, 0x40), wr(&r, INITIAL, 1000000);
    r.now += 400000;
    wr(&r, DIVIDE, 0); /* by 2 */
    CHECK_EQ(rd(&r, CURRENT), 600000);
    CHECK_EQ(r.m.deadline, r.now + 1200000);
}

TEST(lapic_timer_slowed_down_soon_after_power_on)
{
    static struct machine m;
    struct machine_config config = { .hz = RIG_HZ };
    uint32_t v;
    CHECK(machine_init(&m, &config, 10));
    static const struct {
        uint32_t reg, value;
        uint64_t now;
    } write[] = { { DIVIDE, 11, 10 }, { TIMER, 0x40, 10 }, { INITIAL, 1000000, 10 }, { DIVIDE, 10, 500010 } };
    for (size_t i = 0; i < sizeof(write) / sizeof(write[0]); i++)
        machine_write(&m, NULL, write[i].now, (gpa_t){ LAPIC(write[i].reg) },
                      (const uint8_t *)&write[i].value, 4);
    machine_read(&m, NULL, 500010 + 128 * 1000, (gpa_t){ LAPIC(CURRENT) }, (uint8_t *)&v, 4);
    CHECK_EQ(v, 499000);
    CHECK_EQ(m.deadline, 500010 + 128 * 500000);
    machine_expire(&m, NULL, m.deadline);
    CHECK(machine_intr(&m));
}

TEST(lapic_timer_deadline_is_the_guests_tsc)
{
    struct rig r;
    rig_init(&r);
    uint64_t tsc = r.now + r.m.lapic.tsc_offset;
    machine_set_deadline(&r.m, NULL, r.now, tsc + MS);
    CHECK_EQ(r.m.lapic.deadline, 0); /* not in this mode */
    wr(&r, TIMER, DEADLINE | 0x40);
    wr(&r, INITIAL, 1000);
    CHECK_EQ(rd(&r, INITIAL), 0);
    machine_set_deadline(&r.m, NULL, r.now, tsc + MS);
    CHECK_EQ(r.m.deadline, r.now + MS);
    CHECK_EQ(rd(&r, CURRENT), 0);
    rig_wait(&r, MS - 1);
    CHECK_EQ(rig_ack(&r), -1);
    rig_wait(&r, 1);
    CHECK_EQ(r.m.lapic.deadline, 0);
    CHECK_EQ(rig_ack(&r), 0x40);
    wr(&r, EOI, 0);
    machine_set_deadline(&r.m, NULL, r.now, tsc); /* past already */
    CHECK_EQ(rig_ack(&r), 0x40);
    wr(&r, EOI, 0);
    machine_set_deadline(&r.m, NULL, r.now, tsc + 5 * MS);
    machine_set_deadline(&r.m, NULL, r.now, 0);
    CHECK_EQ(r.m.deadline, DEV_NEVER);
    machine_set_deadline(&r.m, NULL, r.now, UINT64_MAX);
    CHECK_EQ(r.m.deadline, DEV_NEVER);
    machine_set_deadline(&r.m, NULL, r.now, tsc + 5 * MS);
    wr(&r, TIMER, 0x40);
    CHECK_EQ(r.m.lapic.deadline, 0); /* gone with the mode */
}

TEST(lapic_timer_deadline_follows_a_tsc_that_is_set)
{
    struct rig r;
    rig_init(&r);
    wr(&r, TIMER, DEADLINE | 0x40);
    uint64_t offset = r.m.lapic.tsc_offset;
    machine_set_deadline(&r.m, NULL, r.now, r.now + offset + 10 * MS);
    machine_set_tsc(&r.m, NULL, r.now, offset + 4 * MS);
    CHECK_EQ(r.m.deadline, r.now + 6 * MS);
    machine_set_tsc(&r.m, NULL, r.now, offset - 4 * MS);
    CHECK_EQ(r.m.deadline, r.now + 14 * MS);
    machine_set_tsc(&r.m, NULL, r.now, offset + 10 * MS);
    CHECK_EQ(rig_ack(&r), 0x40);
}

TEST(lapic_timer_does_not_come_faster_than_the_machine_allows)
{
    struct rig r;
    rig_init(&r);
    wr(&r, DIVIDE, 11), wr(&r, TIMER, PERIODIC | 0x40), wr(&r, INITIAL, 10);
    CHECK_LE(rig_wait(&r, 10 * MS), 10 * MS / (20 * US) + 1);
}

/* ---- interprocessor interrupts ---- */

TEST(lapic_icr_reaches_itself_or_nobody)
{
    static const struct {
        uint32_t low, to, dfr, ldr;
        bool comes;
        uint32_t esr;
    } row[] = {
        { 0x00040045, 0x07, 0xf, 0, true, 0 },    /* self */
        { 0x00080045, 0x07, 0xf, 0, true, 0 },    /* all with self */
        { 0x000c0045, 0x00, 0xf, 0, false, 0 },   /* all but self */
        { 0x00000045, 0x00, 0xf, 0, true, 0 },    /* physical: this one */
        { 0x00000045, 0x01, 0xf, 0, false, 4 },   /* absent: not accepted */
        { 0x00000045, 0xff, 0xf, 0, true, 0 },    /* broadcast */
        { 0x00000845, 0x02, 0xf, 2, true, 0 },    /* logical, flat */
        { 0x00000845, 0x05, 0xf, 2, false, 4 },   /**/
        { 0x00000845, 0x32, 0x0, 0x36, true, 0 }, /* cluster */
        { 0x00000845, 0x42, 0x0, 0x36, false, 4 },
        { 0x00000845, 0x31, 0x0, 0x36, false, 4 },
        { 0x00000845, 0xf4, 0x0, 0x36, true, 0 },
        { 0x00000145, 0x00, 0xf, 0, true, 0 },  /* lowest priority */
        { 0x00004505, 0x01, 0xf, 0, false, 0 }, /* INIT to an absent processor */
        { 0x00004609, 0x01, 0xf, 0, false, 0 }, /* STARTUP */
        { 0x000c4500, 0x00, 0xf, 0, false, 0 },
        { 0x00088500, 0x00, 0xf, 0, false, 0 },   /* INIT level deassert */
        { 0x00040008, 0x00, 0xf, 0, false, 0x20 } /* a vector that is none */
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        wr(&r, DFR, row[i].dfr << 28), wr(&r, LDR, row[i].ldr << 24), wr(&r, ICR_TO, row[i].to << 24);
        wr(&r, ICR, row[i].low);
        check_note("row %zu", i);
        CHECK_EQ(rig_ack(&r), row[i].comes ? 0x45 : -1);
        wr(&r, ESR, 0);
        CHECK_EQ(rd(&r, ESR), row[i].esr);
        CHECK_EQ(r.m.lines.request, DEV_REQUEST_NONE);
        CHECK(!machine_nmi(&r.m));
    }
}

TEST(lapic_icr_nmi_and_init_to_itself)
{
    struct rig r;
    rig_init(&r);
    wr(&r, ICR, 0x00000400);
    CHECK(machine_nmi(&r.m));
    machine_nmi_taken(&r.m, NULL, r.now);
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_NONE);
    wr(&r, ICR, 0x00004500);
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_RESET_INIT);
    CHECK_STR_EQ(dev_request_name(r.m.lines.request), "reset by an INIT to itself");
}

/* ---- errors and disabling ---- */

TEST(lapic_errors_interrupt_when_asked)
{
    struct rig r;
    rig_init(&r);
    wr(&r, ERROR, 0xfe);
    rd(&r, 0x40);
    CHECK_EQ(rig_ack(&r), 0xfe);
    wr(&r, EOI, 0);
    rd(&r, 0x40); /* the same, before it was cleared: known */
    CHECK_EQ(rig_ack(&r), -1);
    wr(&r, ESR, 0);
    CHECK_EQ(rd(&r, ESR), 0x80);
    rd(&r, 0x40);
    CHECK_EQ(rig_ack(&r), 0xfe);
    wr(&r, TIMER, 5), wr(&r, INITIAL, 10); /* a timer with an illegal vector */
    rig_wait(&r, MS);
    wr(&r, ESR, 0);
    CHECK_EQ(rd(&r, ESR), 0xc0);
}

TEST(lapic_software_disabled_holds_what_it_has_and_accepts_nothing)
{
    struct rig r;
    rig_init(&r);
    for (uint32_t reg = TIMER; reg <= ERROR; reg += 0x10) {
        wr(&r, reg, 0x40);
        CHECK_EQ(rd(&r, reg) & MASKED, 0);
    }
    wr(&r, INITIAL, 100);
    self(&r, 0x51);
    wr(&r, SVR, 0xff);
    for (uint32_t reg = TIMER; reg <= ERROR; reg += 0x10)
        CHECK_EQ(rd(&r, reg) & MASKED, MASKED);
    CHECK(!machine_intr(&r.m));
    self(&r, 0x61);
    rig_wait(&r, MS);
    wr(&r, SVR, 0x1ff);
    CHECK_EQ(rig_ack(&r), 0x51);
    wr(&r, EOI, 0);
    CHECK_EQ(rig_ack(&r), -1);
}

TEST(lapic_globally_disabled_is_not_there_and_comes_back_reset)
{
    struct rig r;
    rig_init(&r);
    self(&r, 0x51);
    machine_set_apic_base(&r.m, NULL, r.now, 0xfee00100);
    CHECK_EQ(rd(&r, VERSION), 0xffffffff);
    wr(&r, SVR, 0x123);
    CHECK_EQ(rig_ack(&r), -1);
    machine_set_tpr(&r.m, NULL, r.now, 0x70); /* CR8 is the processor's own */
    machine_set_deadline(&r.m, NULL, r.now, 1);
    machine_set_apic_base(&r.m, NULL, r.now, 0xfee00900);
    CHECK_EQ(rd(&r, SVR), 0xff);
    CHECK_EQ(rd(&r, LINT0), MASKED);
    CHECK_EQ(rd(&r, IRR + 0x20), 0);
    CHECK_EQ(rd(&r, TPR), 0x70);
    CHECK_EQ(r.m.lapic.deadline, 0);
}
