/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries and the chains through them: for each frame the leaves that may write it, or might once, for each
 * table the links to it. The only file that changes metadata words, `filled` bits and chain heads, so that
 * operation, word and chain always change together. Chains are bounded: the oldest comers make room
 * (shadow_audit checks them). */
#include "leaf.h"

static void set_next(uint64_t *entry, ref_t next)
{
    *entry = (*entry & ~(0x7fffffull << ENTRY_NEXT_AT)) | (uint64_t)next << ENTRY_NEXT_AT;
}

static bool chain_remove(struct shadow *s, ref_t *head, ref_t ref, uint32_t limit)
{
    ref_t previous = 0, r = *head;
    for (uint32_t n = 0; n < limit && r && r != ref; n++) {
        previous = r;
        r = ENTRY_NEXT(s->entry[REF_TABLE(r)][REF_INDEX(r)]);
    }
    if (r != ref)
        return false;
    ref_t next = ENTRY_NEXT(s->entry[REF_TABLE(ref)][REF_INDEX(ref)]);
    if (previous)
        set_next(&s->entry[REF_TABLE(previous)][REF_INDEX(previous)], next);
    else
        *head = next;
    return true;
}

/* The newest writer is at the head. */
void writer_remove(struct shadow *s, uint64_t e, ref_t ref)
{
    struct frame *f = frame_of(s, ENTRY_GFN(e));
    if (f->writer == ref) {
        f->writer = ENTRY_NEXT(e);
        f->writers--;
    } else if (chain_remove(s, &f->writer, ref, WRITERS_MAX)) {
        f->writers--;
    }
}

void orphan_push(struct shadow *s, struct table *t)
{
    if (t->flags & TABLE_QUEUED)
        return;
    t->flags |= TABLE_QUEUED;
    t->orphan_next = s->orphan_head;
    s->orphan_head = (uint16_t)table_id(s, t);
}

static void parent_remove(struct shadow *s, struct table *child, ref_t ref)
{
    if (!chain_remove(s, &child->parent, ref, PARENTS_MAX))
        return;
    if (--child->parents == 0 && !(child->flags & TABLE_TOP))
        orphan_push(s, child);
}

void entry_forget(struct shadow *s, struct table *t, uint32_t index)
{
    uint32_t id = table_id(s, t);
    uint64_t *e = &s->entry[id][index];

    if (*e & ENTRY_LINK) {
        s->table[ENTRY_CHILD(*e)].changes++;
        s->shape++;
        parent_remove(s, &s->table[ENTRY_CHILD(*e)], REF(id, index));
        s->held.page = NOTHING_HELD;
    } else {
        if (*e & ENTRY_CHAINED)
            writer_remove(s, *e, REF(id, index));
        if (ENTRY_GFN(*e) == s->held.gfn)
            s->held.page = NOTHING_HELD;
    }
    mask_clear(t->filled, index);
    t->live--;
}

void entries_forget(struct shadow *s, struct table *t)
{
    uint32_t id = table_id(s, t);
    const uint64_t *e = s->entry[id];

    for (uint32_t k = 0; k < MASK_WORDS; k++) {
        for (uint64_t todo = t->filled[k]; todo; todo &= todo - 1) {
            uint32_t index = k * 64 + (uint32_t)__builtin_ctzll(todo);
            if (e[index] & ENTRY_LINK)
                entry_forget(s, t, index);
            else if (e[index] & ENTRY_CHAINED)
                writer_remove(s, e[index], REF(id, index));
        }
        t->filled[k] = 0;
    }
    t->live = 0;
    s->held.page = NOTHING_HELD;
}

void entry_drop(struct shadow *s, struct table *t, uint32_t index, struct shadow_ops *ops)
{
    op_drop(ops, s->config.tables[table_id(s, t)], index);
    entry_forget(s, t, index);
}

