/* SPDX-License-Identifier: BSD-2-Clause */
/* Roots and modes: CR3 loads, the kernel's list, PAE's latched entries, 32-bit tables, unpaged mode, epochs,
 * reclaim. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "layout.h"

/* A second address space at frame 6 that shares the tables of the first but for one page at 1 GB. */
static struct world *two_spaces(struct world *w)
{
    put(w, 6, 0, 0x2000 | UPPER);
    put(w, 6, 1, 0x7000 | UPPER);
    put(w, 4, 7, 0x20000 | HOT);
    return start(w);
}

TEST(cr3_load_of_a_known_root_makes_no_table)
{
    struct world *w = two_spaces(quiet_world());
    reads(w, PAGE(7));
    world_cr3(w, 0x6000);
    reads(w, PAGE(7));
    uint64_t made = shadow_counters(w->s)->tables_made;
    for (int i = 0; i < 4; i++) {
        world_cr3(w, 0x1000);
        CHECK_EQ(reads(w, PAGE(7)).exits, 0);
        world_cr3(w, 0x6000);
        CHECK_EQ(reads(w, PAGE(7)).exits, 0);
    }
    CHECK_EQ(shadow_counters(w->s)->tables_made, made);
    finish(w);
}

TEST(new_root_has_the_links_that_it_shares_with_the_one_before)
{
    struct world *w = two_spaces(quiet_world());
    put(w, 8, 0, 0x7000 | UPPER); /* a third space with others in the same places */
    put(w, 8, 1, 0x2000 | UPPER);
    put(w, 7, 0, 0x9000 | UPPER);
    put(w, 9, 0, 0xa000 | UPPER);
    put(w, 10, 7, 0x21000 | HOT);
    put(w, 11, 0, 0x2000 | P | RW | US); /* a fourth in which they are not accessed yet */
    reads(w, PAGE(7));
    world_cr3(w, 0x6000);
    CHECK_EQ(reads(w, PAGE(7)).exits, 0);
    CHECK_EQ(reads(w, 0x8000000000 + PAGE(7)).gpa, 0x21000);
    world_cr3(w, 0x8000);
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x21000);
    CHECK_EQ(reads(w, 0x8000000000 + PAGE(7)).gpa, 0x20000);
    world_cr3(w, 0xb000);
    CHECK(!(get(w, 11, 0) & A));
    CHECK_EQ(reads(w, PAGE(7)).exits, 1);
    CHECK(get(w, 11, 0) & A);
    finish(w);
}

TEST(clean_roots_are_served_by_the_kernel)
{
    struct world *w = two_spaces(quiet_world());
    reads(w, PAGE(7));
    world_cr3(w, 0x6000);
    reads(w, PAGE(7));
    CHECK(machine_list_switch(w->m, 0x1000));
    CHECK(machine_list_switch(w->m, 0x6000));
    CHECK(!machine_list_switch(w->m, 0x6008)); /* the exact value only */
    CHECK(!shadow_cr3_served(w->s, 0x6008, 1));
    world_cr3(w, 0x1000);
    finish(w);
}

TEST(root_leaves_the_list_before_a_table_under_it_goes_out_of_sync)
{
    struct world *w = two_spaces(quiet_world());
    put(w, 7, 0, 0x8000 | UPPER);
    put(w, 8, 0, 0x9000 | UPPER);
    put(w, 9, 0, 0x21000 | HOT);
    reads(w, PAGE(7));
    world_cr3(w, 0x6000);
    reads(w, 0x8000000000);
    writes(w, TABLE_VA(9, 1), 0x21000 | HOT); /* only under the root at frame 6 */
    writes(w, TABLE_VA(9, 1), 0x22000 | HOT);
    CHECK(!machine_list_switch(w->m, 0x6000));
    CHECK(machine_list_switch(w->m, 0x1000));
    CHECK(shadow_cr3_served(w->s, 0x1000, 1));
    w->cpu.cr3 = 0x1000;
    justify_flush(&w->j);
    world_verify(w);
    finish(w);
}

