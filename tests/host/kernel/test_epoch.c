/* SPDX-License-Identifier: BSD-2-Clause */
/* When an epoch ends, and what is refused after it (I3): each operation of an answer on each table, each
 * change of guest memory, each end of a table. All that there is is compared with what it was. */
// USES: kernel/obj/*.c kernel/[dfils]*.c tests/host/kernel/fake_arch.c tests/host/kernel/tables.c
#include "tables.h"
#include <string.h>

static unsigned char before[TABLES_BYTES];
static struct frame_meta meta_before[FRAMES_MAX];

static void remember(void)
{
    memcpy(before, phys_base_host, TABLES_BYTES);
    memcpy(meta_before, frame_meta, sizeof(meta_before));
}
static bool is_unchanged(void)
{
    return !memcmp(before, phys_base_host, TABLES_BYTES) &&
           !memcmp(meta_before, frame_meta, sizeof(meta_before));
}

/* Words of an operation that is right, with `table` where a table is named and `other` where a second one is.
 */
static unsigned operation(unsigned code, cptr_t table, cptr_t other, uint64_t *w)
{
    memset(w, 0, 9 * sizeof(*w));
    w[0] = OP_W0(code, SH_READ, code == OP_SETUP ? SHADOW_KIND(SHADOW_LONG, 1) : 0, table);
    switch (code) {
    case OP_LINK:
        w[1] = other;
        return 2;
    case OP_FILL:
        w[1] = SMALL_GFN;
        return 2;
    case OP_FILL_RUN:
        w[1] = OP_W1_RUN(SMALL_GFN, 1);
        return 2;
    case OP_DOWNGRADE:
        return 9;
    case OP_ROOT_LIST:
        w[1] = 0x1000;
        return 2;
    default:
        return 1;
    }
}

/* The level of the table that an operation needs. */
static cptr_t table_for(unsigned code)
{
    return code == OP_LINK ? 2 : code == OP_SET_ROOT || code == OP_ROOT_LIST ? 4 : 1;
}

static void begin(void)
{
    tables_init();
    *small_page() = SMALL_FRAME | PTE_P | PTE_U | PTE_W;
}

TEST(a_table_of_another_epoch_is_only_set_up_anew)
{
    for (unsigned code = OP_SETUP; code < OP_CODES; code++)
        for (int64_t off = -1; off <= 1; off++) {
            uint64_t ops[9];
            unsigned n = operation(code, table_for(code), 1, ops);
            begin();
            shadow_meta(table_for(code))->stamp = the_space()->epoch + (uint64_t)off;
            remember();
            err_t e = apply(ops, n);
            if (off == 0 || code == OP_SETUP || code == OP_FLUSH) {
                CHECK_EQ(e, ERR_OK);
                continue;
            }
            check_note("operation %u", code);
            CHECK_EQ(e, ERR_STALE_TABLE);
            CHECK(is_unchanged());
        }
}

TEST(nothing_is_linked_or_set_that_is_of_another_epoch)
{
    uint64_t ops[9];

    begin();
    shadow_meta(CPTR_SPARE)->stamp--;
    remember();
    CHECK_EQ(apply(ops, operation(OP_LINK, 2, CPTR_SPARE, ops)), ERR_STALE_TABLE);
    CHECK(is_unchanged());
}

/* Every table below every other, by level and format: I2. */
TEST(a_link_leads_one_level_down_within_a_format_and_nowhere_else)
{
    for (unsigned above = 0; above < 16; above++)
        for (unsigned format = 0; format < 4; format++)
            for (unsigned below = 0; below < 16; below++)
                for (unsigned of = 0; of < 4; of++) {
                    uint64_t ops[9];
                    begin();
                    uint64_t mask = ~(BIT(32) * 0x3f);
                    shadow_meta(2)->owner =
                        (shadow_meta(2)->owner & mask) | (uint64_t)above << 32 | (uint64_t)format << 36;
                    shadow_meta(CPTR_SPARE)->owner =
                        (shadow_meta(CPTR_SPARE)->owner & mask) | (uint64_t)below << 32 | (uint64_t)of << 36;
                    remember();
                    err_t e = apply(ops, operation(OP_LINK, 2, CPTR_SPARE, ops));
                    if (above >= 2 && below == above - 1 && format == of) {
                        CHECK_EQ(e, ERR_OK);
                        CHECK_EQ(pte_hpa(*shadow_entry(2, 0)).v, phys_to_hpa(shadow_entry(CPTR_SPARE, 0)).v);
                        CHECK_EQ(META_SHADOW_LINKS(shadow_meta(CPTR_SPARE)->owner), 1);
                        continue;
                    }
                    CHECK_EQ(e, ERR_WRONG_LEVEL);
                    CHECK(is_unchanged());
                }
}

