/* SPDX-License-Identifier: BSD-2-Clause */
/* Firmware configuration: each selector's bytes, and what is behind them. */
// USES: servers/vmm/dev/*.c
#include "rig.h"

#include <string.h>

static void choose(struct rig *r, uint16_t selector)
{
    machine_out(&r->m, NULL, r->now, 0x510, 2, selector);
}

TEST(fwcfg_table_of_selectors)
{
    static const struct {
        uint16_t selector;
        uint8_t bytes[10]; /* as they are read, one after the other */
    } row[] = {
        { 0x0000, "QEMU" }, { 0x4000, "QEMU" }, /* the bit for writing is no part of the number */
        { 0x0001, { 1 } },  { 0x0002, { 0 } },  { 0x0003, { 0, 0, 0, 8 } },
        { 0x0004, { 0 } },  { 0x0005, { 1 } },  { 0x000f, { 1 } },
        { 0x8003, { 0 } },  { 0x0019, { 0 } },  { 0xffff, { 0 } },
    };
    struct rig r;
    rig_init(&r);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        choose(&r, row[i].selector);
        for (unsigned at = 0; at < sizeof(row[i].bytes); at++) {
            check_note("selector %x byte %u", row[i].selector, at);
            CHECK_EQ(in8(&r, 0x511), row[i].bytes[at]);
        }
    }
}

TEST(fwcfg_says_memory_above_4_gib_of_numbers)
{
    struct rig r;
    uint64_t value = 0, memory = 0x123456789000;
    struct machine_config config = { .hz = RIG_HZ, .memory_bytes = memory };
    r.now = 0;
    CHECK(machine_init(&r.m, &config, 0));
    choose(&r, 3);
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)in8(&r, 0x511) << 8 * i;
    CHECK_EQ(value, memory);
}

TEST(fwcfg_begins_anew_with_each_selection)
{
    struct rig r;
    rig_init(&r);
    CHECK_EQ(in8(&r, 0x511), 'Q'); /* as after power-on */
    CHECK_EQ(in8(&r, 0x510), 'E'); /* both ports read data */
    choose(&r, 0);
    CHECK_EQ(in8(&r, 0x511), 'Q');
}

TEST(fwcfg_takes_selectors_as_words_only_and_no_data)
{
    struct rig r;
    rig_init(&r);
    choose(&r, 1);
    out8(&r, 0x510, 0), out8(&r, 0x511, 0);
    machine_out(&r.m, NULL, r.now, 0x511, 2, 0);
    machine_out(&r.m, NULL, r.now, 0x510, 4, 0);
    CHECK_EQ(in8(&r, 0x511), 1);
    CHECK_EQ(machine_in(&r.m, NULL, r.now, 0x510, 2), 0xffff);
    CHECK_EQ(in8(&r, 0x514), 0xff); /* no DMA */
}

TEST(fwcfg_stays_at_the_end_however_long_it_is_read)
{
    static struct rig r;
    rig_init(&r);
    choose(&r, 0);
    for (unsigned i = 0; i < 4; i++)
        in8(&r, 0x511);
    static struct machine before;
    before = r.m;
    for (unsigned i = 0; i < 100000; i++)
        CHECK_EQ(in8(&r, 0x511), 0);
    CHECK_MEM_EQ(&r.m.fwcfg, &before.fwcfg, sizeof(before.fwcfg));
}