TEST(root_that_was_clean_is_not_listed_when_it_lags)
{
    struct world *w = two_spaces(quiet_world());
    put(w, 7, 0, 0x8000 | UPPER);
    put(w, 8, 0, 0x9000 | UPPER);
    put(w, 9, 0, 0x21000 | HOT);
    reads(w, PAGE(7));
    writes(w, TABLE_VA(4, 20), 0x21000 | HOT); /* out of sync, some loads before the other */
    writes(w, TABLE_VA(4, 20), 0x22000 | HOT);
    world_cr3(w, 0x1000);
    world_cr3(w, 0x6000);
    reads(w, 0x8000000000);
    writes(w, TABLE_VA(9, 1), 0x21000 | HOT); /* under this root only */
    writes(w, TABLE_VA(9, 1), 0x22000 | HOT);
    world_cr3(w, 0x1000); /* its table is in sync again, while the other lags */
    writes(w, TABLE_VA(4, 20), 0x21000 | HOT);
    writes(w, TABLE_VA(4, 20), 0x22000 | HOT);
    world_cr3(w, 0x1000);
    CHECK(!machine_list_switch(w->m, 0x1000));
    finish(w);
}

/* How Linux changes its code: an entry is set, used through another address space, and cleared, again and
 * again. The table stays out of sync, and only the load that leads to it is an exit. */
TEST(a_table_written_between_loads_again_and_again_costs_one_exit_a_round)
{
    struct world *w = two_spaces(quiet_world());
    uint64_t before = 0;
    put(w, 7, 0, 0x8000 | UPPER);
    put(w, 8, 0, 0x9000 | UPPER);
    put(w, 9, 1, 0x22000 | HOT);
    reads(w, PAGE(7));
    world_cr3(w, 0x6000);
    reads(w, 0x8000001000);
    world_cr3(w, 0x1000);
    for (uint32_t round = 0; round < 60; round++) {
        if (round == 10)
            before = w->exits;
        writes(w, TABLE_VA(9, 0), (round / 4 % 2 ? 0x20000 : 0x21000) | HOT); /* also the same one again */
        world_cr3(w, 0x6000);
        CHECK_EQ(writes(w, 0x8000000000, round).outcome, ACCESS_OK);
        CHECK_EQ(world_peek(w, round / 4 % 2 ? 0x20000 : 0x21000), round);
        writes(w, TABLE_VA(9, 0), 0);
        world_cr3(w, 0x1000);
    }
    CHECK_EQ(w->exits - before, 50);
    CHECK_EQ(shadow_counters(w->s)->zaps, 0);
    for (uint32_t i = 0; i < 80; i++) /* then it is quiet: back in sync, and its root on the list */
        world_cr3(w, i % 2 ? 0x1000 : 0x6000);
    before = w->exits;
    world_cr3(w, 0x6000);
    world_cr3(w, 0x1000);
    CHECK_EQ(w->exits, before);
    finish(w);
}

TEST(mode_change_empties_the_list)
{
    struct world *w = two_spaces(quiet_world());
    world_cr3(w, 0x6000);
    world_cr3(w, 0x1000);
    world_mode(w, CR0_PAGED & ~CR0_WP_, CR4_PAE_, EFER_LONG | EFER_NXE_);
    CHECK(!machine_list_switch(w->m, 0x6000));
    finish(w);
}

TEST(new_epoch_forgets_and_refills)
{
    struct world *w = two_spaces(quiet_world());
    reads(w, PAGE(7));
    writes(w, TABLE_VA(4, 8), 1);
    writes(w, TABLE_VA(4, 8), 0);
    world_new_epoch(w);
    world_audit(w);
    CHECK_EQ(shadow_in_use(w->s), 1);
    CHECK_EQ(writes(w, PAGE(7), 1).exits, 1);
    CHECK_EQ(shadow_counters(w->s)->resets, 1);
    finish(w);
}

TEST(small_pool_gets_slower_never_stuck)
{
    struct world *w = world_new(SHADOW_TABLES_MIN, NULL, 1, 128);
    lay_out(w);
    for (uint32_t t = 0; t < 80; t++) {
        put(w, 3, 10 + t, (uint64_t)(40 + t) << 12 | UPPER);
        put(w, 40 + t, 0, 0x20000 | HOT);
    }
    start(w);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t t = 0; t < 80; t++) {
            CHECK_EQ(writes(w, (uint64_t)(10 + t) << 21, t).outcome, ACCESS_OK);
            if (t % 16 == 0)
                world_audit(w);
        }
    }
    CHECK_LT(100, shadow_counters(w->s)->reclaims);
    finish(w);
}

TEST(reclaim_takes_the_oldest_root_first)
{
    struct world *w = world_new(20, NULL, 1, 128);
    lay_out(w);
    for (uint64_t r = 0; r < 40; r++) { /* address spaces with one private table path each */
        put(w, 20 + r, 0, 0x2000 | UPPER);
    }
    put(w, 4, 7, 0x10000 | HOT);
    start(w);
    for (uint64_t r = 0; r < 40; r++) {
        world_cr3(w, (20 + r) << 12);
        CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_OK);
    }
    uint64_t made = shadow_counters(w->s)->tables_made;
    world_cr3(w, 58ull << 12);
    world_cr3(w, 59ull << 12);
    CHECK_EQ(reads(w, PAGE(7)).exits, 0);
    CHECK_EQ(shadow_counters(w->s)->tables_made, made);
    finish(w);
}

