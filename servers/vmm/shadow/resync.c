/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries held against the guest's: one after its guest entry was written or flushed, or all of a table
 * (sync.c). The metadata word says what the hardware has; only differences become operations. */
#include "walk.h"

#define REFILL_MAX 32u

enum verdict { KEEP, LOSE_WRITE, DROP };

/* The present mode's format, or that of another one, made in *other. */
static const struct pte_format *format_of(const struct shadow *s, const struct table *t,
                                          struct pte_format *other)
{
    const struct role *r = &s->control.role;
    if (t->role.guest == r->guest && t->role.nxe == r->nxe && t->role.pse == r->pse)
        return &s->control.pte;
    *other = pte_format((enum guest_format)t->role.guest, t->role.nxe, t->role.pse, s->config.phys_bits);
    return other;
}

/* No more rights, and the same U: a supervisor page evades SMEP and SMAP, so less U is not less. */
static bool within(uint32_t rights, uint32_t of)
{
    return (rights & ~of) == 0 && ((rights ^ of) & SH_USER) == 0;
}

/* What must become of a present entry whose guest entry allows `want` now. */
static enum verdict judge(const struct shadow *s, uint64_t entry, const struct want *want)
{
    uint32_t rights = ENTRY_RIGHTS(entry), read_only = rights & ~(uint32_t)(SH_WRITE | SH_DIRTY);

    if (entry & ENTRY_LINK) {
        const struct table *child = &s->table[ENTRY_CHILD(entry)];
        bool same =
            want->kind == WANT_LINK && child->gfn == want->gfn && role_equal(child->role, want->child);
        return same && within(rights, want->rights) ? KEEP : DROP;
    }
    if (want->kind != WANT_LEAF || want->gfn != ENTRY_GFN(entry))
        return DROP;
    if (want->alt_rights && within(rights, want->alt_rights))
        return KEEP;
    if (!within(read_only, want->rights))
        return DROP;
    return (entry & ENTRY_MAY_WRITE) && !want->may_write ? LOSE_WRITE : KEEP;
}

static bool read_entry(const struct shadow *s, const struct table *t, uint32_t index, uint64_t *raw)
{
    uint32_t bytes = guest_entry_bytes((enum guest_format)t->role.guest);
    uint64_t at = (t->gfn << PAGE_SHIFT) + (uint64_t)guest_index(t->role, index) * bytes;
    return guest_entry_read(s, at, bytes, raw);
}

/* One entry after its guest entry was written or flushed. */
void entry_revalidate(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    uint64_t raw = 0;
    if (!read_entry(s, t, index, &raw))
        raw = 0;
    bool filled = mask_test(t->filled, index);
    if (filled && shadow_ops_room(ops) < OPS_DOWNGRADE) {
        table_empty(s, t, ops);
        return;
    }
    if (!(raw & PTE_P)) {
        if (filled)
            entry_drop(s, t, index, ops);
        return;
    }
    if (filled) {
        struct pte_format other;
        struct want want = want_of(format_of(s, t, &other), t->role, index, raw, t->flags & TABLE_ROM);
        uint64_t e = s->entry[table_id(s, t)][index];
        enum verdict v = judge(s, e, &want);
        if (v == LOSE_WRITE) {
            if (ENTRY_RIGHTS(e) & SH_WRITE)
                op_fill(ops, s->config.tables[table_id(s, t)], index,
                        ENTRY_RIGHTS(e) & ~(uint32_t)(SH_WRITE | SH_DIRTY), ENTRY_GFN(e));
            leaf_lost_write(s, t, index);
        } else if (v == DROP) {
            entry_drop(s, t, index, ops);
        } else if (want.may_write && !(e & ENTRY_MAY_WRITE)) {
            prefetch_more(s, t, index, &want, ops); /* it would be written next: why else was it changed? */
        }
    }
    if (t->role.level == 1)
        prefetch_one(s, t, index, raw, ops);
}

/* The work of one table: what changed, as masks, and what may be filled again at once. */
struct resync {
    uint64_t drop[MASK_WORDS], write[MASK_WORDS];
    uint32_t drops, writes, refills;
    uint16_t index[REFILL_MAX];
    uint64_t raw[REFILL_MAX];
};

