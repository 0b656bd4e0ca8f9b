/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries that change what is below them: upper ones that go, narrow and widen, a table on several ways,
 * pages that become the user's or writable. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "setups.h"

TEST(upper_write_unlinks_at_once)
{
    struct world *w = with_page();
    reads(w, TABLE_VA(3, 0));
    uint32_t tables = shadow_in_use(w->s);
    struct world_result r = writes(w, TABLE_VA(3, 0), 0);
    CHECK(r.emulated);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_FAULT);
    CHECK_EQ(shadow_in_use(w->s), tables - 1);
    finish(w);
}

TEST(upper_entry_narrowed_and_widened)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    user_writes(w, PAGE(7), 1);
    writes(w, TABLE_VA(3, 0), 0x4000 | P | US | A);
    CHECK_EQ(user_writes(w, PAGE(7), 2).error, 7);
    writes(w, TABLE_VA(3, 0), 0x4000 | P | RW | A);
    CHECK_EQ(user_reads(w, PAGE(7)).error, 5);
    writes(w, TABLE_VA(3, 0), 0x4000 | UPPER);
    CHECK_EQ(user_writes(w, PAGE(7), 3).outcome, ACCESS_OK);
    writes(w, TABLE_VA(3, 0), 0x4000 | P | US | A);
    CHECK_EQ(user_reads(w, PAGE(7)).outcome, ACCESS_OK); /* the link is there with less */
    writes(w, TABLE_VA(3, 0), 0x4000 | UPPER);
    CHECK_EQ(user_writes(w, PAGE(7), 4).outcome, ACCESS_OK);
    finish(w);
}

/* Rights of one path must not leak through a table that another path shares. */
TEST(shared_table_keeps_each_paths_rights)
{
    struct world *w = quiet_world();
    put(w, 3, 2, 0x4000 | P | US | A);
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    CHECK_EQ(user_writes(w, 0x400000 + PAGE(7), 1).error, 7);
    CHECK_EQ(user_writes(w, PAGE(7), 1).outcome, ACCESS_OK);
    CHECK_EQ(user_writes(w, 0x400000 + PAGE(7), 1).error, 7);
    finish(w);
}

/* A supervisor's page becomes the user's, by a table out of sync; the user's own access makes the hardware
 * entry current. By another address the processor may have it as it was until the guest's flush: then SMAP
 * and SMEP must hold. */
TEST(page_that_becomes_the_users_is_the_supervisors_nowhere_after_a_flush)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    c.cr4 |= CR4_SMAP_ | CR4_SMEP_;
    for (uint32_t i = 0; i <= WORLD_TABLES; i++) /* the guest's window on its tables is its own */
        put(w, 5, i, (uint64_t)i << 12 | P | RW | A | D);
    put(w, 3, 2, 0x4000 | UPPER); /* another way to the table */
    put(w, 4, 7, 0x20000 | P | RW | A | D);
    world_load(w, c);
    reads(w, PAGE(7));
    reads(w, 0x400000 + PAGE(7));
    unsync(w);
    CHECK_EQ(writes(w, TABLE_VA(4, 7), 0x20000 | HOT).exits, 0);
    CHECK_EQ(user_reads(w, 0x400000 + PAGE(7)).outcome, ACCESS_OK);
    world_cr3(w, 0x1000);
    CHECK_EQ(reads(w, PAGE(7)).error, 1);
    CHECK_EQ(executes(w, PAGE(7)).error, 17);
    finish(w);
}

TEST(directory_entry_that_becomes_the_users_is_the_supervisors_nowhere_after_a_flush)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    c.cr4 |= CR4_SMAP_;
    for (uint32_t i = 0; i <= WORLD_TABLES; i++)
        put(w, 5, i, (uint64_t)i << 12 | P | RW | A | D);
    put(w, 3, 0, 0x4000 | P | RW | A);
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 4, 8, 0x21000 | HOT);
    world_load(w, c);
    reads(w, PAGE(7));
    unsync_directory(w, 3);
    writes(w, TABLE_VA(3, 0), 0x4000 | UPPER);
    CHECK_EQ(user_reads(w, PAGE(8)).outcome, ACCESS_OK);
    world_invlpg(w, PAGE(7));
    CHECK_EQ(reads(w, PAGE(7)).error, 1);
    finish(w);
}

/* After a fault on a page that was read-only for copying, when nobody else has it. */
TEST(leaf_that_the_guest_makes_writable_is_writable_at_once)
{
    struct world *w = usual_world();
    put(w, 4, 7, 0x20000 | P | US | A | D);
    start(w);
    reads(w, PAGE(7));
    CHECK_EQ(writes(w, PAGE(7), 1).outcome, ACCESS_FAULT);
    CHECK(writes(w, TABLE_VA(4, 7), 0x20000 | HOT).emulated);
    CHECK_EQ(writes(w, PAGE(7), 2).exits, 0);
    finish(w);
    w = usual_world();
    put(w, 4, 7, 0x4000 | P | US | A | D); /* but not if it is a table */
    start(w);
    reads(w, PAGE(7));
    CHECK(writes(w, TABLE_VA(4, 7), 0x4000 | HOT).emulated);
    CHECK_EQ(writes(w, PAGE(7) + 80, 3).exits, 1);
    finish(w);
}