static struct world *pae_world(void)
{
    struct world *w = quiet_world();
    put(w, 1, 0, 0x2000 | P);
    put(w, 1, 3, 0x3000 | P);
    put(w, 2, 0, 0x4000 | UPPER);
    put(w, 3, 0, 0x4000 | UPPER);
    put(w, 3, 1, 0x5000 | UPPER);
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 7, 0, 0x4000 | UPPER);
    justify_add(&w->j, 0xc0000000 + PAGE(7));
    justify_add(&w->j, 0x40000000 + PAGE(7));
    world_load(w, world_pae(0x1000));
    return w;
}

#define PAE_TABLE_VA(gfn, i) (0xc0000000 + TABLE_VA(gfn, i))

TEST(pae_pointers_are_latched)
{
    struct world *w = pae_world();
    CHECK_EQ(writes(w, PAGE(7), 1).outcome, ACCESS_OK);
    CHECK_EQ(reads(w, 0xc0000000 + PAGE(7)).outcome, ACCESS_OK);
    CHECK_EQ(reads(w, 0x40000000 + PAGE(7)).outcome, ACCESS_FAULT);
    CHECK_EQ(writes(w, PAE_TABLE_VA(1, 1), 0x7000 | P).outcome, ACCESS_OK);
    CHECK_EQ(reads(w, 0x40000000 + PAGE(7)).outcome, ACCESS_FAULT); /* not before a load */
    world_cr3(w, 0x1000);
    CHECK_EQ(reads(w, 0x40000000 + PAGE(7)).outcome, ACCESS_OK);
    finish(w);
}

TEST(pae_reserved_pointer_is_refused)
{
    struct world *w = pae_world();
    put(w, 8, 0, 0x2000 | P | RW);
    CHECK_EQ(shadow_cr3(w->s, 0x8000, &w->ops), SHADOW_BAD_PDPT);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_OK);
    world_mode(w, BIT(0), CR4_PAE_, EFER_NXE_);
    world_cr3(w, 0x8000);
    CHECK_EQ(shadow_mode(w->s, CR0_PAGED, CR4_PAE_, EFER_NXE_, &w->ops), SHADOW_BAD_PDPT);
    finish(w);
}

TEST(pae_same_directory_in_two_slots)
{
    struct world *w = pae_world();
    put(w, 1, 1, 0x2000 | P);
    world_cr3(w, 0x1000);
    put(w, 4, 8, 0x20000 | HOT);
    reads(w, PAGE(7));
    reads(w, PAGE(8));
    for (uint32_t i = 0; i < 3; i++)
        writes(w, PAE_TABLE_VA(4, 8), (uint64_t)(0x21 + i) << 12 | HOT); /* goes out of sync */
    CHECK_EQ(reads(w, PAGE(8)).gpa, 0x21000);                            /* stale */
    CHECK_EQ(reads(w, 0x40000000 + PAGE(7)).gpa, 0x20000);               /* makes the second way */
    CHECK_EQ(reads(w, 0x40000000 + PAGE(8)).gpa, 0x23000);
    finish(w);
}

TEST(pae_entry_written_in_halves)
{
    struct world *w = pae_world();
    reads(w, PAGE(7));
    for (uint32_t i = 0; i < 2; i++) {
        struct world_access a = { .va = PAE_TABLE_VA(4, 7), .write = true, .len = 4, .value = 0 };
        world_access(w, a);
        a.va += 4;
        a.value = 1u << 31;
        world_access(w, a);
        a.va -= 4;
        a.value = 0x22000 | HOT;
        world_access(w, a);
        world_invlpg(w, PAGE(7));
        CHECK_EQ(reads(w, PAGE(7)).gpa, 0x22000);
        CHECK_EQ(executes(w, PAGE(7)).error, 17);
    }
    finish(w);
}

static void put32(struct world *w, uint64_t table, uint32_t index, uint32_t value)
{
    uint64_t at = (table << 12) + index * 4, old = world_peek(w, at & ~7ull);
    uint32_t shift = index % 2 * 32;
    world_poke(w, at & ~7ull, (old & ~(0xffffffffull << shift)) | (uint64_t)value << shift);
}

