/* SPDX-License-Identifier: BSD-2-Clause */
/* Where several named tests begin: what layout.h lays out, with some pages mapped and read, and how the guest
 * brings a table out of sync. */
#ifndef TESTS_HOST_SHADOW_TABLES_SETUPS_H
#define TESTS_HOST_SHADOW_TABLES_SETUPS_H

#include "tests/host/shadow/layout.h"

/* with_page - page 7 is frame 20h, and was read: the tables on the way to it are shadowed. */
static inline struct world *with_page(void)
{
    struct world *w = quiet_world();
    put(w, 4, 7, 0x20000 | HOT);
    start(w);
    reads(w, PAGE(7));
    return w;
}

/* read_pages - the first n pages are the frames from 20h on, and each was read. */
static inline void read_pages(struct world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        put(w, 4, i, (uint64_t)(0x20 + i) << 12 | HOT);
    start(w);
    for (uint32_t i = 0; i < n; i++)
        reads(w, PAGE(i));
}

/* unsync - two writes to one of its entries bring table 4 out of sync, if it is one that is emulated. */
static inline void unsync(struct world *w)
{
    writes(w, TABLE_VA(4, 20), 1);
    writes(w, TABLE_VA(4, 20), 0);
}

/* with_unsynced_table - eight pages that were read, by table 4, which is out of sync. */
static inline struct world *with_unsynced_table(void)
{
    struct world *w = quiet_world();
    read_pages(w, 8);
    unsync(w);
    CHECK_EQ(shadow_counters(w->s)->unsyncs, 1);
    return w;
}

/* unsync_directory - an upper table out of sync, by a write in an event's delivery, which is not emulated. */
static inline void unsync_directory(struct world *w, uint64_t gfn)
{
    world_access(
        w, (struct world_access){ .va = TABLE_VA(gfn, 100), .write = true, .value = 0, .delivering = true });
    CHECK(!shadow_is_table(w->s, (gfn_t){ gfn }));
}

/* config_of - what the world's own shadow was made with, but for the tuning, which is the default. */
static inline struct shadow_config config_of(struct world *w)
{
    return (struct shadow_config){ .mem = w->mem,
                                   .map = &w->map,
                                   .tables = w->caps,
                                   .table_count = 128,
                                   .phys_bits = 40,
                                   .frames = WORLD_RAM,
                                   .tuning = shadow_default_tuning() };
}

#endif
