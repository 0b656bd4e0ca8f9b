/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit: every live entry is computed again from the guest's tables, every chain is counted. Shares only
 * pte.h with the code that made the entries. Read-only. */
#include "walk.h"

struct audit {
    const struct shadow *s;
    shadow_report *report;
    void *context;
    uint32_t findings;
    bool flushed; /* nothing may lag behind the guest's tables, whatever is out of sync */
};

static void found(struct audit *a, const struct table *t, uint32_t index, uint64_t guest, const char *what)
{
    uint32_t id = table_id(a->s, t);
    struct shadow_finding finding = { .what = what, .table = id, .index = index, .guest = guest };
    finding.entry = mask_test(t->filled, index) ? a->s->entry[id][index] : 0;
    a->findings++;
    if (a->report)
        a->report(a->context, &finding);
}

static bool in_chain(const struct shadow *s, ref_t head, uint32_t limit, ref_t wanted)
{
    for (uint32_t n = 0; n < limit && head; n++) {
        if (head == wanted)
            return true;
        head = ENTRY_NEXT(s->entry[REF_TABLE(head)][REF_INDEX(head)]);
    }
    return false;
}

static const char *check_link(const struct shadow *s, const struct want *want, uint64_t e, ref_t ref)
{
    const struct table *child = &s->table[ENTRY_CHILD(e)];
    uint32_t rights = ENTRY_RIGHTS(e);
    if (!(child->flags & TABLE_LIVE) || !in_chain(s, child->parent, PARENTS_MAX, ref))
        return "link to a table that does not know it";
    if (!want)
        return NULL;
    if (want->kind != WANT_LINK || child->gfn != want->gfn || !role_equal(child->role, want->child))
        return "link to another table than the guest's";
    if ((rights & ~want->rights) || ((rights ^ want->rights) & SH_USER))
        return "link with more rights than the guest's";
    return NULL;
}

static const char *check_writer(const struct shadow *s, uint64_t e, ref_t ref)
{
    const struct frame *f = frame_of(s, ENTRY_GFN(e));
    if (!(e & ENTRY_MAY_WRITE) && (ENTRY_RIGHTS(e) & SH_WRITE))
        return "writable though the guest forbids it";
    if (!!(e & ENTRY_WITHHELD) != ((e & ENTRY_MAY_WRITE) && !(ENTRY_RIGHTS(e) & SH_WRITE)))
        return "not marked as withheld, or for nothing";
    if (!(e & ENTRY_CHAINED))
        return e & ENTRY_MAY_WRITE ? "writable but in no chain" : NULL;
    if (!f || !in_chain(s, f->writer, WRITERS_MAX, ref))
        return "writer that its frame does not know";
    if ((ENTRY_RIGHTS(e) & SH_WRITE) && frame_protected(f))
        return "a synced table is writable";
    return NULL;
}

static const char *check_leaf(const struct shadow *s, const struct want *want, uint64_t e, ref_t ref)
{
    const char *what = check_writer(s, e, ref);
    uint32_t rights = ENTRY_RIGHTS(e);
    enum gmem_kind kind = gmem_kind(s->config.map, (gfn_t){ ENTRY_GFN(e) });
    if (what)
        return what;
    if (kind == GMEM_MMIO || (kind == GMEM_ROM && (e & ENTRY_MAY_WRITE)))
        return "leaf to what is no memory, or writable ROM";
    if (!want)
        return NULL;
    if (want->kind != WANT_LEAF || want->gfn != ENTRY_GFN(e))
        return "leaf to another frame than the guest's, or A is clear";
    if (want->alt_rights && !(rights & ~want->alt_rights) && !(rights & SH_USER))
        return NULL;
    if ((rights & ~want->rights) || ((rights ^ want->rights) & SH_USER))
        return "leaf with more rights than the guest's, or D is clear";
    return (e & ENTRY_MAY_WRITE) && !want->may_write ? "writer that the guest forbids" : NULL;
}

/* NULL in *known: the table is out of sync, its entries may be stale. */
static bool wanted(const struct audit *a, const struct table *t, const struct pte_format *f, uint32_t index,
                   struct want *want, uint64_t *raw)
{
    const struct shadow *s = a->s;
    const struct frame *frame = frame_of(s, t->gfn);
    uint32_t bytes = guest_entry_bytes((enum guest_format)t->role.guest);

    if (is_direct(t)) {
        *want = want_direct(t->role, t->gfn, index);
        return true;
    }
    if (frame && frame->unsynced && !a->flushed)
        return false;
    uint64_t at = (t->gfn << PAGE_SHIFT) + (uint64_t)guest_index(t->role, index) * bytes;
    if (!guest_entry_read(s, at, bytes, raw))
        *raw = 0;
    *want = want_of(f, t->role, index, *raw, t->flags & TABLE_ROM);
    return true;
}

static struct pte_format format_of(const struct shadow *s, const struct table *t)
{
    return pte_format((enum guest_format)t->role.guest, t->role.nxe, t->role.pse, s->config.phys_bits);
}

static void audit_entry(struct audit *a, const struct table *t, const struct pte_format *f, uint32_t i)
{
    const struct shadow *s = a->s;
    struct want want = { .kind = WANT_NONE };
    uint32_t id = table_id(s, t);
    uint64_t raw = 0, e = s->entry[id][i];

    bool known = wanted(a, t, f, i, &want, &raw);
    const char *what = e & ENTRY_LINK ? check_link(s, known ? &want : NULL, e, REF(id, i))
                                      : check_leaf(s, known ? &want : NULL, e, REF(id, i));
    if (what)
        found(a, t, i, raw, what);
}

