/* SPDX-License-Identifier: BSD-2-Clause */
/* Which frame comes next: pure bookkeeping, no system calls, so that the host tests all of it.
 *
 * Frames are numbered 0..frames-1 over all ranges. They are handed out in an order that is a permutation
 * keyed by a seed: neighbours in a guest are not neighbours in memory, and no distance between them is
 * frequent. Invariants (tests/host/memmgr/test_pool.c): no frame is handed out twice (I6); a quota is never
 * exceeded; a frame that came back is not handed out again, as nothing zeroes it yet (docs/limits.md). */
#ifndef MEMMGR_POOL_H
#define MEMMGR_POOL_H

#include <umbra/types.h>

#define POOL_NO_FRAME UINT32_MAX

struct pool {
    uint64_t seed;
    uint32_t frames; /* all */
    uint32_t half;   /* bits of one half of the permutation's domain */
    uint64_t cursor; /* next number to permute; the domain may be larger than frames */
    uint32_t given, returned;
};

/* What one client's guest has: frame_of[gfn] is a frame number or POOL_NO_FRAME. */
struct client {
    uint32_t quota, mapped;
    uint32_t gfns; /* length of frame_of */
    uint32_t *frame_of;
};

void pool_init(struct pool *p, uint64_t seed, uint32_t frames);
/* pool_take - the next frame; POOL_NO_FRAME when all are given. */
uint32_t pool_take(struct pool *p);
/* pool_left - how many pool_take will still give. */
uint32_t pool_left(const struct pool *p);
/* pool_back - a frame came back from a guest. */
void pool_back(struct pool *p);

/* client_init - frame_of has room for gfns entries. */
void client_init(struct client *c, uint32_t quota, uint32_t *frame_of, uint32_t gfns);

enum pool_answer { POOL_OK, POOL_RANGE, POOL_QUOTA, POOL_EMPTY, POOL_MAPPED, POOL_NOT_MAPPED };
/* client_may_map - all of [gfn, gfn + pages) is free, within quota and pool. client_has_all - all is mapped.
 */
enum pool_answer client_may_map(const struct client *c, const struct pool *p, uint64_t gfn, uint32_t pages);
enum pool_answer client_has_all(const struct client *c, uint64_t gfn, uint32_t pages);
/* client_shape - pieces of neighbouring frames, and neighbouring gfns whose frames are not neighbours. */
void client_shape(const struct client *c, uint32_t *runs, uint32_t *splits);

#endif
