/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes to tables: emulation, out of sync, sync points, pages that stop being tables, tables in odd places.
 */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "layout.h"

static uint64_t emulated(const struct world *w)
{
    return shadow_counters(w->s)->emulated_writes;
}

TEST(first_table_write_is_emulated_second_goes_out_of_sync)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    struct world_result r = writes(w, TABLE_VA(4, 8), 0x21000 | HOT);
    CHECK(r.emulated);
    CHECK_EQ(r.exits, 1);
    r = writes(w, TABLE_VA(4, 9), 0x22000 | HOT);
    CHECK(!r.emulated);
    CHECK_EQ(r.exits, 1);
    for (uint32_t i = 10; i < 30; i++)
        CHECK_EQ(writes(w, TABLE_VA(4, i), 0x23000 | HOT).exits, 0);
    CHECK_EQ(shadow_counters(w->s)->unsyncs, 1);
    finish(w);
}

TEST(emulated_write_fills_the_new_entry_at_once)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    CHECK_EQ(writes(w, TABLE_VA(4, 8), 0x21000 | HOT).exits, 1);
    CHECK_EQ(writes(w, PAGE(8), 1).exits, 0);
    finish(w);
}

TEST(demand_fault_costs_two_exits_and_a_cow_fault_three)
{
    struct world *w = quiet_world();
    put(w, 4, 0, 0x20000 | HOT);
    put(w, 4, 1, 0x20000 | P | US | A);
    start(w);
    reads(w, PAGE(0));
    uint64_t before = w->exits;
    CHECK_EQ(writes(w, PAGE(8), 1).outcome, ACCESS_FAULT);
    writes(w, TABLE_VA(4, 8), 0x21000 | HOT);
    CHECK_EQ(writes(w, PAGE(8), 1).outcome, ACCESS_OK);
    CHECK_EQ(w->exits - before, 2);
    world_cr3(w, 0x1000);
    before = w->exits;
    CHECK_EQ(writes(w, PAGE(1), 1).outcome, ACCESS_FAULT);
    writes(w, TABLE_VA(4, 1), 0x22000 | HOT);
    CHECK_EQ(writes(w, PAGE(1), 1).outcome, ACCESS_OK);
    CHECK_LE(w->exits - before, 3);
    finish(w);
}

TEST(unsynced_table_never_caches_not_present)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    CHECK_EQ(reads(w, PAGE(9)).outcome, ACCESS_FAULT);
    writes(w, TABLE_VA(4, 8), 0);
    writes(w, TABLE_VA(4, 8), 1);
    writes(w, TABLE_VA(4, 9), 0x21000 | HOT);
    CHECK_EQ(reads(w, PAGE(9)).outcome, ACCESS_OK); /* no flush by the guest */
    finish(w);
}

static struct world *with_unsynced_table(void)
{
    struct world *w = quiet_world();
    for (uint32_t i = 0; i < 8; i++)
        put(w, 4, i, (uint64_t)(0x20 + i) << 12 | HOT);
    start(w);
    for (uint32_t i = 0; i < 8; i++)
        reads(w, PAGE(i));
    writes(w, TABLE_VA(4, 20), 1);
    writes(w, TABLE_VA(4, 20), 0);
    CHECK_EQ(shadow_counters(w->s)->unsyncs, 1);
    return w;
}

TEST(stale_entry_of_unsynced_table_ends_at_cr3_load)
{
    struct world *w = with_unsynced_table();
    writes(w, TABLE_VA(4, 2), 0x28000 | HOT);
    CHECK_EQ(reads(w, PAGE(2)).gpa, 0x22000); /* stale, as a TLB may be */
    world_cr3(w, 0x1000);
    CHECK_EQ(reads(w, PAGE(2)).gpa, 0x28000);
    finish(w);
}

