/* SPDX-License-Identifier: BSD-2-Clause */
/* Getting tables back: what hangs nowhere, then whole roots that were not used for longest, then single
 * tables by a clock. Runs before anything of a fill is looked up, so nothing that a fill holds can go away
 * under it. */
#include "internal.h"

#define ROOM_TO_END 16u /* words: CLEAR and ROOT_LIST of a root and of a few orphans */

static struct table *oldest_root(const struct shadow *s)
{
    uint16_t i = s->root_oldest;
    for (uint32_t n = 0; n <= TOPS && i != NO_TABLE; n++) {
        struct table *t = &s->table[i];
        if (!is_current_top(s, t))
            return t;
        i = t->prev;
    }
    return NULL;
}

/* The next table that was not used since the hand last passed it; the second round takes any. */
static struct table *clock_victim(struct shadow *s)
{
    for (uint32_t n = 0; n < 2 * s->config.table_count; n++) {
        struct table *t = &s->table[s->hand];
        s->hand = (s->hand + 1) % s->config.table_count;
        if (!(t->flags & TABLE_LIVE) || (t->flags & TABLE_TOP))
            continue;
        if (t->recent == 0)
            return t;
        t->recent = 0;
    }
    return NULL;
}

static bool reclaim_one(struct shadow *s, struct shadow_ops *ops)
{
    usual_forget(s); /* the clock wants to see uses */
    struct table *t = oldest_root(s);
    if (!t && !(t = clock_victim(s)))
        return false;
    if (!table_unlink(s, t, ops) || shadow_ops_room(ops) < ROOM_TO_END)
        return false;
    table_end(s, t, ops);
    s->counters.reclaims++;
    return true;
}

bool reclaim(struct shadow *s, uint32_t want, struct shadow_ops *ops)
{
    for (uint32_t n = 0; n < s->config.table_count && s->free_count < want; n++) {
        if (shadow_ops_room(ops) < ROOM_TO_END)
            return false;
        orphans_end(s, want, ops);
        if (s->free_count < want && !reclaim_one(s, ops))
            return false;
    }
    return s->free_count >= want;
}
