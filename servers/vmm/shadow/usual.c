/* SPDX-License-Identifier: BSD-2-Clause */
/* The fill that most page faults need: long mode with CR0.WP, a page of memory of 4 KiB or in a large one of
 * 2 MiB, all tables there and linked as the guest's entries say, as an earlier fill has seen (struct chain),
 * or new; and the page faults that the guest must see. One list of checks that leave to fill.c, then the
 * whole effect. What it does is exactly what fill.c would. */
#include "walk.h"

static inline bool usual_mode(const struct control *c)
{
    return c->format == GUEST_LONG && !c->role.wp0;
}

static inline uint32_t changes_of(const struct shadow *s, const struct chain *k)
{
    return s->changes + k->table[0]->changes + k->table[1]->changes + k->table[2]->changes +
           k->table[3]->changes;
}

static inline struct chain *chain_for(struct shadow *s, uint64_t va)
{
    return &s->chain[va >> 21 & (CHAINS - 1)];
}

/* The table at level 1 that the remembered way for va leads to, or NULL. The guest's entries above are as
 * they were, so they need not be read: each write to a protected table counts as a change, and while one of
 * them is out of sync none is remembered. */
static inline struct table *remembered(struct shadow *s, const struct chain *k, uint64_t va)
{
    if (k->region != va >> 21 || k->top != s->top[0] || k->changes != changes_of(s, k))
        return NULL;
    return k->table[0];
}

/* The same for a large page of 2 MiB, with CR0.WP (want_link in pte.h). */
static bool large_link_is_current(const struct shadow *s, const struct table *t, uint64_t e, uint64_t raw)
{
    const struct pte_format *f = &s->control.pte;
    const struct table *child = &s->table[ENTRY_CHILD(e)];
    uint32_t rights = SH_READ | ((uint32_t)raw & SH_USER) | (raw & f->nx ? 0 : SH_EXEC);
    struct role role = {
        .hw = t->role.hw, .level = 1, .guest = GUEST_DIRECT, .smep = t->role.smep, .smap = t->role.smap
    };

    if ((raw & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D))
        rights |= SH_WRITE;
    return (e & ENTRY_LINK) && ENTRY_RIGHTS(e) == rights && child->gfn == pte_large_gfn(f, 2, raw) &&
           role_equal(child->role, role);
}

static bool link_stands(const struct shadow *s, const struct table *t, uint64_t e, uint64_t raw)
{
    bool large = t->role.level == 2 && (raw & PTE_LARGE);

    if (raw & s->control.pte.reserved[t->role.level][large])
        return false;
    return large ? large_link_is_current(s, t, e, raw) : link_is_current(s, t, e, raw);
}

/* A in the guest's entry of the level, which the access uses. */
static bool set_accessed(struct shadow *s, uint64_t va, struct gmem_walk *w, uint32_t level)
{
    uint64_t table = level == 4 ? s->control.regs.cr3 : w->raw[level + 1], raw = w->raw[level];
    gpa_t at = { (table & s->control.pte.frame_mask) | (va >> 9 * level & 0xff8) };

    if (!(raw & PTE_A) && gmem_cas64(s->config.mem, at, raw, raw | PTE_A) != GMEM_OK)
        return false;
    w->raw[level] |= PTE_A;
    return true;
}

/* A link to a table that has no shadow yet, in ordinary memory, where there is room. */
static bool link_new(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops)
{
    const struct pte_format *f = &s->control.pte;
    uint64_t gfn = (raw & f->frame_mask) >> PAGE_SHIFT;
    uint32_t rights = SH_READ | ((uint32_t)raw & (SH_WRITE | SH_USER)) | (raw & f->nx ? 0 : SH_EXEC);
    struct role role = t->role;

    role.level--;
    if ((raw & PTE_LARGE) || !ram_from(s, gfn) || s->frame[gfn].shadows || mask_test(t->filled, index) ||
        s->free_count < CHAIN_MAX + RESERVE)
        return false;
    struct table *child = table_make(s, gfn, role, ops);
    if (!child || !may_link(s, t, child, ops))
        return false;
    link_set(s, t, index, child, rights, ops);
    return true;
}

/* Tables were made: nothing wrote them before they were protected if they still read the same. */
static bool reads_the_same(const struct shadow *s, uint64_t va, const struct gmem_walk *w)
{
    struct gmem_walk again;

    if (gmem_walk_long(s->config.mem, (gpa_t){ s->control.regs.cr3 & s->control.pte.frame_mask }, va,
                       &again) != GMEM_OK ||
        again.last != w->last)
        return false;
    for (uint32_t level = w->last; level <= 4; level++)
        if (again.raw[level] != w->raw[level])
            return false;
    return true;
}

static inline uint32_t index_at(uint64_t va, uint32_t level)
{
    return (uint32_t)(va >> (PAGE_SHIFT + (level - 1) * 9)) & (ENTRIES - 1);
}

