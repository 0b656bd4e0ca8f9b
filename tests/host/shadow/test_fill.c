/* SPDX-License-Identifier: BSD-2-Clause */
/* Fills: accessed and dirty bits, faults of the guest, prefetch, what is no memory, large pages. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "tables/setups.h"

#include <string.h>
#include <tests/host/support/gmem_host.h>

TEST(fill_read_sets_accessed_everywhere_and_leaves_dirty)
{
    struct world *w = quiet_world();
    put(w, 1, 0, 0x2000 | P | RW | US);
    put(w, 3, 0, 0x4000 | P | RW | US);
    put(w, 4, 7, 0x20000 | P | RW | US);
    start(w);
    CHECK_EQ(reads(w, PAGE(7)).exits, 1);
    CHECK_EQ(get(w, 1, 0), 0x2000 | UPPER);
    CHECK_EQ(get(w, 3, 0), 0x4000 | UPPER);
    CHECK_EQ(get(w, 4, 7), 0x20000 | P | RW | US | A);
    CHECK_EQ(reads(w, PAGE(7)).exits, 0);
    finish(w);
}

TEST(fill_withholds_write_until_dirty)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | P | RW | US);
    start(w);
    reads(w, PAGE(7));
    CHECK_EQ(writes(w, PAGE(7), 1).exits, 1);
    CHECK_EQ(get(w, 4, 7), 0x20000 | HOT);
    CHECK_EQ(writes(w, PAGE(7), 2).exits, 0);
    CHECK_EQ(world_peek(w, 0x20000), 2);
    finish(w);
}

TEST(fill_write_sets_both)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | P | RW | US);
    start(w);
    CHECK_EQ(user_writes(w, PAGE(7), 5).exits, 1);
    CHECK_EQ(get(w, 4, 7), 0x20000 | HOT);
    finish(w);
}

TEST(fill_lost_race_for_accessed_is_retried)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | P | RW | US);
    start(w);
    gmem_host_fail_cas(w->mem, 2);
    CHECK_EQ(reads(w, PAGE(7)).exits, 2);
    finish(w);
}

/* A device that writes a page directory while its shadow is being made. */
static void directory_changes(void *context, gpa_t a, size_t bytes)
{
    struct world *w = context;

    w->changed = true;
    if (a.v == 0x1000 && bytes == 8)
        put(w, 3, 0, 0x6000 | UPPER);
}

TEST(tables_made_from_entries_that_changed_meanwhile_are_not_used)
{
    struct world *w = quiet_world();
    put(w, 1, 0, 0x2000 | P | RW | US); /* A is set on the way down, when the entries have been read */
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 6, 7, 0x21000 | HOT);
    start(w);
    gmem_host_on_write(w->mem, directory_changes, w);
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x21000);
    CHECK_EQ(get(w, 3, 0), 0x6000 | UPPER);
    finish(w);
}

/* The same of the pointer table, where the short way ends below, at a table that has a shadow: and the entry
 * is gone. */
static void pointer_goes(void *context, gpa_t a, size_t bytes)
{
    struct world *w = context;

    w->changed = true;
    if (a.v == 0x8000 && bytes == 8)
        put(w, 9, 0, 0);
}

TEST(tables_made_before_the_short_way_ended_are_not_used_either)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 8, 0, 0x9000 | P | RW | US);
    put(w, 9, 0, 0xa000 | UPPER);
    put(w, 10, 0, 0x4000 | UPPER);
    start(w);
    reads(w, PAGE(7));
    world_cr3(w, 0x8000);
    gmem_host_on_write(w->mem, pointer_goes, w);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_FAULT);
    finish(w);
}

