/* SPDX-License-Identifier: BSD-2-Clause */
/* memmgr's state, and what its files do for each other: main.c serves, change.c changes guests' memory,
 * learn.c finds out after a death what there is, pool.c chooses frames. */
#ifndef SERVERS_MEMMGR_MEMMGR_H
#define SERVERS_MEMMGR_MEMMGR_H

#include "memmgr_component.h"
#include "servers/memmgr/pool.h"
#include "sys/sys.h"

#define PIECE_BITS   24 /* one untyped of the pool: 16 MB */
#define PIECE_FRAMES (1u << (PIECE_BITS - PAGE_SHIFT))
#define RECORDS_MAX  30 /* of a GUESTSPACE_CHANGE: two words each */
#define CLIENTS_MAX  DESC_QUOTAS
#define TABLE_PAGES  512u
#define GFN_LIMIT    0x80000u /* 2 GB: guests' memory lies below the device hole */
#define RANGES_MAX   288u
#define FREE_SLOTS   8192u                /* components.idl: cnode */
#define FRAMES_ASKED 60u                  /* KERNEL_FRAMES: at once */
#define FAR_ADDRESS  (1ull << 38)         /* no guest has memory there, nor tables */
#define STATE_MAGIC  0x313030544d4d4255ul /* "UBMMT001" */

/* Frame f of the pool lies in the range with the largest first <= f. */
struct range {
    cptr_t cap;
    uint32_t first;
};

/* The segment: what is known once the ranges are made, and does not change any more. */
struct memmgr_state {
    struct manager_state told; /* init looks at it */
    uint64_t magic;
    uint32_t ranges, crc;       /* crc: of frame */
    uint64_t frame[RANGES_MAX]; /* the kernel's number of each range's first frame */
};

struct memmgr {
    struct pool pool;
    struct client client[CLIENTS_MAX];
    uint32_t clients;
    const uint32_t *quota; /* what each may have now: init changes it */
    struct range range[RANGES_MAX];
    uint32_t ranges, frames;
    bool made; /* by the memmgr before this one: objects are counted, not made */
    cptr_t next_slot;
    cptr_t table, tables_end; /* page tables made at the beginning: the next one, and behind the last */
};

static struct memmgr_state *const state = (struct memmgr_state *)STATE_ADDRESS;
static struct umbra_ipc_buffer *const ipc = (void *)BOOT_IPC_ADDRESS;

/* change.c: records for one GUESTSPACE_CHANGE. */
struct list {
    uint64_t word[2 * RECORDS_MAX];
    uint32_t records;
};
err_t list_send(cptr_t space, struct list *l);
/* Sends the list when it is full. */
err_t list_add(cptr_t space, struct list *l, uint64_t w0, uint64_t w1);
/* Pages of neighbouring gfns in one record as far as the kernel allows. */
err_t change_range(cptr_t space, unsigned op, unsigned rights, uint64_t gfn, uint32_t pages);
const struct range *range_of(const struct memmgr *m, uint32_t frame);
/* change_zero - at most RECORDS_MAX frames that no guest can reach. */
err_t change_zero(const struct memmgr *m, const uint32_t *frames, uint32_t n);

/* learn.c */
/* Where the ranges lie, for a memmgr after this one: while nobody has any of their frames. */
err_t learn_ranges(const struct memmgr *m);
/* Is that noted? */
bool learn_possible(void);
/* Page tables that are in use are passed over. */
void learn_tables(struct memmgr *m);
/* Which frames the clients' guests have. All others are free, and dirty. */
err_t learn_frames(struct memmgr *m);

#endif
