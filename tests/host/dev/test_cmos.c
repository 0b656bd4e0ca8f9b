/* SPDX-License-Identifier: BSD-2-Clause */
/* The MC146818: date arithmetic, formats, setting and holding the clock, update, alarm and periodic
 * interrupts. */
// USES: servers/vmm/dev/*.c
#include "rig.h"
#include "servers/vmm/dev/calendar.h"

#include <time.h>

static uint8_t get(struct rig *r, uint8_t reg)
{
    out8(r, 0x70, reg);
    return in8(r, 0x71);
}

static void put(struct rig *r, uint8_t reg, uint8_t v)
{
    out8(r, 0x70, reg);
    out8(r, 0x71, v);
}

static bool irq8(const struct rig *r)
{
    return r->m.lines.level >> 8 & 1;
}

TEST(calendar_agrees_with_the_c_library)
{
    int64_t seconds = 0;
    for (int i = 0; i < 200000; i++) {
        time_t t = seconds;
        struct tm tm;
        gmtime_r(&t, &tm);
        struct calendar c = calendar_of(seconds);
        check_note("seconds %lld", (long long)seconds);
        CHECK_EQ(c.year, tm.tm_year + 1900);
        CHECK_EQ(c.month, tm.tm_mon + 1);
        CHECK_EQ(c.day, tm.tm_mday);
        CHECK_EQ(c.hour * 3600 + c.minute * 60 + c.second, tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
        CHECK_EQ(c.weekday, tm.tm_wday + 1);
        CHECK_EQ(calendar_seconds(&c), seconds);
        seconds += 86400 * 11 / 10 + i;
    }
    CHECK_LT(2500, calendar_of(seconds).year);
}

TEST(cmos_tells_the_date)
{
    struct rig r;
    rig_init(&r); /* 1700000000 is Tuesday, 2023-11-14 22:13:20 */
    static const uint8_t expect[] = { 0x20, 0, 0x13, 0, 0x22, 0, 3, 0x14, 0x11, 0x23 };
    for (uint8_t reg = 0; reg < 10; reg++)
        CHECK_EQ(get(&r, reg), expect[reg]);
    CHECK_EQ(get(&r, 0x32), 0x20);
    CHECK_EQ(get(&r, 0x0d), 0x80);
    rig_wait(&r, 47 * 60 * RIG_HZ);
    CHECK_EQ(get(&r, 4), 0x23);
    rig_wait(&r, 3600 * RIG_HZ);
    CHECK_EQ(get(&r, 4), 0);
    CHECK_EQ(get(&r, 7), 0x15);
    CHECK_EQ(get(&r, 6), 4);
}

TEST(cmos_formats)
{
    struct rig r;
    rig_init(&r);
    put(&r, 0x0b, 0x06); /* binary, 24 hours */
    CHECK_EQ(get(&r, 4), 22);
    CHECK_EQ(get(&r, 9), 23);
    put(&r, 0x0b, 0x00); /* BCD, 12 hours */
    CHECK_EQ(get(&r, 4), 0x90);
    put(&r, 0x0b, 0x04); /* binary, 12 hours */
    CHECK_EQ(get(&r, 4), 0x8a);
    rig_wait(&r, 2 * 3600 * RIG_HZ);
    CHECK_EQ(get(&r, 4), 12); /* a quarter past midnight */
    rig_wait(&r, 12 * 3600 * RIG_HZ);
    CHECK_EQ(get(&r, 4), 0x8c); /* noon */
    put(&r, 4, 0x85);           /* 5 pm */
    put(&r, 0x0b, 0x06);
    CHECK_EQ(get(&r, 4), 17);
    static const uint8_t twelve[][2] = { { 12, 0 }, { 0x8c, 12 } }; /* at night, and noon */
    for (int i = 0; i < 2; i++) {
        put(&r, 0x0b, 0x04);
        put(&r, 4, twelve[i][0]);
        put(&r, 0x0b, 0x06);
        CHECK_EQ(get(&r, 4), twelve[i][1]);
    }
}

TEST(cmos_setting_the_time_as_linux_does)
{
    struct rig r;
    rig_init(&r);
    rig_wait(&r, RIG_HZ / 3);
    put(&r, 0x0b, get(&r, 0x0b) | 0x80); /* SET: hold */
    put(&r, 0x0a, get(&r, 0x0a) | 0x70); /* and stop the divider */
    static const uint8_t set[][2] = { { 9, 0x24 }, { 8, 0x02 }, { 7, 0x28 },
                                      { 4, 0x23 }, { 2, 0x59 }, { 0, 0x58 } };
    for (int i = 0; i < 6; i++)
        put(&r, set[i][0], set[i][1]);
    rig_wait(&r, 10 * RIG_HZ);
    CHECK_EQ(get(&r, 0), 0x58);
    put(&r, 0x0b, 0x02);
    put(&r, 0x0a, 0x26);
    rig_wait(&r, RIG_HZ / 2 - 1);
    CHECK_EQ(get(&r, 0), 0x58);
    rig_wait(&r, 1); /* the first update comes half a second after the divider is let go */
    CHECK_EQ(get(&r, 0), 0x59);
    rig_wait(&r, RIG_HZ);
    CHECK_EQ(get(&r, 0), 0);
    CHECK_EQ(get(&r, 7), 0x29); /* 2024 is a leap year */
    CHECK_EQ(get(&r, 8), 2);
}

TEST(cmos_hold_keeps_registers_still)
{
    struct rig r;
    rig_init(&r);
    put(&r, 0x0b, 0x82);
    rig_wait(&r, 5 * RIG_HZ);
    CHECK_EQ(get(&r, 0), 0x20);
    CHECK_EQ(get(&r, 0x0a) & 0x80, 0);
    put(&r, 0x0b, 0x02);
    CHECK_EQ(get(&r, 0), 0x20);
    rig_wait(&r, RIG_HZ);
    CHECK_EQ(get(&r, 0), 0x21);
}

TEST(cmos_writing_while_running_changes_that_field)
{
    struct rig r;
    rig_init(&r);
    rig_wait(&r, RIG_HZ / 2);
    put(&r, 2, 0x45);
    CHECK_EQ(get(&r, 2), 0x45);
    CHECK_EQ(get(&r, 4), 0x22);
    CHECK_EQ(get(&r, 0), 0x20);
    rig_wait(&r, RIG_HZ / 2);
    CHECK_EQ(get(&r, 0), 0x21); /* the second goes on where it was */
}

TEST(cmos_update_in_progress_warns_before_each_second)
{
    struct rig r;
    rig_init(&r);
    CHECK_EQ(get(&r, 0x0a), 0x26);
    rig_wait(&r, RIG_HZ - 2229 * US);
    CHECK_EQ(get(&r, 0x0a), 0x26);
    rig_wait(&r, 2 * US);
    CHECK_EQ(get(&r, 0x0a), 0xa6);
    CHECK_EQ(get(&r, 0), 0x20);
    rig_wait(&r, 2227 * US);
    CHECK_EQ(get(&r, 0x0a), 0x26);
    CHECK_EQ(get(&r, 0), 0x21);
}

TEST(cmos_update_interrupt)
{
    struct rig r;
    rig_init(&r);
    put(&r, 0x0b, 0x12);
    rig_wait(&r, RIG_HZ - 1);
    CHECK(!irq8(&r));
    rig_wait(&r, 1);
    CHECK(irq8(&r));
    CHECK_EQ(get(&r, 0x0c), 0xd0); /* PF is set, too, though it may not interrupt */
    CHECK(!irq8(&r));
    CHECK_EQ(get(&r, 0x0c), 0);
    put(&r, 0x0b, 0x92); /* SET clears UIE */
    CHECK_EQ(get(&r, 0x0b), 0x82);
}

TEST(cmos_periodic_interrupt_rates)
{
    static const unsigned hz[] = { 0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2 };
    for (unsigned rate = 0; rate < 16; rate++) {
        struct rig r;
        unsigned n = 0;
        rig_init(&r);
        put(&r, 0x0a, (uint8_t)(0x20 | rate));
        get(&r, 0x0c);
        put(&r, 0x0b, 0x42);
        for (uint64_t end = r.now + RIG_HZ; r.m.deadline <= end;) {
            r.now = r.m.deadline;
            machine_expire(&r.m, NULL, r.now);
            if (irq8(&r) && (get(&r, 0x0c) & 0xc0) == 0xc0)
                n++;
        }
        check_note("rate %u", rate);
        CHECK_EQ(n, hz[rate]);
    }
}

TEST(cmos_unread_interrupt_asks_for_no_more_time)
{
    struct rig r;
    rig_init(&r);
    put(&r, 0x0b, 0x42);
    CHECK_LE(rig_wait(&r, RIG_HZ), 1);
    CHECK(irq8(&r));
    CHECK_EQ(r.m.deadline, DEV_NEVER);
}

TEST(cmos_alarm)
{
    static const struct {
        uint8_t hour, minute, second;
        uint32_t after; /* seconds from 22:13:20; 0 never within a day */
    } row[] = {
        { 0x22, 0x13, 0x21, 1 },     { 0x22, 0x14, 0x00, 40 },    { 0x23, 0x00, 0x00, 2800 },
        { 0xff, 0x13, 0x30, 10 },    { 0xff, 0xff, 0x19, 59 },    { 0xff, 0xff, 0xff, 1 },
        { 0x22, 0xc0, 0x05, 45 },    { 0x22, 0x13, 0x20, 86400 }, { 0x22, 0x13, 0x10, 86390 },
        { 0x21, 0xff, 0xff, 82000 }, { 0x25, 0, 0, 0 },           { 0, 0x61, 0, 0 },
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        rig_init(&r);
        check_note("row %zu", i);
        put(&r, 5, row[i].hour), put(&r, 3, row[i].minute), put(&r, 1, row[i].second);
        get(&r, 0x0c);
        put(&r, 0x0b, 0x22);
        if (!row[i].after) {
            CHECK_EQ(r.m.deadline, DEV_NEVER);
            continue;
        }
        CHECK_EQ(r.m.deadline, 5 * RIG_HZ + row[i].after * RIG_HZ);
        rig_wait(&r, row[i].after * RIG_HZ - 1);
        CHECK(!irq8(&r));
        rig_wait(&r, 1);
        CHECK(irq8(&r));
        CHECK_EQ(get(&r, 0x0c) & 0xa0, 0xa0);
        CHECK_EQ(get(&r, 5), row[i].hour); /* alarm bytes read as written */
    }
}

TEST(cmos_memory_sizes)
{
    static const struct {
        uint64_t mib;
        uint16_t ext, above16;
    } row[] = { { 8, 7168, 0 }, { 64, 64512, 768 }, { 128, 65535, 1792 }, { 3072, 65535, 48896 } };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r = { .now = 0 };
        struct machine_config config = { .hz = RIG_HZ, .seconds = -5, .memory_bytes = row[i].mib << 20 };
        CHECK(machine_init(&r.m, &config, 0));
        CHECK_EQ(get(&r, 0x15) | get(&r, 0x16) << 8, 640);
        CHECK_EQ(get(&r, 0x17) | get(&r, 0x18) << 8, row[i].ext);
        CHECK_EQ(get(&r, 0x30) | get(&r, 0x31) << 8, row[i].ext);
        CHECK_EQ(get(&r, 0x34) | get(&r, 0x35) << 8, row[i].above16);
        CHECK_EQ(get(&r, 9), 0x70); /* a date before 1970 is 1970 */
        unsigned sum = 0;
        for (uint8_t reg = 0x10; reg < 0x2e; reg++)
            sum += get(&r, reg);
        CHECK_EQ(get(&r, 0x2e) << 8 | get(&r, 0x2f), sum);
    }
}

TEST(cmos_free_bytes_are_memory)
{
    struct rig r;
    rig_init(&r);
    for (uint8_t reg = 0x33; reg < 0x80; reg++)
        put(&r, reg, (uint8_t)(reg * 3));
    for (uint8_t reg = 0x33; reg < 0x80; reg++)
        CHECK_EQ(get(&r, reg | 0x80), (uint8_t)(reg * 3)); /* bit 7 only masks NMI */
    put(&r, 0x0d, 0);
    CHECK_EQ(get(&r, 0x0d), 0x80);
    CHECK_EQ(in8(&r, 0x70), 0xff);
}

TEST(cmos_nonsense_time_does_no_harm)
{
    struct rig r;
    rig_init(&r);
    for (unsigned v = 0; v < 256; v++) {
        put(&r, 0x0b, 0x82);
        for (uint8_t reg = 0; reg < 10; reg++)
            put(&r, reg, (uint8_t)v);
        put(&r, 0x32, (uint8_t)v);
        put(&r, 0x0b, (uint8_t)(0x70 | (v & 7)));
        rig_wait(&r, RIG_HZ);
        for (uint8_t reg = 0; reg < 14; reg++)
            get(&r, reg);
    }
}