TEST(fill_guest_faults_have_recomputed_error_codes)
{
    static const struct {
        uint64_t entry;
        bool write, exec, user;
        uint32_t error;
    } row[] = {
        { 0, false, false, false, 0 },
        { 0, true, false, true, 6 },
        { 0, false, true, false, 16 },
        { 0x20000 | P | RW | A, false, false, true, 5 },
        { 0x20000 | P | US | A, true, false, true, 7 },
        { 0x20000 | P | US | A, true, false, false, 3 },
        { 0x20000 | NX | HOT, false, true, false, 17 },
        { 0x20000 | HOT | 1ull << 45, false, false, false, 9 },
        { 0x20000 | HOT | 1ull << 45, true, false, true, 15 },
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct world *w = quiet_world();
        check_note("row %u", i);
        put(w, 4, 7, row[i].entry);
        start(w);
        struct world_result r = world_access(
            w, (struct world_access){
                   .va = PAGE(7), .write = row[i].write, .exec = row[i].exec, .user = row[i].user });
        CHECK_EQ(r.outcome, ACCESS_FAULT);
        CHECK_EQ(r.error, row[i].error);
        CHECK_EQ(r.exits, 1);
        CHECK_EQ(get(w, 4, 7), row[i].entry); /* no A without an access */
        finish(w);
    }
}

TEST(fill_fetch_bit_only_with_nxe_or_smep)
{
    struct world *w = quiet_world();
    struct shadow_control c = world_long(0x1000);
    c.efer = EFER_LONG;
    world_load(w, c);
    CHECK_EQ(executes(w, PAGE(9)).error, 0);
    world_mode(w, c.cr0, c.cr4 | CR4_SMEP_, c.efer);
    CHECK_EQ(executes(w, PAGE(9)).error, 16);
    put(w, 4, 7, 0x20000 | NX | HOT); /* reserved without NXE */
    CHECK_EQ(reads(w, PAGE(7)).error, 9);
    finish(w);
}

TEST(fill_reserved_bits_by_level)
{
    static const struct {
        uint32_t table;
        uint64_t entry;
    } row[] = {
        { 1, 0x2000 | UPPER | PS },        { 1, 0x2000 | UPPER | G }, { 2, 0x3000 | UPPER | G },
        { 2, 0x2000 | HOT | PS },          { 3, 0x2000 | HOT | PS },  { 3, 0x4000 | UPPER | 1ull << 40 },
        { 4, 0x20000 | HOT | 1ull << 51 },
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct world *w = quiet_world();
        check_note("row %u", i);
        put(w, 4, 0, 0x20000 | HOT);
        put(w, row[i].table, 0, row[i].entry);
        start(w);
        CHECK_EQ(reads(w, 0).error, 9);
        finish(w);
    }
}

TEST(prefetch_fills_accessed_neighbours_in_one_exit)
{
    struct world *w = usual_world();
    for (uint32_t i = 0; i < 32; i++)
        put(w, 4, i, (uint64_t)(13 + i) << 12 | HOT);
    put(w, 4, 5, 0x20000 | P | RW | US);     /* not accessed */
    put(w, 4, 6, 0x21000 | P | RW | US | A); /* not dirty */
    put(w, 4, 7, 0x22000 | P | US | A);      /* read-only */
    put(w, 4, 8, 0);
    start(w);
    CHECK_EQ(reads(w, PAGE(0)).exits, 1);
    for (uint32_t i = 1; i < 32; i++) {
        uint32_t expected = i == 5 || i == 6 || i == 8;
        check_note("page %u", i);
        CHECK_EQ(reads(w, PAGE(i)).exits, expected);
    }
    CHECK_EQ(get(w, 4, 6), 0x21000 | P | RW | US | A);
    finish(w);
}

TEST(prefetch_stops_at_filled_entries)
{
    struct world *w = usual_world();
    for (uint32_t i = 0; i < 32; i++)
        put(w, 4, i, (uint64_t)(13 + i) << 12 | P | US);
    start(w);
    reads(w, PAGE(10));
    for (uint32_t i = 0; i < 32; i++)
        put(w, 4, i, get(w, 4, i) | A);
    CHECK_EQ(reads(w, PAGE(0)).exits, 1);
    CHECK_EQ(reads(w, PAGE(9)).exits, 0);
    CHECK_EQ(reads(w, PAGE(11)).exits, 1);
    finish(w);
}

TEST(fill_mmio_reports_address_and_sets_bits)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0xfee00000 | P | RW | US);
    start(w);
    struct world_result r = writes(w, PAGE(7) + 0x30, 1);
    CHECK_EQ(r.outcome, ACCESS_MMIO);
    CHECK_EQ(r.gpa, 0xfee00030);
    CHECK_EQ(get(w, 4, 7), 0xfee00000 | HOT);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_MMIO);
    finish(w);
}