static void audit_table(struct audit *a, const struct table *t)
{
    const struct shadow *s = a->s;
    struct pte_format f = format_of(s, t);
    uint32_t live = 0;

    for (uint32_t i = 0; i < ENTRIES; i++) {
        if (!mask_test(t->filled, i))
            continue;
        live++;
        audit_entry(a, t, &f, i);
    }
    if (live != t->live)
        found(a, t, 0, live, "count of live entries");
    if (table_find(s, t->gfn, t->role) != t)
        found(a, t, 0, 0, "not in its bucket");
    if (t->parents == 0 && !(t->flags & (TABLE_TOP | TABLE_QUEUED)))
        found(a, t, 0, 0, "hangs nowhere");
}

static void audit_parents(struct audit *a, const struct table *t)
{
    const struct shadow *s = a->s;
    uint32_t n = 0;
    ref_t r = t->parent;
    for (; r && n <= PARENTS_MAX; n++) {
        const struct table *p = &s->table[REF_TABLE(r)];
        uint64_t e = s->entry[REF_TABLE(r)][REF_INDEX(r)];
        if (!(p->flags & TABLE_LIVE) || !mask_test(p->filled, REF_INDEX(r)) || !(e & ENTRY_LINK) ||
            ENTRY_CHILD(e) != table_id(s, t)) {
            found(a, t, REF_INDEX(r), REF_TABLE(r), "parent that does not link here");
            return;
        }
        r = ENTRY_NEXT(e);
    }
    if (n != t->parents)
        found(a, t, 0, n, "count of parents");
}

static void audit_frame(struct audit *a, uint64_t gfn)
{
    const struct shadow *s = a->s;
    const struct frame *f = frame_of(s, gfn);
    uint32_t shadows = 0, upper = 0, writers = 0;
    ref_t r = f->writer;

    for (const struct table *t = table_first(s, gfn); t; t = table_next(s, t)) {
        shadows++;
        upper += t->role.level > 1;
    }
    for (; r && writers <= WRITERS_MAX; writers++) {
        uint64_t e = s->entry[REF_TABLE(r)][REF_INDEX(r)];
        if (!mask_test(s->table[REF_TABLE(r)].filled, REF_INDEX(r)) || ENTRY_GFN(e) != gfn)
            break;
        r = ENTRY_NEXT(e);
    }
    if (r || writers != f->writers)
        found(a, &s->table[0], 0, gfn, "chain of writers");
    if (shadows != f->shadows || upper != f->upper || (f->unsynced && !shadows))
        found(a, &s->table[0], 0, gfn, "count of a frame's shadows");
}

static void audit_lists(struct audit *a)
{
    const struct shadow *s = a->s;
    uint32_t live = 0, unsynced = 0;
    for (uint32_t i = 0; i < s->config.table_count; i++)
        live += (s->table[i].flags & TABLE_LIVE) != 0;
    if (live + s->free_count != s->config.table_count)
        found(a, &s->table[0], 0, live, "count of free tables");
    for (uint64_t gfn = 0; gfn < s->config.frames; gfn++) {
        audit_frame(a, gfn);
        unsynced += s->frame[gfn].unsynced;
    }
    if (unsynced != s->unsynced_count)
        found(a, &s->table[0], 0, unsynced, "count of unsynced frames");
    for (uint32_t i = 0; i < LIST_SLOTS; i++) {
        uint16_t id = s->list[i].table;
        if (id != NO_TABLE && !(s->table[id].flags & TABLE_TOP))
            found(a, &s->table[id], 0, i, "listed root that is none");
    }
}

uint32_t shadow_audit(const struct shadow *s, shadow_report *report, void *context)
{
    struct audit a = { .s = s, .report = report, .context = context };
    for (uint32_t i = 0; i < s->config.table_count; i++) {
        if (s->table[i].flags & TABLE_LIVE) {
            audit_table(&a, &s->table[i]);
            audit_parents(&a, &s->table[i]);
        }
    }
    audit_lists(&a);
    return a.findings;
}

uint32_t shadow_audit_flushed(const struct shadow *s, gva_t va, shadow_report *report, void *context)
{
    struct audit a = { .s = s, .report = report, .context = context, .flushed = true };
    uint32_t slot = s->control.hw == SHADOW_PAE ? (uint32_t)(va.v >> 30) & 3 : 0;
    const struct table *t = s->top[slot] != NO_TABLE ? &s->table[s->top[slot]] : NULL;

    while (t) {
        struct pte_format f = format_of(s, t);
        uint32_t index = (uint32_t)(va.v >> (PAGE_SHIFT + (t->role.level - 1) * 9)) & (ENTRIES - 1);
        uint64_t e = s->entry[table_id(s, t)][index];
        if (!mask_test(t->filled, index))
            break;
        audit_entry(&a, t, &f, index);
        t = (e & ENTRY_LINK) && !a.findings ? &s->table[ENTRY_CHILD(e)] : NULL;
    }
    return a.findings;
}

gva_t shadow_last_invlpg(const struct shadow *s)
{
    return s->invlpg_va;
}

struct shadow_audited shadow_audited(const struct shadow *s)
{
    struct shadow_audited sum = { 0, 0 };

    for (uint32_t i = 0; i < s->config.table_count; i++) {
        const struct table *t = &s->table[i];
        const struct frame *f = frame_of(s, t->gfn);
        if (!(t->flags & TABLE_LIVE))
            continue;
        sum.entries += t->live;
        sum.unsynced += !is_direct(t) && f && f->unsynced ? t->live : 0;
    }
    return sum;
}