TEST(audit_of_a_flush_finds_what_lags_before_it_and_nothing_after)
{
    struct world *w = with_unsynced_table();
    gva_t two = { PAGE(2) }, three = { PAGE(3) }, four = { PAGE(4) };

    writes(w, TABLE_VA(4, 2), 0x28000 | HOT);
    writes(w, TABLE_VA(4, 3), 0x23000 | P | US | A);
    CHECK_EQ(shadow_audit(w->s, NULL, NULL), 0); /* out of sync: they may */
    CHECK_EQ(shadow_audit_flushed(w->s, two, NULL, NULL), 1);
    CHECK_EQ(shadow_audit_flushed(w->s, three, NULL, NULL), 1);
    CHECK_EQ(shadow_audit_flushed(w->s, four, NULL, NULL), 0);
    world_invlpg(w, PAGE(2) + 0x123);
    CHECK_EQ(shadow_last_invlpg(w->s).v, PAGE(2) + 0x123);
    CHECK_EQ(shadow_audit_flushed(w->s, two, NULL, NULL), 0);
    CHECK_EQ(shadow_audit_flushed(w->s, three, NULL, NULL), 1);
    world_cr3(w, 0x1000);
    CHECK_EQ(shadow_audit_flushed(w->s, three, NULL, NULL), 0);
    finish(w);
}

TEST(invlpg_makes_one_entry_current)
{
    struct world *w = with_unsynced_table();
    writes(w, TABLE_VA(4, 2), 0x28000 | HOT);
    writes(w, TABLE_VA(4, 3), 0x29000 | HOT);
    world_invlpg(w, PAGE(2) + 0x123);
    struct world_result r = reads(w, PAGE(2));
    CHECK_EQ(r.gpa, 0x28000);
    CHECK_EQ(r.exits, 0); /* filled on the INVLPG's reply */
    CHECK_EQ(reads(w, PAGE(3)).gpa, 0x23000);
    finish(w);
}

TEST(last_entry_of_a_table_is_resynced)
{
    struct world *w = quiet_world();
    put(w, 4, 511, 0x22000 | HOT);
    start(w);
    CHECK_EQ(reads(w, PAGE(511)).gpa, 0x22000);
    writes(w, TABLE_VA(4, 20), 1);
    writes(w, TABLE_VA(4, 20), 0);
    CHECK_EQ(shadow_counters(w->s)->unsyncs, 1);
    writes(w, TABLE_VA(4, 511), 0x28000 | HOT);
    world_cr3(w, 0x1000);
    CHECK_EQ(reads(w, PAGE(511)).gpa, 0x28000);
    finish(w);
}

/* The page directory goes out of sync (a write that cannot be emulated hits it), the guest takes a large page
 * away. */
TEST(invlpg_drops_a_whole_splintered_page)
{
    struct world *w = quiet_world();
    put(w, 3, 2, 0 | PS | HOT);
    start(w);
    CHECK_EQ(reads(w, 0x420000).gpa, 0x20000);
    CHECK_EQ(reads(w, 0x421000).gpa, 0x21000);
    world_access(
        w, (struct world_access){ .va = TABLE_VA(3, 8), .write = true, .value = 0, .delivering = true });
    writes(w, TABLE_VA(3, 2), 0);
    world_invlpg(w, 0x421000);
    CHECK_EQ(reads(w, 0x420000).outcome, ACCESS_FAULT);
    CHECK_EQ(reads(w, 0x421000).outcome, ACCESS_FAULT);
    finish(w);
}

/* Frame 4 is a level-1 table of the long-mode guest and, before, of a 32-bit one. */
TEST(table_of_two_formats_stays_in_sync)
{
    struct world *w = quiet_world();
    put(w, 4, 1, 0x21000 | HOT);
    world_poke(w, 0x8000, 0x4000 | UPPER);
    world_load(w, world_32(0x8000));
    CHECK_EQ(reads(w, 0x2000).gpa, 0x21000);
    start(w);
    CHECK_EQ(reads(w, PAGE(1)).gpa, 0x21000);
    for (uint32_t i = 0; i < 4; i++)
        writes(w, TABLE_VA(4, 20), i & 1);
    CHECK_EQ(shadow_counters(w->s)->unsyncs, 0);
    finish(w);
}

