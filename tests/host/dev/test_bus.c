/* SPDX-License-Identifier: BSD-2-Clause */
/* The bus: dispatch, widths, what is counted; keyboard controller, PCI, reset and power off; and that the
 * undo log of any traffic rolls back exactly (I8), and a copied state segment continues alike. */
// USES: servers/vmm/dev/*.c
#include "rig.h"

#include <stdlib.h>
#include <string.h>

TEST(bus_table_is_sorted_and_overlaps_nowhere)
{
    struct bus_entry_view e;
    unsigned next = 0;
    for (unsigned i = 0; bus_entry_at(i, &e); i++) {
        CHECK_LE(next, e.first);
        CHECK_LE(e.first, e.last);
        CHECK(e.widths && !(e.widths & ~7));
        next = e.last + 1u;
    }
    CHECK_EQ(next, 0x8901);
}

TEST(bus_every_port_reads_ones_or_belongs_to_a_device)
{
    struct bus_entry_view e;
    for (unsigned port = 0; port < 0x10000; port++) {
        static struct rig r;
        bool device = false;
        for (unsigned i = 0; bus_entry_at(i, &e); i++)
            device |= port >= e.first && port <= e.last && (e.widths & 1);
        rig_init(&r);
        uint8_t v = in8(&r, (uint16_t)port);
        check_note("port %x", port);
        if (!device)
            CHECK_EQ(v, 0xff);
        CHECK_EQ(r.m.absent_used, !device);
    }
}

TEST(bus_memory_table_is_sorted_in_whole_pages_and_overlaps_nowhere)
{
    struct mmio_entry_view e;
    uint64_t next = 0;
    for (unsigned i = 0; mmio_entry_at(i, &e); i++) {
        CHECK_LE(next, e.first);
        CHECK_LE(e.first, e.last);
        CHECK_EQ(e.first % PAGE_BYTES, 0);
        CHECK_EQ((e.last + 1) % PAGE_BYTES, 0);
        next = e.last + 1;
    }
    CHECK_EQ(next, 0xfee01000);
}

TEST(bus_memory_without_a_device_reads_ones_and_swallows_writes)
{
    static const uint64_t nothing[] = { 0,          0xa0000,    0xfebff000, 0xfec01000,
                                        0xfedff000, 0xfee01000, BIT(40) - 4 };
    struct rig r;
    rig_init(&r);
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        static struct machine before;
        before = r.m;
        mem_out(&r, nothing[i], 0x1ff);
        CHECK_EQ(mem_in(&r, nothing[i]), 0xffffffff);
        CHECK_MEM_EQ(&r.m, &before, sizeof(before));
    }
    CHECK_EQ(mem_in(&r, 0xfee00030), 0x00050010);
    CHECK_EQ(mem_in(&r, 0xfec00000), 0);
}

TEST(bus_counts_accesses_to_nothing)
{
    struct rig r;
    rig_init(&r);
    in8(&r, 0x2f8), in8(&r, 0x2f8), out8(&r, 0x2f8, 1);
    CHECK_EQ(machine_in(&r.m, NULL, r.now, 0x1f0, 2), 0xffff);
    CHECK_EQ(machine_in(&r.m, NULL, r.now, 0x1f0, 4), 0xffffffff);
    CHECK_EQ(r.m.absent_used, 2);
    CHECK_EQ(r.m.absent[0].port, 0x2f8);
    CHECK_EQ(r.m.absent[0].reads, 2);
    CHECK_EQ(r.m.absent[0].writes, 1);
    CHECK_EQ(r.m.absent[1].reads, 2);
    for (uint16_t port = 0x1000; port < 0x1000 + ABSENT_PORTS; port++)
        out8(&r, port, 0);
    CHECK_EQ(r.m.absent_used, ABSENT_PORTS);
    CHECK_EQ(r.m.absent_more, 2);
    in8(&r, 0x2f8);
    CHECK_EQ(r.m.absent[0].reads, 3);
}

