/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and forgetting the whole state. The caller's memory holds, in this order: struct shadow, metadata
 * words, tables, frames, buckets. */
#include "internal.h"

struct layout {
    size_t entry, table, frame, bucket, bytes;
    uint32_t buckets;
};

static size_t aligned(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static struct layout layout(uint32_t tables, uint64_t frames)
{
    struct layout l = { .buckets = 64 };
    while (l.buckets < tables)
        l.buckets *= 2;
    l.entry = aligned(sizeof(struct shadow));
    l.table = l.entry + tables * sizeof(uint64_t[ENTRIES]);
    l.frame = aligned(l.table + tables * sizeof(struct table));
    l.bucket = aligned(l.frame + frames * sizeof(struct frame));
    l.bytes = aligned(l.bucket + l.buckets * sizeof(uint16_t));
    return l;
}

size_t shadow_bytes(uint32_t tables, uint64_t frames)
{
    return layout(tables, frames).bytes;
}

/* Chosen, to be tuned on recorded traces; docs/limits.md. */
struct shadow_tuning shadow_default_tuning(void)
{
    return (struct shadow_tuning){
        .prefetch = 32,
        .prefetch_direct = 128,
        .quiet_syncs = 2,
        .flood_writes = 3,
        .zero_writes = 2,
        .unsync_writes = 1,
        .unsync_streak = 2,
        .unsync_born = 16,
        .steady_syncs = 32,
    };
}

static bool power_of_two(uint32_t n, uint32_t max)
{
    return n >= 1 && n <= max && (n & (n - 1)) == 0;
}

static bool map_ok(const struct gmem_map *map, uint64_t frames)
{
    uint64_t last = 0;
    if (map->count < 1 || map->count > GMEM_REGIONS_MAX)
        return false;
    for (uint32_t i = 0; i < map->count; i++) {
        const struct gmem_region *r = &map->region[i];
        if (r->first.v < last || r->end.v < r->first.v || r->end.v > GUEST_FRAMES_MAX)
            return false;
        if (r->kind == GMEM_RAM && r->end.v > frames)
            return false;
        last = r->end.v;
    }
    return true;
}

static bool config_ok(const struct shadow_config *c)
{
    return c->table_count >= SHADOW_TABLES_MIN && c->table_count <= SHADOW_TABLES_MAX &&
           c->frames <= GUEST_FRAMES_MAX && c->phys_bits >= 32 && c->phys_bits <= 52 &&
           map_ok(c->map, c->frames) && power_of_two(c->tuning.prefetch, 64) &&
           power_of_two(c->tuning.prefetch_direct, ENTRIES) && c->tuning.unsync_writes >= 1 &&
           c->tuning.flood_writes >= 1 && c->tuning.flood_writes <= 255 && c->tuning.unsync_writes <= 255 &&
           c->tuning.zero_writes >= 1 && c->tuning.zero_writes <= 255 && c->tuning.unsync_streak <= 255 &&
           c->tuning.unsync_born <= UNSYNC_MAX / 2;
}

/* All tables in the pool, nothing known of frames that no table tells of. */
static void empty(struct shadow *s)
{
    for (uint32_t i = 0; i <= s->bucket_mask; i++)
        s->bucket[i] = NO_TABLE;
    for (uint32_t i = 0; i < s->config.table_count; i++) {
        struct table *t = &s->table[i];
        *t = (struct table){ .hash_next = NO_TABLE, .orphan_next = NO_TABLE };
        t->next = i + 1 < s->config.table_count ? (uint16_t)(i + 1) : NO_TABLE;
    }
    s->free_head = 0;
    s->free_count = s->config.table_count;
    s->orphan_head = s->root_newest = s->root_oldest = NO_TABLE;
    s->hand = s->unsynced_count = s->unsynced_upper = 0;
    for (uint32_t i = 0; i < TOPS; i++)
        s->top[i] = NO_TABLE;
    for (uint32_t i = 0; i < LIST_SLOTS; i++)
        s->list[i].table = NO_TABLE;
    s->listed = 0;
    s->spurious_kind = 0;
    s->held.page = NOTHING_HELD;
    for (uint32_t i = 0; i < CHAINS; i++)
        s->chain[i].region = ~0ull;
    s->given_up = ~0ull;
    s->shape++;
}

struct shadow *shadow_init(void *memory, const struct shadow_config *config)
{
    struct shadow *s = memory;
    unsigned char *base = memory;
    const struct shadow_control unpaged = { 0 };

    if (!config_ok(config))
        return NULL;
    struct layout l = layout(config->table_count, config->frames);
    __builtin_memset(s, 0, sizeof(*s));
    s->config = *config;
    const struct gmem_region *last = &config->map->region[config->map->count - 1];
    s->ram_first = last->first.v;
    s->ram_frames = last->kind == GMEM_RAM ? last->end.v - last->first.v : 0;
    s->entry = (uint64_t(*)[ENTRIES])(void *)(base + l.entry);
    s->table = (struct table *)(void *)(base + l.table);
    s->frame = (struct frame *)(void *)(base + l.frame);
    s->bucket = (uint16_t *)(void *)(base + l.bucket);
    s->bucket_mask = l.buckets - 1;
    for (uint64_t i = 0; i < config->frames; i++)
        s->frame[i] = (struct frame){ 0 };
    empty(s);
    control_set(s, &unpaged);
    return s;
}

/* The frames that a table's state speaks of. */
static void forget_frames(struct shadow *s, const struct table *t)
{
    struct frame *f = frame_of(s, t->gfn);
    if (f && !is_direct(t))
        *f = (struct frame){ 0 };
    for (uint32_t k = 0; k < MASK_WORDS; k++) {
        for (uint64_t todo = t->filled[k]; todo; todo &= todo - 1) {
            uint64_t e = s->entry[table_id(s, t)][k * 64 + (uint32_t)__builtin_ctzll(todo)];
            if (e & ENTRY_CHAINED)
                s->frame[ENTRY_GFN(e)] = (struct frame){ 0 };
        }
    }
}

void shadow_reset(struct shadow *s)
{
    for (uint32_t i = 0; i < s->config.table_count; i++) {
        if (s->table[i].flags & TABLE_LIVE)
            forget_frames(s, &s->table[i]);
    }
    empty(s);
    s->counters.resets++;
}

const struct shadow_counters *shadow_counters(const struct shadow *s)
{
    return &s->counters;
}

uint32_t shadow_in_use(const struct shadow *s)
{
    return s->config.table_count - s->free_count;
}