TEST(accessed_and_dirty_cleared_by_the_guest_are_set_again_after_its_flush)
{
    struct world *w = with_unsynced_table();
    writes(w, PAGE(1), 1);
    writes(w, TABLE_VA(4, 1), 0x21000 | P | RW | US);
    world_invlpg(w, PAGE(1));
    CHECK_EQ(reads(w, PAGE(1)).exits, 1);
    CHECK_EQ(get(w, 4, 1), 0x21000 | P | RW | US | A);
    CHECK_EQ(writes(w, PAGE(1), 1).exits, 1);
    CHECK_EQ(get(w, 4, 1), 0x21000 | HOT);
    finish(w);
}

TEST(fork_write_protects_many_entries_in_one_resync)
{
    struct world *w = with_unsynced_table();
    for (uint32_t i = 0; i < 8; i++)
        CHECK_EQ(writes(w, TABLE_VA(4, i), (uint64_t)(0x20 + i) << 12 | P | US | A | D).exits, 0);
    world_cr3(w, 0x1000);
    CHECK_EQ(shadow_counters(w->s)->resynced_entries, 8);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK_EQ(reads(w, PAGE(i)).exits, 0);
        CHECK_EQ(user_writes(w, PAGE(i), 1).error, 7);
    }
    finish(w);
}

/* A page of a table could be written but for that; the guest makes it read-only, and then it is no table. */
TEST(leaf_whose_write_right_is_withheld_loses_it_like_others)
{
    for (int accessed = 0; accessed < 2; accessed++) {
        struct world *w = quiet_world();
        put(w, 4, 7, 0x5000 | HOT);
        start(w);
        reads(w, PAGE(7));
        writes(w, TABLE_VA(4, 0), 0x20000);
        writes(w, TABLE_VA(4, 1), 0x20000);
        CHECK_EQ(writes(w, TABLE_VA(4, 7), 0x5000 | P | US | D | (accessed ? A : 0)).exits, 0);
        world_cr3(w, 0x1000);
        CHECK_EQ(reads(w, PAGE(7)).exits, !accessed);
        writes(w, TABLE_VA(3, 1), 0);
        CHECK(!shadow_is_table(w->s, (gfn_t){ 5 }));
        CHECK_EQ(writes(w, PAGE(7), 1).outcome, ACCESS_FAULT);
        finish(w);
    }
}

TEST(new_last_table_is_out_of_sync_until_it_was_quiet)
{
    struct shadow_tuning tuning = shadow_default_tuning();
    tuning.prefetch = tuning.prefetch_direct = 1;
    struct world *w = world_new(128, &tuning, 1, WORLD_RAM);
    lay_out(w);
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    CHECK(machine_list_switch(w->m, 0x1000));
    reads(w, PAGE(7));
    CHECK(!machine_list_switch(w->m, 0x1000));
    reads(w, TABLE_VA(4, 0));
    CHECK_EQ(writes(w, TABLE_VA(4, 8), 0x21000 | HOT).exits, 0);
    CHECK_EQ(writes(w, TABLE_VA(4, 7), 0).exits, 0);
    CHECK_EQ(reads(w, PAGE(8)).exits, 1);
    world_cr3(w, 0x1000);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_FAULT);
    world_cr3(w, 0x1000);
    world_cr3(w, 0x1000);
    CHECK(shadow_is_table(w->s, (gfn_t){ 4 }));
    CHECK(machine_list_switch(w->m, 0x1000));
    CHECK(writes(w, TABLE_VA(4, 8), 0).emulated);
    finish(w);
}

TEST(quiet_table_is_protected_again)
{
    struct world *w = with_unsynced_table();
    uint64_t before = emulated(w);
    world_cr3(w, 0x1000);
    CHECK_EQ(writes(w, TABLE_VA(4, 20), 1).exits, 0); /* still hot */
    world_cr3(w, 0x1000);
    world_cr3(w, 0x1000);
    world_cr3(w, 0x1000);
    CHECK_EQ(writes(w, TABLE_VA(4, 20), 0).exits, 1);
    CHECK_EQ(emulated(w), before + 1);
    finish(w);
}

