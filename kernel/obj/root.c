/* SPDX-License-Identifier: BSD-2-Clause */
/* What a vCPU's guest runs on: its root, the list of those that it may switch to by itself, and the last one
 * that is not listed. Each root of the current epoch is a link to its table (META_SHADOW_LINKS), and keeps
 * the ASID that its translations are under. */
#include "invoke.h"
#include "obj/shadow_ops.h"

static void root_release(const struct vm *vm, struct shadow_root *r)
{
    if (r->epoch == vm->space->epoch)
        for (unsigned i = 0; i < 4; i++)
            if (r->table[i].v)
                meta_of(r->table[i])->owner -= META_SHADOW_LINK;
    *r = (struct shadow_root){ 0 };
}

static err_t root_check(const struct table *t)
{
    if (t->level != top_level(t->format))
        return REFUSED(ERR_WRONG_LEVEL, "root of level %u", t->level);
    return ERR_OK; /* roots are its only links: 20 a vCPU, VCPUS_MAX of them */
}

static void root_hold(const struct table *t)
{
    t->meta->owner = (t->meta->owner + META_SHADOW_LINK) | META_SHADOW_USED;
}

/* The guest's root goes. On the list it keeps its link, its ASID, and what it still owes to the TLB; the last
 * other one keeps the latter two (a table that is set up anew or ends meanwhile is a downgrade, or ends the
 * epoch). */
static void root_leave(struct vcpu *v)
{
    if (v->place) {
        v->list[v->place - 1].tlb = v->root.tlb;
        v->root = (struct shadow_root){ 0 };
    } else {
        v->former = v->root;
    }
    v->place = 0;
    root_release(v->vm, &v->root);
}

/* A long or nested root comes, which is not the present one. */
static void root_enter(struct vcpu *v, const struct table *t)
{
    uint64_t epoch = v->vm->space->epoch;
    struct shadow_root former = v->former;
    unsigned i = 0;

    root_leave(v);
    while (i < ROOT_LIST_MAX && (v->list[i].epoch != epoch || v->list[i].table[0].v != t->hpa.v))
        i++;
    if (i < ROOT_LIST_MAX) {
        v->root = v->list[i];
        v->place = i + 1;
        return;
    }
    root_hold(t);
    v->root = (struct shadow_root){ .table = { t->hpa },
                                    .epoch = epoch,
                                    .format = t->format == SHADOW_NESTED ? GUEST_NESTED : GUEST_LONG };
    if (former.epoch != epoch || former.table[0].v != t->hpa.v || former.format != v->root.format)
        return;
    v->root.tlb = former.tlb;
    if (v->former.table[0].v == t->hpa.v)
        v->former = (struct shadow_root){ 0 };
}

/* A place becomes empty. A guest that runs on its root takes the link with it. */
static void place_empty(struct vcpu *v, unsigned index)
{
    if (v->place == index + 1) {
        v->place = 0;
        v->list[index] = (struct shadow_root){ 0 };
    }
    root_release(v->vm, &v->list[index]);
    v->list_cr3[index] = NO_CR3;
}

static err_t set_pae_entry(struct batch *b, unsigned index, cptr_t p)
{
    struct shadow_root *r = &b->v->root;
    struct table t = { 0 };
    err_t e = ERR_OK;

    if (index > 3)
        return ERR_RANGE;
    if (p) {
        e = current_table(b, p, &t);
        if (e == ERR_OK)
            e = root_check(&t);
        if (e == ERR_OK && t.format != SHADOW_PAE)
            e = ERR_WRONG_LEVEL;
    }
    if (e != ERR_OK)
        return e;
    if (r->epoch != b->vm->space->epoch || r->format != GUEST_PAE)
        root_leave(b->v);
    if (p)
        root_hold(&t);
    if (r->table[index].v) {
        meta_of(r->table[index])->owner -= META_SHADOW_LINK;
        b->downgraded = true;
    }
    r->format = GUEST_PAE;
    r->epoch = b->vm->space->epoch;
    r->table[index] = t.hpa;
    return ERR_OK;
}

err_t op_set_root(struct batch *b, unsigned index, cptr_t p)
{
    struct shadow_root *r = &b->v->root;
    struct table t;

    if (!p || index)
        return set_pae_entry(b, index, p);
    err_t e = current_table(b, p, &t);
    if (e == ERR_OK && t.format == SHADOW_PAE)
        return set_pae_entry(b, index, p);
    if (e == ERR_OK)
        e = root_check(&t);
    if (e != ERR_OK)
        return e;
    if (r->epoch == b->vm->space->epoch && r->table[0].v == t.hpa.v && r->format != GUEST_PAE)
        return ERR_OK;
    root_enter(b->v, &t);
    return ERR_OK;
}

err_t op_root_list(struct batch *b, unsigned index, cptr_t p, uint64_t cr3)
{
    struct vcpu *v = b->v;
    struct table t;

    if (index >= ROOT_LIST_MAX)
        return ERR_RANGE;
    if (p) {
        err_t e = current_table(b, p, &t);
        if (e == ERR_OK)
            e = root_check(&t);
        if (e == ERR_OK && t.format != SHADOW_LONG)
            e = ERR_WRONG_LEVEL;
        if (e != ERR_OK)
            return e;
        root_hold(&t);
    }
    place_empty(v, index);
    if (!p)
        return ERR_OK;
    v->list[index] =
        (struct shadow_root){ .table = { t.hpa }, .epoch = b->vm->space->epoch, .format = GUEST_LONG };
    v->list_cr3[index] = cr3;
    if (!v->place && v->root.epoch == b->vm->space->epoch && v->root.table[0].v == t.hpa.v) {
        t.meta->owner -= META_SHADOW_LINK;
        v->place = index + 1;
    }
    return ERR_OK;
}

bool shadow_serve_cr3(struct vcpu *v, uint64_t cr3)
{
    struct shadow_root *r = &v->root;
    uint64_t i = v->left; /* back and forth is the usual way */

    if (v->list_cr3[i] != cr3) {
        v->list_cr3[ROOT_LIST_MAX] = cr3;
        for (i = 0; v->list_cr3[i] != cr3;)
            i++;
    }
    const struct shadow_root *l = &v->list[i];
    if (i == ROOT_LIST_MAX || l->epoch != v->vm->space->epoch)
        return false;
    if (v->place != i + 1) { /* root_enter(), for a guest that runs: both are long and of this epoch */
        if (v->place) {
            v->left = v->place - 1;
            v->list[v->left].tlb = r->tlb;
            r->table[0] = l->table[0];
            r->tlb = l->tlb;
        } else {
            v->former = *r;
            root_release(v->vm, r);
            *r = *l;
        }
        v->place = i + 1;
    }
    v->exit.cr3 = cr3;
    v->exit.cr3_loads++;
    return true;
}

void shadow_roots_drop(struct vcpu *v)
{
    if (!v->vm || !v->vm->space)
        return;
    root_leave(v);
    v->former = (struct shadow_root){ 0 };
    for (unsigned i = 0; i < ROOT_LIST_MAX; i++)
        root_release(v->vm, &v->list[i]);
}
