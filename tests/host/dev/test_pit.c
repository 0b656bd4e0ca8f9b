/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8254: the timing of every mode, counts, latches, read-back, gate and port 61h, what Linux's calibration
 * does. */
// USES: servers/vmm/dev/*.c
#include "rig.h"

#include <stdlib.h>

/* The tick at which PIT clock n after the rig's start begins. */
static uint64_t clocks(uint64_t n)
{
    return dev_scale_up(n, RIG_HZ, PIT_HZ);
}

/* Moves to PIT clock n after the start (which is where the rig's time began). */
static void at_clock(struct rig *r, uint64_t n)
{
    rig_wait(r, 5 * RIG_HZ + clocks(n) - r->now);
}

static void program(struct rig *r, unsigned channel, unsigned mode, uint16_t count)
{
    out8(r, 0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    out8(r, (uint16_t)(0x40 + channel), (uint8_t)count);
    out8(r, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static uint16_t read_count(struct rig *r, unsigned channel)
{
    uint8_t low = in8(r, (uint16_t)(0x40 + channel));
    return (uint16_t)(in8(r, (uint16_t)(0x40 + channel)) << 8 | low);
}

static uint8_t status(struct rig *r, unsigned channel)
{
    out8(r, 0x43, (uint8_t)(0xe0 | 2 << channel));
    return in8(r, (uint16_t)(0x40 + channel));
}

static bool out_pin(struct rig *r, unsigned channel)
{
    return status(r, channel) >> 7;
}

/* Waveforms from the data sheet's figures: a count of n, then OUT and the count at a clock after the write.
 */
TEST(pit_modes_follow_the_data_sheet)
{
    static const struct {
        uint8_t mode, n, clock, out, count;
    } row[] = {
        { 0, 4, 1, 0, 4 },   { 0, 4, 4, 0, 1 }, { 0, 4, 5, 1, 0 }, { 0, 4, 6, 1, 0xff }, { 2, 4, 1, 1, 4 },
        { 2, 4, 3, 1, 2 },   { 2, 4, 4, 0, 1 }, { 2, 4, 5, 1, 4 }, { 2, 3, 3, 0, 1 },    { 2, 3, 4, 1, 3 },
        { 2, 3, 6, 0, 1 },   { 3, 4, 1, 1, 4 }, { 3, 4, 2, 1, 2 }, { 3, 4, 3, 0, 4 },    { 3, 4, 4, 0, 2 },
        { 3, 4, 5, 1, 4 },   { 3, 5, 1, 1, 4 }, { 3, 5, 2, 1, 2 }, { 3, 5, 3, 1, 0 },    { 3, 5, 4, 0, 4 },
        { 3, 5, 5, 0, 2 },   { 3, 5, 6, 1, 4 }, { 4, 3, 1, 1, 3 }, { 4, 3, 3, 1, 1 },    { 4, 3, 4, 0, 0 },
        { 4, 3, 5, 1, 255 }, { 1, 3, 9, 1, 0 }, { 5, 3, 9, 1, 0 },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        check_note("row %zu: mode %u n %u clock %u", i, row[i].mode, row[i].n, row[i].clock);
        program(&r, 0, row[i].mode, row[i].n);
        at_clock(&r, row[i].clock);
        CHECK_EQ(out_pin(&r, 0), row[i].out);
        CHECK_EQ(read_count(&r, 0) & 0xff, row[i].count);
    }
}

TEST(pit_bcd_counts_in_decimal)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x43, 0x31);
    out8(&r, 0x40, 0x00), out8(&r, 0x40, 0x12); /* 1200 */
    at_clock(&r, 1 + 201);
    CHECK_EQ(read_count(&r, 0), 0x0999);
    at_clock(&r, 1 + 1201);
    CHECK_EQ(read_count(&r, 0), 0x9999);
    out8(&r, 0x43, 0x35);
    out8(&r, 0x40, 0), out8(&r, 0x40, 0); /* 0 is 10000 */
    at_clock(&r, 1 + 1201 + 1 + 1);
    CHECK_EQ(read_count(&r, 0), 0x9999);
}

TEST(pit_count_zero_is_65536)
{
    struct rig r;
    rig_init(&r);
    program(&r, 0, 2, 0);
    at_clock(&r, 1);
    CHECK_EQ(read_count(&r, 0), 0);
    at_clock(&r, 2);
    CHECK_EQ(read_count(&r, 0), 0xffff);
    at_clock(&r, 65536);
    CHECK_EQ(read_count(&r, 0), 1);
}

TEST(pit_access_modes_move_one_byte)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x43, 0x14); /* low byte only, mode 2 */
    out8(&r, 0x40, 200);
    at_clock(&r, 1 + 10);
    CHECK_EQ(in8(&r, 0x40), 190);
    CHECK_EQ(in8(&r, 0x40), 190);
    out8(&r, 0x43, 0x24); /* high byte only */
    out8(&r, 0x40, 2);
    at_clock(&r, 11 + 1 + 256);
    CHECK_EQ(in8(&r, 0x40), 1);
}

