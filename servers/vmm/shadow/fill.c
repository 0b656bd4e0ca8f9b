/* SPDX-License-Identifier: BSD-2-Clause */
/* The fill: walk the guest's tables, decide what the faulting page is, get tables, set A and D, link the
 * chain, set the leaf, look at the neighbours. Each step leaves a state that is correct by itself, so that
 * lack of room in the operations or a lost race may end it anywhere with FILL_RETRY. */
#include "walk.h"

#define FILL_ROOM 128u /* words a fill wants before it begins to make tables */

/* What hardware entry the walk wants at this level. */
static struct want want_at(const struct shadow *s, const struct table *t, uint32_t index,
                           const struct guest_walk *w)
{
    if (is_direct(t))
        return want_direct(t->role, t->gfn, index);
    return want_of(&s->control.pte, t->role, index, w->raw[t->role.level], t->flags & TABLE_ROM);
}

/* The child that the link leads to: found or made. Whatever was out of sync below comes in sync before it can
 * be reached in a new way. NULL: no room or no table. */
static struct table *child_for(struct shadow *s, const struct want *w, struct shadow_ops *ops)
{
    struct table *child = table_find(s, w->gfn, w->child);
    if (child)
        sync_below(s, child, ops);
    else
        child = table_make(s, w->gfn, w->child, ops);
    return child;
}

bool may_link(struct shadow *s, const struct table *t, struct table *child, struct shadow_ops *ops)
{
    const struct frame *f = is_direct(child) ? NULL : frame_of(s, child->gfn);
    bool unsynced = f && f->unsynced;

    if ((!unsynced || list_drop_above(s, t->gfn, ops)) && shadow_ops_room(ops) >= OPS_LINKED)
        return true;
    if (child->parents == 0 && !(child->flags & TABLE_TOP))
        orphan_push(s, child);
    return false;
}

static struct table *descend_one(struct shadow *s, struct table *t, uint32_t index, const struct want *w,
                                 struct shadow_ops *ops)
{
    uint64_t e = s->entry[table_id(s, t)][index];
    if (mask_test(t->filled, index) && (e & ENTRY_LINK)) {
        struct table *child = &s->table[ENTRY_CHILD(e)];
        if (child->gfn == w->gfn && role_equal(child->role, w->child) && ENTRY_RIGHTS(e) == w->rights)
            return child;
    }
    struct table *child = child_for(s, w, ops);
    if (!child || !may_link(s, t, child, ops))
        return NULL;
    link_set(s, t, index, child, w->rights, ops);
    return child;
}

static uint32_t hw_index(uint64_t va, uint32_t level)
{
    return (uint32_t)(va >> (PAGE_SHIFT + (level - 1) * 9)) & (ENTRIES - 1);
}

/* Down the hardware tables from `level`; NOTHING_HELD if an entry is missing. */
static uint64_t gfn_held(const struct shadow *s, uint64_t va, uint32_t id, uint32_t level)
{
    for (; id != NO_TABLE; level--) {
        uint32_t index = hw_index(va, level);
        uint64_t e = s->entry[id][index];
        if (!mask_test(s->table[id].filled, index))
            break;
        if (level == 1)
            return ENTRY_GFN(e);
        id = ENTRY_CHILD(e);
    }
    return NOTHING_HELD;
}

/* Nested: the processor walked the guest's own tables; what they allow it has checked. */
static bool guest_holds(const struct shadow *s, gva_t va, gpa_t *gpa)
{
    const struct shadow_access a = { .va = va, .ac = true };
    struct guest_walk w;

    if (guest_walk(s, &a, &w) != WALK_OK)
        return false;
    gpa->v = w.gfn << PAGE_SHIFT | (va.v & (PAGE_BYTES - 1));
    return true;
}

bool shadow_holds(struct shadow *s, gva_t va, gpa_t *gpa)
{
    bool pae = s->control.hw == SHADOW_PAE;
    uint64_t page = va.v >> PAGE_SHIFT;

    if (page != s->held.page) { /* nested: nothing ever is */
        if (s->config.nested)
            return guest_holds(s, va, gpa);
        uint64_t gfn = gfn_held(s, va.v, s->top[pae ? va.v >> 30 & 3 : 0], pae ? 2 : 4);
        if (gfn == NOTHING_HELD)
            return false;
        s->held = (struct shadow_held){ page, gfn };
    }
    gpa->v = s->held.gfn << PAGE_SHIFT | (va.v & (PAGE_BYTES - 1));
    return true;
}

static struct table *top_for(struct shadow *s, uint64_t va, struct shadow_ops *ops)
{
    uint32_t slot = s->control.hw == SHADOW_PAE ? (uint32_t)(va >> 30) & 3 : 0;
    if (s->top[slot] != NO_TABLE)
        return &s->table[s->top[slot]];
    sync_all(s, ops); /* a new way to whatever is below */
    return root_make(s, slot, ops);
}

