/* SPDX-License-Identifier: BSD-2-Clause */
/* Which frame comes next: pure bookkeeping, no system calls, so that the host tests all of it.
 *
 * Frames are numbered 0..frames-1 over all ranges. They are handed out in an order that is a permutation
 * keyed by a seed: neighbours in a guest are not neighbours in memory, and no distance between them is
 * frequent. Invariants (tests/host/memmgr/test_pool.c): no frame is handed out twice unless it came back in
 * between (I6); a quota is never exceeded. Whoever gives a frame back has zeroed it. */
#ifndef MEMMGR_POOL_H
#define MEMMGR_POOL_H

#include <umbra/types.h>

#define POOL_NO_FRAME UINT32_MAX

struct pool {
    uint64_t seed;
    uint32_t frames; /* all */
    uint32_t half;   /* bits of one half of the permutation's domain */
    uint64_t cursor; /* next number to permute; the domain may be larger than frames */
    uint32_t given;
    uint32_t *back; /* frames that came back and were not handed out again, `backs` of them */
    uint32_t backs;
};

/* What one client's guest has: frame_of[gfn] is a frame number or POOL_NO_FRAME. */
struct client {
    uint32_t quota, mapped;
    uint32_t gfns; /* length of frame_of */
    uint32_t *frame_of;
};

/* pool_init - back has room for as many entries. */
void pool_init(struct pool *p, uint64_t seed, uint32_t frames, uint32_t *back);
/* pool_take - the next frame, the one that came back last if there is one; POOL_NO_FRAME when all are given.
 */
uint32_t pool_take(struct pool *p);
/* pool_leave - all frames f that are used[f] were given, the others came back; in the pool's order. *done
 * grows with the work. */
void pool_leave(struct pool *p, const uint8_t *used, uint64_t *done);
/* pool_left - how many pool_take will still give. */
uint32_t pool_left(const struct pool *p);
/* pool_back - a frame that pool_take gave came back, and is zero. */
void pool_back(struct pool *p, uint32_t frame);

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
