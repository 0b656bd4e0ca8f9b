/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of docs/shadow-mmu.md that the library keeps, one test each by the rule's number. Their details
 * have more tests in the files beside this one; the table there names them. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "tables/setups.h"

#include <servers/vmm/shadow/internal.h>
#include <string.h>
#include <tests/host/support/gmem_host.h>

/* The processor walks wherever it likes, at any time. */
static void walk_everywhere(struct world *w)
{
    for (unsigned i = 0; i < w->j.vas; i++)
        machine_extend(w->m, w->j.va[i].va);
    world_verify(w);
}

TEST(rule_1_walks_of_the_processors_own_accord_are_justified)
{
    struct world *w = usual_world();
    for (uint32_t i = 0; i < 8; i++)
        put(w, 4, i, (uint64_t)(0x20 + i) << 12 | HOT);
    start(w);
    for (uint32_t i = 0; i < 8; i++) {
        reads(w, PAGE(i));
        walk_everywhere(w);
        writes(w, TABLE_VA(4, i), (uint64_t)(0x28 + i) << 12 | (i & 1 ? HOT : P | A));
        walk_everywhere(w);
        if (i % 3 == 0)
            world_invlpg(w, PAGE(i));
        walk_everywhere(w);
    }
    writes(w, TABLE_VA(3, 0), 0);
    walk_everywhere(w);
    writes(w, TABLE_VA(3, 0), 0x4000 | P | A);
    walk_everywhere(w);
    world_cr3(w, 0x1000);
    walk_everywhere(w);
    finish(w);
}

TEST(rule_2_stale_is_legal_until_the_flush_and_absence_is_never_kept)
{
    struct world *w = quiet_world();
    read_pages(w, 4);
    CHECK_EQ(reads(w, PAGE(9)).outcome, ACCESS_FAULT);
    unsync(w);
    writes(w, TABLE_VA(4, 0), 0);
    writes(w, TABLE_VA(4, 1), 0x21000 | P | US | A | D);
    CHECK_EQ(reads(w, PAGE(0)).outcome, ACCESS_OK);
    CHECK_EQ(writes(w, PAGE(1), 1).outcome, ACCESS_OK);
    writes(w, TABLE_VA(4, 9), 0x29000 | HOT);
    CHECK_EQ(reads(w, PAGE(9)).outcome, ACCESS_OK); /* without a flush */
    world_cr3(w, 0x1000);
    CHECK_EQ(reads(w, PAGE(0)).error, 0);
    CHECK_EQ(writes(w, PAGE(1), 1).error, 3);
    finish(w);
}

TEST(rule_3_invlpg_ends_upper_entries_and_the_whole_of_a_large_page)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 6, 7, 0x21000 | HOT);
    put(w, 3, 2, 0 | PS | HOT);
    start(w);
    reads(w, PAGE(7));
    reads(w, 0x420000);
    reads(w, 0x421000);
    unsync_directory(w, 3);
    writes(w, TABLE_VA(3, 0), 0x6000 | UPPER);
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x20000);
    world_invlpg(w, PAGE(7));
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x21000);
    unsync_directory(w, 3);
    writes(w, TABLE_VA(3, 2), 0);
    world_invlpg(w, 0x421000);
    CHECK_EQ(reads(w, 0x420000).outcome, ACCESS_FAULT);
    CHECK_EQ(reads(w, 0x421000).outcome, ACCESS_FAULT);
    finish(w);
}

/* The machine ends the test if a cached walk reaches a table that is something else by now. */
TEST(rule_4_a_table_is_used_again_only_behind_a_flush)
{
    struct world *w = world_new(SHADOW_TABLES_MIN, NULL, 1, 128);
    lay_out(w);
    for (uint32_t t = 0; t < 60; t++) {
        put(w, 3, 10 + t, (uint64_t)(40 + t) << 12 | UPPER);
        put(w, 40 + t, t % 8, 0x20000 | HOT);
        if (t < 16)
            justify_add(&w->j, ((uint64_t)(10 + t) << 21) + PAGE(t % 8));
    }
    start(w);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t t = 0; t < 60; t++) {
            uint64_t flushes = w->m->flushes, reclaims = shadow_counters(w->s)->reclaims;
            CHECK_EQ(reads(w, ((uint64_t)(10 + t) << 21) + PAGE(t % 8)).outcome, ACCESS_OK);
            if (shadow_counters(w->s)->reclaims > reclaims)
                CHECK_LT(flushes, w->m->flushes);
            walk_everywhere(w);
        }
    }
    CHECK_LT(60, shadow_counters(w->s)->reclaims);
    finish(w);
}