/* What the entries from the level up allow: PTE_RW, PTE_US, PTE_NX. */
static uint32_t rights_above(const struct pte_format *f, const struct gmem_walk *w, uint32_t level)
{
    uint64_t all = PTE_RW | PTE_US, any = 0;

    for (; level <= 4; level++) {
        all &= w->raw[level];
        any |= w->raw[level];
    }
    return (uint32_t)all | (any & f->nx ? PTE_NX : 0);
}

/* Down the links for va, as far as they say what the guest's entries say; those that are missing are made.
 * NULL: fill.c does it. */
static struct table *find_table(struct shadow *s, uint64_t va, struct gmem_walk *w, struct shadow_ops *ops)
{
    struct chain *k = chain_for(s, va);
    uint32_t id = s->top[0], made = 0;

    k->region = ~0ull;
    for (uint32_t level = 4; level > 1 && id != NO_TABLE; level--) {
        struct table *t = &s->table[id];
        uint32_t index = index_at(va, level);
        if (!set_accessed(s, va, w, level))
            return NULL;
        if (!mask_test(t->filled, index) || !link_stands(s, t, s->entry[id][index], w->raw[level])) {
            if (!link_new(s, t, index, w->raw[level], ops))
                return NULL;
            made = made ? made : level;
        }
        t->writes = t->zeros = 0;
        t->recent = 1;
        id = ENTRY_CHILD(s->entry[id][index]);
        k->table[level - 2] = &s->table[id];
    }
    if (id == NO_TABLE)
        return NULL;
    if (made && !reads_the_same(s, va, w)) {
        for (; made > 1; made--)
            entry_drop(s, made == 4 ? &s->table[s->top[0]] : k->table[made - 1], index_at(va, made), ops);
        return NULL;
    }
    k->top = s->top[0];
    k->table[3] = &s->table[k->top];
    if (s->unsynced_upper)
        return &s->table[id];
    k->region = va >> 21;
    k->changes = changes_of(s, k);
    k->large = w->last == 2 ? w->raw[2] : 0;
    k->bits = rights_above(&s->control.pte, w, w->last + 1);
    return &s->table[id];
}

static inline bool is_guest_fault(struct shadow *s, const struct shadow_access *a, uint32_t why,
                                  struct fill_out *out, enum fill_result *result)
{
    out->error = walk_fault_code(&s->control, a, why);
    s->counters.guest_faults++;
    *result = FILL_GUEST_FAULT;
    return true;
}

/* Reserved bits in the entries above the last one read. */
static bool reserved_above(const struct pte_format *f, const struct gmem_walk *w)
{
    uint64_t found = 0;

    for (uint32_t level = 4; level > w->last; level--)
        found |= w->raw[level] & f->reserved[level][0];
    return found;
}

/* A in all entries above the last one. */
static bool above_accessed(const struct gmem_walk *w)
{
    uint64_t all = ~0ull;

    for (uint32_t level = 4; level > w->last; level--)
        all &= w->raw[level];
    return all & PTE_A;
}

static inline bool reserved_in(const struct pte_format *f, const struct gmem_walk *w)
{
    return (w->raw[4] & f->reserved[4][0]) | (w->raw[3] & f->reserved[3][0]) |
           (w->raw[2] & f->reserved[2][w->last == 2]) | (w->last == 1 ? w->raw[1] & f->reserved[1][0] : 0);
}

static bool is_mmio(struct shadow *s, uint64_t gfn, uint64_t va, struct fill_out *out,
                    enum fill_result *result)
{
    if (gmem_kind(s->config.map, (gfn_t){ gfn }) != GMEM_MMIO)
        return false;
    out->gpa.v = gfn << PAGE_SHIFT | (va & (PAGE_BYTES - 1));
    s->counters.mmio++;
    *result = FILL_MMIO;
    return true;
}

struct table *usual_last(struct shadow *s, uint64_t va)
{
    return remembered(s, chain_for(s, va), va);
}

/* A write to a frame that holds a table. */
static __attribute__((noinline)) enum fill_result write_usual(struct shadow *s, const struct shadow_access *a,
                                                              uint64_t gfn, struct shadow_ops *ops)
{
    const struct chain *k = chain_for(s, a->va.v);
    struct guest_walk g = { .top = 4, .leaf = is_direct(k->table[0]) ? 2 : 1, .gfn = gfn };

    for (uint32_t level = 4; level >= g.leaf; level--) /* the frames are what matters */
        g.at[level] = k->table[level - 1]->gfn << PAGE_SHIFT;
    enum fill_result result = table_write(s, a, &g, ops);
    if (result != FILL_OK)
        orphans_end(s, ORPHANS_BATCH, ops);
    return result;
}

/* A page of a large one. */
static __attribute__((noinline)) bool set_large(struct shadow *s, struct table *t, uint32_t index,
                                                uint64_t gfn, struct shadow_ops *ops)
{
    /* a direct table's entries have all rights */
    if (!leaf_usual(s, t, index, gfn << PAGE_SHIFT | PTE_RW | PTE_US | PTE_D, ops))
        return false;
    t->recent = 1;
    s->counters.fills++;
    prefetch_direct(s, t, index, ops);
    return true;
}