/* The level-1 table for va, with the whole chain linked. NULL: not this time. */
static struct table *descend(struct shadow *s, uint64_t va, const struct guest_walk *w,
                             struct shadow_ops *ops)
{
    struct table *t = top_for(s, va, ops);
    while (t && t->role.level > 1) {
        uint32_t index = hw_index(va, t->role.level);
        uint64_t e = s->entry[table_id(s, t)][index];
        t->writes = t->zeros = 0;
        t->recent = 1;
        if (mask_test(t->filled, index) && link_is_current(s, t, e, w->raw[t->role.level])) {
            t = &s->table[ENTRY_CHILD(e)];
            continue;
        }
        struct want want = want_at(s, t, index, w);
        if (want.kind != WANT_LINK)
            return NULL;
        t = descend_one(s, t, index, &want, ops);
    }
    if (t)
        t->recent = 1;
    return t;
}

/* Whether the GuestSpace gives the frame with what the access needs: tried without changing it. */
static bool frame_given(const struct shadow *s, uint64_t gfn, bool write)
{
    gpa_t a = gpa_of((gfn_t){ gfn });
    uint64_t value;
    int result = gmem_read64(s->config.mem, a, &value);
    if (result == GMEM_OK && write)
        result = gmem_cas64(s->config.mem, a, value, value);
    return result == GMEM_OK || result == GMEM_LOST;
}

/* A fault although everything asked for is there: a stale translation the first time (harmless, flush); the
 * second time in a row the processor saw a rule that no entry expresses, or the GuestSpace gives less. */
static enum fill_result spurious(struct shadow *s, const struct shadow_access *a, const struct guest_walk *w,
                                 struct fill_out *out, struct shadow_ops *ops)
{
    uint32_t kind = a->write | a->exec << 1 | a->user << 2 | 8;
    bool again = s->spurious_va == a->va.v && s->spurious_before == kind;

    s->counters.spurious++;
    s->spurious_va = a->va.v;
    s->spurious_kind = kind;
    if (!again) {
        if (shadow_ops_room(ops) > 0)
            op_flush(ops);
        return FILL_RETRY;
    }
    s->spurious_kind = 0;
    if (!a->user && !a->exec && (w->bits & PTE_US) && (s->control.regs.cr4 & CR4_SMAP) &&
        frame_given(s, w->gfn, a->write)) {
        out->error = PF_P | (a->write ? PF_W : 0); /* an implicit access under SMAP: AC does not help it */
        return FILL_GUEST_FAULT;
    }
    out->gpa.v = w->gfn << PAGE_SHIFT | (a->va.v & (PAGE_BYTES - 1));
    return FILL_ABSENT;
}

/* CR0.WP = 0: the form of the leaf that this access needs. False: no form of it can serve the access. */
static bool choose_form(const struct shadow_access *a, struct want *want)
{
    if (!a->write || want->may_write)
        return true;
    if (!want->alt_rights)
        return false;
    want->rights = want->alt_rights;
    want->may_write = true;
    return true;
}

static enum fill_result fill_leaf(struct shadow *s, struct table *t, const struct shadow_access *a,
                                  const struct guest_walk *w, bool changed, struct fill_out *out,
                                  struct shadow_ops *ops)
{
    uint32_t index = hw_index(a->va.v, 1);
    struct want want = want_at(s, t, index, w);
    struct frame *f = frame_of(s, w->gfn);
    uint64_t e = s->entry[table_id(s, t)][index];
    bool fixed = !f || gmem_kind(s->config.map, (gfn_t){ w->gfn }) == GMEM_ROM;

    if (want.kind != WANT_LEAF || want.gfn != w->gfn)
        return FILL_RETRY;
    if (!choose_form(a, &want)) {
        out->gpa.v = w->gfn << PAGE_SHIFT | (a->va.v & (PAGE_BYTES - 1));
        return FILL_EMULATE_WRITE;
    }
    if (fixed || frame_protected(f))
        want.rights &= ~(uint32_t)(SH_WRITE | SH_DIRTY);
    if (fixed)
        want.may_write = false;
    if (a->write && !(want.rights & SH_WRITE))
        return FILL_RETRY; /* the page became a table while the chain was made */
    if (mask_test(t->filled, index) && ENTRY_GFN(e) == want.gfn && ENTRY_RIGHTS(e) == want.rights && !changed)
        return spurious(s, a, w, out, ops);
    if (shadow_ops_room(ops) < OPS_LEAF)
        return FILL_RETRY;
    leaf_set(s, t, index, want.gfn, want.rights, want.may_write, ops);
    s->spurious_kind = 0;
    s->counters.fills++;
    prefetch(s, t, index, ops);
    return FILL_OK;
}

