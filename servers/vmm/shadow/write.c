/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes to frames that hold tables: one decision function over named facts, and what follows from it
 * (emulate, let the table go out of sync, forget that it is a table). Heuristics only; every outcome is
 * correct. */
#include "walk.h"

struct write_case {
    bool level1;     /* all shadows of the frame are at level 1, of one format */
    bool pinned;     /* a part of the present root, or on the walk of this very access: cannot be forgotten */
    bool no_emulate; /* the write cannot be emulated as one */
    bool foreign;    /* user mode or not aligned: no kernel writes its tables so */
    bool repeated;   /* enough writes in this interval */
    bool flood;      /* above level 1: enough writes since the last use */
};

enum write_decision { WRITE_EMULATE, WRITE_UNSYNC, WRITE_ZAP };

static enum write_decision decide_write(const struct write_case *c)
{
    if (c->no_emulate)
        return c->pinned || c->level1 ? WRITE_UNSYNC : WRITE_ZAP;
    if (!c->pinned && (c->foreign || c->flood))
        return WRITE_ZAP;
    if (c->level1 && (c->repeated || c->foreign))
        return WRITE_UNSYNC;
    return WRITE_EMULATE;
}

static bool on_walk(const struct guest_walk *w, uint64_t gfn)
{
    for (uint32_t level = w->top; level >= 1 && level >= w->leaf; level--) {
        if (w->at[level] >> PAGE_SHIFT == gfn)
            return true;
    }
    return false;
}

/* The first look at a table in this interval. */
static void begin_interval(const struct shadow *s, struct table *t)
{
    if (t->interval == s->interval)
        return;
    if (s->interval - t->interval > 1)
        t->streak = 0;
    else if (t->streak < 255)
        t->streak++;
    t->interval = s->interval;
    if (t->role.level == 1)
        t->writes = t->zeros = 0;
}

static void look_at_shadows(struct shadow *s, uint64_t gfn, struct write_case *c)
{
    uint32_t count = 0;
    enum guest_format guest = GUEST_DIRECT;
    const struct shadow_tuning *tuning = &s->config.tuning;

    c->level1 = true;
    for (struct table *t = table_first(s, gfn); t && count < ROLES_MAX; t = table_next(s, t), count++) {
        if (t->role.level > 1 || (count > 0 && t->role.guest != guest))
            c->level1 = false;
        guest = (enum guest_format)t->role.guest;
        if (is_current_top(s, t))
            c->pinned = true;
        begin_interval(s, t);
        if (t->role.level > 1)
            c->flood |= t->writes >= tuning->flood_writes;
        else
            c->repeated |= t->writes >= tuning->unsync_writes ||
                           (tuning->unsync_streak && t->streak >= tuning->unsync_streak);
    }
    if (count > 2)
        c->level1 = false;
}

static void count_write(struct shadow *s, uint64_t gfn)
{
    uint32_t n = 0;
    for (struct table *t = table_first(s, gfn); t && n < ROLES_MAX; t = table_next(s, t), n++) {
        if (t->role.level > 1)
            t->changes++; /* the next use must be seen */
        if (t->writes < 255)
            t->writes++;
    }
    s->counters.emulated_writes++;
}

enum fill_result table_write(struct shadow *s, const struct shadow_access *a, const struct guest_walk *w,
                             struct shadow_ops *ops)
{
    struct frame *f = frame_of(s, w->gfn);
    uint32_t align = guest_entry_bytes(s->control.format) == 4 ? 3 : 7;
    struct write_case c = { .no_emulate = a->delivering };

    if (!f || !frame_protected(f))
        return FILL_OK;
    look_at_shadows(s, w->gfn, &c);
    c.pinned = c.pinned || on_walk(w, w->gfn);
    c.foreign = a->user || (a->va.v & align & 3);
    switch (decide_write(&c)) {
    case WRITE_EMULATE:
        count_write(s, w->gfn);
        return FILL_EMULATE_WRITE;
    case WRITE_UNSYNC:
        return frame_unsync(s, w->gfn, ops) ? FILL_OK : FILL_RETRY;
    case WRITE_ZAP:
        return frame_zap(s, w->gfn, ops) ? FILL_OK : FILL_RETRY;
    }
    return FILL_RETRY;
}

bool shadow_is_table(const struct shadow *s, gfn_t gfn)
{
    const struct frame *f = frame_of(s, gfn.v);
    return f && frame_protected(f);
}

/* The entries of one shadow behind guest bytes [from, from + len) of its frame. */
static void revalidate_bytes(struct shadow *s, struct table *t, uint32_t from, uint32_t len,
                             struct shadow_ops *ops)
{
    uint32_t bytes = guest_entry_bytes((enum guest_format)t->role.guest);
    uint32_t last = (from + len - 1) / bytes;

    for (uint32_t g = from / bytes; g <= last; g++) {
        if (!in_quadrant(t->role, g))
            continue;
        uint32_t index = shadow_index(t->role, g);
        for (uint32_t n = 0; n < shadow_span(t->role); n++)
            entry_revalidate(s, t, index + n, ops);
    }
}

