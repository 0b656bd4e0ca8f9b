/* SPDX-License-Identifier: BSD-2-Clause */
/* Filling entries that nobody asked for yet: neighbours of a fill, and entries just written. Only what the
 * guest's own use has shown to be hot: A set, and D set where the entry is writable. An optimization: it
 * stops when the operations' room gets small. */
#include "internal.h"

#define NEAR 8u /* chosen: a cache line of 8-byte entries */

static bool room(const struct shadow_ops *ops)
{
    return shadow_ops_room(ops) >= OPS_SPARE + OPS_LEAF;
}

/* Sets the leaf if its frame is memory. */
static void set_memory(struct shadow *s, struct table *t, uint32_t index, struct want *want,
                       struct shadow_ops *ops)
{
    enum gmem_kind kind = gmem_kind(s->config.map, (gfn_t){ want->gfn });
    if (kind == GMEM_MMIO)
        return;
    leaf_set(s, t, index, want->gfn, want->rights, want->may_write && kind == GMEM_RAM, ops);
    s->counters.prefetches++;
}

/* Of another mode than the present: it will be seen when that comes back. */
static bool is_foreign(const struct control *c, const struct table *t)
{
    return t->role.guest != c->role.guest || t->role.nxe != c->role.nxe || t->role.pse != c->role.pse;
}

void prefetch_more(struct shadow *s, struct table *t, uint32_t index, struct want *want,
                   struct shadow_ops *ops)
{
    if (!is_foreign(&s->control, t) && room(ops))
        set_memory(s, t, index, want, ops);
}

bool prefetch_one(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops)
{
    const struct control *c = &s->control;
    if (is_foreign(c, t) || mask_test(t->filled, index) || !room(ops))
        return false;
    struct want want = want_of(&c->pte, t->role, index, raw, t->flags & TABLE_ROM);
    if (want.kind != WANT_LEAF || ((raw & PTE_RW) && !want.may_write))
        return false;
    set_memory(s, t, index, &want, ops);
    return true;
}

/* The block of n entries around index; n is rounded to a power of two by the caller's tuning. */
static uint32_t block_start(uint32_t index, uint32_t n)
{
    return index & ~(n - 1);
}

/* Those of a direct table that are not filled, by the words of the bitmap. */
void prefetch_direct(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    uint32_t n = s->config.tuning.prefetch_direct, start = block_start(index, n);
    uint64_t part = n < 64 ? (BIT(n) - 1) << start % 64 : ~0ull;

    for (uint32_t k = start / 64; k < (start + n + 63) / 64; k++) {
        for (uint64_t todo = ~t->filled[k] & part; todo && room(ops); todo &= todo - 1) {
            uint32_t i = k * 64 + (uint32_t)__builtin_ctzll(todo);
            struct want want = want_direct(t->role, t->gfn, i);
            set_memory(s, t, i, &want, ops);
        }
    }
}

/* n entries of a guest's table. */
struct entries {
    uint32_t first, n;
    union {
        uint64_t wide[64];
        uint32_t narrow[64];
    } raw;
};

static bool entries_read(const struct shadow *s, const struct table *t, uint32_t first, uint32_t n,
                         struct entries *e)
{
    uint32_t bytes = guest_entry_bytes((enum guest_format)t->role.guest);
    uint64_t at = (t->gfn << PAGE_SHIFT) + (uint64_t)guest_index(t->role, first) * bytes;

    e->first = first;
    e->n = n;
    return gmem_read_bytes(s->config.mem, (gpa_t){ at }, &e->raw, n * bytes) == GMEM_OK;
}

static inline bool prefetch_entry(struct shadow *s, struct table *t, uint32_t i, const struct entries *e,
                                  struct shadow_ops *ops)
{
    uint64_t raw = t->role.guest == GUEST_32 ? e->raw.narrow[i - e->first] : e->raw.wide[i - e->first];
    return may_be_hot(raw, t->flags & TABLE_ROM) && prefetch_one(s, t, i, raw, ops);
}

