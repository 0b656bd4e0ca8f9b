/* SPDX-License-Identifier: BSD-2-Clause */
/* A small long-mode guest for the named tests: frame 1 is its PML4, 2 the PDPT, 3 the page directory, 4 and 5
 * page tables. Addresses PAGE(i) use table 4, TABLE_VA(gfn, i) reaches the tables themselves through table 5.
 */
#ifndef TESTS_HOST_SHADOW_LAYOUT_H
#define TESTS_HOST_SHADOW_LAYOUT_H

#include "check.h"
#include "world.h"

enum { P = 1, RW = 2, US = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ull << 63)

#define PAGE(i)          ((uint64_t)(i) << 12)
#define TABLE_VA(gfn, i) (0x200000 + ((uint64_t)(gfn) << 12) + (uint64_t)(i)*8)
#define UPPER            (P | RW | US | A)
#define HOT              (P | RW | US | A | D)

static inline void put(struct world *w, uint64_t table, uint32_t index, uint64_t value)
{
    world_poke(w, (table << 12) + index * 8, value);
}

static inline uint64_t get(struct world *w, uint64_t table, uint32_t index)
{
    return world_peek(w, (table << 12) + index * 8);
}

static inline void lay_out(struct world *w)
{
    put(w, 1, 0, 0x2000 | UPPER);
    put(w, 2, 0, 0x3000 | UPPER);
    put(w, 3, 0, 0x4000 | UPPER);
    put(w, 3, 1, 0x5000 | UPPER);
    for (uint32_t i = 0; i <= WORLD_TABLES; i++)
        put(w, 5, i, (uint64_t)i << 12 | HOT);
    for (uint32_t i = 0; i < 64; i++) {
        justify_add(&w->j, PAGE(i) % 0x10000);
        if (i < 16)
            justify_add(&w->j, TABLE_VA(i, 0));
    }
}

/* Without prefetch, so that tests can count single fills, and with new tables in sync; start() loads the
 * root.
 */
static inline struct world *quiet_world(void)
{
    struct shadow_tuning tuning = shadow_default_tuning();
    tuning.prefetch = tuning.prefetch_direct = 1;
    tuning.unsync_born = 0;
    struct world *w = world_new(128, &tuning, 1, WORLD_RAM);
    lay_out(w);
    return w;
}

static inline struct world *usual_world(void)
{
    struct shadow_tuning tuning = shadow_default_tuning();
    tuning.unsync_born = 0;
    struct world *w = world_new(128, &tuning, 1, WORLD_RAM);
    lay_out(w);
    return w;
}

static inline struct world *start(struct world *w)
{
    world_load(w, world_long(0x1000));
    return w;
}

static inline void finish(struct world *w)
{
    world_audit(w);
    world_free(w);
}

static inline struct world_result reads(struct world *w, uint64_t va)
{
    return world_access(w, (struct world_access){ .va = va });
}
static inline struct world_result writes(struct world *w, uint64_t va, uint64_t value)
{
    return world_access(w, (struct world_access){ .va = va, .write = true, .value = value });
}
static inline struct world_result user_reads(struct world *w, uint64_t va)
{
    return world_access(w, (struct world_access){ .va = va, .user = true });
}
static inline struct world_result user_writes(struct world *w, uint64_t va, uint64_t value)
{
    return world_access(w, (struct world_access){ .va = va, .write = true, .user = true, .value = value });
}
static inline struct world_result executes(struct world *w, uint64_t va)
{
    return world_access(w, (struct world_access){ .va = va, .exec = true });
}

#endif