/* Whether the other entry of the pair, or the one on the other side, is to be filled, too. */
static inline bool neighbour_is_hot(const struct shadow *s, const struct table *t, uint32_t index)
{
    uint32_t beside = index ^ 1;
    uint64_t raw;

    if (mask_test(t->filled, beside)) {
        beside = index + (index & 1 ? 1 : -1u);
        if (beside >= ENTRIES || mask_test(t->filled, beside))
            return false;
    }
    return gmem_read64(s->config.mem, (gpa_t){ (t->gfn << PAGE_SHIFT) + beside * 8 }, &raw) == GMEM_OK &&
           may_be_hot(raw, false);
}

/* The access is allowed, to memory. */
static inline bool usual_leaf(struct shadow *s, const struct shadow_access *a, struct table *t, uint64_t raw,
                              uint64_t gfn, struct fill_out *out, struct shadow_ops *ops,
                              enum fill_result *result)
{
    uint64_t va = a->va.v, need = PTE_A | (a->write ? PTE_D : 0);
    uint32_t index = (uint32_t)(va >> PAGE_SHIFT) & (ENTRIES - 1);

    if (t->flags & TABLE_ROM)
        return false;
    if ((raw & need) != need) {
        uint64_t at = (t->gfn << PAGE_SHIFT) + index * 8;
        if (is_direct(t) || gmem_cas64(s->config.mem, (gpa_t){ at }, raw, raw | need) != GMEM_OK)
            return false;
        raw |= need;
    }
    if (a->write && frame_protected(&s->frame[gfn])) {
        out->gpa.v = gfn << PAGE_SHIFT | (va & (PAGE_BYTES - 1));
        out->bits_set = true;
        *result = write_usual(s, a, gfn, ops);
        if (*result != FILL_OK)
            return true;
        if (remembered(s, chain_for(s, va), va) != t) { /* others may have ended */
            *result = FILL_RETRY;
            return true;
        }
    }
    if (is_direct(t)) {
        if (!set_large(s, t, index, gfn, ops))
            return false;
    } else {
        if (!leaf_usual(s, t, index, raw, ops))
            return false;
        t->recent = 1;
        s->counters.fills++;
        if (neighbour_is_hot(s, t, index))
            prefetch_usual(s, t, index, ops);
    }
    if (s->orphan_head != NO_TABLE)
        orphans_end(s, ORPHANS_BATCH, ops);
    *result = FILL_OK;
    return true;
}

/* By the guest's tables: its last entry, and what those above it allow. */
static __attribute__((noinline)) bool walk_usual(struct shadow *s, uint64_t va, struct gmem_walk *w,
                                                 uint32_t *above)
{
    const struct control *c = &s->control;
    const struct pte_format *f = &c->pte;

    if (!usual_mode(c) || va + BIT(47) >= BIT(48) ||
        gmem_walk_long(s->config.mem, (gpa_t){ c->regs.cr3 & f->frame_mask }, va, w) != GMEM_OK)
        return false;
    if (!(w->raw[w->last] & PTE_P))
        return !reserved_above(f, w);
    *above = rights_above(f, w, w->last + 1);
    return w->last <= 2 && !reserved_in(f, w);
}

bool usual_fill(struct shadow *s, const struct shadow_access *a, struct fill_out *out, struct shadow_ops *ops,
                enum fill_result *result)
{
    const struct control *c = &s->control;
    const struct pte_format *f = &c->pte;
    uint64_t va = a->va.v, raw, need = PTE_A | (a->write ? PTE_D : 0);
    const struct chain *k = chain_for(s, va);
    struct table *t = remembered(s, k, va);
    struct gmem_walk w;
    uint32_t above;
    bool large = false;

    if (t && !is_direct(t)) {
        uint64_t at = (t->gfn << PAGE_SHIFT) + (va >> 9 & 0xff8);
        if (gmem_read64(s->config.mem, (gpa_t){ at }, &raw) != GMEM_OK)
            return false;
        above = k->bits;
    } else {
        if (!walk_usual(s, va, &w, &above))
            return false;
        raw = w.raw[w.last];
        large = w.last == 2;
        if (!large || k->large != raw)
            t = NULL;
    }
    if (!(raw & PTE_P))
        return is_guest_fault(s, a, 0, out, result);
    if (raw & f->reserved[1 + large][large])
        return false;
    if (!walk_allows(c, a, (above & ((uint32_t)raw | PTE_NX)) | (raw & f->nx ? PTE_NX : 0)))
        return is_guest_fault(s, a, PF_P, out, result);
    uint64_t gfn = large ? pte_large_gfn(f, 2, raw) + (va >> PAGE_SHIFT & (ENTRIES - 1))
                         : (raw & f->frame_mask) >> PAGE_SHIFT;
    if (!ram_from(s, gfn)) /* A above it is set if a fill was there before */
        return (t || above_accessed(&w)) && (raw & need) == need && is_mmio(s, gfn, va, out, result);
    if (!t) {
        t = find_table(s, va, &w, ops);
        if (!t)
            return false;
        raw |= large ? PTE_A : 0;
    }
    return usual_leaf(s, a, t, raw, gfn, out, ops, result);
}