/* Entries from index on up, and from index - 1 on down, to the first that is filled. Returns how many were
 * set. */
static uint32_t prefetch_up(struct shadow *s, struct table *t, uint32_t index, const struct entries *e,
                            struct shadow_ops *ops)
{
    uint32_t set = 0;
    for (uint32_t i = index; i < e->first + e->n && !mask_test(t->filled, i); i++)
        set += prefetch_entry(s, t, i, e, ops);
    return set;
}

static uint32_t prefetch_down(struct shadow *s, struct table *t, uint32_t index, const struct entries *e,
                              struct shadow_ops *ops)
{
    uint32_t set = 0;
    for (uint32_t i = index; i > e->first && !mask_test(t->filled, i - 1); i--)
        set += prefetch_entry(s, t, i - 1, e, ops);
    return set;
}

/* The nearest entries first: where none of them is hot, the others are not looked at. */
static void prefetch_guest(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    uint32_t n = s->config.tuning.prefetch, near = n < NEAR ? n : NEAR, first = block_start(index, near);
    struct entries e;

    if (n <= 1 || !entries_read(s, t, first, near, &e))
        return;
    uint32_t up = prefetch_up(s, t, index + 1, &e, ops), down = prefetch_down(s, t, index, &e, ops);
    if (n == near || up + down == 0 || !entries_read(s, t, block_start(index, n), n, &e))
        return;
    prefetch_up(s, t, first + near, &e, ops);
    prefetch_down(s, t, first, &e, ops);
}

/* Entries [from, to) of a long-mode table at level 1, none of them filled: the hot ones, in runs of frames in
 * order with equal flags. raw: that of entry first and those behind it. */
static void prefetch_runs(struct shadow *s, struct table *t, uint32_t from, uint32_t to,
                          const struct entries *e, struct shadow_ops *ops)
{
    const struct pte_format *f = &s->control.pte;

    while (from < to && room(ops)) {
        uint64_t raw = e->raw.wide[from - e->first], gfn = (raw & f->frame_mask) >> PAGE_SHIFT;
        uint32_t n = 1, rights = SH_READ | ((uint32_t)raw & SH_USER) | (raw & f->nx ? 0 : SH_EXEC);
        bool may_write = (raw & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D);
        uint64_t ram = ram_from(s, gfn);
        if (!may_be_hot(raw, false) || (raw & f->reserved[1][0]) || !ram) {
            from++;
            continue;
        }
        if (may_write)
            rights |= SH_WRITE | SH_DIRTY;
        while (from + n < to && n < ram && e->raw.wide[from + n - e->first] == raw + n * PAGE_BYTES)
            n++;
        n = leaf_run(s, t, from, gfn, rights, may_write, n, ops);
        if (n == 0) {
            leaf_set(s, t, from, gfn, rights, may_write, ops);
            n = 1;
        }
        s->counters.prefetches += n;
        from += n;
    }
}

void prefetch_usual(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    uint32_t n = s->config.tuning.prefetch, first = block_start(index, n);
    struct entries e;

    if (n <= 1 || !entries_read(s, t, first, n, &e))
        return;
    uint64_t filled = t->filled[index / 64] >> first % 64;
    uint64_t below = filled & (BIT(index - first) - 1), above = filled >> (index - first) >> 1;
    uint32_t from = below ? 64 - (uint32_t)__builtin_clzll(below) : 0;
    uint32_t to = above ? index - first + 1 + (uint32_t)__builtin_ctzll(above) : n;
    if (to > n)
        to = n;
    prefetch_runs(s, t, index + 1, first + to, &e, ops);
    prefetch_runs(s, t, first + from, index, &e, ops);
}

void prefetch(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    if (is_direct(t))
        prefetch_direct(s, t, index, ops);
    else
        prefetch_guest(s, t, index, ops);
}