TEST(rule_5_reclaim_comes_first_and_spares_what_is_in_use)
{
    struct world *w = world_new(SHADOW_TABLES_MIN, NULL, 1, 128);
    lay_out(w);
    for (uint32_t t = 0; t < 60; t++) {
        put(w, 3, 10 + t, (uint64_t)(40 + t) << 12 | UPPER);
        put(w, 40 + t, 0, 0x20000 | HOT);
        put(w, 100 + t % 20, 0, 0x2000 | UPPER); /* other address spaces */
    }
    start(w);
    for (uint32_t t = 0; t < 60; t++) {
        if (t % 7 == 0)
            world_cr3(w, (100ull + t % 20) << 12);
        uint32_t exits = reads(w, (uint64_t)(10 + t) << 21).exits;
        CHECK_LE(exits, 2);
        const struct table *top = &w->s->table[w->s->top[0]];
        CHECK(w->s->top[0] != NO_TABLE && (top->flags & TABLE_LIVE) && top->role.level == 4);
        CHECK_EQ(w->m->root[0], w->s->top[0]);
        CHECK_EQ(top->gfn, w->cpu.cr3 >> 12);
        CHECK_EQ(reads(w, (uint64_t)(10 + t) << 21).exits, 0); /* all of the way is there */
        world_audit(w);
    }
    finish(w);
}

/* Each bit of each level's entry, by itself, added to a way that works. */
static void each_bit(struct world *w, const uint64_t *entry, uint32_t levels, uint32_t bytes, uint64_t va)
{
    for (uint32_t level = 0; level < levels; level++) {
        uint64_t good = world_peek(w, entry[level]) & (bytes == 8 ? ~0ull : 0xffffffff);
        for (uint32_t bit = 0; bit < bytes * 8; bit++) {
            struct model_access m = { .va = va };
            check_note("level %u bit %u", levels - level, bit);
            world_dma(w, entry[level], bytes, good ^ BIT(bit));
            world_cr3(w, w->cpu.cr3);
            struct model_walk ref = model_walk(&w->cpu, &m);
            struct world_result r = reads(w, va);
            CHECK_EQ(r.outcome == ACCESS_FAULT, ref.outcome == MODEL_PAGE_FAULT);
            if (r.outcome == ACCESS_FAULT)
                CHECK_EQ(r.error, ref.error);
            else
                CHECK_EQ(r.gpa, ref.gpa);
            world_dma(w, entry[level], bytes, good);
        }
    }
}

TEST(rule_6_every_bit_of_every_level_means_what_it_means_on_hardware)
{
    static const uint64_t four[] = { 0x1000, 0x2000, 0x3000, 0x4038 }, large[] = { 0x1000, 0x2000, 0x3010 },
                          giant[] = { 0x1000, 0x2008 }, three[] = { 0x3000, 0x4038 },
                          two[] = { 0x6000, 0x701c }, four_mb[] = { 0x6004 };
    struct world *w = quiet_world();
    uint32_t narrow[2] = { 0x7000 | UPPER, 0 | HOT | PS }, page = 0x20000 | HOT;
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 3, 2, 0 | HOT | PS);
    put(w, 2, 1, 0 | HOT | PS);
    put(w, 8, 0, 0x3000 | P);
    gmem_write_bytes(w->mem, (gpa_t){ 0x6000 }, narrow, 8);
    gmem_write_bytes(w->mem, (gpa_t){ 0x7000 + 7 * 4 }, &page, 4);
    start(w);
    for (uint32_t nxe = 0; nxe < 2; nxe++) {
        world_mode(w, CR0_PAGED, CR4_PAE_, EFER_LONG | (nxe ? EFER_NXE_ : 0));
        each_bit(w, four, 4, 8, PAGE(7));
        each_bit(w, large, 3, 8, 0x400000 + 0x20000);
        each_bit(w, giant, 2, 8, 0x40000000 + 0x20000);
    }
    world_load(w, world_pae(0x8000));
    each_bit(w, three, 2, 8, PAGE(7));
    world_load(w, world_32(0x6000));
    each_bit(w, two, 2, 4, PAGE(7));
    each_bit(w, four_mb, 1, 4, 0x400000 + 0x20000);
    finish(w);
}

