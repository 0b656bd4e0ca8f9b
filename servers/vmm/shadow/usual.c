/* SPDX-License-Identifier: BSD-2-Clause */
/* The fill that most page faults need: long mode with CR0.WP, a page of memory of 4 KiB or in a large one of
 * 2 MiB, all tables there and linked as the guest's entries say, as an earlier fill has seen (struct chain),
 * or new; and the page faults that the guest must see. One list of checks that leave to fill.c, then the
 * whole effect. What it does is exactly what fill.c would. */
#include "leaf.h"
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

/* Words: a new table, its frame's writers, the root list, the link; and to take all of a way back. */
#define OPS_NEW (OPS_SETUP + WRITERS_MAX * OPS_FILL + LIST_SLOTS * 2 + OPS_LINKED + CHAIN_MAX)

/* A link to a table that has no shadow yet, in ordinary memory, where there is room. */
static bool link_new(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops)
{
    const struct pte_format *f = &s->control.pte;
    uint64_t gfn = (raw & f->frame_mask) >> PAGE_SHIFT;
    uint32_t rights = SH_READ | ((uint32_t)raw & (SH_WRITE | SH_USER)) | (raw & f->nx ? 0 : SH_EXEC);
    struct role role = t->role;

    role.level--;
    if ((raw & PTE_LARGE) || !ram_from(s, gfn) || s->frame[gfn].shadows || mask_test(t->filled, index) ||
        s->free_count < CHAIN_MAX + RESERVE || shadow_ops_room(ops) < OPS_NEW)
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

/* One step of the way: the link in t for va is there, or made. False: fill.c does it. */
static bool step_down(struct shadow *s, struct table *t, uint64_t va, struct gmem_walk *w, uint32_t *made,
                      struct shadow_ops *ops)
{
    uint32_t level = t->role.level, index = index_at(va, level);

    if (!set_accessed(s, va, w, level))
        return false;
    if (!mask_test(t->filled, index) || !link_stands(s, t, s->entry[table_id(s, t)][index], w->raw[level])) {
        if (!link_new(s, t, index, w->raw[level], ops))
            return false;
        *made = *made ? *made : level;
    }
    t->writes = t->zeros = 0;
    t->recent = 1;
    return true;
}

/* Down the links for va, as far as they say what the guest's entries say; those that are missing are made.
 * NULL: fill.c does it. */
static struct table *find_table(struct shadow *s, uint64_t va, struct gmem_walk *w, struct shadow_ops *ops)
{
    struct chain *k = chain_for(s, va);
    uint32_t id = s->top[0], made = 0, level = 4;

    k->region = ~0ull;
    for (; level > 1 && id != NO_TABLE && step_down(s, &s->table[id], va, w, &made, ops); level--) {
        id = ENTRY_CHILD(s->entry[id][index_at(va, level)]);
        k->table[level - 2] = &s->table[id];
    }
    if (made && !reads_the_same(s, va, w)) {
        for (; made > level; made--)
            entry_drop(s, made == 4 ? &s->table[s->top[0]] : k->table[made - 1], index_at(va, made), ops);
        return NULL;
    }
    if (level > 1)
        return NULL;
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

static int guest_fault(struct shadow *s, const struct shadow_access *a, uint32_t why, struct fill_out *out)
{
    out->error = walk_fault_code(&s->control, a, why);
    s->counters.guest_faults++;
    return FILL_GUEST_FAULT;
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

static __attribute__((noinline)) int usual_mmio(struct shadow *s, uint64_t gfn, uint64_t va,
                                                struct fill_out *out)
{
    if (gmem_kind(s->config.map, (gfn_t){ gfn }) != GMEM_MMIO)
        return NOT_USUAL;
    out->gpa.v = gfn << PAGE_SHIFT | (va & (PAGE_BYTES - 1));
    s->counters.mmio++;
    return FILL_MMIO;
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
static __attribute__((noinline)) int set_large(struct shadow *s, struct table *t, uint32_t index,
                                               uint64_t gfn, struct shadow_ops *ops)
{
    /* a direct table's entries have all rights */
    if (!leaf_usual(s, t, index, gfn << PAGE_SHIFT | PTE_RW | PTE_US | PTE_D, ops))
        return NOT_USUAL;
    t->recent = 1;
    s->counters.fills++;
    prefetch_direct(s, t, index, ops);
    if (s->orphan_head != NO_TABLE)
        orphans_end(s, ORPHANS_BATCH, ops);
    return FILL_OK;
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

/* The access is allowed, to memory. A and D are set. */
static inline __attribute__((always_inline)) int set_usual(struct shadow *s, struct table *t, uint32_t index,
                                                           bool large, uint64_t raw, uint64_t gfn,
                                                           struct shadow_ops *ops)
{
    if (large)
        return set_large(s, t, index, gfn, ops);
    if (!leaf_usual(s, t, index, raw, ops))
        return NOT_USUAL;
    t->recent = 1;
    s->counters.fills++;
    if (neighbour_is_hot(s, t, index))
        prefetch_usual(s, t, index, ops);
    if (s->orphan_head != NO_TABLE)
        orphans_end(s, ORPHANS_BATCH, ops);
    return FILL_OK;
}

/* The same, of a write to a frame that holds a table. */
static __attribute__((noinline)) int leaf_after_write(struct shadow *s, const struct shadow_access *a,
                                                      struct table *t, uint64_t raw, uint64_t gfn,
                                                      struct fill_out *out, struct shadow_ops *ops)
{
    uint64_t va = a->va.v;

    out->gpa.v = gfn << PAGE_SHIFT | (va & (PAGE_BYTES - 1));
    out->bits_set = true;
    enum fill_result result = write_usual(s, a, gfn, ops);
    if (result != FILL_OK)
        return result;
    if (remembered(s, chain_for(s, va), va) != t || shadow_ops_room(ops) < OPS_LEAF)
        return FILL_RETRY; /* others may have ended, by many operations */
    return set_usual(s, t, index_at(va, 1), is_direct(t), raw, gfn, ops);
}

static inline __attribute__((always_inline)) int usual_leaf(struct shadow *s, const struct shadow_access *a,
                                                            struct table *t, bool large, uint64_t raw,
                                                            uint64_t gfn, struct fill_out *out,
                                                            struct shadow_ops *ops)
{
    uint64_t need = PTE_A | (a->write ? PTE_D : 0);
    uint32_t index = index_at(a->va.v, 1);

    if (t->flags & TABLE_ROM)
        return NOT_USUAL;
    if ((raw & need) != need) {
        gpa_t at = { (t->gfn << PAGE_SHIFT) + index * 8 };
        if (large || gmem_cas64(s->config.mem, at, raw, raw | need) != GMEM_OK)
            return NOT_USUAL;
        raw |= need;
    }
    if (a->write && frame_protected(&s->frame[gfn]))
        return leaf_after_write(s, a, t, raw, gfn, out, ops);
    return set_usual(s, t, index, large, raw, gfn, ops);
}

static inline bool usual_allows(const struct control *c, const struct shadow_access *a, uint32_t above,
                                uint64_t raw)
{
    return walk_allows(c, a, (above & ((uint32_t)raw | PTE_NX)) | (raw & c->pte.nx ? PTE_NX : 0));
}

/* No way is remembered, or one to a large page: by the guest's tables. */
static __attribute__((noinline)) int fill_by_walk(struct shadow *s, const struct shadow_access *a,
                                                  struct table *t, struct fill_out *out,
                                                  struct shadow_ops *ops)
{
    const struct control *c = &s->control;
    const struct pte_format *f = &c->pte;
    uint64_t va = a->va.v, need = PTE_A | (a->write ? PTE_D : 0);
    struct gmem_walk w;

    if (!usual_mode(c) || va + BIT(47) >= BIT(48) ||
        gmem_walk_long(s->config.mem, (gpa_t){ c->regs.cr3 & f->frame_mask }, va, &w) != GMEM_OK)
        return NOT_USUAL;
    uint64_t raw = w.raw[w.last];
    bool large = w.last == 2;
    if (!(raw & PTE_P))
        return reserved_above(f, &w) ? NOT_USUAL : guest_fault(s, a, 0, out);
    if (w.last > 2 || reserved_in(f, &w))
        return NOT_USUAL;
    if (!usual_allows(c, a, rights_above(f, &w, w.last + 1), raw))
        return guest_fault(s, a, PF_P, out);
    uint64_t gfn = large ? pte_large_gfn(f, 2, raw) + index_at(va, 1) : (raw & f->frame_mask) >> PAGE_SHIFT;
    if (!ram_from(s, gfn))
        return above_accessed(&w) && (raw & need) == need ? usual_mmio(s, gfn, va, out) : NOT_USUAL;
    if (!t || !large || chain_for(s, va)->large != raw)
        t = find_table(s, va, &w, ops);
    return t ? usual_leaf(s, a, t, large, raw | (large ? PTE_A : 0), gfn, out, ops) : NOT_USUAL;
}

int usual_fill(struct shadow *s, const struct shadow_access *a, struct fill_out *out, struct shadow_ops *ops)
{
    const struct control *c = &s->control;
    uint64_t va = a->va.v, raw, need = PTE_A | (a->write ? PTE_D : 0);
    const struct chain *k = chain_for(s, va);
    struct table *t = remembered(s, k, va);

    if (!t || k->large)
        return fill_by_walk(s, a, t, out, ops);
    if (gmem_read64(s->config.mem, (gpa_t){ (t->gfn << PAGE_SHIFT) + index_at(va, 1) * 8 }, &raw) != GMEM_OK)
        return NOT_USUAL;
    if (!(raw & PTE_P))
        return guest_fault(s, a, 0, out);
    if (raw & c->pte.reserved[1][0])
        return NOT_USUAL;
    if (!usual_allows(c, a, k->bits, raw))
        return guest_fault(s, a, PF_P, out);
    uint64_t gfn = (raw & c->pte.frame_mask) >> PAGE_SHIFT;
    if (!ram_from(s, gfn)) /* A is set in the entries above */
        return (raw & need) == need ? usual_mmio(s, gfn, va, out) : NOT_USUAL;
    return usual_leaf(s, a, t, false, raw, gfn, out, ops);
}

/* The guest has changed the entry: as prefetch.c would. */
static inline bool invlpg_present(struct shadow *s, struct table *t, uint32_t index, uint64_t raw,
                                  struct shadow_ops *ops)
{
    const struct pte_format *f = &s->control.pte;

    if (!may_be_hot(raw, false) || (raw & f->reserved[1][0]) || (t->flags & TABLE_ROM) ||
        shadow_ops_room(ops) < OPS_SPARE + OPS_LEAF || !ram_from(s, (raw & f->frame_mask) >> PAGE_SHIFT))
        return false;
    s->counters.prefetches += leaf_usual(s, t, index, raw, ops);
    return true;
}

bool usual_invlpg(struct shadow *s, uint64_t va, struct shadow_ops *ops)
{
    const struct chain *k = chain_for(s, va);
    struct table *t = remembered(s, k, va);
    uint32_t index = index_at(va, 1);
    uint64_t raw;

    if (!t || k->large || shadow_ops_room(ops) < OPS_DOWNGRADE ||
        gmem_read64(s->config.mem, (gpa_t){ (t->gfn << PAGE_SHIFT) + index * 8 }, &raw) != GMEM_OK)
        return false;
    if (raw & PTE_P)
        return invlpg_present(s, t, index, raw, ops);
    if (mask_test(t->filled, index))
        leaf_drop(s, t, index, ops);
    return true;
}