/* Tables were made: nothing wrote them before they were protected if the walk still reads the same. */
static bool walk_unchanged(const struct shadow *s, const struct guest_walk *w)
{
    uint32_t bytes = guest_entry_bytes(s->control.format);
    for (uint32_t level = w->top; level >= 1 && level >= w->leaf; level--) {
        uint64_t raw, fixed = PTE_A | PTE_D; /* ROM keeps them clear */
        if (!guest_entry_read(s, w->at[level], bytes, &raw) || ((raw ^ w->raw[level]) & ~fixed))
            return false;
    }
    return true;
}

static enum fill_result install(struct shadow *s, const struct shadow_access *a, struct guest_walk *w,
                                uint32_t words, struct fill_out *out, struct shadow_ops *ops)
{
    uint64_t made = s->counters.tables_made;
    struct table *t = descend(s, a->va.v, w, ops);

    if (!t)
        return FILL_RETRY;
    if (s->counters.tables_made != made && !walk_unchanged(s, w)) {
        for (uint32_t level = w->top; level >= 1 && level >= w->leaf; level--)
            shadow_table_written(s, (gpa_t){ w->at[level] }, guest_entry_bytes(s->control.format), 0, 1, ops);
        return FILL_RETRY;
    }
    return fill_leaf(s, t, a, w, ops->count != words, out, ops);
}

static enum fill_result set_walk_bits(const struct shadow *s, struct guest_walk *w, bool write,
                                      struct fill_out *out)
{
    switch (walk_set_bits(s, w, write)) {
    case WALK_OK:
        return FILL_OK;
    case WALK_ABSENT:
        out->gpa.v = w->absent_gpa;
        return FILL_ABSENT;
    default:
        return FILL_RETRY;
    }
}

/* The access is allowed: what is there? */
static enum fill_result fill_allowed(struct shadow *s, const struct shadow_access *a, struct guest_walk *w,
                                     struct fill_out *out, struct shadow_ops *ops)
{
    enum gmem_kind kind = gmem_kind(s->config.map, (gfn_t){ w->gfn });
    enum fill_result result;
    uint32_t words = ops->count; /* more of them: something changed, the fault was not spurious */

    out->gpa.v = w->gfn << PAGE_SHIFT | (a->va.v & (PAGE_BYTES - 1));
    if (kind == GMEM_MMIO || (kind == GMEM_ROM && a->write)) {
        s->counters.mmio++;
        result = set_walk_bits(s, w, a->write, out);
        return result == FILL_OK ? FILL_MMIO : result;
    }
    if (a->write) {
        result = table_write(s, a, w, ops);
        if (result != FILL_OK)
            return result;
    }
    if (s->free_count < CHAIN_MAX + RESERVE && !reclaim(s, CHAIN_MAX + RESERVE, ops))
        return FILL_RETRY;
    if (ops->count != words && shadow_ops_room(ops) < FILL_ROOM)
        return FILL_RETRY; /* tables have ended; the rest at the next fault */
    result = set_walk_bits(s, w, a->write, out);
    return result == FILL_OK ? install(s, a, w, words, out, ops) : result;
}

static __attribute__((noinline)) enum fill_result
fill_completely(struct shadow *s, const struct shadow_access *a, struct fill_out *out, struct shadow_ops *ops)
{
    struct guest_walk w;
    enum fill_result result;

    switch (guest_walk(s, a, &w)) {
    case WALK_ABSENT:
        out->gpa.v = w.absent_gpa;
        return FILL_ABSENT;
    case WALK_OK:
        break;
    default: /* a non-canonical address does not come from a page fault */
        s->counters.guest_faults++;
        out->error = w.error;
        return FILL_GUEST_FAULT;
    }
    result = fill_allowed(s, a, &w, out, ops);
    orphans_end(s, ORPHANS_BATCH, ops);
    return result;
}

enum fill_result shadow_fill(struct shadow *s, const struct shadow_access *a, struct fill_out *out,
                             struct shadow_ops *ops)
{
    if (shadow_ops_room(ops) < FILL_ROOM) {
        s->counters.ops_full++;
        return FILL_RETRY;
    }
    s->spurious_before = s->spurious_kind; /* of the fault before this one, whatever came of it */
    s->spurious_kind = 0;
    out->bits_set = false;
    int result = usual_fill(s, a, out, ops);
    return result == NOT_USUAL ? fill_completely(s, a, out, ops) : (enum fill_result)result;
}

enum fill_result shadow_fill_nested(struct shadow *s, gpa_t gpa, bool write, struct fill_out *out,
                                    struct shadow_ops *ops)
{
    struct shadow_access a = { .va.v = gpa.v, .write = write };
    struct guest_walk w = { .bits = PTE_RW, .gfn = gpa.v >> PAGE_SHIFT };

    if (shadow_ops_room(ops) < FILL_ROOM)
        return FILL_RETRY;
    return fill_allowed(s, &a, &w, out, ops);
}