TEST(bus_splits_wide_accesses_to_byte_devices)
{
    struct rig r;
    rig_init(&r);
    machine_out(&r.m, NULL, r.now, 0x3fb, 4, 0x5a001b03); /* LCR MCR LSR MSR */
    CHECK_EQ(in8(&r, 0x3fb), 0x03);
    CHECK_EQ(in8(&r, 0x3fc), 0x1b);
    machine_out(&r.m, NULL, r.now, 0x3ff, 2, 0xaa77); /* SCR, then nothing */
    CHECK_EQ(machine_in(&r.m, NULL, r.now, 0x3ff, 2), 0xff77);
    machine_out(&r.m, NULL, r.now, 0x70, 2, 0x5540); /* index and data in one, as DOS did */
    CHECK_EQ(in8(&r, 0x71), 0x55);
    CHECK_EQ(machine_in(&r.m, NULL, r.now, 0x63, 2), 0x14ff);
    CHECK_EQ(r.m.absent_used, 0);
}

TEST(bus_refuses_other_widths)
{
    static const unsigned widths[] = { 0, 3, 5, 8 };
    struct rig r;
    rig_init(&r);
    for (int i = 0; i < 4; i++) {
        machine_out(&r.m, NULL, r.now, 0x70, widths[i], 0x19);
        CHECK_EQ(machine_in(&r.m, NULL, r.now, 0x70, widths[i]), 0xffffffff);
    }
    CHECK_EQ(r.m.cmos.index, 0);
}

TEST(bus_last_port_does_not_run_over)
{
    struct rig r;
    rig_init(&r);
    CHECK_EQ(machine_in(&r.m, NULL, r.now, 0xffff, 4), 0xffffffff);
    machine_out(&r.m, NULL, r.now, 0xffff, 4, 0);
}

TEST(pci_linux_probe_finds_none)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0xcfb, 1);
    machine_out(&r.m, NULL, r.now, 0xcf8, 4, 0x80000000);
    CHECK_EQ(machine_in(&r.m, NULL, r.now, 0xcf8, 4), 0xffffffff);
    out8(&r, 0xcfb, 0), out8(&r, 0xcf8, 0), out8(&r, 0xcfa, 0);
    CHECK_EQ(in8(&r, 0xcf8), 0xff);
    CHECK_EQ(in8(&r, 0xcfa), 0xff);
    for (unsigned width = 1; width <= 4; width *= 2)
        CHECK_EQ(machine_in(&r.m, NULL, r.now, 0xcfc, width) + 1, width == 4 ? 0 : 1u << 8 * width);
    CHECK_EQ(r.m.absent_used, 0);
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_NONE);
}

/* A write to them only takes time: no state is there to be undone or restored (I8). */
TEST(delay_ports_keep_nothing)
{
    static const uint16_t ports[] = { 0x80, 0xed };
    struct rig r;
    rig_init(&r);
    struct machine before = r.m;
    for (int i = 0; i < 2; i++) {
        out8(&r, ports[i], 0x42);
        CHECK_EQ(in8(&r, ports[i]), 0xff);
    }
    CHECK(!memcmp(&r.m, &before, sizeof(before)));
}

/* ---- the guest's ends ---- */

TEST(machine_reset_and_poweroff_requests)
{
    static const struct {
        uint16_t port;
        unsigned width;
        uint32_t value, request;
    } row[] = {
        { 0x64, 1, 0xfe, DEV_REQUEST_RESET_KBD },   { 0x64, 1, 0xff, DEV_REQUEST_NONE },
        { 0x64, 1, 0xf0, DEV_REQUEST_RESET_KBD },   { 0x92, 1, 0x01, DEV_REQUEST_RESET_PORT92 },
        { 0x92, 1, 0x02, DEV_REQUEST_NONE },        { 0xcf9, 1, 0x06, DEV_REQUEST_RESET_CF9 },
        { 0xcf9, 1, 0x04, DEV_REQUEST_RESET_CF9 },  { 0xcf9, 1, 0x02, DEV_REQUEST_NONE },
        { 0x604, 2, 0x2000, DEV_REQUEST_POWEROFF }, { 0x604, 2, 0x3400, DEV_REQUEST_NONE },
        { 0x604, 1, 0x00, DEV_REQUEST_NONE },       { 0x604, 4, 0x2000, DEV_REQUEST_NONE },
        { 0xf4, 1, 0x00, DEV_REQUEST_EXIT },        { 0xf4, 2, 0x1234, DEV_REQUEST_EXIT },
        { 0xf3, 1, 0x01, DEV_REQUEST_NONE },        { 0xf5, 1, 0x01, DEV_REQUEST_NONE },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        machine_out(&r.m, NULL, r.now, row[i].port, row[i].width, row[i].value);
        check_note("row %zu", i);
        CHECK_EQ(r.m.lines.request, row[i].request);
    }
    CHECK_STR_EQ(dev_request_name(DEV_REQUEST_POWEROFF), "power off");
    CHECK_STR_EQ(dev_request_name(99), "unknown");
}