/* Only zeros in a row within one interval are a page that is cleared. */
TEST(entries_cleared_in_different_intervals_do_not_end_the_table)
{
    struct shadow_tuning tuning = shadow_default_tuning();
    tuning.unsync_streak = tuning.unsync_born = 0;
    struct world *w = world_new(128, &tuning, 1, WORLD_RAM);
    lay_out(w);
    for (uint32_t i = 7; i < 12; i++)
        put(w, 4, i, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    for (uint32_t i = 8; i < 12; i++) {
        CHECK(writes(w, TABLE_VA(4, i), 0).emulated);
        world_cr3(w, 0x1000);
    }
    CHECK_EQ(shadow_counters(w->s)->zaps, 0);
    CHECK_EQ(reads(w, PAGE(7)).exits, 0);
    finish(w);
}

TEST(upper_write_unlinks_at_once)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    reads(w, TABLE_VA(3, 0));
    uint32_t tables = shadow_in_use(w->s);
    struct world_result r = writes(w, TABLE_VA(3, 0), 0);
    CHECK(r.emulated);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_FAULT);
    CHECK_EQ(shadow_in_use(w->s), tables - 1);
    finish(w);
}

TEST(table_that_ended_is_writable_without_an_exit)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    reads(w, TABLE_VA(4, 0)); /* the mapping that lost W */
    writes(w, TABLE_VA(3, 0), 0);
    CHECK_EQ(writes(w, TABLE_VA(4, 0), 5).exits, 0);
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
    for (uint32_t i = 0; i < 2; i++)
        writes(w, TABLE_VA(4, 20), 1 - i);
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
    world_access(w, (struct world_access){ .va = TABLE_VA(3, 100), .write = true, .delivering = true });
    writes(w, TABLE_VA(3, 0), 0x4000 | UPPER);
    CHECK_EQ(user_reads(w, PAGE(8)).outcome, ACCESS_OK);
    world_invlpg(w, PAGE(7));
    CHECK_EQ(reads(w, PAGE(7)).error, 1);
    finish(w);
}

/* not present -> present needs no flush: what is below must be current when the link appears. */
TEST(unsynced_table_is_synced_before_a_new_parent)
{
    struct world *w = with_unsynced_table();
    justify_add(&w->j, 0x400000 + PAGE(2));
    writes(w, TABLE_VA(4, 2), 0x28000 | HOT);
    writes(w, TABLE_VA(3, 2), 0x4000 | UPPER);
    CHECK_EQ(reads(w, 0x400000 + PAGE(2)).gpa, 0x28000);
    finish(w);
}

TEST(unsynced_table_is_synced_before_a_link_widens)
{
    struct world *w = with_unsynced_table();
    writes(w, TABLE_VA(3, 0), 0x4000 | P | US | A);
    reads(w, PAGE(2));
    writes(w, TABLE_VA(4, 2), 0x28000 | HOT);
    writes(w, TABLE_VA(4, 2), 0x28000 | HOT);
    writes(w, TABLE_VA(4, 2), 0x29000 | HOT);
    writes(w, TABLE_VA(3, 0), 0x4000 | UPPER);
    CHECK_EQ(writes(w, PAGE(2), 77).gpa, 0x29000);
    finish(w);
}

TEST(two_zero_writes_in_a_row_forget_an_upper_table)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 2, 1, 0x6000 | UPPER); /* another directory at 1 GB */
    put(w, 6, 0, 0x4000 | UPPER);
    start(w);
    reads(w, 0x40000000 + PAGE(7));
    CHECK(writes(w, TABLE_VA(6, 8), 0).emulated);
    CHECK(writes(w, TABLE_VA(6, 9), 0).emulated);
    CHECK(!shadow_is_table(w->s, (gfn_t){ 6 }));
    CHECK(!writes(w, TABLE_VA(6, 10), 0).emulated);
    CHECK_EQ(writes(w, TABLE_VA(6, 11), 0).exits, 0);
    finish(w);
}