TEST(pit_latch_holds_until_read)
{
    struct rig r;
    rig_init(&r);
    program(&r, 0, 2, 1000);
    at_clock(&r, 101);
    out8(&r, 0x43, 0x00);
    at_clock(&r, 201);
    out8(&r, 0x43, 0x00); /* ignored */
    CHECK_EQ(read_count(&r, 0), 900);
    CHECK_EQ(read_count(&r, 0), 800);
    out8(&r, 0x43, 0xc2); /* read-back of both: status first, then the count */
    at_clock(&r, 301);
    CHECK_EQ(in8(&r, 0x40), 0xb4);
    CHECK_EQ(read_count(&r, 0), 800);
}

TEST(pit_status_shows_null_count)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x43, 0x30);
    CHECK_EQ(status(&r, 0), 0x70);
    out8(&r, 0x40, 10), out8(&r, 0x40, 0);
    CHECK_EQ(status(&r, 0), 0x70); /* written, loaded at the next clock */
    at_clock(&r, 1);
    CHECK_EQ(status(&r, 0), 0x30);
    at_clock(&r, 11);
    CHECK_EQ(status(&r, 0), 0xb0);
}

TEST(pit_new_count_in_mode_2_waits_for_the_end_of_the_cycle)
{
    struct rig r;
    rig_init(&r);
    program(&r, 0, 2, 100);
    at_clock(&r, 51);
    out8(&r, 0x40, 10), out8(&r, 0x40, 0);
    at_clock(&r, 81);
    CHECK_EQ(read_count(&r, 0), 20); /* the old cycle goes on, 20 before its end */
    at_clock(&r, 101 + 3);
    CHECK_EQ(read_count(&r, 0), 7);
}

TEST(pit_new_count_in_mode_3_waits_for_half_a_cycle)
{
    struct rig r;
    rig_init(&r);
    program(&r, 0, 3, 100);
    at_clock(&r, 11);
    out8(&r, 0x40, 20), out8(&r, 0x40, 0);
    at_clock(&r, 50);
    CHECK(out_pin(&r, 0));
    at_clock(&r, 51 + 5);
    CHECK(!out_pin(&r, 0)); /* the low half, with the new count */
    at_clock(&r, 51 + 10);
    CHECK(out_pin(&r, 0));
    at_clock(&r, 51 + 20);
    CHECK(!out_pin(&r, 0));
}

TEST(pit_mode_0_stops_at_the_first_byte)
{
    struct rig r;
    rig_init(&r);
    program(&r, 0, 0, 5);
    at_clock(&r, 20);
    CHECK(out_pin(&r, 0));
    out8(&r, 0x40, 5);
    CHECK(!out_pin(&r, 0));
    at_clock(&r, 40);
    CHECK(!out_pin(&r, 0));
    out8(&r, 0x40, 0);
    at_clock(&r, 40 + 6);
    CHECK(out_pin(&r, 0));
}

TEST(pit_gate_of_channel_2)
{
    struct rig r;
    rig_init(&r);
    program(&r, 2, 0, 100); /* gate low: does not count */
    at_clock(&r, 50);
    CHECK_EQ(read_count(&r, 2), 100);
    out8(&r, 0x61, 1);
    at_clock(&r, 80);
    CHECK_EQ(read_count(&r, 2), 70);
    out8(&r, 0x61, 0);
    at_clock(&r, 200);
    CHECK_EQ(read_count(&r, 2), 70);
    CHECK_EQ(in8(&r, 0x61) & 0x20, 0);
    out8(&r, 0x61, 1);
    at_clock(&r, 270);
    CHECK_EQ(in8(&r, 0x61) & 0x20, 0x20);
}

