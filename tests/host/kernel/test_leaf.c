/* SPDX-License-Identifier: BSD-2-Clause */
/* What a filled shadow entry is (I1), and when an entry that changes is a downgrade (I3): by rules that are
 * written here a second time, without masks of several bits, over every input. */
// USES: kernel/obj/*.c kernel/[dils]*.c kernel/fastpath.c kernel/fastsignal.c
// USES: tests/host/kernel/fake_arch.c tests/host/kernel/tables.c
#include "tables.h"
#include "kernel/fastexit.c"
#include <string.h>

#define RIGHTS     64u     /* SH_*: six bits */
#define LEAF_FLAGS 0x1fful /* P .. G */

static bool has(uint64_t word, uint64_t bit)
{
    return word / bit % 2;
}

/* The leaf for the frame at gfn: the guest space's entry, what the VMM asked, as one entry or 2 MB. */
static uint64_t wanted(uint64_t pte, uint64_t gfn, unsigned rights, bool large)
{
    uint64_t frame = pte % BIT(52) / PAGE_BYTES;

    if (has(pte, PTE_PS))
        frame += gfn % 512;
    return frame * PAGE_BYTES + PTE_P + PTE_A + (has(rights, SH_WRITE) && has(pte, PTE_W) ? PTE_W : 0) +
           (has(rights, SH_USER) ? PTE_U : 0) + (has(rights, SH_DIRTY) ? PTE_D : 0) + (large ? PTE_PS : 0) +
           (has(rights, SH_EXEC) ? 0 : PTE_NX);
}

/* A translation that a TLB has of `old` lets through what `new` does not, or leads elsewhere. */
static bool loses(uint64_t old, uint64_t new)
{
    return old % BIT(52) / PAGE_BYTES != new % BIT(52) / PAGE_BYTES ||
           (has(old, PTE_W) && !has(new, PTE_W)) || (has(old, PTE_U) && !has(new, PTE_U)) ||
           (has(old, PTE_D) && !has(new, PTE_D)) || (!has(old, PTE_NX) && has(new, PTE_NX));
}

static void is_wanted(uint64_t pte, uint64_t gfn, uint64_t rights, bool large)
{
    uint64_t leaf = leaf_of(pte, gfn, entry_flags((unsigned)rights) | (large ? PTE_PS : 0));

    if (leaf == wanted(pte, gfn, rights % 256, large))
        return;
    check_note("pte %lx gfn %lx rights %lx large %u", pte, gfn, rights, large);
    CHECK_EQ(leaf, wanted(pte, gfn, rights % 256, large));
}

/* Rights and frames do not meet: first each of all flags with each of all rights, then each bit of a frame's
 * address with each place in a large page. */
TEST(a_leaf_is_the_frame_of_the_guest_space_with_no_right_more)
{
    static const uint64_t frames[] = { 0, BIT(21), 0xfffffffe00000, 0x5555555400000 };
    static const uint64_t gfns[] = { 0, 1, 511, 512, GUEST_FRAMES_MAX - 1 };

    for (unsigned f = 0; f < 4; f++)
        for (unsigned g = 0; g < 5; g++)
            for (uint64_t flags = 0; flags <= LEAF_FLAGS; flags++)
                for (unsigned rights = 0; rights < 2 * 256; rights++)
                    is_wanted(frames[f] | flags, gfns[g], rights % 256, rights >= 256);
    for (unsigned bit = 12; bit < 52; bit++)
        for (uint64_t gfn = 0; gfn < 1024; gfn++)
            for (unsigned k = 0; k < 8; k++) {
                uint64_t pte = BIT(bit) | PTE_P | PTE_U | (k & 1 ? PTE_W : 0);
                is_wanted(pte, gfn, k & 2 ? 255 : 0, false);
                if (bit > 20)
                    is_wanted(pte | PTE_PS, gfn, k & 2 ? 255 : 0, k & 4);
            }
    is_wanted(BIT(30) | PTE_P, 0, 0xabcd00ff, false); /* what stands behind the rights is not one */
}