/* How a process ends: its page directory's entries are cleared, then the one above, then the root's. */
TEST(upper_tables_that_became_empty_are_no_tables_any_more)
{
    struct world *w = quiet_world();
    put(w, 1, 1, 0x6000 | UPPER);
    put(w, 6, 0, 0x7000 | UPPER);
    put(w, 7, 0, 0x4000 | UPPER);
    put(w, 7, 9, 0x4000 | UPPER);
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, 0x8000000000 + PAGE(7));
    reads(w, 0x8000000000 + 9 * 0x200000 + PAGE(7));
    CHECK(writes(w, TABLE_VA(7, 0), 0).emulated);
    CHECK(shadow_is_table(w->s, (gfn_t){ 7 }));
    CHECK_EQ(writes(w, TABLE_VA(7, 9), 0).outcome, ACCESS_OK);
    CHECK(!shadow_is_table(w->s, (gfn_t){ 7 }));
    CHECK(!shadow_is_table(w->s, (gfn_t){ 6 }));
    CHECK(!writes(w, TABLE_VA(6, 0), 0).emulated);
    CHECK(writes(w, TABLE_VA(1, 1), 0).emulated);
    CHECK_EQ(reads(w, 0x8000000000 + PAGE(7)).outcome, ACCESS_FAULT);
    finish(w);
}

TEST(address_space_that_was_left_ends_with_the_first_upper_entry_cleared)
{
    struct world *w = quiet_world();
    put(w, 6, 0, 0x2000 | UPPER);
    put(w, 6, 1, 0x7000 | UPPER);
    put(w, 7, 0, 0x8000 | UPPER);
    put(w, 8, 0, 0x9000 | UPPER);
    put(w, 8, 1, 0x9000 | UPPER);
    put(w, 9, 1, 0x22000 | HOT);
    start(w);
    reads(w, TABLE_VA(1, 0));
    world_cr3(w, 0x6000);
    reads(w, 0x8000001000);
    reads(w, 0x8000201000);
    CHECK(writes(w, TABLE_VA(8, 2), 0).emulated); /* not while the guest runs there */
    CHECK(shadow_is_table(w->s, (gfn_t){ 8 }));
    world_cr3(w, 0x1000);
    CHECK(writes(w, TABLE_VA(8, 0), 0).emulated);
    for (uint64_t gfn = 6; gfn < 10; gfn++)
        CHECK(!shadow_is_table(w->s, (gfn_t){ gfn }));
    CHECK(shadow_is_table(w->s, (gfn_t){ 2 }));
    writes(w, TABLE_VA(6, 1), 0x7000 | UPPER);
    world_cr3(w, 0x6000); /* it was not its end after all */
    CHECK_EQ(reads(w, 0x8000201000).gpa, 0x22000);
    CHECK_EQ(reads(w, 0x8000001000).outcome, ACCESS_FAULT);
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

TEST(user_or_unaligned_write_forgets_a_table)
{
    for (int unaligned = 0; unaligned < 2; unaligned++) {
        struct world *w = quiet_world();
        put(w, 4, 7, 0x20000 | HOT);
        put(w, 3, 2, 0x6000 | UPPER);
        start(w);
        reads(w, 0x400000);
        user_reads(w, PAGE(7));
        put(w, 6, 0, 0x21000 | HOT);
        reads(w, 0x400000);
        CHECK(shadow_is_table(w->s, (gfn_t){ 6 }));
        struct world_access a = { .va = TABLE_VA(6, 3) + (unaligned ? 1 : 0),
                                  .write = true,
                                  .user = !unaligned,
                                  .len = 2,
                                  .value = 7 };
        struct world_result r = world_access(w, a);
        CHECK(!r.emulated);
        CHECK_EQ(r.exits, 1);
        CHECK(!shadow_is_table(w->s, (gfn_t){ 6 }));
        finish(w);
    }
}

TEST(flood_of_upper_writes_without_use_forgets_the_table)
{
    struct world *w = quiet_world();
    put(w, 2, 1, 0x6000 | UPPER);
    put(w, 6, 0, 0x4000 | UPPER);
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, 0x40000000 + PAGE(7));
    for (uint32_t i = 0; i < 3; i++)
        CHECK(writes(w, TABLE_VA(6, 10 + i), 0x1111110).emulated);
    CHECK(!writes(w, TABLE_VA(6, 20), 0x1111110).emulated);
    CHECK(!shadow_is_table(w->s, (gfn_t){ 6 }));
    finish(w);
}

