/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables in odd places: over two entries, under a device's write, in themselves, holding code; and more of
 * them than there is room for in one answer. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "setups.h"

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
