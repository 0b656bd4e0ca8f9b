/* SPDX-License-Identifier: BSD-2-Clause */
/* Which frame comes next: pure bookkeeping, no system calls, so that the host tests all of it.
 *
 * Frames are numbered 0..frames-1 over all ranges. They are handed out in an order that is a permutation
 * keyed by a seed: neighbours in a guest are not neighbours in memory, and no distance between them is
 * frequent. Invariants (I6), proved by WP (docs/assurance.md, memmgr.begins and the three behind it) and
 * tested by tests/host/memmgr/test_pool.c: a frame is given to a guest only out of the pool and only as zero;
 * it gets back into the pool only from a guest and zeroed since; a quota is never exceeded. They do not rest
 * on the order: each frame's place is asked before it moves. */
#ifndef MEMMGR_POOL_H
#define MEMMGR_POOL_H

#include <umbra/types.h>

#define POOL_NO_FRAME UINT32_MAX

enum frame_place {
    FRAME_IN,        /* in the pool, zero */
    FRAME_IN_DIRTY,  /* in the pool; nobody knows what is in it */
    FRAME_OUT,       /* in memmgr's hand, zero */
    FRAME_OUT_DIRTY, /* in memmgr's hand, to be zeroed */
    FRAME_GIVEN      /* a guest has it, or is about to */
};

struct pool {
    uint64_t seed;
    uint32_t frames; /* all */
    uint32_t half;   /* bits of one half of the permutation's domain */
    uint64_t cursor; /* next number to permute; the domain may be larger than frames */
    uint32_t left;   /* how many are in it */
    uint32_t *back;  /* frames that came back and were not handed out again, `backs` of them */
    uint32_t backs;
    uint8_t *place; /* of frame f: enum frame_place */
};

/* What one client's guest has: frame_of[gfn] is a frame number or POOL_NO_FRAME. */
struct client {
    uint32_t quota, mapped;
    uint32_t gfns; /* length of frame_of */
    uint32_t *frame_of;
};

/* pool_init - back and place have room for as many entries; all frames are in it, zero. */
void pool_init(struct pool *p, uint64_t seed, uint32_t frames, uint32_t *back, uint8_t *place);
/* pool_take - the next frame, now in memmgr's hand: the one that came back last, if there is one;
 * POOL_NO_FRAME when none is in it. */
uint32_t pool_take(struct pool *p);
/* The frame in memmgr's hand has been zeroed; goes to a guest, zero; goes back into the pool, zero. False,
 * nothing changed: it was not in hand, or not zero. */
bool frame_zeroed(struct pool *p, uint32_t frame);
bool frame_given(struct pool *p, uint32_t frame);
bool pool_back(struct pool *p, uint32_t frame);
/* A guest cannot reach it any more (or did not get it): it is in memmgr's hand, dirty. */
bool frame_returned(struct pool *p, uint32_t frame);
bool frame_is_dirty(const struct pool *p, uint32_t frame);
/* After a death. pool_learned - a guest has this frame of a pool that was just begun; false: another one has.
 * pool_leave - all others came back, dirty, in the pool's order. *done grows with the work. */
bool pool_learned(struct pool *p, uint32_t frame);
void pool_leave(struct pool *p, uint64_t *done);
/* pool_left - how many pool_take will still give. */
uint32_t pool_left(const struct pool *p);

/* client_init - frame_of has room for gfns entries. */
void client_init(struct client *c, uint32_t quota, uint32_t *frame_of, uint32_t gfns);

enum pool_answer { POOL_OK, POOL_RANGE, POOL_QUOTA, POOL_EMPTY, POOL_MAPPED, POOL_NOT_MAPPED };
/* client_may_map - all of [gfn, gfn + pages) is free, within quota and pool. client_has_all - all is mapped.
 */
enum pool_answer client_may_map(const struct client *c, const struct pool *p, uint64_t gfn, uint32_t pages);
enum pool_answer client_has_all(const struct client *c, uint64_t gfn, uint32_t pages);
/* client_take - gfn, that has no frame, gets the pool's next one; POOL_NO_FRAME, nothing changed: the quota
 * is used up, the pool empty, gfn no free one. client_drop - its frame, in memmgr's hand and dirty now;
 * POOL_NO_FRAME: it had none. */
uint32_t client_take(struct client *c, struct pool *p, uint64_t gfn);
uint32_t client_drop(struct client *c, struct pool *p, uint64_t gfn);
/* client_shape - pieces of neighbouring frames, and neighbouring gfns whose frames are not neighbours. */
void client_shape(const struct client *c, uint32_t *runs, uint32_t *splits);

#endif
