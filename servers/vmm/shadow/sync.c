/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables out of sync, and bringing them back. The guest may write an unsynced table freely; what the hardware
 * tables hold of it stays as it was, which is what a TLB may do, until the next sync point. There each filled
 * entry is held against the guest's entry (the metadata word is the snapshot), and only differences become
 * operations. A table that keeps changing stays writable, a quiet one is protected again. */
#include "walk.h"

static bool frame_resync(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    bool changed = false;
    uint32_t n = 0;
    for (struct table *t = table_first(s, gfn); t && n < ROLES_MAX; t = table_next(s, t), n++)
        changed = table_resync(s, t, ops) || changed;
    return changed;
}

void sync_frame(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    frame_resync(s, gfn, ops);
}

void sync_all(struct shadow *s, struct shadow_ops *ops)
{
    for (uint32_t i = 0; i < s->unsynced_count; i++)
        frame_resync(s, s->unsynced[i].gfn, ops);
}

void frame_forget_unsynced(struct shadow *s, uint64_t gfn)
{
    struct frame *f = frame_of(s, gfn);
    for (uint32_t i = 0; i < s->unsynced_count; i++) {
        if (s->unsynced[i].gfn == gfn) {
            s->unsynced_upper -= s->unsynced[i].upper;
            s->unsynced_count--;
            for (uint32_t k = i; k < s->unsynced_count; k++)
                s->unsynced[k] = s->unsynced[k + 1];
            break;
        }
    }
    f->unsynced = 0;
    s->shape++;
}

/* Back in sync for good: the frame was just resynced. False: no room, it stays unsynced. */
static bool frame_reprotect(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    if (shadow_ops_room(ops) < OPS_SPARE + WRITERS_MAX * OPS_FILL || !frame_protect(s, gfn, ops))
        return false;
    frame_forget_unsynced(s, gfn);
    return true;
}

/* Every unsynced table is made current; those that were quiet long enough are protected again. */
void sync_point(struct shadow *s, struct shadow_ops *ops)
{
    s->interval++;
    for (uint32_t i = 0; i < s->unsynced_count;) {
        struct unsynced *u = &s->unsynced[i];
        u->quiet = frame_resync(s, u->gfn, ops) ? 0 : u->quiet + 1;
        if (u->quiet < u->patience && !u->upper)
            i++;
        else if (!frame_reprotect(s, u->gfn, ops))
            i++;
    }
}

void sync_below(struct shadow *s, struct table *t, struct shadow_ops *ops)
{
    if (is_direct(t) || !reaches_unsynced(s, t))
        return;
    if (t->role.level == 1) {
        frame_resync(s, t->gfn, ops);
        if (frame_reprotect(s, t->gfn, ops))
            return;
    } else {
        sync_all(s, ops);
    }
    list_empty(s, ops); /* the new link may lead there from listed roots */
}

/* A place for one more unsynced table: the oldest goes back in sync. */
static bool make_place(struct shadow *s, struct shadow_ops *ops)
{
    if (s->unsynced_count < UNSYNC_MAX)
        return true;
    uint64_t oldest = s->unsynced[0].gfn;
    frame_resync(s, oldest, ops);
    return frame_reprotect(s, oldest, ops);
}

/* What was written in interval after interval may hold the same again at a sync point. */
static uint32_t patience(const struct shadow *s, uint64_t gfn)
{
    const struct shadow_tuning *tuning = &s->config.tuning;
    const struct table *t = table_first(s, gfn);
    bool steady = t && tuning->unsync_streak && t->streak >= tuning->unsync_streak;

    return steady ? tuning->steady_syncs : tuning->quiet_syncs;
}

bool frame_unsync(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    struct frame *f = frame_of(s, gfn);

    if (f->shadows > 4) /* a resync must fit a batch whatever happens */
        frame_zap(s, gfn, ops);
    if (f->shadows == 0)
        return true;
    if (f->shadows > 4 || !make_place(s, ops) || !list_drop_above(s, gfn, ops))
        return false;
    frame_begin_unsynced(s, gfn);
    s->counters.unsyncs++;
    return true;
}

void frame_begin_unsynced(struct shadow *s, uint64_t gfn)
{
    struct frame *f = frame_of(s, gfn);

    f->unsynced = 1;
    s->shape++;
    s->unsynced[s->unsynced_count++] =
        (struct unsynced){ .gfn = gfn, .patience = patience(s, gfn), .upper = f->upper > 0 };
    s->unsynced_upper += f->upper > 0;
    if (f->upper)
        usual_forget(s);
}

/* The table at level 1 that the links lead to, or NULL. */
static struct table *last_table(struct shadow *s, uint64_t va)
{
    uint32_t slot = s->control.hw == SHADOW_PAE ? (uint32_t)(va >> 30) & 3 : 0;
    struct table *t = s->top[slot] != NO_TABLE ? &s->table[s->top[slot]] : NULL;

    while (t && t->role.level > 1) {
        uint32_t index = (uint32_t)(va >> (PAGE_SHIFT + (t->role.level - 1) * 9)) & (ENTRIES - 1);
        uint64_t e = s->entry[table_id(s, t)][index];
        t = mask_test(t->filled, index) ? &s->table[ENTRY_CHILD(e)] : NULL;
    }
    return t;
}

static __attribute__((noinline)) void invlpg_completely(struct shadow *s, uint64_t va, struct shadow_ops *ops)
{
    struct table *t = usual_last(s, va);

    if (!t)
        t = last_table(s, va);
    if (t && !is_direct(t))
        entry_revalidate(s, t, (uint32_t)(va >> PAGE_SHIFT) & (ENTRIES - 1), ops);
}

/* Only the last table can be out of sync in the usual case; upper ones make every flush a full one. */
void shadow_invlpg(struct shadow *s, gva_t va, struct shadow_ops *ops)
{
    s->counters.invlpgs++;
    s->invlpg_va = va;
    if (s->unsynced_upper)
        sync_all(s, ops);
    if (!usual_invlpg(s, va.v, ops))
        invlpg_completely(s, va.v, ops);
    if (s->orphan_head != NO_TABLE)
        orphans_end(s, ORPHANS_BATCH, ops);
}