/* The newest writer loses its place and its W. */
static void writer_evict(struct shadow *s, struct frame *f, struct shadow_ops *ops)
{
    ref_t r = f->writer;
    uint64_t *e = &s->entry[REF_TABLE(r)][REF_INDEX(r)];
    uint32_t rights = ENTRY_RIGHTS(*e) & ~(uint32_t)(SH_WRITE | SH_DIRTY);

    if (ENTRY_RIGHTS(*e) & SH_WRITE)
        op_fill(ops, s->config.tables[REF_TABLE(r)], REF_INDEX(r), rights, ENTRY_GFN(*e));
    writer_remove(s, *e, r);
    *e = entry_make(ENTRY_GFN(*e), rights, 0, 0);
}

/* Forgets the entry, which the caller sets anew. Where it gains U it goes first: to the kernel that is one
 * right more and nothing to flush, but a translation without U, wherever a processor holds it, evades SMEP
 * and SMAP. */
static void entry_replace(struct shadow *s, struct table *t, uint32_t index, uint32_t rights,
                          struct shadow_ops *ops)
{
    if (!mask_test(t->filled, index))
        return;
    if ((rights & SH_USER) && !(ENTRY_RIGHTS(s->entry[table_id(s, t)][index]) & SH_USER))
        op_drop(ops, s->config.tables[table_id(s, t)], index);
    entry_forget(s, t, index);
}

void leaf_set(struct shadow *s, struct table *t, uint32_t index, uint64_t gfn, uint32_t rights,
              bool may_write, struct shadow_ops *ops)
{
    uint32_t id = table_id(s, t);
    struct frame *f = may_write ? frame_of(s, gfn) : NULL;
    uint64_t flags = f ? ENTRY_WRITER : 0;
    ref_t next = 0;

    entry_replace(s, t, index, rights, ops);
    if (f) {
        if (f->writers >= WRITERS_MAX)
            writer_evict(s, f, ops);
        next = f->writer;
        f->writer = REF(id, index);
        f->writers++;
    }
    if (!f || frame_protected(f))
        rights &= ~(uint32_t)(SH_WRITE | SH_DIRTY);
    if (f && !(rights & SH_WRITE))
        flags |= ENTRY_WITHHELD;
    s->entry[id][index] = entry_make(gfn, rights, flags, next);
    mask_set(t->filled, index);
    t->live++;
    op_fill(ops, s->config.tables[id], index, rights, gfn);
}

bool leaf_other(struct shadow *s, struct table *t, uint32_t index, uint64_t raw, struct shadow_ops *ops)
{
    uint64_t gfn = ENTRY_GFN(raw), e = s->entry[table_id(s, t)][index];
    uint32_t rights = SH_READ | ((uint32_t)raw & SH_USER) | (raw & s->control.pte.nx ? 0 : SH_EXEC);
    bool may_write = (raw & (PTE_RW | PTE_D)) == (PTE_RW | PTE_D);

    if (may_write && !frame_protected(&s->frame[gfn]))
        rights |= SH_WRITE | SH_DIRTY;
    if (mask_test(t->filled, index) && ENTRY_GFN(e) == gfn && ENTRY_RIGHTS(e) == rights)
        return false;
    leaf_set(s, t, index, gfn, rights, may_write, ops);
    return true;
}

uint32_t leaf_run(struct shadow *s, struct table *t, uint32_t index, uint64_t gfn, uint32_t rights,
                  bool may_write, uint32_t n, struct shadow_ops *ops)
{
    uint32_t id = table_id(s, t), done = 0;
    uint64_t *entry = &s->entry[id][index];
    ref_t ref = REF(id, index);
    uint64_t first = entry_make(gfn, rights, may_write ? ENTRY_WRITER : 0, 0);

    for (; done < n; done++) {
        ref_t next = 0;
        if (may_write) {
            struct frame *f = &s->frame[gfn + done];
            if (f->shadows || f->writers >= WRITERS_MAX)
                break;
            next = f->writer;
            f->writer = ref + done;
            f->writers++;
        }
        entry[done] = first + ((uint64_t)done << 12) + ((uint64_t)next << ENTRY_NEXT_AT);
    }
    if (done) {
        t->filled[index / 64] |= ~0ull >> (64 - done) << index % 64;
        t->live += done;
        op_fill_run(ops, s->config.tables[id], index, rights, gfn, done);
    }
    return done;
}