TEST(fill_rom_reads_directly_and_reports_writes)
{
    struct world *w = quiet_world();
    put(w, 4, 7, w->rom << 12 | HOT);
    start(w);
    CHECK_EQ(reads(w, PAGE(7)).exits, 1);
    CHECK_EQ(executes(w, PAGE(7)).exits, 0);
    CHECK_EQ(writes(w, PAGE(7), 1).outcome, ACCESS_MMIO);
    finish(w);
}

TEST(fill_frame_that_guestspace_gives_read_only_is_reported)
{
    struct world *w = quiet_world();
    world_set_readonly(w, 46);
    put(w, 4, 7, 46ull << 12 | HOT);
    start(w);
    CHECK_EQ(reads(w, PAGE(7)).outcome, ACCESS_OK);
    CHECK_EQ(writes(w, PAGE(7), 1).outcome, ACCESS_ABSENT);
    finish(w);
}

TEST(fill_table_in_rom_keeps_its_bits)
{
    struct world *w = quiet_world();
    uint64_t entry = 0x20000 | P | RW | US;
    put(w, 3, 0, w->rom << 12 | UPPER);
    memcpy(w->mem->base + (w->rom << 12) + 7 * 8, &entry, 8);
    start(w);
    CHECK_EQ(writes(w, PAGE(7), 3).outcome, ACCESS_OK);
    CHECK_EQ(writes(w, PAGE(7), 4).exits, 0);
    CHECK_EQ(get(w, w->rom, 7), entry);
    finish(w);
}

TEST(fill_table_in_a_hole_reads_as_ones)
{
    struct world *w = quiet_world();
    put(w, 3, 0, 0xfee00000 | UPPER);
    start(w);
    CHECK_EQ(reads(w, PAGE(7)).error, 9); /* ones have reserved bits set */
    finish(w);
}

TEST(fill_table_in_absent_ram_is_reported)
{
    struct world *w = quiet_world();
    put(w, 3, 0, 47ull << 12 | UPPER);
    start(w);
    gmem_host_set(w->mem, (gfn_t){ 47 }, GMEM_HOST_ABSENT);
    struct shadow_access a = { .va.v = PAGE(7) };
    struct fill_out out;
    uint64_t words[REPLY_OPS_MAX];
    struct shadow_ops ops = { .word = words, .max = REPLY_OPS_MAX };
    CHECK_EQ(shadow_fill(w->s, &a, &out, &ops), FILL_ABSENT);
    CHECK_EQ(out.gpa.v, (47ull << 12) + 7 * 8);
    CHECK_EQ(ops.count, 0);
    world_free(w);
}

TEST(fill_without_room_changes_nothing_and_is_retried)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    struct shadow_access a = { .va.v = PAGE(7) };
    struct fill_out out;
    uint64_t words[REPLY_OPS_MAX];
    enum fill_result r = FILL_RETRY;
    for (uint32_t max = 0; r == FILL_RETRY; max += 7) {
        struct shadow_ops ops = { .word = words, .max = max };
        CHECK_LE(max, SHADOW_OPS_ROOM);
        r = shadow_fill(w->s, &a, &out, &ops);
        CHECK_LE(ops.count, max);
        CHECK(machine_apply(w->m, words, ops.count));
        world_audit(w);
    }
    CHECK_EQ(r, FILL_OK);
    CHECK_EQ(reads(w, PAGE(7)).exits, 0);
    finish(w);
}

TEST(large_page_is_splintered_and_write_waits_for_dirty)
{
    struct world *w = usual_world();
    put(w, 3, 2, 0 | P | RW | US | PS);
    justify_add(&w->j, 0x400000 + 0x20000);
    start(w);
    CHECK_EQ(reads(w, 0x400000 + 0x20000).exits, 1);
    CHECK_EQ(get(w, 3, 2), 0 | P | RW | US | PS | A);
    CHECK_EQ(reads(w, 0x400000 + 0x21000).exits, 0);
    CHECK_EQ(writes(w, 0x400000 + 0x20000, 9).exits, 1);
    CHECK_EQ(get(w, 3, 2), 0 | HOT | PS);
    CHECK_EQ(writes(w, 0x400000 + 0x22000, 9).exits, 0);
    CHECK_EQ(world_peek(w, 0x22000), 9);
    CHECK_EQ(reads(w, 0x400000 + 0x3f000).outcome, ACCESS_MMIO); /* beyond RAM */
    finish(w);
}

