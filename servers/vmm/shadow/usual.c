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
    return s->changes + k->table[0]->changes + k->table[1]->changes + k->table[2]->changes;
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

/* Down the links for va, as far as they say what the guest's entries say; those that are missing are made.
 * NULL: fill.c does it. */
static struct table *find_table(struct shadow *s, uint64_t va, struct gmem_walk *w, struct shadow_ops *ops)
{
    struct chain *k = &s->chain[va >> 21 & (CHAINS - 1)];
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
        k->raw[level - 2] = w->raw[level];
    }
    if (id == NO_TABLE)
        return NULL;
    if (made && !reads_the_same(s, va, w)) {
        for (; made > 1; made--)
            entry_drop(s, made == 4 ? &s->table[s->top[0]] : k->table[made - 1], index_at(va, made), ops);
        return NULL;
    }
    k->region = va >> 21;
    k->top = s->top[0];
    k->changes = changes_of(s, k);
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

/* The table at level 1 for va. */
static inline struct table *known_table(struct shadow *s, uint64_t va, struct gmem_walk *w,
                                        struct shadow_ops *ops)
{
    const struct chain *k = &s->chain[va >> 21 & (CHAINS - 1)];

    if (k->region != va >> 21 || k->top != s->top[0] || k->raw[0] != w->raw[2] || k->raw[1] != w->raw[3] ||
        k->raw[2] != w->raw[4] || k->changes != changes_of(s, k))
        return find_table(s, va, w, ops);
    return k->table[0];
}

struct table *usual_last(struct shadow *s, uint64_t va)
{
    const struct chain *k = &s->chain[va >> 21 & (CHAINS - 1)];

    if (s->control.format != GUEST_LONG || k->region != va >> 21 || k->top != s->top[0] ||
        k->changes != changes_of(s, k))
        return NULL;
    return k->table[0];
}

/* The leaf for a guest's entry that has A, and D for a write. False: it is there already. */
static bool set_leaf(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops)
{
    const struct pte_format *f = &s->control.pte;
    uint64_t gfn = (raw & f->frame_mask) >> PAGE_SHIFT;
    uint32_t rights = SH_READ | ((uint32_t)raw & SH_USER) | (raw & f->nx ? 0 : SH_EXEC);
    bool may_write = (raw & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D);

    BUILD_ASSERT((unsigned)SH_USER == PTE_US);
    if (may_write && !frame_protected(&s->frame[gfn]))
        rights |= SH_WRITE | SH_DIRTY;
    if (mask_test(t->filled, index)) {
        uint64_t e = s->entry[table_id(s, t)][index];
        if (ENTRY_GFN(e) == gfn && ENTRY_RIGHTS(e) == rights)
            return false;
    } else if (leaf_new(s, t, index, gfn, rights, may_write, ops)) {
        return true;
    }
    leaf_set(s, t, index, gfn, rights, may_write, ops);
    return true;
}

/* A write to a frame that holds a table. */
static enum fill_result write_usual(struct shadow *s, const struct shadow_access *a,
                                    const struct gmem_walk *w, uint64_t gfn, struct shadow_ops *ops)
{
    uint64_t mask = s->control.pte.frame_mask;
    struct guest_walk g = { .top = 4, .leaf = w->last, .gfn = gfn };

    g.at[4] = s->control.regs.cr3 & mask; /* the frames are what matters */
    for (uint32_t level = 3; level >= w->last; level--)
        g.at[level] = w->raw[level + 1] & mask;
    enum fill_result result = table_write(s, a, &g, ops);
    if (result == FILL_OK)
        return result;
    orphans_end(s, ORPHANS_BATCH, ops);
    return result;
}

/* The access is allowed, to memory. */
static inline bool usual_leaf(struct shadow *s, const struct shadow_access *a, struct gmem_walk *w,
                              uint64_t gfn, struct fill_out *out, struct shadow_ops *ops,
                              enum fill_result *result)
{
    const struct pte_format *f = &s->control.pte;
    uint64_t va = a->va.v, need = PTE_A | (a->write ? PTE_D : 0);
    uint32_t index = (uint32_t)(va >> PAGE_SHIFT) & (ENTRIES - 1);
    struct table *t = known_table(s, va, w, ops);
    uint64_t raw = w->raw[w->last];
    if (!t || (t->flags & TABLE_ROM))
        return false;
    if ((raw & need) != need) {
        uint64_t at = (w->raw[2] & f->frame_mask) + index * 8;
        if (w->last == 2 || gmem_cas64(s->config.mem, (gpa_t){ at }, raw, raw | need) != GMEM_OK)
            return false;
        raw |= need;
    }
    if (a->write && frame_protected(&s->frame[gfn])) {
        out->gpa.v = gfn << PAGE_SHIFT | (va & (PAGE_BYTES - 1));
        out->bits_set = true;
        *result = write_usual(s, a, w, gfn, ops);
        if (*result != FILL_OK)
            return true;
        t = known_table(s, va, w, ops); /* others may have ended */
        if (!t) {
            *result = FILL_RETRY;
            return true;
        }
    }
    if (w->last == 2) /* a direct table's entries have all rights */
        raw = gfn << PAGE_SHIFT | PTE_RW | PTE_US | PTE_D;
    if (!set_leaf(s, t, index, raw, ops))
        return false;
    t->recent = 1;
    s->counters.fills++;
    if (w->last == 2)
        prefetch_direct(s, t, index, ops);
    else
        prefetch_usual(s, t, index, w->raw[0], ops);
    if (s->orphan_head != NO_TABLE)
        orphans_end(s, ORPHANS_BATCH, ops);
    *result = FILL_OK;
    return true;
}

bool usual_fill(struct shadow *s, const struct shadow_access *a, struct fill_out *out, struct shadow_ops *ops,
                enum fill_result *result)
{
    const struct control *c = &s->control;
    const struct pte_format *f = &c->pte;
    uint64_t va = a->va.v;
    struct gmem_walk w;

    if (!usual_mode(c) || va + BIT(47) >= BIT(48) ||
        gmem_walk_long(s->config.mem, (gpa_t){ c->regs.cr3 & f->frame_mask }, va, &w) != GMEM_OK)
        return false;
    uint64_t raw = w.raw[w.last];
    if (!(raw & PTE_P))
        return !reserved_above(f, &w) && is_guest_fault(s, a, 0, out, result);
    if (w.last > 2 || reserved_in(f, &w))
        return false;
    uint64_t all = raw & w.raw[2] & w.raw[3] & w.raw[4], any = raw | w.raw[2] | w.raw[3] | w.raw[4];
    if (!walk_allows(c, a, ((uint32_t)all & (PTE_RW | PTE_US)) | (any & f->nx ? PTE_NX : 0)))
        return is_guest_fault(s, a, PF_P, out, result);
    uint64_t need = PTE_A | (a->write ? PTE_D : 0);
    uint64_t gfn = w.last == 2 ? pte_large_gfn(f, 2, raw) + (va >> PAGE_SHIFT & (ENTRIES - 1))
                               : (raw & f->frame_mask) >> PAGE_SHIFT;
    if (!ram_from(s, gfn))
        return (all & PTE_A) && (raw & need) == need && is_mmio(s, gfn, va, out, result);
    return usual_leaf(s, a, &w, gfn, out, ops, result);
}