TEST(machine_poweroff_by_word_wants_the_whole_word)
{
    struct rig r;
    rig_init(&r);
    for (const char *c = "ShutShutdow"; *c; c++)
        out8(&r, 0x8900, (uint8_t)*c);
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_NONE);
    out8(&r, 0x8900, 'n');
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_POWEROFF);
    out8(&r, 0x64, 0xfe); /* the first request stays */
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_POWEROFF);
}

TEST(machine_debug_exit_keeps_the_value_of_the_write_that_ended_the_guest)
{
    static const struct {
        unsigned width;
        uint32_t written, kept;
    } row[] = { { 1, 0, 0 }, { 1, 0x1ff, 0xff }, { 2, 0x12345, 0x2345 }, { 4, 0xfedcba98, 0xfedcba98 } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        CHECK_EQ(in8(&r, 0xf4), 0xff);
        CHECK_EQ(r.m.lines.request, DEV_REQUEST_NONE);
        machine_out(&r.m, NULL, r.now, 0xf4, row[i].width, row[i].written);
        check_note("row %zu", i);
        CHECK_EQ(r.m.power.exit_value, row[i].kept);
        out8(&r, 0xf4, 77);
        CHECK_EQ(r.m.power.exit_value, row[i].kept);
    }
    struct rig r;
    rig_init(&r);
    out8(&r, 0x64, 0xfe); /* it is being reset */
    out8(&r, 0xf4, 77);
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_RESET_KBD);
    CHECK_EQ(r.m.power.exit_value, 0);
}

TEST(machine_reset_control_reads_back)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0xcf9, 0x0a);
    CHECK_EQ(in8(&r, 0xcf9), 0x0a);
}

/* ---- keyboard controller ---- */

static uint8_t kbd_command(struct rig *r, uint8_t command)
{
    CHECK_EQ(in8(r, 0x64) & 2, 0);
    out8(r, 0x64, command);
    CHECK_EQ(in8(r, 0x64) & 1, 1);
    return in8(r, 0x60);
}

TEST(kbd_linux_probe_finds_a_controller_without_mouse)
{
    struct rig r;
    rig_init(&r);
    CHECK_EQ(in8(&r, 0x64), 0x14);
    uint8_t config = kbd_command(&r, 0x20);
    CHECK_EQ(config, 0x64);
    out8(&r, 0x64, 0x60), out8(&r, 0x60, (config | 0x10) & ~1);
    CHECK_EQ(kbd_command(&r, 0x20), 0x74);
    out8(&r, 0x64, 0xd3), out8(&r, 0x60, 0x5a); /* loop test of the mouse port: */
    CHECK_EQ(in8(&r, 0x64) & 0x21, 1);          /* answers, but not as from a mouse */
    CHECK_EQ(in8(&r, 0x60), 0x5a);
    CHECK_EQ(kbd_command(&r, 0xa9), 1);
    out8(&r, 0x64, 0xa8);
    CHECK_EQ(kbd_command(&r, 0x20) & 0x20, 0x20);
}