TEST(a_table_of_another_vm_is_not_used)
{
    for (unsigned code = OP_SETUP; code < OP_CODES; code++) {
        uint64_t ops[9];
        unsigned n = operation(code, table_for(code), 1, ops);
        if (code == OP_FLUSH)
            continue;
        begin();
        shadow_meta(table_for(code))->owner += BIT(4);
        remember();
        CHECK_EQ(apply(ops, n), ERR_WRONG_VM);
        CHECK(is_unchanged());
    }
    uint64_t ops[9];
    begin();
    shadow_meta(CPTR_SPARE)->owner += BIT(4);
    remember();
    CHECK_EQ(apply(ops, operation(OP_LINK, 2, CPTR_SPARE, ops)), ERR_WRONG_VM);
    CHECK(is_unchanged());
}

/* A table is set up: by what it was. */
TEST(a_linked_table_stays_and_a_used_one_that_is_set_up_is_a_downgrade)
{
    for (unsigned k = 0; k < 32; k++) {
        bool now = k & 1, linked = k & 2, used = k & 4, filled = k & 8, above = k & 16;
        uint64_t ops[9];
        begin();
        struct frame_meta *m = shadow_meta(above ? 2 : 1);
        m->stamp -= !now;
        m->owner |= (linked ? META_SHADOW_LINK : 0) | (used ? META_SHADOW_USED : 0);
        if (filled) {
            m->owner |= META_SHADOW_BLOCK(7);
            *shadow_entry(above ? 2 : 1, 7) = SMALL_FRAME | PTE_P | PTE_A | (above ? PTE_PS : 0);
        }
        remember();
        err_t e = apply(ops, operation(OP_SETUP, above ? 2 : 1, 0, ops));
        check_note("now %u linked %u used %u filled %u", now, linked, used, filled);
        CHECK_EQ(e, now && linked ? ERR_LINKED : ERR_OK);
        if (e != ERR_OK) {
            CHECK(is_unchanged());
            continue;
        }
        CHECK_EQ(the_vm()->downgrades, now && (used || filled));
        CHECK_EQ(*shadow_entry(above ? 2 : 1, 7), 0);
        CHECK_EQ(m->stamp, the_space()->epoch);
        CHECK(!META_SHADOW_LINKS(m->owner) && !(m->owner & META_SHADOW_USED) && meta_level(m->owner) == 1);
    }
}

TEST(the_end_of_a_table_that_may_be_in_use_ends_the_epoch)
{
    for (unsigned k = 0; k < 64; k++) {
        bool now = k & 1, used = k & 2, filled = k & 4, above = k & 8, vm = k & 16, space = k & 32;
        begin();
        uint64_t epoch = the_space()->epoch;
        struct frame_meta *m = shadow_meta(above ? 2 : 1);
        m->stamp -= !now;
        m->owner |= (used ? META_SHADOW_USED : 0) | (filled ? META_SHADOW_BLOCK(0) : 0);
        if (!vm) /* it has ended before */
            meta_of(phys_to_hpa(the_vm()))->owner = 0;
        if (!space)
            the_vm()->space = NULL;
        shadow_finalise(caller.slots + (above ? 2 : 1));
        CHECK_EQ(the_space()->epoch != epoch, now && vm && space && (used || (above && filled)));
        CHECK(the_space()->epoch >= epoch);
        CHECK(m->owner == 0 && m->stamp == 0);
    }
}