TEST(event_delivery_onto_a_table_is_never_emulated)
{
    static const uint64_t stack[] = { 1, 2, 3, 4 }; /* tables of each level, all in use by the write itself */
    for (unsigned i = 0; i < 4; i++) {
        struct world *w = quiet_world();
        check_note("table %u", (unsigned)stack[i]);
        put(w, 4, 7, 0x20000 | HOT);
        start(w);
        reads(w, PAGE(7));
        struct world_access a = {
            .va = TABLE_VA(stack[i], 100), .write = true, .delivering = true, .value = 0x1234560
        };
        struct world_result r = world_access(w, a);
        CHECK_EQ(r.outcome, ACCESS_OK);
        CHECK(!r.emulated);
        CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_OK);
        /* an upper table out of sync: any flush makes all of it current */
        writes(w, TABLE_VA(1, 0), 0);
        world_invlpg(w, 0xdead000);
        CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_FAULT);
        finish(w);
    }
}

TEST(emulator_giving_up_makes_the_page_writable)
{
    for (uint64_t gfn = 1; gfn <= 5; gfn++) {
        struct world *w = quiet_world();
        check_note("table %u", (unsigned)gfn);
        put(w, 4, 7, 0x20000 | HOT);
        start(w);
        reads(w, PAGE(7));
        struct world_access a = { .va = TABLE_VA(gfn, 100), .write = true, .not_emulated = true };
        CHECK_EQ(world_access(w, a).outcome, ACCESS_OK);
        finish(w);
    }
}

/* FXSAVE and other wide stores: the page is written freely then, but not for ever. */
TEST(page_that_the_emulator_gave_up_on_is_protected_again_as_a_table)
{
    for (uint64_t gfn = 1; gfn <= 5; gfn++) {
        struct world *w = quiet_world();
        check_note("table %u", (unsigned)gfn);
        put(w, 4, 7, 0x20000 | HOT);
        start(w);
        for (unsigned time = 0; time < 3; time++) {
            struct world_access a = { .va = TABLE_VA(gfn, 100 + time), .write = true, .not_emulated = true };
            reads(w, PAGE(7));
            reads(w, TABLE_VA(gfn, 0));
            CHECK(shadow_is_table(w->s, (gfn_t){ gfn }));
            CHECK_EQ(world_access(w, a).outcome, ACCESS_OK);
            for (unsigned i = 0; i < 4; i++) {
                world_cr3(w, 0x1000);
                reads(w, PAGE(7));
                reads(w, TABLE_VA(gfn, 0));
            }
            CHECK(shadow_is_table(w->s, (gfn_t){ gfn }));
            CHECK_LE(1, writes(w, TABLE_VA(gfn, 200 + time), 0).exits);
        }
        finish(w);
    }
}

TEST(not_emulated_outside_tables_is_refused)
{
    struct world *w = quiet_world();
    struct shadow_ops ops = { .word = w->words, .max = REPLY_OPS_MAX };
    start(w);
    CHECK(!shadow_not_emulated(w->s, (gpa_t){ 0x20000 }, &ops));
    CHECK_EQ(ops.count, 0);
    finish(w);
}

TEST(write_across_two_entries_and_two_tables)
{
    struct world *w = quiet_world();
    put(w, 4, 0, 0x20000 | HOT);
    put(w, 4, 1, 0x21000 | HOT);
    put(w, 3, 2, 0x6000 | UPPER);
    put(w, 6, 511, 0x22000 | HOT);
    put(w, 3, 3, 0x7000 | UPPER);
    put(w, 7, 0, 0x23000 | HOT);
    start(w);
    reads(w, PAGE(0));
    reads(w, PAGE(1));
    world_dma(w, 0x4004, 8, 0);
    world_audit(w);
    CHECK_EQ(reads(w, PAGE(1)).outcome, ACCESS_FAULT);
    reads(w, 0x400000 + PAGE(511));
    reads(w, 0x600000);
    world_dma(w, 0x6ffc, 8, 0);
    world_audit(w);
    CHECK_EQ(reads(w, 0x600000).outcome, ACCESS_FAULT);
    finish(w);
}