TEST(rule_6_frames_are_not_cut_off)
{
    struct world *w = quiet_world();
    uint32_t pse36[1] = { 3u << 13 | HOT | PS }; /* 12 GB */
    put(w, 4, 7, 1ull << 39 | 0x20000 | HOT);    /* beyond what a shadow entry can name */
    put(w, 4, 8, 0x20000 | HOT);
    put(w, 3, 2, 1ull << 39 | HOT | PS);
    put(w, 3, 3, 1ull << 39 | 0x4000 | UPPER); /* a table out there is a hole */
    start(w);
    reads(w, PAGE(8));
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_MMIO);
    CHECK_EQ(reads(w, PAGE(7) + 8).gpa, (1ull << 39) + 0x20008);
    CHECK_EQ(reads(w, 0x400000 + 0x20000).gpa, (1ull << 39) + 0x20000);
    CHECK_EQ(reads(w, 0x600000 + PAGE(8)).error, 9);
    writes(w, TABLE_VA(4, 8), 1ull << 39 | 0x20000 | HOT);
    world_invlpg(w, PAGE(8));
    CHECK_EQ(reads(w, PAGE(8)).outcome, ACCESS_MMIO);
    gmem_write_bytes(w->mem, (gpa_t){ 0x6004 }, pse36, 4);
    world_load(w, world_32(0x6000));
    struct world_result r = reads(w, 0x400000 + 0x20008);
    CHECK_EQ(r.outcome, ACCESS_MMIO);
    CHECK_EQ(r.gpa, (3ull << 32) + 0x20008);
    finish(w);
}

TEST(rule_7_memory_that_goes_or_comes_is_seen_at_once)
{
    struct world *w = usual_world();
    read_pages(w, 8);
    world_hole(w, 0x22);
    CHECK_EQ(reads(w, PAGE(2)).outcome, ACCESS_MMIO);
    CHECK_EQ(writes(w, PAGE(3), 1).outcome, ACCESS_OK);
    world_hole(w, 0x22);
    CHECK_EQ(writes(w, PAGE(2), 5).outcome, ACCESS_OK);
    world_hole(w, 4); /* the table itself */
    CHECK_EQ(reads(w, PAGE(3)).error, 9);
    world_hole(w, 4);
    CHECK_EQ(reads(w, PAGE(3)).gpa, 0x23000);
    finish(w);
}

TEST(rule_8_a_table_is_also_memory)
{
    struct world *w = quiet_world();
    put(w, 4, 9, 0x4000 | HOT);         /* the table maps itself */
    put(w, 4, 8, w->rom << 12 | P | A); /* a table in ROM, seen as a page */
    put(w, 3, 2, w->rom << 12 | UPPER);
    put(w, 3, 3, 0xfee00000 | UPPER); /* in a hole */
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    CHECK_EQ(executes(w, PAGE(9) + 0x800).outcome, ACCESS_OK); /* code in a table */
    struct world_access stack = { .va = PAGE(9) + 0x808, .write = true, .delivering = true, .value = 1 };
    CHECK_EQ(world_access(w, stack).outcome, ACCESS_OK); /* a stack, an IDT's frame */
    for (uint32_t i = 0; i < 4; i++) {
        writes(w, PAGE(9) + 7 * 8, (uint64_t)(0x21 + i) << 12 | HOT);
        world_invlpg(w, PAGE(7));
        CHECK_EQ(reads(w, PAGE(7)).gpa, (0x21ull + i) << 12);
    }
    CHECK_EQ(reads(w, 0x400000).outcome, ACCESS_FAULT); /* ROM holds zeros */
    CHECK_EQ(writes(w, PAGE(8), 7).error, 3);
    CHECK_EQ(reads(w, 0x600000).error, 9); /* ones */
    world_dma(w, 0x4ffc, 8, 0);            /* over the end of a table */
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x24000);
    finish(w);
}