TEST(kbd_tests_pass)
{
    struct rig r;
    rig_init(&r);
    CHECK_EQ(kbd_command(&r, 0xaa), 0x55);
    CHECK_EQ(kbd_command(&r, 0xab), 0);
    CHECK_EQ(kbd_command(&r, 0xc0), 0x80);
    out8(&r, 0x64, 0xad);
    CHECK_EQ(kbd_command(&r, 0x20) & 0x10, 0x10);
    out8(&r, 0x64, 0xae);
    CHECK_EQ(kbd_command(&r, 0x20) & 0x10, 0);
}

TEST(kbd_absent_keyboard_times_out_with_an_interrupt)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    out8(&r, 0x64, 0x60), out8(&r, 0x60, 0x65);
    out8(&r, 0x60, 0xf2); /* identify */
    CHECK_EQ(rig_ack(&r), 0x31);
    CHECK_EQ(in8(&r, 0x64) & 0x41, 0x41);
    CHECK_EQ(in8(&r, 0x60), 0xfe);
    CHECK_EQ(in8(&r, 0x64) & 0x41, 0);
    CHECK_EQ(r.m.lines.level & 2, 0);
    out8(&r, 0x64, 0xd4), out8(&r, 0x60, 0xf2); /* and so does the mouse */
    CHECK_EQ(in8(&r, 0x60), 0xfe);
}

TEST(kbd_output_port_and_port_92_share_a20)
{
    struct rig r;
    rig_init(&r);
    CHECK_EQ(kbd_command(&r, 0xd0) & 3, 3);
    out8(&r, 0x64, 0xd1), out8(&r, 0x60, 0xdd);
    CHECK_EQ(in8(&r, 0x92), 0);
    out8(&r, 0x64, 0xd1), out8(&r, 0x60, 0xdf);
    CHECK_EQ(in8(&r, 0x92), 2);
    out8(&r, 0x92, 0);
    CHECK_EQ(kbd_command(&r, 0xd0) & 2, 0);
    out8(&r, 0x92, 2);
    CHECK_EQ(kbd_command(&r, 0xd0) & 2, 2);
    out8(&r, 0x64, 0xd2), out8(&r, 0x60, 0x1c);
    CHECK_EQ(in8(&r, 0x60), 0x1c);
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_NONE);
    out8(&r, 0x64, 0xd1), out8(&r, 0x60, 0xde);
    CHECK_EQ(r.m.lines.request, DEV_REQUEST_RESET_KBD);
}

/* ---- the state segment ---- */

struct log {
    struct dev_undo undo;
    struct {
        uint8_t *field;
        size_t bytes;
        uint8_t old[sizeof(struct lapic)];
    } entry[4096];
    size_t used;
};

static void note(struct dev_undo *undo, void *field, size_t bytes)
{
    struct log *log = (struct log *)undo;
    CHECK_LT(log->used, sizeof(log->entry) / sizeof(log->entry[0]));
    CHECK_LE(bytes, sizeof(log->entry[0].old));
    log->entry[log->used].field = field;
    log->entry[log->used].bytes = bytes;
    memcpy(log->entry[log->used++].old, field, bytes);
}

static void roll_back(struct log *log)
{
    while (log->used) {
        log->used--;
        memcpy(log->entry[log->used].field, log->entry[log->used].old, log->entry[log->used].bytes);
    }
}

static const uint16_t busy_ports[] = { 0x20,  0x21,  0xa0,  0xa1,   0x40,  0x41,  0x42,  0x43,  0x60,
                                       0x61,  0x64,  0x70,  0x71,   0x80,  0x92,  0xed,  0x3f8, 0x3f9,
                                       0x3fa, 0x3fb, 0x3fc, 0x3fd,  0x3fe, 0x3ff, 0x4d0, 0x4d1, 0x604,
                                       0xcf8, 0xcf9, 0xcfc, 0x8900, 0x1f0, 0xf4,  0x510, 0x511 };

static const uint16_t busy_registers[] = { 0x020, 0x080, 0x0b0, 0x0d0, 0x0e0, 0x0f0, 0x280, 0x300,
                                           0x310, 0x320, 0x350, 0x370, 0x380, 0x390, 0x3e0, 0x110 };