TEST(pit_gate_restarts_a_rate_generator)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x61, 1);
    program(&r, 2, 2, 100);
    at_clock(&r, 61);
    out8(&r, 0x61, 0);
    CHECK(out_pin(&r, 2));
    at_clock(&r, 80);
    CHECK_EQ(read_count(&r, 2), 40);
    out8(&r, 0x61, 1);
    at_clock(&r, 81 + 10);
    CHECK_EQ(read_count(&r, 2), 90);
}

TEST(pit_triggered_modes_wait_for_the_gate)
{
    for (unsigned mode = 1; mode <= 5; mode += 4) {
        struct rig r;
        rig_init(&r);
        check_note("mode %u", mode);
        program(&r, 2, mode, 10);
        at_clock(&r, 30);
        CHECK(out_pin(&r, 2));
        out8(&r, 0x61, 1);
        at_clock(&r, 31 + 9);
        CHECK_EQ(out_pin(&r, 2), mode == 5);
        out8(&r, 0x61, 0); /* its end does nothing, */
        out8(&r, 0x61, 1); /* its start begins again */
        at_clock(&r, 41 + 9);
        CHECK_EQ(out_pin(&r, 2), mode == 5);
        at_clock(&r, 41 + 10);
        CHECK_EQ(out_pin(&r, 2), mode == 1);
        at_clock(&r, 41 + 11);
        CHECK(out_pin(&r, 2));
    }
}

TEST(pit_port_61_keeps_four_bits_and_toggles_refresh)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x61, 0xfe);
    CHECK_EQ(in8(&r, 0x61) & 0xcf, 0x0e);
    unsigned changes = 0;
    uint8_t last = in8(&r, 0x61) & 0x10;
    for (int i = 0; i < 1000; i++) {
        rig_wait(&r, 3 * US);
        uint8_t v = in8(&r, 0x61) & 0x10;
        changes += v != last;
        last = v;
    }
    CHECK_LE(195, changes); /* 3 ms at 15.1 us */
    CHECK_LE(changes, 200);
}

/* ---- interrupts ---- */

static unsigned count_interrupts(struct rig *r, uint64_t ticks, uint64_t step)
{
    unsigned n = 0;
    for (uint64_t t = 0; t < ticks; t += step) {
        rig_wait(r, step);
        while (rig_ack(r) == 0x30) {
            out8(r, 0x20, 0x60);
            n++;
        }
    }
    return n;
}

TEST(pit_periodic_interrupts_come_at_their_rate)
{
    static const unsigned modes[] = { 2, 3 };
    for (int i = 0; i < 2; i++) {
        struct rig r;
        rig_init(&r);
        rig_pic(&r, 0xfffe);
        program(&r, 0, modes[i], 4773); /* 250 Hz, as Linux */
        CHECK_EQ(count_interrupts(&r, RIG_HZ, 100 * US), 249);
    }
}

TEST(pit_interrupt_deadline_is_the_rising_edge)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0xfffe);
    program(&r, 0, 2, 4773);
    CHECK_EQ(r.m.deadline, 5 * RIG_HZ + clocks(1 + 4773));
    r.now = r.m.deadline - 1;
    machine_expire(&r.m, NULL, r.now);
    CHECK(!machine_intr(&r.m));
    machine_expire(&r.m, NULL, ++r.now);
    CHECK(machine_intr(&r.m));
    CHECK_EQ(r.m.deadline, 5 * RIG_HZ + clocks(1 + 2 * 4773));
}

TEST(pit_one_shot_interrupts_once)
{
    static const unsigned modes[] = { 0, 4 };
    for (int i = 0; i < 2; i++) {
        struct rig r;
        rig_init(&r);
        rig_pic(&r, 0xfffe);
        program(&r, 0, modes[i], 1000);
        CHECK_EQ(r.m.deadline, 5 * RIG_HZ + clocks(1 + 1000 + (modes[i] == 4)));
        CHECK_EQ(count_interrupts(&r, 800 * US, 10 * US), 0);
        CHECK_EQ(count_interrupts(&r, 100 * MS, 10 * US), 1);
        program(&r, 0, modes[i], 1000);
        CHECK_EQ(count_interrupts(&r, 100 * MS, 10 * US), 1);
    }
}

