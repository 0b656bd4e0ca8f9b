/* SPDX-License-Identifier: BSD-2-Clause */
/* The usual leaf comes and goes: what rmap.c does in the simplest case, where most fills and flushes are.
 * Entry, `filled` bit, chain and operation change together, as there. */
#ifndef SHADOW_LEAF_H
#define SHADOW_LEAF_H

#include "internal.h"

/* rmap.c: an entry with another frame, a frame that holds a table, a chain that is full. */
bool leaf_other(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops);
/* The leaf with the word e leaves its frame's chain. */
void writer_remove(struct shadow *s, uint64_t e, ref_t ref);

/* The same of one operation, which is usually the first of all. */
static inline void op_leaf(struct shadow_ops *ops, cptr_t cap, uint32_t index, uint32_t rights, uint64_t gfn)
{
    if (ops->count) {
        op_fill_run(ops, cap, index, rights, gfn, 1);
        return;
    }
    ops->word[0] = OP_W0(OP_FILL_RUN, rights, index, cap);
    ops->word[1] = OP_W1_RUN(gfn, 1);
    ops->count = 2;
    ops->last = 1;
}

/* The leaf for a long-mode guest's entry of ordinary memory, with CR0.WP, that has A, and D for a write.
 * False: it is there already. */
#define ENTRY_PLACE (ENTRY_CHAINED | 0x7fffffull << ENTRY_NEXT_AT)
static inline __attribute__((always_inline)) bool
leaf_usual(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops)
{
    uint32_t id = table_id(s, t);
    uint64_t frame = (GUEST_FRAMES_MAX - 1) << PAGE_SHIFT, place = 0, old = 0, *at = &s->entry[id][index];
    uint64_t e = SH_READ | (raw & (frame | PTE_US | s->control.pte.nx));
    bool filled = mask_test(t->filled, index);

    BUILD_ASSERT((unsigned)SH_USER == PTE_US);
    if (filled) { /* it keeps its place */
        old = *at;
        place = old & ENTRY_PLACE;
        if ((old ^ e) & (frame | SH_USER | ENTRY_LINK))
            return leaf_other(s, t, index, raw, ops);
    }
    if ((raw & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D)) {
        struct frame *f = &s->frame[ENTRY_GFN(raw)];
        if (f->shadows || f->writers >= WRITERS_MAX)
            return leaf_other(s, t, index, raw, ops);
        e |= SH_WRITE | SH_DIRTY | ENTRY_MAY_WRITE;
        if (!place) {
            place = ENTRY_CHAINED | (uint64_t)f->writer << ENTRY_NEXT_AT;
            f->writer = REF(id, index);
            f->writers++;
        }
    }
    e |= place;
    if (filled && e == old)
        return false;
    *at = e;
    if (!filled) {
        mask_set(t->filled, index);
        t->live++;
    }
    op_leaf(ops, s->config.tables[id], index, ENTRY_RIGHTS(e), ENTRY_GFN(e));
    return true;
}

/* A filled leaf goes. */
static inline void leaf_drop(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    uint32_t id = table_id(s, t);
    uint64_t e = s->entry[id][index];

    if (e & ENTRY_CHAINED)
        writer_remove(s, e, REF(id, index));
    if (ENTRY_GFN(e) == s->held.gfn)
        s->held.page = NOTHING_HELD;
    mask_clear(t->filled, index);
    t->live--;
    op_drop(ops, s->config.tables[id], index);
}

#endif