/* --- guest memory --- */

static err_t guest_call(uint32_t method, uint64_t w0, uint64_t w1)
{
    struct cap cap = { .type = OBJ_GUESTSPACE, .rights = RIGHT_ALL, .obj = phys_to_hpa(the_space()).v };
    struct invocation v = { .caller = &caller, .cap = &cap, .label = method, .words = 2, .w = { w0, w1 } };

    return guestspace_invoke(&v);
}

/* The entry shows another frame, or less, than before: also what it says of writes. */
static bool has_lost(uint64_t old, uint64_t new)
{
    return (old & PTE_P) && (!(new &PTE_P) || ((old ^ new) & PTE_ADDRESS) || (old & ~new &(PTE_W | PTE_D)));
}

/* Each operation, rights, place, and what stands there. */
TEST(whatever_is_taken_from_a_guest_ends_the_epoch)
{
    static const uint64_t gfns[] = { SMALL_GFN, LARGE_GFN, LARGE_GFN + 5, NOWHERE };

    for (unsigned op = 0; op < 16; op++)
        for (unsigned rights = 0; rights < 16; rights++)
            for (unsigned state = 0; state < 8; state++)
                for (unsigned g = 0; g < 4; g++) {
                    begin();
                    uint64_t flags =
                        (state & 1 ? PTE_P : 0) | (state & 2 ? PTE_W : 0) | (state & 4 ? PTE_D : 0);
                    uint64_t small = state & 1 ? SMALL_FRAME | PTE_U | flags : 0;
                    uint64_t large = state & 1 ? LARGE_FRAME | PTE_U | PTE_PS | flags : 0;
                    *small_page() = small;
                    *large_page() = large;
                    uint64_t epoch = the_space()->epoch;
                    unsigned pages = op == CHANGE_MAP_2M ? 512 : 1;
                    err_t e = guest_call(GUESTSPACE_CHANGE, CHANGE_W0(CPTR_RANGE, op, rights, pages),
                                         CHANGE_W1(gfns[g], 0));
                    check_note("operation %u rights %x state %u gfn %lx: %u", op, rights, state, gfns[g], e);
                    if (has_lost(small, *small_page()) || has_lost(large, *large_page()))
                        CHECK_LT(epoch, the_space()->epoch);
                    bool there = (state & 1) && gfns[g] != NOWHERE;
                    if (op == CHANGE_UNMAP && there)
                        CHECK(!(*(gfns[g] < LARGE_GFN ? small_page() : large_page()) & PTE_P));
                    if (op == CHANGE_PROTECT && there && (rights & RIGHT_READ))
                        CHECK_EQ(*(gfns[g] < LARGE_GFN ? small_page() : large_page()) & PTE_W,
                                 rights & RIGHT_WRITE ? PTE_W : 0);
                    if (e != ERR_OK) {
                        CHECK_EQ(*small_page(), small);
                        CHECK_EQ(*large_page(), large);
                    }
                }
}

/* What was taken by the records before a refused one stays taken. */
TEST(a_list_that_is_refused_in_its_middle_ends_the_epoch)
{
    static const uint64_t refused[] = { CHANGE_W0(CPTR_RANGE, CHANGE_MAP, RIGHT_ALL, 0),
                                        CHANGE_W0(CPTR_RANGE, CHANGE_MAP, RIGHT_ALL, 1),
                                        CHANGE_W0(CPTR_UNBOUND, CHANGE_MAP, RIGHT_ALL, 1),
                                        CHANGE_W0(CPTR_RANGE, 15, RIGHT_ALL, 1) };

    for (unsigned first = 0; first < 2; first++)
        for (unsigned k = 0; k < sizeof(refused) / sizeof(*refused); k++) {
            begin();
            struct cap cap = { .type = OBJ_GUESTSPACE,
                               .rights = RIGHT_ALL,
                               .obj = phys_to_hpa(the_space()).v };
            uint64_t unmap = CHANGE_W0(CPTR_RANGE, CHANGE_UNMAP, 0, 1);
            struct invocation v = { .caller = &caller, .cap = &cap, .label = GUESTSPACE_CHANGE, .words = 4 };
            uint64_t epoch = the_space()->epoch;
            v.w[first ? 2 : 0] = unmap;
            v.w[first ? 3 : 1] = CHANGE_W1(SMALL_GFN, 0);
            v.w[first ? 0 : 2] = refused[k];
            v.w[first ? 1 : 3] = CHANGE_W1(LARGE_GFN, 0);
            *large_page() = LARGE_FRAME | PTE_P | PTE_U | PTE_PS;
            CHECK(guestspace_invoke(&v) != ERR_OK);
            CHECK_EQ(!(*small_page() & PTE_P), !first);
            CHECK_EQ(epoch < the_space()->epoch, !first);
        }
}