static void resync_entry(struct shadow *s, const struct pte_format *f, struct table *t, uint32_t index,
                         uint64_t raw, struct resync *r)
{
    uint64_t e = s->entry[table_id(s, t)][index];
    struct want want = { .kind = WANT_NONE };

    if (raw & PTE_P)
        want = want_of(f, t->role, index, raw, t->flags & TABLE_ROM);
    switch (raw & PTE_P ? judge(s, e, &want) : DROP) {
    case KEEP:
        return;
    case LOSE_WRITE:
        if (ENTRY_RIGHTS(e) & SH_WRITE) {
            mask_set(r->write, index);
            r->writes++;
        }
        leaf_lost_write(s, t, index);
        return;
    case DROP:
        mask_set(r->drop, index);
        r->drops++;
        entry_forget(s, t, index);
        if (want.kind == WANT_LEAF && r->refills < REFILL_MAX) {
            r->index[r->refills] = (uint16_t)index;
            r->raw[r->refills++] = raw;
        }
    }
}

/* How an entry of a long-mode leaf and the guest's entry must agree, with CR0.WP: the word is laid out for
 * it. An answer of "no" is judged. */
struct stand {
    uint64_t same; /* bits that say the same in both; A is set in the guest's alone */
    uint64_t none; /* bits that no guest's entry may have */
};

static struct stand stand_for(const struct pte_format *f)
{
    uint64_t frame = (GUEST_FRAMES_MAX - 1) << PAGE_SHIFT;

    BUILD_ASSERT((unsigned)SH_WRITE == PTE_RW && (unsigned)SH_USER == PTE_US && (unsigned)SH_READ == PTE_P &&
                 ENTRY_MAY_WRITE == PTE_D && ENTRY_WITHHELD > (GUEST_FRAMES_MAX - 1) << PAGE_SHIFT);
    return (struct stand){ .same = frame | ENTRY_WITHHELD | PTE_P | PTE_RW | PTE_US | PTE_A | f->nx,
                           .none = f->reserved[1][0] | (f->frame_mask & ~frame) };
}

/* The same as it was, but for the right to write: it may come, which is nothing to do, or go: then *lost gets
 * bit i. */
static inline bool leaf_stands(const struct stand *x, uint64_t e, uint64_t raw, uint32_t i, uint64_t *lost)
{
    uint64_t differs = ((raw ^ e) & x->same) ^ PTE_A;

    if (raw & x->none)
        return false;
    if (!differs)
        return !(e & ~raw & ENTRY_MAY_WRITE);
    if (differs != PTE_RW)
        return false;
    *lost |= raw & PTE_RW ? 0 : BIT(i);
    return true;
}

#define EIGHT 8u
static bool any_may_write(const uint64_t *e, uint32_t n)
{
    uint64_t any = 0;

    for (uint32_t i = 0; i < n; i++)
        any |= e[i];
    return any & ENTRY_MAY_WRITE;
}

/* The same for entries i..i + n - 1, a multiple of eight, all filled, where all differ in the same way. By
 * itself: it needs the registers. */
static __attribute__((noinline)) bool run_stands(const struct stand *x, const uint64_t *e,
                                                 const uint64_t *raw, uint32_t n, bool *lost)
{
    uint64_t first = raw[0] ^ e[0], any = 0, others = 0;

    for (uint32_t i = 0; i < n; i += EIGHT)
#pragma GCC unroll 8
        for (uint32_t k = 0; k < EIGHT; k++) {
            any |= raw[i + k];
            others |= raw[i + k] ^ e[i + k] ^ first;
        }
    if ((others & (x->same | PTE_D)) || (any & x->none))
        return false;
    uint64_t differs = (first & x->same) ^ PTE_A;
    *lost = differs == PTE_RW && !(any & PTE_RW);
    return *lost || (!differs && (!(first & PTE_D) || !any_may_write(e, n)));
}

/* The guest entries behind the filled ones of a word, read at once. */
struct filled_word {
    union {
        uint64_t wide[64];
        uint32_t narrow[64];
    } raw;
    uint32_t index, first; /* of the first one: hardware's, guest's */
    uint32_t bytes;        /* of a guest entry */
    bool read;
};

static void word_read(const struct shadow *s, const struct table *t, uint32_t k, struct filled_word *w)
{
    uint64_t filled = t->filled[k];
    uint32_t last = guest_index(t->role, k * 64 + 63 - (uint32_t)__builtin_clzll(filled));

    w->bytes = guest_entry_bytes((enum guest_format)t->role.guest);
    w->index = k * 64 + (uint32_t)__builtin_ctzll(filled);
    w->first = guest_index(t->role, w->index);
    uint64_t at = (t->gfn << PAGE_SHIFT) + (uint64_t)w->first * w->bytes;
    w->read =
        gmem_read_bytes(s->config.mem, (gpa_t){ at }, &w->raw, (last - w->first + 1) * w->bytes) == GMEM_OK;
}

/* The same of a long-mode guest. */
static inline void leaves_read(const struct shadow *s, const struct table *t, uint32_t k,
                               struct filled_word *w)
{
    uint64_t filled = t->filled[k];
    uint32_t first = (uint32_t)__builtin_ctzll(filled), n = 64 - first - (uint32_t)__builtin_clzll(filled);

