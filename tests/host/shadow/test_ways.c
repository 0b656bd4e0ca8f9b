/* SPDX-License-Identifier: BSD-2-Clause */
/* Remembered ways (servers/vmm/shadow/usual.c): what a fill or an INVLPG believes of the entries above the
 * last one, and what it must not. The world holds each access against the reference. */
// USES: servers/vmm/shadow/*.c tests/model/*.c tests/host/support/gmem_host.c
// USES: tests/host/shadow/machine.c tests/host/shadow/justify.c tests/host/shadow/world.c
#include "layout.h"

#define SAME_PLACE (16ull << 21) /* regions so far apart share a place */

TEST(a_way_is_that_of_its_own_two_megabytes)
{
    struct world *w = quiet_world();
    put(w, 3, 16, 0x6000 | UPPER);
    put(w, 4, 7, 0x20000 | HOT);
    put(w, 6, 8, 0x21000 | HOT);
    start(w);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_EQ(reads(w, PAGE(7)).gpa, 0x20000);
        CHECK_EQ(reads(w, SAME_PLACE + PAGE(8)).gpa, 0x21000);
        CHECK_EQ(reads(w, PAGE(8)).outcome, ACCESS_FAULT);
        CHECK_EQ(reads(w, SAME_PLACE + PAGE(7)).outcome, ACCESS_FAULT);
        world_invlpg(w, PAGE(7));
        world_invlpg(w, SAME_PLACE + PAGE(8));
    }
    finish(w);
}

TEST(a_way_to_a_large_page_is_no_way_to_a_table)
{
    struct world *w = quiet_world();
    put(w, 3, 2, 0 | PS | HOT);
    put(w, 0x20, 1, 0x21000 | HOT); /* what the pages hold looks like entries */
    put(w, 0, 0x23, 0x24000 | HOT);
    start(w);
    CHECK_EQ(reads(w, 0x400000 + 0x20000).gpa, 0x20000);
    CHECK_EQ(reads(w, 0x400000 + 0x22000).gpa, 0x22000);
    CHECK_EQ(writes(w, 0x400000 + 0x23000, 1).gpa, 0x23000);
    world_invlpg(w, 0x400000 + 0x20000);
    world_invlpg(w, 0x400000 + 0x23000);
    CHECK_EQ(reads(w, 0x400000 + 0x23000).gpa, 0x23000);
    writes(w, TABLE_VA(3, 2), 0x6000 | UPPER); /* small pages, without a flush between */
    put(w, 6, 0x26, 0x27000 | HOT);
    world_invlpg(w, 0x400000 + 0x26000);
    CHECK_EQ(reads(w, 0x400000 + 0x26000).gpa, 0x27000);
    CHECK_EQ(reads(w, 0x400000 + 0x20000).outcome, ACCESS_FAULT);
    finish(w);
}

/* At each level above the last, each right taken in turn; the first access makes the way known. */
TEST(rights_above_count_on_a_remembered_way)
{
    static const uint64_t lacks[] = { RW, US, NX };

    for (uint64_t table = 1; table <= 3; table++)
        for (uint32_t i = 0; i < 3; i++) {
            struct world *w = quiet_world();
            put(w, table, 0, ((table + 1) << 12 | UPPER) ^ lacks[i]);
            for (uint32_t k = 6; k < 12; k++)
                put(w, 4, k, 0x20000 | HOT);
            start(w);
            check_note("table %lu lacks %#lx", (unsigned long)table, (unsigned long)lacks[i]);
            CHECK_EQ(reads(w, PAGE(6)).outcome, ACCESS_OK);
            CHECK_EQ(writes(w, PAGE(7), 1).outcome == ACCESS_OK, lacks[i] != RW);
            CHECK_EQ(user_reads(w, PAGE(8)).outcome == ACCESS_OK, lacks[i] != US);
            CHECK_EQ(user_writes(w, PAGE(9), 1).outcome == ACCESS_OK, lacks[i] == NX);
            CHECK_EQ(executes(w, PAGE(10)).outcome == ACCESS_OK, lacks[i] != NX);
            CHECK_EQ(reads(w, PAGE(11)).outcome, ACCESS_OK);
            finish(w);
        }
}

/* Nothing is loaded between: the way, if it is still one, is judged by the bits as they are now. */
TEST(control_bits_that_change_behind_a_way_count_at_once)
{
    static const uint64_t entry[] = { HOT, HOT & ~RW, HOT & ~US, HOT & ~(RW | US), HOT | NX };
    struct world *w = quiet_world();

    for (uint32_t k = 0; k < 5; k++)
        put(w, 4, 6 + k, 0x20000 | entry[k]);
    start(w);
    for (uint32_t n = 0; n < 64; n++) {
        uint32_t bits = n ^ n >> 1; /* one bit at a time */
        world_mode(w, bits & 1 ? CR0_PAGED & ~CR0_WP_ : CR0_PAGED,
                   CR4_PAE_ | (bits & 2 ? CR4_SMEP_ : 0) | (bits & 4 ? CR4_SMAP_ : 0) |
                       (bits & 8 ? CR4_PGE_ : 0),
                   EFER_LONG | (bits & 16 ? 0 : EFER_NXE_));
        for (uint32_t k = 0; k < 5; k++) {
            check_note("bits %#x entry %u", bits, k);
            for (uint32_t kind = 0; kind < 12; kind++) {
                world_access(w, (struct world_access){ .va = PAGE(6 + k) + kind * 8,
                                                       .write = kind % 3 == 1,
                                                       .exec = kind % 3 == 2,
                                                       .user = kind / 3 & 1,
                                                       .ac = kind >= 6,
                                                       .value = n });
                if ((n + kind) % 5 == 0)
                    world_invlpg(w, PAGE(6 + k));
            }
        }
    }
    finish(w);
}

/* Each kind of entry in place of each other, told by INVLPG alone; the table in sync and out of it. */
TEST(invlpg_on_a_way_takes_every_entry_for_what_it_is)
{
    static const uint64_t kinds[] = { 0,
                                      0x20000 | HOT,
                                      0x21000 | HOT,
                                      0x20000 | (HOT & ~RW),
                                      0x20000 | (HOT & ~US),
                                      0x20000 | (HOT & ~A),
                                      0x20000 | (HOT & ~D),
                                      0x20000 | HOT | NX,
                                      0x4000 | HOT,       /* the table itself */
                                      0x3000 | HOT,       /* its directory */
                                      0xfee00000 | HOT,   /* a device */
                                      1ull << 39 | HOT,   /* beyond memory */
                                      1ull << 45 | HOT }; /* reserved */
    uint32_t n = sizeof(kinds) / sizeof(kinds[0]);
    struct world *w = quiet_world();

    put(w, 4, 6, 0x22000 | HOT);
    start(w);
    for (uint32_t i = 0; i < n * n; i++) {
        const uint64_t value[] = { kinds[i / n], kinds[i % n] };
        check_note("from %#lx to %#lx", (unsigned long)value[0], (unsigned long)value[1]);
        for (uint32_t k = 0; k < 2; k++) {
            reads(w, PAGE(6)); /* the way is known */
            writes(w, TABLE_VA(4, 7), value[k]);
            world_invlpg(w, PAGE(7));
            CHECK(shadow_audit(w->s, NULL, NULL) == 0);
            uint64_t frame = value[k] & 0xffffff000;
            user_reads(w, PAGE(7) + 0xff0);
            executes(w, PAGE(7) + 0xff0);
            if (frame >= 0x20000)
                writes(w, PAGE(7) + 0xff0, i);
        }
    }
    finish(w);
}
