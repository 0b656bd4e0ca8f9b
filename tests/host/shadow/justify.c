/* SPDX-License-Identifier: BSD-2-Clause */
/* The set model of the architecture's TLB; see justify.h. */
#include "justify.h"

#include <string.h>

void justify_init(struct justify *j, const struct model_cpu *cpu)
{
    memset(j, 0, sizeof(*j));
    j->cpu = cpu;
}

void justify_add(struct justify *j, uint64_t va)
{
    if (j->vas < JUSTIFY_VAS)
        j->va[j->vas++].va = va;
}

struct model_access justify_kind(unsigned kind, uint64_t va)
{
    struct model_access a = { .va = va };
    a.user = kind < 3;
    a.write = kind == 1 || kind == 5 || kind == 6;
    a.exec = kind == 2 || kind == 7;
    a.ac = kind == 4 || kind == 6;
    return a;
}

static bool same(const struct justify_walk *a, const struct justify_walk *b)
{
    return a->at == b->at && a->bytes == b->bytes && a->user == b->user && a->write == b->write &&
           a->exec == b->exec && a->dirty == b->dirty;
}

static void insert(struct justify *j, struct justify_va *v, unsigned level, struct justify_walk w)
{
    for (unsigned i = 0; i < v->count[level]; i++) {
        if (same(&v->part[level][i], &w))
            return;
    }
    if (v->count[level] == JUSTIFY_SET)
        j->full = true;
    else
        v->part[level][v->count[level]++] = w;
}

/* One step from a partial walk; an entry joins only with A set (the processor sets it when it loads). */
static void extend(struct justify *j, struct justify_va *v, unsigned level, const struct justify_walk *from)
{
    struct model_access a = { .va = v->va };
    struct model_walk w = { .user = from->user, .write = from->write, .exec = from->exec, .accessed = true };
    uint64_t table = from->at;
    enum model_step step = model_step(&w, j->cpu, &a, level, &table);

    bool fixed = j->fixed && j->fixed(j->context, w.entry_gpa[0]);
    if (step == MODEL_FAULT || (!w.accessed && !fixed))
        return;
    struct justify_walk next = { .at = table, .user = w.user, .write = w.write, .exec = w.exec };
    if (step == MODEL_NEXT) {
        insert(j, v, level - 1, next);
        return;
    }
    next.at = w.gpa & ~0xfffull;
    next.bytes = w.bytes;
    next.dirty = w.dirty || fixed;
    insert(j, v, 0, next);
}

void justify_note(struct justify *j)
{
    for (unsigned i = 0; i < j->vas; i++) {
        struct justify_va *v = &j->va[i];
        struct model_access a = { .va = v->va };
        struct model_walk w;
        uint64_t table = 0;
        if (v->va >> 32 && !(j->cpu->efer & 1ull << 10))
            continue;
        unsigned top = model_start(j->cpu, &a, &w, &table);
        struct justify_walk first = { .at = table, .user = true, .write = true, .exec = true };

        if (top > 0) {
            insert(j, v, top, first);
        } else if (!w.outcome) { /* no paging */
            first = (struct justify_walk){ w.gpa & ~0xfffull, 4096, true, true, true, true };
            insert(j, v, 0, first);
        }
        for (unsigned level = top; level >= 1; level--) {
            for (unsigned k = 0; k < v->count[level]; k++)
                extend(j, v, level, &v->part[level][k]);
        }
    }
}

void justify_flush(struct justify *j)
{
    for (unsigned i = 0; i < j->vas; i++)
        memset(j->va[i].count, 0, sizeof(j->va[i].count));
    j->full = false;
    justify_note(j);
}

void justify_flush_page(struct justify *j, uint64_t va)
{
    for (unsigned i = 0; i < j->vas; i++) {
        struct justify_va *v = &j->va[i];
        unsigned kept = 0;
        for (unsigned level = 1; level <= 4; level++)
            v->count[level] = 0;
        for (unsigned k = 0; k < v->count[0]; k++) {
            uint64_t bytes = v->part[0][k].bytes;
            if (v->va / bytes != va / bytes)
                v->part[0][kept++] = v->part[0][k];
        }
        v->count[0] = kept;
    }
    justify_note(j);
}

unsigned justify_mask(const struct justify *j, unsigned i, uint64_t gfn)
{
    const struct justify_va *v = &j->va[i];
    unsigned mask = 0;
    bool unpaged = !(j->cpu->cr0 & 1ull << 31);
    for (unsigned k = 0; k < v->count[0]; k++) {
        const struct justify_walk *p = &v->part[0][k];
        struct model_walk w = { .user = p->user, .write = p->write, .exec = p->exec };
        if (p->at >> 12 != gfn)
            continue;
        for (unsigned kind = 0; kind < CAN_KINDS; kind++) {
            struct model_access a = justify_kind(kind, v->va);
            if (unpaged || (model_allowed(j->cpu, &a, &w) && (!a.write || p->dirty)))
                mask |= 1u << kind;
        }
    }
    return mask;
}
