/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's root list: roots that it may switch to at a CR3 load without asking. Invariant: no unsynced
 * table can be reached from a listed root, so such a switch needs no resync. Found by walking from the
 * unsynced table up; where that gets long, every root counts as reached. */
#include "internal.h"

#define WORK_MAX  64u  /* tables waiting */
#define STEPS_MAX 512u /* links followed */

static void slot_empty(struct shadow *s, uint32_t i, struct shadow_ops *ops)
{
    s->list[i].table = NO_TABLE;
    s->listed--;
    op_root_list(ops, i, CPTR_NULL, 0);
}

#define OPS_SLOT 2u
void list_empty(struct shadow *s, struct shadow_ops *ops)
{
    for (uint32_t i = 0; i < LIST_SLOTS; i++) {
        if (s->list[i].table != NO_TABLE)
            slot_empty(s, i, ops);
    }
}

void list_remove(struct shadow *s, const struct table *t, struct shadow_ops *ops)
{
    if (!(t->flags & TABLE_TOP))
        return;
    for (uint32_t i = 0; i < LIST_SLOTS; i++) {
        if (s->list[i].table == table_id(s, t))
            slot_empty(s, i, ops);
    }
}

/* Marks the tables that lead to shadows of the frame. False: too many, gave up. */
static bool mark_above(struct shadow *s, uint64_t gfn)
{
    uint16_t work[WORK_MAX];
    uint32_t count = 0, steps = 0;

    for (struct table *t = table_first(s, gfn); t && count < WORK_MAX; t = table_next(s, t)) {
        t->mark = s->mark;
        work[count++] = (uint16_t)table_id(s, t);
    }
    while (count > 0) {
        struct table *t = &s->table[work[--count]];
        for (ref_t r = t->parent; r; r = ENTRY_NEXT(s->entry[REF_TABLE(r)][REF_INDEX(r)])) {
            struct table *p = &s->table[REF_TABLE(r)];
            if (++steps > STEPS_MAX || count >= WORK_MAX)
                return false;
            if (p->mark == s->mark)
                continue;
            p->mark = s->mark;
            if (p->parent)
                work[count++] = (uint16_t)table_id(s, p);
        }
    }
    return true;
}

bool list_drop_above(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    if (shadow_ops_room(ops) < LIST_SLOTS * OPS_SLOT)
        return false;
    if (s->listed == 0)
        return true;
    s->mark++;
    if (!mark_above(s, gfn)) {
        list_empty(s, ops);
        return true;
    }
    for (uint32_t i = 0; i < LIST_SLOTS; i++) {
        if (s->list[i].table != NO_TABLE && s->table[s->list[i].table].mark == s->mark)
            slot_empty(s, i, ops);
    }
    return true;
}

static __attribute__((noinline)) bool find_unsynced(struct shadow *s, const struct table *t)
{
    s->mark++;
    for (uint32_t i = 0; i < s->unsynced_count; i++) {
        if (!mark_above(s, s->unsynced[i].gfn))
            return true;
    }
    return t->mark == s->mark;
}

bool reaches_unsynced(struct shadow *s, struct table *t)
{
    if (s->unsynced_count == 0)
        return false;
    if (t->shape != s->shape) {
        t->reaches = find_unsynced(s, t);
        t->shape = s->shape;
    }
    return t->reaches;
}

static uint32_t slot_for(struct shadow *s, const struct table *t)
{
    uint32_t empty = LIST_SLOTS;
    for (uint32_t i = 0; i < LIST_SLOTS; i++) {
        if (s->list[i].table == table_id(s, t))
            return i;
        if (s->list[i].table == NO_TABLE && empty == LIST_SLOTS)
            empty = i;
    }
    return empty < LIST_SLOTS ? empty : s->list_next++ % LIST_SLOTS;
}

void list_add(struct shadow *s, struct table *t, uint64_t cr3, struct shadow_ops *ops)
{
    if (shadow_ops_room(ops) < OPS_SLOT || reaches_unsynced(s, t))
        return;
    uint32_t i = slot_for(s, t);
    if (s->list[i].table == table_id(s, t) && s->list[i].cr3 == cr3)
        return;
    s->listed += s->list[i].table == NO_TABLE;
    s->list[i] = (struct list_slot){ .cr3 = cr3, .table = (uint16_t)table_id(s, t) };
    op_root_list(ops, i, s->config.tables[table_id(s, t)], cr3);
}

bool shadow_cr3_served(struct shadow *s, uint64_t cr3, uint64_t loads)
{
    if (s->control.format != GUEST_LONG || s->config.nested)
        return false;
    for (uint32_t i = 0; i < LIST_SLOTS; i++) {
        if (s->list[i].table == NO_TABLE || s->list[i].cr3 != cr3)
            continue;
        s->top[0] = s->list[i].table;
        s->held.page = NOTHING_HELD;
        s->control.regs.cr3 = cr3;
        s->interval++;
        roots_touch(s, &s->table[s->top[0]]);
        s->counters.cr3_known += loads;
        return true;
    }
    return false;
}
