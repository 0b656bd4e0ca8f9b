/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that stop being tables: cleared, written as no table is, left with their address space, or by what
 * the emulator does not do; and are tables again. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "setups.h"

TEST(table_that_ended_is_writable_without_an_exit)
{
    struct world *w = with_page();
    reads(w, TABLE_VA(4, 0)); /* the mapping that lost W */
    writes(w, TABLE_VA(3, 0), 0);
    CHECK_EQ(writes(w, TABLE_VA(4, 0), 5).exits, 0);
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
        check_note("table %u", (unsigned)stack[i]);
        struct world *w = with_page();
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
        check_note("table %u", (unsigned)gfn);
        struct world *w = with_page();
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