/* A random access to a device in memory. */
static uint64_t random_memory(struct machine *m, struct dev_undo *undo, uint64_t now, uint64_t seed)
{
    static const uint32_t sane[] = { 0x1ff, 0x10030, 0x20041, 0x40052, 0x700, 0x8000, 0x2ff, 0x4c041 };
    uint64_t lapic = LAPIC_BASE + busy_registers[seed >> 4 & 15];
    uint64_t at = seed >> 8 & 1 ? lapic : IOAPIC_BASE + (seed >> 9 & 1) * 16;
    uint32_t v = seed >> 10 & 1 ? (uint32_t)(seed >> 24) : sane[seed >> 11 & 7];
    if (seed >> 15 & 1) {
        machine_read(m, undo, now, (gpa_t){ at }, (uint8_t *)&v, 4);
        return v;
    }
    if (at == IOAPIC_BASE)
        v = 0x10 + v % 48;
    machine_write(m, undo, now, (gpa_t){ at }, (const uint8_t *)&v, 4);
    return 0;
}

/* What a processor tells its local APIC. */
static uint64_t random_told(struct machine *m, struct dev_undo *undo, uint64_t now, uint64_t seed)
{
    switch (seed >> 8 & 7) {
    case 0:
        machine_set_apic_base(m, undo, now, 0xfee00100 | (seed >> 12 & 7 ? 0x800 : 0));
        break;
    case 1:
        machine_set_tsc(m, undo, now, (seed >> 12) % 100000);
        break;
    case 2:
        machine_nmi_taken(m, undo, now);
        break;
    case 3:
        machine_set_tpr(m, undo, now, (uint32_t)seed >> 12 & 0xf0);
        break;
    default:
        machine_set_deadline(m, undo, now, now + m->lapic.tsc_offset + (seed >> 12) % 100000);
    }
    return machine_nmi(m) | (uint64_t)machine_intr(m) << 1;
}

/* One random call; returns a digest of what it answered. */
static uint64_t random_call(struct machine *m, struct dev_undo *undo, uint64_t *now, uint64_t seed)
{
    uint16_t port = busy_ports[seed % (sizeof(busy_ports) / sizeof(busy_ports[0]))];
    uint8_t bytes[32];
    unsigned width = 1u << (seed >> 8) % 3;
    *now += seed >> 16 & 1 ? (seed >> 20) % 5000000 : (seed >> 20) % 3000;
    switch (seed >> 60) {
    case 0:
        machine_expire(m, undo, *now);
        return m->deadline;
    case 1:
        return machine_take(m, undo, *now, bytes, (seed >> 40) % sizeof(bytes));
    case 2:
        memset(bytes, (int)(seed >> 48), sizeof(bytes));
        return machine_give(m, undo, *now, bytes, (seed >> 40) % sizeof(bytes));
    case 3:
        return machine_intr(m) ? machine_ack(m, undo, *now) : 0x100;
    case 4:
    case 5:
        return random_memory(m, undo, *now, seed);
    case 6:
        return random_told(m, undo, *now, seed);
    case 7:
    case 8:
    case 9:
        return machine_in(m, undo, *now, port, width);
    default:
        machine_out(m, undo, *now, port, width, (uint32_t)(seed >> 24));
        return 0;
    }
}

static uint64_t next_seed(uint64_t *s)
{
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return *s * 0x2545f4914f6cdd1dull;
}

TEST(machine_undo_log_rolls_any_call_back)
{
    static struct rig r;
    static struct machine before;
    static struct log log = { .undo = { .note = note } };
    uint64_t s = 0x9e3779b97f4a7c15ull, seed;
    rig_init(&r);
    for (int i = 0; i < 20000; i++) {
        before = r.m;
        uint64_t now = r.now;
        seed = next_seed(&s);
        check_note("call %d seed %llx", i, (unsigned long long)seed);
        random_call(&r.m, &log.undo, &now, seed);
        roll_back(&log);
        CHECK_MEM_EQ(&r.m, &before, sizeof(before));
        random_call(&r.m, NULL, &r.now, seed); /* and now for good */
    }
}