TEST(an_entry_that_is_replaced_is_a_downgrade_if_and_only_if_something_goes)
{
    unsigned downgrades = 0;

    for (uint64_t old = 0; old <= LEAF_FLAGS; old++)
        for (uint64_t new = 0; new <= LEAF_FLAGS; new ++)
            for (unsigned nx = 0; nx < 4; nx++) {
                uint64_t a = 0x5555555555000 | old | (nx & 1 ? PTE_NX : 0);
                uint64_t b = 0x5555555555000 | new | (nx & 2 ? PTE_NX : 0);
                downgrades += leaf_takes(a, b);
                if (leaf_takes(a, b) != loses(a, b))
                    check_fail(__FILE__, __LINE__, "%lx becomes %lx", a, b);
            }
    for (unsigned bit = 12; bit < 52; bit++)
        for (uint64_t flags = 0; flags <= LEAF_FLAGS; flags++) {
            CHECK(leaf_takes(BIT(bit) | flags, flags));
            CHECK(leaf_takes(flags, BIT(bit) | flags));
        }
    CHECK_LT(0, downgrades);
}

/* --- the operations, on tables --- */

/* What is changed besides the entry itself. */
struct outcome {
    err_t e;
    uint64_t entry, guest, downgrades, links;
};

struct
try {
    cptr_t table;
    unsigned index, rights;
    uint64_t gfn, old; /* what stands in the entry */
};

static uint64_t *guest_of(uint64_t gfn)
{
    return gfn >= LARGE_GFN ? large_page() : small_page();
}

static void set_up(const struct try *y)
{
    shadow_meta(CPTR_SPARE)->owner = shadow_meta(1)->owner;
    if (y->table == 2 && (y->old & PTE_P) && !(y->old & PTE_PS))
        shadow_meta(CPTR_SPARE)->owner += META_SHADOW_LINK;
    *shadow_entry(y->table, y->index) = y->old;
    the_vm()->downgrades = 0;
}

static struct outcome outcome(const struct try *y, err_t e)
{
    return (struct outcome){ e, *shadow_entry(y->table, y->index), *guest_of(y->gfn), the_vm()->downgrades,
                             META_SHADOW_LINKS(shadow_meta(CPTR_SPARE)->owner) };
}

/* What a fill has to come to. */
static struct outcome expected(const struct try *y, uint64_t guest)
{
    bool large = has(y->rights, SH_LARGE), link = y->table == 2 && has(y->old, PTE_P) && !has(y->old, PTE_PS);
    struct outcome o = { ERR_OK, y->old, guest, 0, link };

    if (!has(y->rights, SH_READ))
        o.e = ERR_RANGE;
    else if (large != (y->table == 2))
        o.e = ERR_WRONG_LEVEL;
    else if (y->gfn == NOWHERE || !has(guest, PTE_P) || (large && (!has(guest, PTE_PS) || y->gfn % 512)))
        o.e = ERR_NOT_IN_GUEST;
    if (o.e != ERR_OK)
        return o;
    o.entry = wanted(guest, y->gfn, y->rights, large);
    o.downgrades = has(y->old, PTE_P) && (link || loses(y->old, o.entry));
    o.links = 0;
    if (has(o.entry, PTE_W))
        o.guest |= PTE_D;
    return o;
}

static void is_outcome(const struct try *y, struct outcome is, struct outcome want, const char *how)
{
    if (!memcmp(&is, &want, sizeof(is)))
        return;
    check_note("%s: table %u rights %x gfn %lx old %lx guest %lx", how, y->table, y->rights, y->gfn, y->old,
               *guest_of(y->gfn));
    CHECK_EQ(is.e, want.e);
    CHECK_EQ(is.entry, want.entry);
    CHECK_EQ(is.guest, want.guest);
    CHECK_EQ(is.downgrades, want.downgrades);
    CHECK_EQ(is.links, want.links);
}

