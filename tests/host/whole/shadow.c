/* SPDX-License-Identifier: BSD-2-Clause */
/* Shadow tables, roots and pending exits, computed without the kernel's own audit: I1, I2, the counts of
 * links, and I7. */
#include "kernel/softtlb.h"
#include "whole.h"
#include <string.h>

static uint32_t links[WHOLE_FRAMES]; /* found, to a table of its VM's epoch */

struct table {
    hpa_t at;
    uint64_t owner, epoch;
    unsigned level, format;
    struct vm *vm; /* NULL: none, or it has no memory: the table is not used */
};

static struct table table_at(hpa_t at)
{
    const struct frame_meta *m = meta_of(at);
    struct table t = { at, m->owner, m->stamp, m->owner >> 32 & 15, m->owner >> 36 & 3, NULL };
    struct vm *vm = phys(hpa_of(META_HFN(m->owner)));

    if (META_KIND(m->owner) == META_SHADOW && lives(vm, OBJ_VM) && vm->space && vm->space->epoch == m->stamp)
        t.vm = vm;
    return t;
}

/* The frame that a guest has at gfn, by the tables alone. */
static uint64_t guest_entry(const struct guestspace *g, uint64_t gfn)
{
    uint64_t e = g->table[gfn >> 18 & 511];

    if (e & PTE_P)
        e = ((const uint64_t *)phys(pte_hpa(e)))[gfn >> 9 & 511];
    if ((e & (PTE_P | PTE_PS)) != PTE_P)
        return e;
    return ((const uint64_t *)phys(pte_hpa(e)))[gfn & 511];
}

static void see_leaf(const struct table *t, uint64_t entry)
{
    hpa_t frame = pte_hpa(entry), head = { frame.v & ~(level_bytes(2) - 1) };
    const struct frame_meta *m = meta_of(frame), *h = meta_of(head);

    MUST(m);
    if (META_KIND(h->owner) == META_GUEST && (h->owner & META_LARGE))
        m = h;
    MUST_SAY(META_KIND(m->owner) == META_GUEST && hpa_of(META_HFN(m->owner)).v == phys_to_hpa(t->vm->space).v,
             "table %lx leads to %lx, not the guest's", t->at.v, frame.v);
    uint64_t gfn = META_GUEST_GFN(m->owner).v + (m == h ? (frame.v - head.v) >> PAGE_SHIFT : 0);
    uint64_t g = guest_entry(t->vm->space, gfn);
    MUST_SAY(g & PTE_P, "table %lx leads to gfn %lx, which is not there", t->at.v, gfn);
    MUST(!(entry & PTE_W) || ((g & PTE_W) && (g & PTE_D)));
    MUST(!(entry & PTE_PS) || (g & PTE_PS));
    MUST((entry & PTE_A) && t->level == (entry & PTE_PS ? 2u : 1u));
}

static void see_link(const struct table *t, uint64_t entry)
{
    struct table child = table_at(pte_hpa(entry));

    MUST_SAY(lives(phys(child.at), OBJ_SHADOW) && child.vm == t->vm && child.epoch == t->epoch &&
                 child.level + 1 == t->level && child.format == t->format,
             "table %lx leads to %lx", t->at.v, child.at.v);
    MUST(child.owner & META_SHADOW_USED);
    links[child.at.v >> PAGE_SHIFT]++;
}

static void see_table(const struct table *t)
{
    const uint64_t *entries = phys(t->at);

    MUST(t->format <= SHADOW_NESTED && t->level >= 1 && t->level <= (t->format == SHADOW_PAE ? 2u : 4u));
    MUST((t->format == SHADOW_NESTED) == t->vm->nested);
    MUST_SAY(softtlb_knows(t->at), "table %lx", t->at.v);
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        if (!(entries[i] & PTE_P))
            continue;
        MUST(t->owner & META_SHADOW_BLOCK(i));
        if (t->level == 1 || (entries[i] & PTE_PS))
            see_leaf(t, entries[i]);
        else
            see_link(t, entries[i]);
    }
}

static void see_root(const struct vcpu *v, const struct shadow_root *r, bool counted)
{
    unsigned n = r->format == GUEST_PAE ? 4 : 1;

    if (!r->epoch || r->epoch != v->vm->space->epoch)
        return;
    for (unsigned i = 0; i < 4; i++) {
        if (!r->table[i].v)
            continue;
        struct table t = table_at(r->table[i]);
        MUST_SAY(i < n && lives(phys(t.at), OBJ_SHADOW) && t.vm == v->vm, "root %lx", t.at.v);
        MUST(t.level == (r->format == GUEST_PAE ? 2u : 4u) && (t.owner & META_SHADOW_USED));
        MUST(t.format == (r->format == GUEST_PAE    ? SHADOW_PAE
                          : r->format == GUEST_LONG ? SHADOW_LONG
                                                    : SHADOW_NESTED));
        links[t.at.v >> PAGE_SHIFT] += counted;
    }
}

static void see_roots(const struct vcpu *v)
{
    see_root(v, &v->root, !v->place);
    for (unsigned i = 0; i < ROOT_LIST_MAX; i++) {
        see_root(v, &v->list[i], true);
        MUST(v->list[i].epoch != v->vm->space->epoch || v->list[i].format == GUEST_LONG);
    }
    MUST(v->place <= ROOT_LIST_MAX && v->left < ROOT_LIST_MAX);
    if (v->place && v->root.epoch == v->vm->space->epoch)
        MUST(v->list[v->place - 1].epoch == v->root.epoch &&
             v->list[v->place - 1].table[0].v == v->root.table[0].v);
}