/* After accesses to quiet ports, and to ports where nothing is, the machine does not settle: it would find
 * nothing to do. It says so to who wants to know whether an interrupt may wait now. */
TEST(machine_has_nothing_to_settle_after_a_quiet_access)
{
    static const uint16_t quiet[] = { 0x80, 0xed, 0x604, 0xcf8, 0xcf9, 0xcfc, 0x8900, 0x1f0, 0x1234 };
    static struct rig r;
    static struct machine settled, left;
    struct log log = { .undo = { .note = note } };
    uint64_t s = 0x2545f4914f6cdd1dull;
    unsigned skipped = 0;
    rig_init(&r);
    for (int i = 0; i < 20000; i++) {
        uint64_t seed = next_seed(&s);
        uint16_t port = quiet[seed % (sizeof(quiet) / sizeof(quiet[0]))];
        check_note("call %d seed %llx", i, (unsigned long long)seed);
        random_call(&r.m, NULL, &r.now, seed);
        r.now += seed >> 40 & 1023;
        log.undo.settled = false;
        log.used = 0;
        if (seed >> 33 & 1)
            machine_in(&r.m, &log.undo, r.now, port, 1u << seed % 3);
        else
            machine_out(&r.m, &log.undo, r.now, port, 1u << seed % 3, (uint32_t)(seed >> 24));
        if (log.undo.settled)
            continue;
        skipped++;
        left = settled = r.m;
        machine_set_tpr(&settled, NULL, r.now, settled.lapic.tpr); /* nothing, and settling */
        CHECK_MEM_EQ(&settled, &left, sizeof(left));
    }
    CHECK_LT(10000, skipped);
    machine_out(&r.m, &log.undo, r.now, 0x21, 1, 0xff);
    CHECK(log.undo.settled);
}

TEST(machine_copied_to_another_place_continues_alike)
{
    static struct rig a;
    static struct machine copy;
    uint64_t s = 0x853c49e6748fea9bull;
    rig_init(&a);
    for (int i = 0; i < 5000; i++) {
        uint64_t seed = next_seed(&s), now = a.now;
        if (i % 100 == 0)
            copy = a.m;
        uint64_t left = random_call(&a.m, NULL, &a.now, seed);
        CHECK_EQ(left, random_call(&copy, NULL, &now, seed));
        CHECK_MEM_EQ(&a.m, &copy, sizeof(copy));
    }
}

TEST(machine_check_refuses_a_foreign_segment)
{
    static struct rig r;
    rig_init(&r);
    CHECK(machine_check(&r.m));
    r.m.version++;
    CHECK(!machine_check(&r.m));
    r.m.version--, r.m.bytes--;
    CHECK(!machine_check(&r.m));
    r.m.bytes++, r.m.magic ^= 1;
    CHECK(!machine_check(&r.m));
}

TEST(machine_init_checks_its_rate)
{
    static struct machine m;
    struct machine_config config = { .hz = DEV_HZ_MIN - 1 };
    CHECK(!machine_init(&m, &config, 0));
    config.hz = DEV_HZ_MAX + 1;
    CHECK(!machine_init(&m, &config, 0));
    CHECK_EQ(m.magic, 0);
    config.hz = DEV_HZ_MAX;
    CHECK(machine_init(&m, &config, 0));
}

TEST(dev_scale_is_exact)
{
    static const uint64_t c[] = { 1, 7, PIT_HZ, RIG_HZ, 3417600000, DEV_HZ_MAX };
    uint64_t s = 12345;
    for (int i = 0; i < 100000; i++) {
        uint64_t a = next_seed(&s) >> 16, from = c[i % 6], to = c[next_seed(&s) % 3];
        unsigned __int128 product = (unsigned __int128)a * to;
        if ((uint64_t)(product / from >> 64))
            continue;
        CHECK_EQ(dev_scale(a, to, from), (uint64_t)(product / from));
        CHECK_EQ(dev_scale_up(a, to, from), (uint64_t)((product + from - 1) / from));
    }
}