/* Both ways of an answer's operation: the complete one, and the short one, which may leave it to that. */
static void fill_once(const struct try *y, uint64_t guest)
{
    uint64_t ops[2] = { OP_W0(OP_FILL_RUN, y->rights, y->index, y->table), OP_W1_RUN(y->gfn, 1) };
    struct outcome want = expected(y, guest);

    *guest_of(y->gfn) = guest;
    set_up(y);
    is_outcome(y, outcome(y, apply(ops, 2)), want, "complete");
    *guest_of(y->gfn) = guest;
    set_up(y);
    memcpy(the_vcpu()->reply.ops, ops, sizeof(ops));
    bool done = apply_entry(the_vcpu(), &caller, 2);
    if (!done)
        want = (struct outcome){ ERR_OK, y->old, guest, 0, want.links };
    else
        CHECK_EQ(want.e, ERR_OK);
    if (done || y->table == 1)
        is_outcome(y, outcome(y, ERR_OK), want, "short");
    if (y->table == 1 && expected(y, guest).e == ERR_OK)
        CHECK(done);
}

/* Nothing; this frame or another one, with each set of rights; at level 2 a link. */
static uint64_t old_entry(unsigned k, uint64_t frame, bool large)
{
    if (k == 0)
        return 0;
    if (k == 33)
        return phys_to_hpa(shadow_entry(CPTR_SPARE, 0)).v | PTE_P | PTE_W | PTE_U | PTE_A;
    k--;
    return (frame ^ (k & 16 ? BIT(22) : 0)) | PTE_P | PTE_A | (k & 1 ? PTE_W : 0) | (k & 2 ? PTE_U : 0) |
           (k & 4 ? PTE_D : 0) | (k & 8 ? PTE_NX : 0) | (large ? PTE_PS : 0);
}

TEST(a_fill_of_any_entry_by_either_way_gives_what_the_guest_space_has)
{
    static const uint64_t gfns[] = { SMALL_GFN, LARGE_GFN, LARGE_GFN + 1, LARGE_GFN + 511, NOWHERE };
    unsigned tried = 0;

    tables_init();
    for (unsigned g = 0; g < 5; g++)
        for (unsigned state = 0; state < 8; state++) { /* of the guest space's entry: W, D, not there */
            bool big = gfns[g] >= LARGE_GFN;
            uint64_t frame = big ? LARGE_FRAME : SMALL_FRAME;
            uint64_t guest = frame | PTE_U | (big ? PTE_PS : 0) | (state & 1 ? PTE_W : 0) |
                             (state & 2 ? PTE_D : 0) | (state & 4 ? 0 : PTE_P);
            for (cptr_t table = 1; table <= 2; table++)
                for (unsigned k = 0; k < (table == 2 ? 34u : 33u); k++)
                    for (unsigned rights = 0; rights < RIGHTS; rights++, tried++) {
                        struct try y = { table, 7, rights, gfns[g], 0 };
                        y.old = old_entry(k, frame + (table == 1 && big ? gfns[g] % 512 * PAGE_BYTES : 0),
                                          table == 2);
                        fill_once(&y, state & 4 ? 0 : guest);
                    }
        }
    check_note("%u fills", tried);
}

/* From the guest space's small pages into a large one, each of another frame. */
TEST(a_run_of_fills_is_each_of_its_leaves)
{
    tables_init();
    uint64_t *low = small_page() - SMALL_GFN;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        low[i] = (uint64_t)(i * 7 + 1) * PAGE_BYTES | PTE_P | PTE_U | (i % 3 ? PTE_W : 0);
    *large_page() = LARGE_FRAME | PTE_P | PTE_U | PTE_PS | PTE_W;
    for (uint64_t gfn = 0; gfn < LARGE_GFN + 8; gfn++)
        for (unsigned n = 1; n <= 9; n++) {
            uint64_t ops[3] = { OP_W0(OP_CLEAR, 0, 0, 1), OP_W0(OP_FILL_RUN, SH_READ | SH_WRITE, 3, 1),
                                OP_W1_RUN(gfn, n) };
            CHECK_EQ(apply(ops, 3), ERR_OK);
            for (unsigned i = 0; i < n; i++) {
                uint64_t at = gfn + i, pte = at < LARGE_GFN ? low[at] : *large_page();
                CHECK_EQ(*shadow_entry(1, 3 + i), wanted(pte, at, SH_READ | SH_WRITE, false));
            }
            CHECK_EQ(*shadow_entry(1, 3 + n), 0);
        }
}