static void check_links(void)
{
    for
        EACH_OBJECT(o, OBJ_SHADOW)
        {
            struct table t = table_at((hpa_t){ o->at });
            if (t.vm)
                MUST_SAY(META_SHADOW_LINKS(t.owner) == links[o->at >> PAGE_SHIFT],
                         "table %lx: %lu counted, %u found", t.at.v,
                         (unsigned long)META_SHADOW_LINKS(t.owner), links[o->at >> PAGE_SHIFT]);
        }
}

/* --- vCPUs and their VMs --- */

static bool is_listed(const struct vcpu *v)
{
    unsigned n = 0, found = 0;

    for (const struct vcpu *o = v->vm->vcpus; o; o = o->next, n++) {
        MUST(n < VCPUS_MAX && lives(o, OBJ_VCPU) && o->vm == v->vm);
        found += o == v;
    }
    return found == 1;
}

static void check_vcpu(struct vcpu *v)
{
    bool bound = v->vm_slot.type == OBJ_VM;

    MUST(!v->vm == !bound &&
         (!bound || (v->vm == cap_object(&v->vm_slot) && lives(v->vm, OBJ_VM) && is_listed(v))));
    MUST(!v->bound == (v->notification.type == OBJ_NULL));
    if (v->bound)
        MUST(v->bound == cap_object(&v->notification) && lives(v->bound, OBJ_NOTIFICATION) &&
             v->bound->vcpu == v);
    if (v->thread)
        MUST(lives(v->thread, OBJ_TCB) && v->thread->vcpu == v && v->vm && v->vm->space &&
             (v->thread->state == THREAD_GUEST || v->thread->state == THREAD_PARKED));
    if (v->open)
        MUST(v->open == v->exit.seq && v->pending && v->exit.kind != EXIT_BROKEN && !v->thread && v->vm &&
             v->vm->space);
    MUST(v->ops_done <= REPLY_OPS_MAX);
    MUST(!v->vm || v->nested == v->vm->nested);
    if (v->vm && v->vm->space)
        see_roots(v);
}

static void check_vm(const struct vm *vm)
{
    for (const struct vcpu *v = vm->vcpus; v; v = v->next)
        MUST(lives(v, OBJ_VCPU) && v->vm == vm);
    MUST(!vm->space == (vm->guestspace.type == OBJ_NULL));
    MUST(!vm->space || (vm->space == cap_object(&vm->guestspace) && lives(vm->space, OBJ_GUESTSPACE)));
}

/* --- exits --- */

#define EXITS 32u
static struct pending {
    const struct vcpu *v;
    const struct vm *vm;
    struct umbra_exit_page page;
    bool seen;
} pending[EXITS];

void exits_forget(void)
{
    for (unsigned i = 0; i < EXITS; i++)
        pending[i].v = NULL;
}

static struct pending *pending_of(const struct vcpu *v)
{
    struct pending *free = NULL;

    for (unsigned i = 0; i < EXITS; i++)
        if (pending[i].v == v)
            return &pending[i];
        else if (!pending[i].v)
            free = &pending[i];
    return free;
}

static void check_exit(const struct vcpu *v)
{
    struct pending *p = pending_of(v);
    const struct umbra_exit_page *x = &v->exit;

    if (!p)
        return;
    if (p->v == v && v->pending && p->page.seq == x->seq)
        MUST_SAY(p->page.kind == x->kind && p->page.tsc == x->tsc && p->page.interrupted == x->interrupted &&
                     p->page.events == x->events && p->page.rip == x->rip &&
                     p->page.cr3_loads == x->cr3_loads && !memcmp(p->page.info, x->info, sizeof(x->info)) &&
                     !memcmp(p->page.gpr, x->gpr, sizeof(x->gpr)),
                 "exit %lu of kind %u has changed", x->seq, x->kind);
    bool alone = v->vm && v->vm->vcpus == v && !v->next;
    if (p->v == v && alone && p->vm == v->vm && p->page.seq != x->seq)
        MUST_SAY(v->vm->public.answered == p->page.seq, "exit %lu was not answered", p->page.seq);
    p->v = v->pending ? v : NULL;
    p->vm = v->vm;
    p->page = *x;
    p->seen = true;
}

void check_exits(void)
{
    for (unsigned i = 0; i < EXITS; i++)
        pending[i].seen = false;
    for
        EACH_OBJECT(o, OBJ_VCPU)
    check_exit(phys((hpa_t){ o->at }));
    for (unsigned i = 0; i < EXITS; i++)
        if (!pending[i].seen)
            pending[i].v = NULL;
    memset(links, 0, sizeof(links));
    for
        EACH_OBJECT(o, OBJ_SHADOW)
        {
            struct table t = table_at((hpa_t){ o->at });
            if (t.vm)
                see_table(&t);
        }
    for
        EACH_OBJECT(o, OBJ_VM)
    check_vm(phys((hpa_t){ o->at }));
    for
        EACH_OBJECT(o, OBJ_VCPU)
    check_vcpu(phys((hpa_t){ o->at }));
    check_links();
}
