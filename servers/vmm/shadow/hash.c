/* SPDX-License-Identifier: BSD-2-Clause */
/* Identity of tables: (guest frame, role) -> table, through a hash of the frame, so that all shadows of a
 * frame stand in one bucket; the pool of free tables; the list of roots, newest first. */
#include "internal.h"

static uint16_t *bucket_of(const struct shadow *s, uint64_t gfn)
{
    uint64_t h = gfn * 0x9e3779b97f4a7c15ull;
    return &s->bucket[h >> 40 & s->bucket_mask];
}

struct table *table_find(const struct shadow *s, uint64_t gfn, struct role role)
{
    for (uint16_t i = *bucket_of(s, gfn); i != NO_TABLE; i = s->table[i].hash_next) {
        struct table *t = &s->table[i];
        if (t->gfn == gfn && role_equal(t->role, role))
            return t;
    }
    return NULL;
}

static struct table *shadow_from(const struct shadow *s, uint16_t i, uint64_t gfn)
{
    for (; i != NO_TABLE; i = s->table[i].hash_next) {
        struct table *t = &s->table[i];
        if (t->gfn == gfn && !is_direct(t))
            return t;
    }
    return NULL;
}

struct table *table_first(const struct shadow *s, uint64_t gfn)
{
    return shadow_from(s, *bucket_of(s, gfn), gfn);
}

struct table *table_next(const struct shadow *s, const struct table *t)
{
    return shadow_from(s, t->hash_next, t->gfn);
}

struct table *table_take(struct shadow *s, uint64_t gfn, struct role role)
{
    uint32_t id = s->free_head;
    struct table *t = &s->table[id];
    uint16_t *bucket = bucket_of(s, gfn);

    s->free_head = t->next;
    s->free_count--;
    *t = (struct table){ .gfn = gfn,
                         .role = role,
                         .hash_next = *bucket,
                         .prev = NO_TABLE,
                         .next = NO_TABLE,
                         .orphan_next = t->orphan_next,
                         .interval = s->interval - 1,
                         .changes = t->changes,
                         .flags = TABLE_LIVE | (t->flags & TABLE_QUEUED) };
    *bucket = (uint16_t)id;
    return t;
}

void table_give(struct shadow *s, struct table *t)
{
    uint16_t id = (uint16_t)table_id(s, t);
    uint16_t *at = bucket_of(s, t->gfn);
    while (*at != id)
        at = &s->table[*at].hash_next;
    *at = t->hash_next;
    t->flags &= TABLE_QUEUED; /* the queue of orphans still passes through it */
    t->next = s->free_head;
    s->free_head = id;
    s->free_count++;
}

void roots_insert(struct shadow *s, struct table *t)
{
    uint16_t id = (uint16_t)table_id(s, t);
    t->flags |= TABLE_TOP;
    t->prev = NO_TABLE;
    t->next = s->root_newest;
    if (s->root_newest != NO_TABLE)
        s->table[s->root_newest].prev = id;
    else
        s->root_oldest = id;
    s->root_newest = id;
}

void roots_remove(struct shadow *s, struct table *t)
{
    if (t->prev != NO_TABLE)
        s->table[t->prev].next = t->next;
    else
        s->root_newest = t->next;
    if (t->next != NO_TABLE)
        s->table[t->next].prev = t->prev;
    else
        s->root_oldest = t->prev;
    t->flags &= (uint8_t)~TABLE_TOP;
}

void roots_touch(struct shadow *s, struct table *t)
{
    if (s->root_newest == table_id(s, t))
        return;
    roots_remove(s, t);
    roots_insert(s, t);
}

bool is_current_top(const struct shadow *s, const struct table *t)
{
    uint32_t id = table_id(s, t);
    for (uint32_t i = 0; i < TOPS; i++) {
        if (s->top[i] == id)
            return true;
    }
    return false;
}