/* --- downgrades --- */

static void is_narrowed(uint64_t e, uint64_t old, unsigned rights, bool clean)
{
    if (!has(old, PTE_P)) {
        CHECK(!has(e, PTE_P));
        return;
    }
    if (!has(rights, SH_READ)) {
        CHECK_EQ(e, 0);
        return;
    }
    CHECK_EQ(has(e, PTE_W), has(old, PTE_W) && has(rights, SH_WRITE));
    CHECK_EQ(has(e, PTE_U), has(old, PTE_U) && has(rights, SH_USER));
    CHECK_EQ(has(e, PTE_NX), has(old, PTE_NX) || !has(rights, SH_EXEC));
    CHECK_EQ(has(e, PTE_D), has(old, PTE_D) && !clean);
    CHECK_EQ(e & ~(PTE_W | PTE_U | PTE_NX | PTE_D), old & ~(PTE_W | PTE_U | PTE_NX | PTE_D));
}

/* One entry beside another, and all of a block. */
static void downgrade_once(uint64_t old, unsigned rights, unsigned clean)
{
    uint64_t ops[9] = { OP_W0(OP_DOWNGRADE, rights, clean, 1), 2, ~0ul };

    the_vm()->downgrades = 0;
    *shadow_entry(1, 0) = *shadow_entry(1, 1) = *shadow_entry(1, 64) = *shadow_entry(1, 127) = old;
    check_note("%lx with rights %x", old, rights);
    CHECK_EQ(apply(ops, 9), ERR_OK);
    CHECK_EQ(the_vm()->downgrades, 1);
    CHECK_EQ(*shadow_entry(1, 0), old);
    is_narrowed(*shadow_entry(1, 1), old, rights, clean);
    is_narrowed(*shadow_entry(1, 64), old, rights, clean);
    is_narrowed(*shadow_entry(1, 127), old, rights, clean);
}

TEST(a_downgrade_of_any_entry_keeps_no_more_than_was_said)
{
    tables_init();
    for (uint64_t flags = 0; flags <= LEAF_FLAGS; flags++)
        for (unsigned rights = 0; rights < RIGHTS; rights++)
            for (unsigned k = 0; k < 4; k++)
                downgrade_once(SMALL_FRAME | flags | (k & 1 ? PTE_NX : 0), rights, k >> 1);
}

TEST(what_is_read_back_of_a_shadow_table_has_no_address)
{
    struct invocation stale = { .caller = &caller, .label = SHADOW_READ_BITS, .words = 2, .w = { 0, 1 } };

    for (unsigned index = 0; index < TABLE_ENTRIES; index += 73)
        for (unsigned bit = 0; bit < 64; bit++) {
            struct invocation v = {
                .caller = &caller, .label = SHADOW_READ_BITS, .words = 2, .w = { index, 1 }
            };
            tables_init();
            *shadow_entry(1, index) = BIT(bit);
            v.cap = cspace_slot(&caller, 1);
            check_note("entry %u bit %u", index, bit);
            CHECK_EQ(invoke(&v), ERR_OK);
            CHECK_EQ(v.result_words, 1);
            CHECK_EQ(v.r[0], bit >= PAGE_SHIFT && bit < 52 ? 0 : BIT(bit));
        }
    stale.cap = cspace_slot(&caller, 1);
    meta_of((hpa_t){ stale.cap->obj })->stamp--;
    CHECK_EQ(invoke(&stale), ERR_STALE_TABLE);
    CHECK_EQ(stale.result_words, 0);
}
