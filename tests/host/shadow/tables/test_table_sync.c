/* SPDX-License-Identifier: BSD-2-Clause */
/* Last tables that the guest writes: emulated first, then out of sync, current again at its flushes, and
 * protected again when they were quiet. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "setups.h"

static uint64_t emulated(const struct world *w)
{
    return shadow_counters(w->s)->emulated_writes;
}

TEST(first_table_write_is_emulated_second_goes_out_of_sync)
{
    struct world *w = with_page();
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
    struct world *w = with_page();
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
    struct world *w = with_page();
    CHECK_EQ(reads(w, PAGE(9)).outcome, ACCESS_FAULT);
    writes(w, TABLE_VA(4, 8), 0);
    writes(w, TABLE_VA(4, 8), 1);
    writes(w, TABLE_VA(4, 9), 0x21000 | HOT);
    CHECK_EQ(reads(w, PAGE(9)).outcome, ACCESS_OK); /* no flush by the guest */
    finish(w);
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
    unsync(w);
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
    unsync_directory(w, 3);
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