TEST(large_page_over_a_table_leaves_it_protected)
{
    struct world *w = usual_world();
    put(w, 3, 2, 0 | HOT | PS);
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    CHECK_EQ(writes(w, 0x400000 + 0x20000, 1).exits, 1);
    struct world_result r = writes(w, 0x400000 + 0x4000 + 7 * 8, 0x21000 | HOT);
    CHECK(r.emulated);
    CHECK_EQ(reads(w, PAGE(7)).gpa, 0x21000);
    finish(w);
}

TEST(gigabyte_page_and_switch_to_small_ones)
{
    struct world *w = usual_world();
    put(w, 2, 1, 0 | HOT | PS);
    justify_add(&w->j, 0x40020000);
    start(w);
    CHECK_EQ(writes(w, 0x40020000, 7).exits, 1);
    CHECK_EQ(world_peek(w, 0x20000), 7);
    put(w, 6, 0, 0x7000 | UPPER);
    put(w, 7, 0x20, 0x2a000 | HOT);
    writes(w, TABLE_VA(2, 1), 0x6000 | UPPER);
    world_invlpg(w, 0x40000000); /* any address of the page */
    CHECK_EQ(reads(w, 0x40020000).gpa, 0x2a000);
    finish(w);
}

TEST(translate_walks_for_the_emulator)
{
    struct world *w = quiet_world();
    struct fill_out out;
    put(w, 4, 7, 0x20000 | P | RW | US);
    start(w);
    struct shadow_access a = { .va.v = PAGE(7) + 0x123, .write = true };
    CHECK_EQ(shadow_translate(w->s, &a, false, &out), TRANSLATE_OK);
    CHECK_EQ(out.gpa.v, 0x20123);
    CHECK_EQ(get(w, 4, 7), 0x20000 | P | RW | US);
    CHECK_EQ(shadow_translate(w->s, &a, true, &out), TRANSLATE_OK);
    CHECK_EQ(get(w, 4, 7), 0x20000 | HOT);
    a.va.v = PAGE(8);
    CHECK_EQ(shadow_translate(w->s, &a, true, &out), TRANSLATE_FAULT);
    CHECK_EQ(out.error, 2);
    a.va.v = 0x800000000000;
    CHECK_EQ(shadow_translate(w->s, &a, true, &out), TRANSLATE_NOT_CANONICAL);
    a.va.v = PAGE(7);
    put(w, 4, 7, 0x20000 | P | RW | US);
    gmem_host_fail_cas(w->mem, 100);
    CHECK_EQ(shadow_translate(w->s, &a, true, &out), TRANSLATE_RETRY);
    finish(w);
}

TEST(init_refuses_configurations_out_of_limits)
{
    struct world *w = quiet_world();
    struct shadow_config good = config_of(w);
    CHECK(shadow_init(w->memory, &good) != NULL);
    struct shadow_config c = good;
    c.table_count = SHADOW_TABLES_MIN - 1;
    CHECK(shadow_init(w->memory, &c) == NULL);
    c.table_count = SHADOW_TABLES_MAX + 1;
    CHECK(shadow_init(w->memory, &c) == NULL);
    c = good;
    c.frames = WORLD_RAM - 1; /* RAM of the map beyond it */
    CHECK(shadow_init(w->memory, &c) == NULL);
    c = good;
    c.phys_bits = 53;
    CHECK(shadow_init(w->memory, &c) == NULL);
    c = good;
    c.tuning.prefetch = 33;
    CHECK(shadow_init(w->memory, &c) == NULL);
    c = good;
    c.tuning.unsync_writes = 0;
    CHECK(shadow_init(w->memory, &c) == NULL);
    world_free(w);
}
