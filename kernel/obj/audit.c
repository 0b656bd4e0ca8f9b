/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether what a vCPU's guest can reach is as I1, I2 and I6 say, recomputed from the tables themselves:
 * KERNEL_AUDIT. For tests and for a person who searches; changes nothing and is not preemptible. */
#include "arch/pte.h"
#include "invoke.h"
#include "softtlb.h"

struct audit {
    struct guestspace *space;
    uint64_t vm, epoch; /* META words of the VM, without flags */
    uint64_t bad, tables, counted, found, entries;
};

static void wrong(struct audit *a, const char *what, hpa_t table, unsigned index, uint64_t entry)
{
    a->bad++;
    log_printf("audit: %s: table %lx index %u entry %lx\n", what, table.v, index, entry);
}

/* I6: a frame of the guest space is known to be there, and nowhere else. */
static void audit_frame(struct audit *a, uint64_t entry, uint64_t gfn, bool large)
{
    const struct frame_meta *m = meta_of(pte_hpa(entry));
    hpa_t at = phys_to_hpa(a->space);

    if (!m || META_KIND(m->owner) != META_GUEST || hpa_of(META_HFN(m->owner)).v != at.v ||
        META_GUEST_GFN(m->owner).v != gfn || !(m->owner & META_LARGE) == large ||
        m->stamp != meta_of(at)->stamp)
        wrong(a, "frame is not known to be the guest's", at, 0, entry);
}

static void audit_space(struct audit *a)
{
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        const uint64_t *two = a->space->table[i] & PTE_P ? phys(pte_hpa(a->space->table[i])) : NULL;
        for (unsigned j = 0; two && j < TABLE_ENTRIES; j++) {
            uint64_t gfn = ((uint64_t)i * TABLE_ENTRIES + j) * TABLE_ENTRIES;
            if ((two[j] & PTE_P) && (two[j] & PTE_PS))
                audit_frame(a, two[j], gfn, true);
            else if (two[j] & PTE_P)
                for (unsigned k = 0; k < TABLE_ENTRIES; k++) {
                    uint64_t e = ((const uint64_t *)phys(pte_hpa(two[j])))[k];
                    if (e & PTE_P)
                        audit_frame(a, e, gfn + k, false);
                }
        }
    }
}

/* I1: the leaf's frame is the guest's, with no more rights than the guest space gives. */
static void audit_leaf(struct audit *a, hpa_t table, unsigned index, uint64_t entry)
{
    hpa_t frame = pte_hpa(entry), head = { frame.v & ~(level_bytes(2) - 1) };
    const struct frame_meta *m = meta_of(frame), *h = meta_of(head);
    const struct frame_meta *by = h && (h->owner & META_LARGE) && META_KIND(h->owner) == META_GUEST ? h : m;

    if (!by || META_KIND(by->owner) != META_GUEST ||
        hpa_of(META_HFN(by->owner)).v != phys_to_hpa(a->space).v) {
        wrong(a, "leaf to a frame that is not the guest's", table, index, entry);
        return;
    }
    uint64_t gfn = META_GUEST_GFN(by->owner).v + (by == h && m != h ? (frame.v - head.v) >> PAGE_SHIFT : 0);
    const uint64_t *g = guestspace_entry(a->space, gfn);
    if (!g || ((entry & PTE_W) && !(*g & PTE_W)) || ((entry & PTE_PS) && !(*g & PTE_PS)) ||
        ((entry & PTE_W) && !(*g & PTE_D)))
        wrong(a, "leaf with more than the guest space gives", table, index, entry);
}

/* I2: the child is a table of the same VM, format and epoch, one level down. */
static void audit_link(struct audit *a, hpa_t table, unsigned index, uint64_t entry)
{
    const struct frame_meta *m = meta_of(table), *child = meta_of(pte_hpa(entry));

    a->found++;
    if (!child || (child->owner & 0xffffffff) != a->vm || child->stamp != a->epoch ||
        META_SHADOW_LINKS(child->owner) == 0 || (child->owner >> 36 & 3) != (m->owner >> 36 & 3) ||
        (child->owner >> 32 & 15) + 1 != (m->owner >> 32 & 15))
        wrong(a, "link to no fitting table", table, index, entry);
}

static void audit_table(struct audit *a, hpa_t table)
{
    const struct frame_meta *m = meta_of(table);
    const uint64_t *entries = phys(table);
    unsigned level = m->owner >> 32 & 15;

    a->tables++;
    a->counted += META_SHADOW_LINKS(m->owner);
    if (!softtlb_knows(table))
        wrong(a, "an entry changed that the TLB model was not told of", table, 0, 0);
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        if (!(entries[i] & PTE_P))
            continue;
        a->entries++;
        if (!(m->owner & META_SHADOW_BLOCK(i)))
            wrong(a, "entry where the table is empty", table, i, entries[i]);
        if (level == 1 || (entries[i] & PTE_PS))
            audit_leaf(a, table, i, entries[i]);
        else
            audit_link(a, table, i, entries[i]);
    }
}

static void audit_root(struct audit *a, const struct shadow_root *r)
{
    if (r->epoch != a->epoch)
        return;
    for (unsigned i = 0; i < 4; i++) {
        const struct frame_meta *m = r->table[i].v ? meta_of(r->table[i]) : NULL;
        if (!m)
            continue;
        a->found++;
        if ((m->owner & 0xffffffff) != a->vm || m->stamp != a->epoch || !META_SHADOW_LINKS(m->owner) ||
            (m->owner >> 32 & 15) != (r->format == GUEST_PAE ? 2u : 4u))
            wrong(a, "root that is no fitting table", r->table[i], i, 0);
    }
}

err_t kernel_audit(struct invocation *v)
{
    struct cap *c;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_VCPU, RIGHT_READ, &c);
    if (e != ERR_OK)
        return e;
    const struct vcpu *vc = cap_object(c);
    if (!vc->vm || !vc->vm->space)
        return ERR_NOT_BOUND;
    struct audit a = { .space = vc->vm->space,
                       .vm = META_SHADOW | phys_to_hpa(vc->vm).v >> PAGE_SHIFT << 4,
                       .epoch = vc->vm->space->epoch };
    audit_space(&a);
    for (uint64_t f = 0; f < frame_meta_count; f++)
        if ((frame_meta[f].owner & 0xffffffff) == a.vm && frame_meta[f].stamp == a.epoch)
            audit_table(&a, hpa_of((hfn_t){ f }));
    if (!vc->place)
        audit_root(&a, &vc->root);
    for (unsigned i = 0; i < ROOT_LIST_MAX; i++)
        audit_root(&a, &vc->list[i]);
    result(v, a.bad);
    result(v, a.tables);
    result(v, a.counted);
    result(v, a.found);
    result(v, a.entries);
    return ERR_OK;
}