TEST(rule_13_a_device_that_writes_a_table_is_a_guest_that_does)
{
    struct world *w = usual_world();
    read_pages(w, 8);
    world_dma(w, 0x4000 + 2 * 8, 8, 0x28000 | HOT);
    CHECK_EQ(reads(w, PAGE(2)).gpa, 0x28000); /* in sync: at once */
    unsync(w);
    world_dma(w, 0x4000 + 3 * 8, 8, 0x29000 | HOT);
    world_invlpg(w, PAGE(3));
    CHECK_EQ(reads(w, PAGE(3)).gpa, 0x29000);
    world_dma(w, 0x3000, 8, 0);
    CHECK_EQ(reads(w, PAGE(1)).outcome, ACCESS_FAULT);
    world_dma(w, 0x3000, 8, 0x4000 | UPPER);
    CHECK_EQ(reads(w, PAGE(1)).gpa, 0x21000);
    for (uint64_t table = 0x1000; table <= 0x3000; table += 0x1000) { /* less, used, more: at every level */
        world_dma(w, table, 8, (table + 0x1000) | P | US | A);
        CHECK_EQ(reads(w, PAGE(1)).outcome, ACCESS_OK);
        CHECK_EQ(writes(w, PAGE(1), 1).outcome, ACCESS_FAULT);
        world_dma(w, table, 8, (table + 0x1000) | UPPER);
        CHECK_EQ(writes(w, PAGE(1), 1).outcome, ACCESS_OK);
    }
    finish(w);
}

TEST(rights_that_come_in_an_upper_table_out_of_sync_are_seen_at_the_next_fault)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 4, 8, 0x21000 | HOT);
    put(w, 3, 0, 0x4000 | P | US | A);
    put(w, 3, 1, 0x5000 | UPPER);
    start(w);
    reads(w, PAGE(7));
    unsync_directory(w, 3);
    reads(w, PAGE(8));
    writes(w, TABLE_VA(3, 0), 0x4000 | UPPER);
    CHECK_EQ(writes(w, PAGE(7), 1).outcome, ACCESS_OK);
    finish(w);
}

/* One page table below two entries of one directory and below another address space, each with its own
 * rights; they change, all combinations in turn. */
TEST(rule_14_rights_of_one_path_never_leak_to_another)
{
    static const uint64_t rights[] = { P | A, P | RW | A, P | US | A, UPPER, P | RW | US | A | NX };
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 6, 0, 0x7000 | UPPER);
    put(w, 7, 0, 0x8000 | UPPER);
    put(w, 8, 1, 0x5000 | UPPER); /* the way to the tables there, too */
    justify_add(&w->j, 0x400000 + PAGE(7));
    start(w);
    for (uint32_t n = 0; n < 5 * 5 * 5; n++) {
        static const uint64_t entry[] = { 0x3000, 0x3010, 0x8000 };
        static const uint64_t va[] = { PAGE(7), 0x400000 + PAGE(7), PAGE(7) };
        const uint32_t choice[] = { n % 5, n / 5 % 5, n / 25 };
        for (uint32_t path = 0; path < 3; path++) {
            world_cr3(w, path == 2 ? 0x6000 : 0x1000);
            writes(w, TABLE_VA(entry[path] >> 12, entry[path] % 4096 / 8), 0x4000 | rights[choice[path]]);
            world_invlpg(w, va[path]);
        }
        for (uint32_t path = 0; path < 3; path++) {
            uint64_t r = rights[choice[path]];
            check_note("paths %u %u %u, now %u", choice[0], choice[1], choice[2], path);
            world_cr3(w, path == 2 ? 0x6000 : 0x1000);
            CHECK_EQ(writes(w, va[path], n).outcome == ACCESS_OK, (r & RW) != 0);
            CHECK_EQ(user_reads(w, va[path]).outcome == ACCESS_OK, (r & US) != 0);
            CHECK_EQ(user_writes(w, va[path], n).outcome == ACCESS_OK, (r & (RW | US)) == (RW | US));
            CHECK_EQ(executes(w, va[path]).outcome == ACCESS_OK, !(r & NX));
        }
    }
    finish(w);
}