/* Two aligned zero writes in a row: the guest clears the page. */
static bool looks_cleared(struct shadow *s, uint64_t gfn, uint32_t len, uint64_t new)
{
    struct table *t = table_first(s, gfn);
    struct write_case c = { 0 };

    if (new != 0 || len < 4 || !t) {
        if (t)
            t->zeros = 0;
        return false;
    }
    if (t->zeros < 255)
        t->zeros++;
    look_at_shadows(s, gfn, &c);
    return t->zeros >= s->config.tuning.zero_writes && !c.pinned;
}

static struct table *only_parent(const struct shadow *s, const struct table *t)
{
    return t && t->parents == 1 ? &s->table[REF_TABLE(t->parent)] : NULL;
}

/* The root that alone leads to t, if the guest does not run on it. */
static struct table *left_root(const struct shadow *s, struct table *t)
{
    while (t && !(t->flags & TABLE_TOP))
        t = only_parent(s, t);
    return t && !is_current_top(s, t) ? t : NULL;
}

/* Upper tables in which nothing is left, from t up: they would only cost an exit for each entry that is
 * cleared. */
static void end_empty(struct shadow *s, struct table *t, struct shadow_ops *ops)
{
    while (t && (t->flags & (TABLE_LIVE | TABLE_TOP)) == TABLE_LIVE && t->live == 0 && t->role.level > 1 &&
           t->parents == 1 && shadow_ops_room(ops) >= OPS_SPARE) {
        struct table *above = only_parent(s, t);
        if (!table_unlink(s, t, ops))
            return;
        table_end(s, t, ops);
        t = above;
    }
}

/* An entry of a frame that holds tables was cleared. Above level 1, in an address space that was left, that
 * is its end: of others kernels change only level 1. */
static void entry_cleared(struct shadow *s, uint64_t gfn, bool again, struct shadow_ops *ops)
{
    const struct frame *f = frame_of(s, gfn);
    struct table *t = f->shadows == 1 && f->upper ? table_first(s, gfn) : NULL, *above = only_parent(s, t);
    const struct table *root = left_root(s, t);

    if (root) {
        frame_zap(s, root->gfn, ops);
    } else if (again) {
        frame_zap(s, gfn, ops);
        end_empty(s, above, ops);
    } else {
        end_empty(s, t, ops);
    }
}

static void frame_written(struct shadow *s, uint64_t gfn, uint32_t from, uint32_t len, uint64_t new,
                          struct shadow_ops *ops)
{
    struct frame *f = frame_of(s, gfn);
    uint32_t n = 0;

    if (!f || !frame_protected(f))
        return;
    for (struct table *t = table_first(s, gfn); t && n < ROLES_MAX; t = table_next(s, t), n++) {
        if (t->role.level > 1)
            t->changes++; /* ways through it are not remembered any more */
        revalidate_bytes(s, t, from, len, ops);
    }
    if (len > 8)
        return;
    bool again = looks_cleared(s, gfn, len, new);
    if (new == 0 && len >= 4 && shadow_ops_room(ops) >= OPS_SPARE)
        entry_cleared(s, gfn, again, ops);
}

void shadow_table_written(struct shadow *s, gpa_t gpa, uint32_t len, uint64_t old, uint64_t new,
                          struct shadow_ops *ops)
{
    if (len <= 8 && old == new && !(old == 0 && len == 8))
        return; /* nothing changed; clearing clear entries is still a sign of reuse */
    for (uint64_t at = gpa.v, end = gpa.v + len; at < end;) {
        uint32_t from = (uint32_t)(at & (PAGE_BYTES - 1));
        uint32_t part = (uint32_t)PAGE_BYTES - from;
        if (part > end - at)
            part = (uint32_t)(end - at);
        frame_written(s, at >> PAGE_SHIFT, from, part, new, ops);
        at += part;
    }
    orphans_end(s, ORPHANS_BATCH, ops);
}

bool shadow_let_write(struct shadow *s, gpa_t gpa, struct shadow_ops *ops)
{
    uint64_t gfn = gpa.v >> PAGE_SHIFT;
    const struct frame *f = frame_of(s, gfn);
    struct write_case c = { 0 };

    if (!f || !frame_protected(f))
        return false;
    look_at_shadows(s, gfn, &c);
    return c.level1 && frame_unsync(s, gfn, ops);
}

bool shadow_not_emulated(struct shadow *s, gpa_t gpa, struct shadow_ops *ops)
{
    uint64_t gfn = gpa.v >> PAGE_SHIFT;
    struct frame *f = frame_of(s, gfn);
    if (!f || !frame_protected(f))
        return false;
    /* Twice in a row: the instruction needs the very table that it writes. */
    if (s->given_up == gfn || !frame_zap(s, gfn, ops))
        frame_unsync(s, gfn, ops);
    s->given_up = gfn;
    orphans_end(s, ORPHANS_BATCH, ops);
    return true;
}