/* The guest no longer lets this leaf be written; the operation was emitted if W was there. It stays in its
 * frame's chain, which costs less than to take it out. */
void leaf_lost_write(struct shadow *s, struct table *t, uint32_t index)
{
    s->entry[table_id(s, t)][index] &= ~ENTRY_WRITES;
}

void leaves_lost_write(struct shadow *s, struct table *t, uint32_t k, uint64_t mask)
{
    uint64_t *entry = s->entry[table_id(s, t)] + k * 64;

    if (!~mask) {
#pragma GCC unroll 8
        for (uint32_t i = 0; i < 64; i++)
            entry[i] &= ~ENTRY_WRITES;
        return;
    }
    for (; mask; mask &= mask - 1)
        entry[__builtin_ctzll(mask)] &= ~ENTRY_WRITES;
}

void link_set(struct shadow *s, struct table *t, uint32_t index, struct table *child, uint32_t rights,
              struct shadow_ops *ops)
{
    uint32_t id = table_id(s, t), child_id = table_id(s, child);

    s->shape++;
    if (mask_test(t->filled, index))
        entry_forget(s, t, index); /* OP_LINK drops it, and flushes */
    if (child->parents >= PARENTS_MAX) {
        ref_t r = child->parent;
        entry_drop(s, &s->table[REF_TABLE(r)], REF_INDEX(r), ops);
    }
    s->entry[id][index] = entry_make(child_id, rights, ENTRY_LINK, child->parent);
    child->parent = REF(id, index);
    child->parents++;
    mask_set(t->filled, index);
    t->live++;
    op_link(ops, s->config.tables[id], index, rights, s->config.tables[child_id]);
}

bool frame_protect(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    struct frame *f = frame_of(s, gfn);
    ref_t r = f ? f->writer : 0;

    for (uint32_t n = 0; n < WRITERS_MAX && r; n++) {
        uint64_t *e = &s->entry[REF_TABLE(r)][REF_INDEX(r)];
        uint32_t rights = ENTRY_RIGHTS(*e);
        if (rights & SH_WRITE) {
            if (shadow_ops_room(ops) < OPS_FILL)
                return false;
            rights &= ~(uint32_t)(SH_WRITE | SH_DIRTY);
            *e = (*e & ~(uint64_t)(SH_WRITE | SH_DIRTY)) | ENTRY_WITHHELD;
            op_fill(ops, s->config.tables[REF_TABLE(r)], REF_INDEX(r), rights, gfn);
        }
        r = ENTRY_NEXT(*e);
    }
    s->counters.protects++;
    return true;
}

void frame_release(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    struct frame *f = frame_of(s, gfn);
    ref_t r = f ? f->writer : 0;

    for (uint32_t n = 0; n < WRITERS_MAX && r; n++) {
        uint64_t *e = &s->entry[REF_TABLE(r)][REF_INDEX(r)];
        uint32_t rights = ENTRY_RIGHTS(*e);
        if (!(rights & SH_WRITE) && (*e & ENTRY_MAY_WRITE)) {
            if (shadow_ops_room(ops) < OPS_FILL + OPS_SPARE)
                return;
            rights |= SH_WRITE | SH_DIRTY;
            *e = (*e & ~ENTRY_WITHHELD) | SH_WRITE | SH_DIRTY;
            op_fill(ops, s->config.tables[REF_TABLE(r)], REF_INDEX(r), rights, gfn);
        }
        r = ENTRY_NEXT(*e);
    }
}
