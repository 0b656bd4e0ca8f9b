/* SPDX-License-Identifier: BSD-2-Clause */
/* Making tables and ending them. A table begins protected (nothing writes its guest frame) and ends unlinked;
 * children that lose their last link are queued and end by a loop, not by recursion. */
#include "internal.h"

/* A last table is new because the guest has just made it or comes to it for the first time: it writes there
 * next. So it begins out of sync, as long as few others are. */
static bool born_unsynced(const struct shadow *s, const struct frame *f, struct role role)
{
    return role.level == 1 && f->shadows == 0 && !f->unsynced &&
           s->unsynced_count < s->config.tuning.unsync_born;
}

static bool fits_frame(struct shadow *s, uint64_t gfn, struct frame *f, struct shadow_ops *ops)
{
    if (f->shadows >= ROLES_MAX) {
        frame_zap(s, gfn, ops);
        return false;
    }
    if (f->unsynced) /* another role of an unsynced table: all of them go back in sync */
        sync_frame(s, gfn, ops);
    if ((f->unsynced || f->shadows == 0) && !frame_protect(s, gfn, ops))
        return false;
    if (f->unsynced)
        frame_forget_unsynced(s, gfn);
    return true;
}

struct table *table_make(struct shadow *s, uint64_t gfn, struct role role, struct shadow_ops *ops)
{
    bool direct = role.guest == GUEST_DIRECT;
    struct frame *f = direct ? NULL : frame_of(s, gfn);

    if (s->free_count == 0 || shadow_ops_room(ops) < OPS_SETUP)
        return NULL;
    bool born = f && born_unsynced(s, f, role);
    if (f && !born && !fits_frame(s, gfn, f, ops))
        return NULL;
    if (s->free_count == 0 || shadow_ops_room(ops) < OPS_SETUP)
        return NULL;
    struct table *t = table_take(s, gfn, role);
    op_setup(ops, s->config.tables[table_id(s, t)], role);
    if (!direct && gmem_kind(s->config.map, (gfn_t){ gfn }) != GMEM_RAM)
        t->flags |= TABLE_ROM;
    if (f) {
        f->shadows++;
        f->upper += role.level > 1;
    }
    if (born)
        frame_begin_unsynced(s, gfn);
    s->counters.tables_made++;
    return t;
}

bool table_unlink(struct shadow *s, struct table *t, struct shadow_ops *ops)
{
    for (uint32_t n = 0; n < PARENTS_MAX && t->parent; n++) {
        if (shadow_ops_room(ops) < OPS_DOWNGRADE)
            return false;
        entry_drop(s, &s->table[REF_TABLE(t->parent)], REF_INDEX(t->parent), ops);
    }
    return true;
}

void table_empty(struct shadow *s, struct table *t, struct shadow_ops *ops)
{
    op_clear(ops, s->config.tables[table_id(s, t)]);
    entries_forget(s, t);
}

void table_end(struct shadow *s, struct table *t, struct shadow_ops *ops)
{
    struct frame *f = is_direct(t) ? NULL : frame_of(s, t->gfn);

    list_remove(s, t, ops);
    t->changes++;
    if (t->flags & TABLE_TOP)
        roots_remove(s, t);
    if (t->role.level > 1 && t->live > 0) /* the kernel counts links of unlinked tables, too */
        op_clear(ops, s->config.tables[table_id(s, t)]);
    entries_forget(s, t);
    table_give(s, t);
    if (!f)
        return;
    f->upper -= t->role.level > 1;
    if (--f->shadows == 0) {
        if (f->unsynced)
            frame_forget_unsynced(s, t->gfn);
        frame_release(s, t->gfn, ops);
    }
}

#define OPS_END 3u /* CLEAR, ROOT_LIST */
void orphans_end(struct shadow *s, uint32_t limit, struct shadow_ops *ops)
{
    while (s->orphan_head != NO_TABLE && limit > 0 && shadow_ops_room(ops) >= OPS_END) {
        struct table *t = &s->table[s->orphan_head];
        s->orphan_head = t->orphan_next;
        t->flags &= (uint8_t)~TABLE_QUEUED;
        if ((t->flags & TABLE_LIVE) && !(t->flags & TABLE_TOP) && t->parents == 0) {
            table_end(s, t, ops);
            limit--;
        }
    }
}

bool frame_zap(struct shadow *s, uint64_t gfn, struct shadow_ops *ops)
{
    struct frame *f = frame_of(s, gfn);

    for (uint32_t n = 0; n < ROLES_MAX; n++) {
        struct table *t = table_first(s, gfn);
        while (t && is_current_top(s, t))
            t = table_next(s, t);
        if (!t)
            break;
        if (shadow_ops_room(ops) < OPS_END || !table_unlink(s, t, ops) || shadow_ops_room(ops) < OPS_END)
            return false;
        table_end(s, t, ops);
    }
    s->counters.zaps++;
    return f->shadows == 0;
}