    w->bytes = 8;
    w->index = w->first = k * 64 + first;
    w->read = gmem_read_bytes(s->config.mem, (gpa_t){ (t->gfn << PAGE_SHIFT) + w->index * 8 }, &w->raw,
                              n * 8) == GMEM_OK;
}

static void resync_any(struct shadow *s, const struct pte_format *f, struct table *t, uint32_t index,
                       const struct filled_word *w, struct resync *r)
{
    uint32_t g = guest_index(t->role, index) - w->first;
    uint64_t raw = w->bytes == 8 ? w->raw.wide[g] : w->raw.narrow[g];

    if (!w->read && !read_entry(s, t, index, &raw))
        raw = 0;
    resync_entry(s, f, t, index, raw, r);
}

static uint32_t count_bits(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    return (uint32_t)(((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56);
}

/* x: for leaves that go by comparison, else NULL. */
static void resync_word(struct shadow *s, const struct pte_format *f, const struct stand *x, struct table *t,
                        uint32_t k, struct resync *r)
{
    struct filled_word w;
    const uint64_t *entry = s->entry[table_id(s, t)] + k * 64;
    uint64_t todo = t->filled[k], lost = 0;

    if (x)
        leaves_read(s, t, k, &w);
    else
        word_read(s, t, k, &w);
    if (!w.read || !x) {
        for (; todo; todo &= todo - 1)
            resync_any(s, f, t, k * 64 + (uint32_t)__builtin_ctzll(todo), &w, r);
        return;
    }
    const uint32_t before = w.index - k * 64; /* entries of the word that were not read */
    while (todo) {
        uint32_t i = (uint32_t)__builtin_ctzll(todo);
        uint64_t run = !~todo ? ~0ull : 0xffull << i;
        bool all;
        if (i % EIGHT == 0 && (todo & run) == run &&
            run_stands(x, entry + i, w.raw.wide + (i - before), !~run ? 64 : EIGHT, &all)) {
            lost |= all ? run : 0;
            todo &= ~run;
            continue;
        }
        todo &= todo - 1;
        uint64_t raw = w.raw.wide[i - before];
        if (!leaf_stands(x, entry[i], raw, i, &lost))
            resync_entry(s, f, t, k * 64 + i, raw, r);
    }
    if (lost) {
        leaves_lost_write(s, t, k, lost);
        r->writes += count_bits(lost);
        r->write[k] |= lost;
    }
}

static uint32_t first_of(const uint64_t *mask)
{
    uint32_t k = 0;

    while (!mask[k])
        k++;
    return k * 64 + (uint32_t)__builtin_ctzll(mask[k]);
}

/* A leaf as its word says. */
static void op_fill_again(const struct shadow *s, const struct table *t, uint32_t index,
                          struct shadow_ops *ops)
{
    uint64_t e = s->entry[table_id(s, t)][index];

    op_fill(ops, s->config.tables[table_id(s, t)], index, ENTRY_RIGHTS(e), ENTRY_GFN(e));
}

/* Returns whether anything had changed. */
bool table_resync(struct shadow *s, struct table *t, struct shadow_ops *ops)
{
    struct resync r;
    struct pte_format other;
    const struct pte_format *f = format_of(s, t, &other);
    cptr_t cap = s->config.tables[table_id(s, t)];
    bool usual = f == &s->control.pte && f->guest == GUEST_LONG && t->role.level == 1 && !t->role.wp0 &&
                 !(t->flags & TABLE_ROM);

    const struct stand x = stand_for(f);

    if (t->live == 0)
        return false;
    if (shadow_ops_room(ops) < ROOM_TO_SYNC) {
        table_empty(s, t, ops); /* one word: nothing kept is nothing stale */
        return true;
    }
    __builtin_memset(&r, 0, offsetof(struct resync, index));
    for (uint32_t k = 0; k < MASK_WORDS; k++) {
        if (t->filled[k])
            resync_word(s, f, usual ? &x : NULL, t, k, &r);
    }
    if (r.drops == 1)
        op_drop(ops, cap, first_of(r.drop));
    else if (r.drops)
        op_downgrade(ops, cap, r.drop, 0);
    if (r.writes == 1)
        op_fill_again(s, t, first_of(r.write), ops);
    else if (r.writes)
        op_downgrade(ops, cap, r.write, SH_READ | SH_USER | SH_EXEC);
    for (uint32_t i = 0; i < r.refills; i++)
        prefetch_one(s, t, r.index[i], r.raw[i], ops);
    s->counters.resyncs++;
    s->counters.resynced_entries += r.drops + r.writes;
    return r.drops + r.writes > 0;
}