TEST(dma_over_a_whole_table)
{
    struct world *w = usual_world();
    for (uint32_t i = 0; i < 32; i++)
        put(w, 4, i, (uint64_t)(13 + i) << 12 | HOT);
    start(w);
    reads(w, PAGE(0));
    uint8_t zero[4096] = { 0 };
    struct shadow_ops ops = { .word = w->words, .max = REPLY_OPS_MAX };
    gmem_write_bytes(w->mem, (gpa_t){ 0x4000 }, zero, 4096);
    shadow_table_written(w->s, (gpa_t){ 0x4000 }, 4096, 0, 0, &ops);
    CHECK(machine_apply(w->m, w->words, ops.count));
    CHECK_LE(ops.count, 60);
    machine_enter(w->m);
    world_audit(w);
    for (uint32_t i = 0; i < 32; i++)
        CHECK_EQ(reads(w, PAGE(i)).outcome, ACCESS_FAULT);
    finish(w);
}

TEST(table_maps_itself)
{
    struct world *w = quiet_world();
    put(w, 1, 511, 0x1000 | UPPER); /* the PML4 as every level */
    justify_add(&w->j, 0xfffffffffffff000);
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_OK);
    struct world_result r = writes(w, 0xfffffffffffff000 + 8 * 100, 0x2000 | UPPER);
    CHECK_EQ(r.outcome, ACCESS_OK);
    r = writes(w, 0xffffff8000000000 + 7 * 8, 0x21000 | HOT); /* entry 7 of the table for address 0 */
    CHECK_EQ(r.outcome, ACCESS_OK);
    CHECK_EQ(r.gpa, 0x4000 + 7 * 8);
    world_invlpg(w, PAGE(7));
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x21000);
    finish(w);
}

TEST(level1_table_maps_itself_writable)
{
    struct world *w = quiet_world();
    put(w, 4, 9, 0x4000 | HOT);
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQ(writes(w, PAGE(9) + 8 * (20 + i), 0x20000 | HOT).outcome, ACCESS_OK);
    writes(w, PAGE(9) + 7 * 8, 0x22000 | HOT);
    world_invlpg(w, PAGE(7));
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x22000);
    finish(w);
}

TEST(table_holds_code)
{
    struct world *w = quiet_world();
    put(w, 4, 9, 0x4000 | HOT);
    start(w);
    CHECK_EQ(executes(w, PAGE(9) + 0x800).exits, 1);
    CHECK_EQ(executes(w, PAGE(9) + 0x800).exits, 0);
    finish(w);
}

TEST(writers_of_one_frame_are_bounded)
{
    struct world *w = quiet_world();
    put(w, 3, 2, 0x6000 | UPPER);
    for (uint32_t i = 0; i < 100; i++)
        put(w, 4, i, 0x7000 | HOT); /* many mappings of a page that becomes a table */
    put(w, 3, 3, 0x7000 | UPPER);
    start(w);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(writes(w, PAGE(i), 0x20000 | HOT).outcome, ACCESS_OK);
    world_audit(w);
    CHECK_EQ(reads(w, 0x600000).outcome, ACCESS_OK);
    world_audit(w);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(writes(w, PAGE(i) + 8, 0x21000 | HOT).outcome, ACCESS_OK);
    world_invlpg(w, 0x601000);
    CHECK_EQ(reads(w, 0x601000).gpa, 0x21000);
    finish(w);
}

TEST(parents_of_one_table_are_bounded)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 6, 0, 0);
    for (uint32_t i = 2; i < 300; i++)
        put(w, 3, i, 0x4000 | UPPER);
    start(w);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 2; i < 300; i++)
            CHECK_EQ(reads(w, ((uint64_t)i << 21) + PAGE(7)).outcome, ACCESS_OK);
        world_audit(w);
    }
    finish(w);
}