/* By its end or by PAGETABLE_UNMAP: of the last level, and of the one above it. */
TEST(the_end_of_a_page_table_of_guest_memory_ends_the_epoch)
{
    for (unsigned k = 0; k < 4; k++) {
        unsigned level = 1 + k / 2;
        begin();
        *large_page() = LARGE_FRAME | PTE_P | PTE_U | PTE_PS;
        hpa_t table =
            phys_to_hpa(level == 1 ? small_page() - SMALL_GFN : large_page() - LARGE_GFN / LARGE_PAGES);
        struct frame_meta *m = meta_of(phys_to_hpa(the_space()));
        struct cap cap = { .type = OBJ_PAGETABLE,
                           .rights = RIGHT_ALL,
                           .kind = level,
                           .obj = table.v,
                           .d1 = m->stamp << 28 | phys_to_hpa(the_space()).v >> PAGE_SHIFT };
        struct invocation v = { .caller = &caller, .cap = &cap, .label = PAGETABLE_UNMAP };
        uint64_t epoch = the_space()->epoch;
        CHECK_EQ(k % 2 ? pagetable_invoke(&v) : pagetable_finalise(&cap), ERR_OK);
        CHECK_LT(epoch, the_space()->epoch);
        CHECK_EQ(level == 1 ? *small_page() : *large_page(), 0);
        CHECK_EQ(cap.d1, 0);
    }
}

TEST(a_vm_that_leaves_its_guest_space_ends_the_epoch)
{
    for (unsigned lost = 0; lost < 2; lost++) {
        begin();
        uint64_t epoch = the_space()->epoch;
        lost ? vm_lost(&the_vm()->guestspace) : vm_finalise(the_vm());
        CHECK_LT(epoch, the_space()->epoch);
        CHECK(!the_vm()->space);
    }
}

TEST(a_harvest_ends_the_epoch)
{
    for (unsigned state = 0; state < 4; state++) {
        begin();
        *small_page() = SMALL_FRAME | PTE_P | (state & 1 ? PTE_W : 0) | (state & 2 ? PTE_D : 0);
        uint64_t epoch = the_space()->epoch;
        CHECK_EQ(guest_call(GUESTSPACE_HARVEST, 0, 1), ERR_OK);
        CHECK_LT(epoch, the_space()->epoch);
        CHECK(!(*small_page() & PTE_D));
    }
}

TEST(the_end_of_a_range_ends_the_epoch_of_who_has_a_frame_of_it)
{
    for (unsigned mapped = 0; mapped < 2; mapped++) {
        begin();
        *small_page() = 0;
        if (mapped)
            CHECK_EQ(guest_call(GUESTSPACE_CHANGE, CHANGE_W0(CPTR_RANGE, CHANGE_MAP, RIGHT_ALL, 1),
                                CHANGE_W1(SMALL_GFN, 3)),
                     ERR_OK);
        uint64_t epoch = the_space()->epoch;
        while (range_finalise(caller.slots + CPTR_RANGE) == PREEMPTED)
            ;
        CHECK_EQ(epoch < the_space()->epoch, mapped);
        CHECK_EQ(*small_page(), 0);
    }
}