TEST(pit_late_service_gives_one_interrupt_not_many)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0xfffe);
    program(&r, 0, 2, 1193);
    rig_wait(&r, 50 * MS);
    CHECK_EQ(rig_ack(&r), 0x30);
    out8(&r, 0x20, 0x20);
    CHECK_EQ(rig_ack(&r), -1);
}

TEST(pit_masked_one_shot_is_found_when_unmasked)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0xffff);
    program(&r, 0, 0, 1000);
    CHECK_EQ(r.m.deadline, DEV_NEVER);
    rig_wait(&r, 10 * MS);
    out8(&r, 0x21, 0xfe);
    CHECK_LE(r.m.deadline, r.now);
    machine_expire(&r.m, NULL, r.now);
    CHECK_EQ(rig_ack(&r), 0x30);
}

TEST(pit_reprogramming_takes_back_a_waiting_interrupt)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0xfffe);
    program(&r, 0, 2, 100);
    rig_wait(&r, MS);
    CHECK(machine_intr(&r.m));
    out8(&r, 0x43, 0x30); /* mode 0: OUT is low */
    CHECK(!machine_intr(&r.m));
}

TEST(pit_flood_is_bounded)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0xfffe);
    program(&r, 0, 2, 2); /* 600 kHz */
    CHECK_LE(rig_wait(&r, 10 * MS), 501);
    program(&r, 0, 2, 1); /* forbidden by the data sheet: no edges */
    CHECK_EQ(r.m.deadline, DEV_NEVER);
}

/* ---- what Linux does ---- */

/* arch/x86 quick calibration: mode 0 on channel 2, watch the high byte fall; every port access takes 1.5 us.
 */
TEST(pit_quick_calibration_finds_the_tick_rate)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x61, (uint8_t)((in8(&r, 0x61) & ~2) | 1));
    out8(&r, 0x43, 0xb0);
    out8(&r, 0x42, 0xff), out8(&r, 0x42, 0xff);
    in8(&r, 0x42), in8(&r, 0x42);
    uint64_t first = 0, last = 0;
    uint8_t expect = 0xff, steps = 0;
    for (int i = 0; i < 100000 && steps < 100; i++) {
        rig_wait(&r, 3 * US / 2), in8(&r, 0x42);
        rig_wait(&r, 3 * US / 2);
        if (in8(&r, 0x42) == expect)
            continue;
        expect--, steps++;
        last = r.now;
        first = first ? first : r.now;
    }
    CHECK_EQ(steps, 100);
    uint64_t hz = (last - first) * PIT_HZ / (99 * 256);
    CHECK_LT(llabs((long long)(hz - RIG_HZ)), RIG_HZ / 2000);
}

/* The slow one: gate on, 10 ms in mode 0, poll OUT2 at port 61h. */
TEST(pit_slow_calibration_finds_the_tick_rate)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x61, (uint8_t)((in8(&r, 0x61) & ~2) | 1));
    uint16_t latch = PIT_HZ / 100;
    program(&r, 2, 0, latch);
    uint64_t begin = r.now, polls = 0;
    while (!(in8(&r, 0x61) & 0x20)) {
        rig_wait(&r, 2 * US);
        CHECK_LT(polls++, 100000);
    }
    CHECK_LE(1000, polls);
    CHECK_LT(llabs((long long)(r.now - begin - RIG_HZ / 100)), 6 * US);
}

/* Every clock of long random programs against a model that counts one clock at a time. */
TEST(pit_periodic_waveforms_agree_with_counting)
{
    for (unsigned n = 2; n < 40; n++)
        for (unsigned mode = 2; mode <= 3; mode++) {
            struct rig r;
            rig_init(&r);
            check_note("mode %u n %u", mode, n);
            program(&r, 0, mode, (uint16_t)n);
            for (unsigned clock = 1; clock < 3 * n; clock++) {
                unsigned phase = (clock - 1) % n;
                bool expect = mode == 2 ? phase != n - 1 : phase < n - n / 2;
                at_clock(&r, clock);
                CHECK_EQ(out_pin(&r, 0), expect);
            }
        }
}