TEST(many_tables_out_of_sync_at_once)
{
    struct world *w = world_new(256, NULL, 1, 128);
    lay_out(w);
    for (uint32_t t = 0; t < 60; t++) {
        put(w, 3, 10 + t, (uint64_t)(40 + t) << 12 | UPPER);
        put(w, 40 + t, 0, 0x20000 | HOT);
        put(w, 4, t, (uint64_t)(40 + t) << 12 | HOT); /* window on the tables */
    }
    start(w);
    for (uint32_t t = 0; t < 60; t++) {
        reads(w, (uint64_t)(10 + t) << 21);
        writes(w, PAGE(t) + 8, 1);
        writes(w, PAGE(t) + 8, 0);
        writes(w, PAGE(t), 0x21000 | HOT);
    }
    world_audit(w);
    world_cr3(w, 0x1000);
    for (uint32_t t = 0; t < 60; t++)
        CHECK_EQ(reads(w, (uint64_t)(10 + t) << 21).gpa, 0x21000);
    finish(w);
}

/* A table whose frame is the root of many address spaces, too, and below many entries. */
static void many_shadows_of(struct world *w, uint64_t gfn)
{
    static const uint64_t cr0[] = { CR0_PAGED, CR0_PAGED & ~CR0_WP_ };

    put(w, gfn, 0, 0x8000 | HOT);
    put(w, 8, 0, 0x3000 | UPPER);
    for (uint32_t i = 2; i < 130; i++)
        put(w, 3, i, gfn << 12 | UPPER);
    start(w);
    for (uint32_t k = 0; k < 16; k++) {
        if (!(k & 1) && (k & 6))
            continue; /* the same roots as without SMEP and SMAP */
        world_mode(w, cr0[k & 1], CR4_PAE_ | (k & 2 ? CR4_SMEP_ : 0) | (k & 4 ? CR4_SMAP_ : 0),
                   EFER_LONG | (k & 8 ? 0 : EFER_NXE_));
        world_cr3(w, gfn << 12);
        user_reads(w, TABLE_VA(0, 0));
    }
    world_mode(w, CR0_PAGED, CR4_PAE_, EFER_LONG | EFER_NXE_);
    world_cr3(w, gfn << 12);
    world_cr3(w, 0x1000);
    for (uint32_t i = 2; i < 130; i++)
        reads(w, (uint64_t)i << 21);
}

TEST(a_write_that_ends_many_tables_keeps_to_its_room)
{
    for (uint32_t max = 128; max < 150; max++) {
        struct world *w = quiet_world();
        many_shadows_of(w, 6);
        check_note("room %u", max);
        user_reads(w, TABLE_VA(6, 3));
        w->ops_max = max;
        CHECK_EQ(user_writes(w, TABLE_VA(6, 3), 7).outcome, ACCESS_OK);
        finish(w);
    }
}

/* The same by a new way to a table out of sync, which is brought in sync first. */
TEST(a_new_way_behind_a_write_that_ends_many_tables_keeps_to_its_room)
{
    for (uint32_t max = 128; max < 150; max++) {
        struct world *w = quiet_world();
        put(w, 3, 140, 0xa000 | UPPER);
        put(w, 3, 141, 0xa000 | UPPER);
        put(w, 10, 6, 0x6000 | HOT);
        many_shadows_of(w, 6);
        check_note("room %u", max);
        reads(w, (141ull << 21) + PAGE(6));
        world_cr3(w, 0x9000);
        world_cr3(w, 0x1000);
        writes(w, TABLE_VA(10, 40), 1);
        writes(w, TABLE_VA(10, 40), 0);
        CHECK(!shadow_is_table(w->s, (gfn_t){ 10 }));
        w->ops_max = max;
        CHECK_EQ(user_writes(w, (140ull << 21) + PAGE(6) + 3 * 8, 7).outcome, ACCESS_OK);
        finish(w);
    }
}