TEST(two_level_tables_have_halves_and_quarters)
{
    struct world *w = quiet_world();
    for (uint32_t q = 0; q < 4; q++) {
        put(w, 5, 0, 0); /* lay_out's entries are of another format */
        put32(w, 1, q * 256 + 3, 0x4000 | UPPER);
    }
    for (uint32_t i = 0; i < 16; i++)
        put32(w, 5, i, i << 12 | HOT);
    put32(w, 4, 7, 0x20000 | HOT);
    put32(w, 4, 600, 0x21000 | HOT);
    put32(w, 4, 512 + 7, 0x23000 | HOT);
    put32(w, 1, 0, 0x5000 | UPPER);
    world_load(w, world_32(0x1000));
    for (uint64_t q = 0; q < 4; q++) {
        uint64_t va = (q * 256 + 3) << 22;
        CHECK_EQ(reads(w, va + PAGE(7)).gpa, 0x20000);
        CHECK_EQ(writes(w, va + PAGE(600), q).gpa, 0x21000);
        CHECK_EQ(reads(w, va + PAGE(512 + 7)).gpa, 0x23000); /* the same entry of the other half */
        CHECK_EQ(reads(w, va + PAGE(7)).gpa, 0x20000);
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct world_access a = {
            .va = 0x4000 + 600 * 4, .write = true, .len = 4, .value = (0x22 + i) << 12 | HOT
        };
        world_access(w, a);
        world_invlpg(w, (3ull << 22) + PAGE(600));
        CHECK_EQ(reads(w, (3ull << 22) + PAGE(600)).gpa, (0x22ull + i) << 12);
    }
    finish(w);
}

TEST(four_megabyte_page_has_two_halves)
{
    struct world *w = world_new(128, NULL, 1, 1100);
    put32(w, 1, 1, 0 | HOT | PS);
    justify_add(&w->j, 0x400000 + PAGE(700));
    justify_add(&w->j, 0x400000 + PAGE(100));
    world_load(w, world_32(0x1000));
    CHECK_EQ(reads(w, 0x400000 + PAGE(100)).gpa, PAGE(100));
    CHECK_EQ(writes(w, 0x400000 + PAGE(700), 1).gpa, PAGE(700));
    put32(w, 1, 2, 0x400000 | HOT | PS | 1u << 21); /* reserved */
    CHECK_EQ(reads(w, 0x800000).error, 9);
    world_mode(w, CR0_PAGED, 0, 0); /* without PSE the bit means nothing: a table at frame 0 */
    CHECK_EQ(reads(w, 0x400000 + PAGE(100)).outcome, ACCESS_FAULT);
    finish(w);
}

TEST(unpaged_guest_sees_physical_memory)
{
    struct world *w = world_new(128, NULL, 1, 600);
    justify_add(&w->j, PAGE(599));
    justify_add(&w->j, 0);
    world_load(w, (struct shadow_control){ BIT(0), 0x1000, 0, 0 });
    CHECK_EQ(writes(w, PAGE(599) + 8, 1).gpa, PAGE(599) + 8);
    CHECK_EQ(writes(w, PAGE(0), 1).gpa, 0);
    CHECK_EQ(reads(w, 0xb8000 + PAGE(600)).outcome, ACCESS_MMIO);
    CHECK_EQ(reads(w, 0xc0000000).outcome, ACCESS_MMIO);
    finish(w);
}

TEST(linux_style_way_from_unpaged_to_long_mode)
{
    struct world *w = usual_world();
    put(w, 4, 7, 0x20000 | P | RW | US);
    put(w, 3, 2, 0 | P | RW | US | PS);
    world_load(w, (struct shadow_control){ BIT(0), 0, 0, 0 });
    CHECK_EQ(writes(w, PAGE(0x20), 42).outcome, ACCESS_OK);
    world_mode(w, BIT(0), CR4_PAE_, 0);
    world_cr3(w, 0x1000);
    world_mode(w, BIT(0), CR4_PAE_, BIT(8));
    world_mode(w, BIT(0) | BIT(31), CR4_PAE_, BIT(8) | BIT(10));
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x20000);
    CHECK_EQ(writes(w, 0x400000 + PAGE(0x20), 43).outcome, ACCESS_OK);
    world_mode(w, CR0_PAGED, CR4_PAE_ | CR4_PGE_, EFER_LONG | EFER_NXE_);
    CHECK_EQ(writes(w, PAGE(7), 44).outcome, ACCESS_OK);
    CHECK_EQ(world_peek(w, 0x20000), 44);
    finish(w);
}
