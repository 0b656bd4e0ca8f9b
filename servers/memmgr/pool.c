/* SPDX-License-Identifier: BSD-2-Clause */
/* See pool.h. The permutation is a Feistel network of four rounds over 2 * half bits; results outside the
 * pool are skipped. */
#include "pool.h"

#define ROUNDS   4
#define HALF_MAX 16u /* a frame's number has 32 bits */

/*@ predicate is_pool(struct pool *p) = \valid(p) && 0 < p->half <= HALF_MAX && p->backs <= p->frames &&
        \valid(p->back + (0 .. p->frames - 1)) && \valid(p->place + (0 .. p->frames - 1)) &&
        \separated(p, p->back + (0 .. p->frames - 1), p->place + (0 .. p->frames - 1));
    predicate is_client(struct client *c, struct pool *p) = \valid(c) &&
        \valid(c->frame_of + (0 .. c->gfns - 1)) && \separated(c, c->frame_of + (0 .. c->gfns - 1), p,
            p->back + (0 .. p->frames - 1), p->place + (0 .. p->frames - 1));
    predicate in(integer place) = place == FRAME_IN || place == FRAME_IN_DIRTY;
    predicate out(integer place) = place == FRAME_OUT || place == FRAME_OUT_DIRTY || place == FRAME_GIVEN; */

/*@ assigns \nothing; */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9; /* SplitMix64's finaliser */
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/*@ requires \valid_read(p) && 0 < p->half <= HALF_MAX;
    assigns \nothing; */
static uint64_t permute(const struct pool *p, uint64_t n)
{
    uint64_t mask = (1ull << p->half) - 1, left = n >> p->half, right = n & mask;

    /*@ loop invariant 0 <= r <= ROUNDS;
        loop assigns r, left, right;
        loop variant ROUNDS - r; */
    for (unsigned r = 0; r < ROUNDS; r++) {
        uint64_t next = left ^ (mix(right ^ mix(p->seed + r)) & mask);
        left = right;
        right = next;
    }
    return left << p->half | right;
}

/*@ requires \valid(p) && \valid(back + (0 .. frames - 1)) && \valid(place + (0 .. frames - 1));
    requires \separated(p, back + (0 .. frames - 1), place + (0 .. frames - 1));
    assigns *p, place[0 .. frames - 1];
    ensures is_pool(p);
    ensures its_tables: p->frames == frames && p->back == back && p->place == place;
    ensures all_in: \forall integer f; 0 <= f < frames ==> place[f] == FRAME_IN;
    ensures counted: p->left == frames && p->backs == 0;
    ensures from_the_first: p->cursor == 0; */
void pool_init(struct pool *p, uint64_t seed, uint32_t frames, uint32_t *back, uint8_t *place)
{
    *p = (struct pool){
        .seed = seed, .frames = frames, .half = 1, .back = back, .place = place, .left = frames
    };
    /*@ loop invariant 0 < p->half <= HALF_MAX;
        loop assigns p->half;
        loop variant HALF_MAX - p->half; */
    while (p->half < HALF_MAX && 1ull << 2 * p->half < frames)
        p->half++;
    /*@ loop invariant 0 <= f <= frames;
        loop invariant \forall integer i; 0 <= i < f ==> place[i] == FRAME_IN;
        loop assigns f, place[0 .. frames - 1];
        loop variant frames - f; */
    for (uint32_t f = 0; f < frames; f++)
        place[f] = FRAME_IN;
}

/* The next number of the order. The domain is less than four times the pool: a few steps at most on average,
 * all of it at the worst. */
/*@ requires is_pool(p);
    assigns p->cursor;
    ensures of_the_pool: \result != POOL_NO_FRAME ==> \result < p->frames && p->cursor > \old(p->cursor); */
static uint32_t next_number(struct pool *p)
{
    /*@ loop invariant p->cursor >= \at(p->cursor, Pre);
        loop assigns p->cursor;
        loop variant (1ull << 2 * p->half) - p->cursor; */
    while (p->cursor < 1ull << 2 * p->half) {
        uint64_t n = permute(p, p->cursor++);
        if (n < p->frames)
            return (uint32_t)n;
    }
    return POOL_NO_FRAME;
}

/*@ requires is_pool(p);
    assigns \nothing;
    ensures asked: \result <==> frame < p->frames && in(p->place[frame]); */
static bool is_in(const struct pool *p, uint32_t frame)
{
    return frame < p->frames && (p->place[frame] == FRAME_IN || p->place[frame] == FRAME_IN_DIRTY);
}

/*@ requires is_pool(p);
    assigns p->place[0 .. p->frames - 1];
    ensures if_there: \result <==> frame < p->frames && \old(p->place[frame]) == from;
    ensures moved: \result ==> p->place[frame] == to;
    ensures no_other: \forall integer f; 0 <= f < p->frames && (f != frame || !\result) ==>
        p->place[f] == \old(p->place[f]); */
static bool move(struct pool *p, uint32_t frame, uint8_t from, uint8_t to)
{
    if (frame >= p->frames || p->place[frame] != from)
        return false;
    p->place[frame] = to;
    return true;
}

/*@ requires is_pool(p) && frame < p->frames && in(p->place[frame]);
    assigns p->left, p->place[frame];
    ensures zero_or_not: p->place[frame] == (\old(p->place[frame]) == FRAME_IN ? FRAME_OUT : FRAME_OUT_DIRTY);
*/
static void hand_out(struct pool *p, uint32_t frame)
{
    p->place[frame] = p->place[frame] == FRAME_IN ? FRAME_OUT : FRAME_OUT_DIRTY;
    p->left--;
}

/*@ requires is_pool(p);
    assigns p->cursor, p->backs, p->left, p->place[0 .. p->frames - 1];
    ensures is_pool(p);
    ensures a_number: \result < p->frames || \result == POOL_NO_FRAME;
    ensures was_in: \forall integer f; 0 <= f < p->frames && f == \result ==> in(\old(p->place[f]));
    ensures zero_or_not: \forall integer f; 0 <= f < p->frames && f == \result ==>
        p->place[f] == (\old(p->place[f]) == FRAME_IN ? FRAME_OUT : FRAME_OUT_DIRTY);
    ensures no_other: \forall integer f; 0 <= f < p->frames && f != \result ==>
        p->place[f] == \old(p->place[f]); */
uint32_t pool_take(struct pool *p)
{
    uint32_t f;

    /*@ loop invariant is_pool(p) && p->backs <= \at(p->backs, Pre);
        loop assigns p->backs, f;
        loop variant p->backs; */
    while (p->backs) {
        f = p->back[--p->backs];
        if (is_in(p, f)) {
            hand_out(p, f);
            return f;
        }
    }
    /*@ loop invariant is_pool(p);
        loop assigns p->cursor, f;
        loop variant UINT64_MAX - p->cursor; */
    while ((f = next_number(p)) != POOL_NO_FRAME) {
        if (is_in(p, f)) {
            hand_out(p, f);
            return f;
        }
    }
    return POOL_NO_FRAME;
}

/*@ requires is_pool(p);
    assigns p->place[0 .. p->frames - 1];
    ensures was_dirty: \result <==> frame < p->frames && \old(p->place[frame]) == FRAME_OUT_DIRTY;
    ensures zero: \result ==> p->place[frame] == FRAME_OUT;
    ensures no_other: \forall integer f; 0 <= f < p->frames && (f != frame || !\result) ==>
        p->place[f] == \old(p->place[f]); */
bool frame_zeroed(struct pool *p, uint32_t frame)
{
    return move(p, frame, FRAME_OUT_DIRTY, FRAME_OUT);
}

/*@ requires is_pool(p);
    assigns p->place[0 .. p->frames - 1];
    ensures only_zero_ones: \result <==> frame < p->frames && \old(p->place[frame]) == FRAME_OUT;
    ensures given: \result ==> p->place[frame] == FRAME_GIVEN;
    ensures no_other: \forall integer f; 0 <= f < p->frames && (f != frame || !\result) ==>
        p->place[f] == \old(p->place[f]); */
bool frame_given(struct pool *p, uint32_t frame)
{
    return move(p, frame, FRAME_OUT, FRAME_GIVEN);
}

/*@ requires is_pool(p);
    assigns p->left, p->backs, p->back[0 .. p->frames - 1], p->place[0 .. p->frames - 1];
    ensures is_pool(p);
    ensures only_zero_ones: \result ==> frame < p->frames && \old(p->place[frame]) == FRAME_OUT;
    ensures in_again: \result ==> p->place[frame] == FRAME_IN;
    ensures no_other: \forall integer f; 0 <= f < p->frames && (f != frame || !\result) ==>
        p->place[f] == \old(p->place[f]); */
bool pool_back(struct pool *p, uint32_t frame)
{
    if (p->backs >= p->frames || !move(p, frame, FRAME_OUT, FRAME_IN))
        return false;
    p->back[p->backs++] = frame;
    p->left++;
    return true;
}

/*@ requires is_pool(p);
    assigns p->place[0 .. p->frames - 1];
    ensures was_out: \result <==> frame < p->frames && out(\old(p->place[frame]));
    ensures dirty: \result ==> p->place[frame] == FRAME_OUT_DIRTY;
    ensures no_other: \forall integer f; 0 <= f < p->frames && (f != frame || !\result) ==>
        p->place[f] == \old(p->place[f]); */
bool frame_returned(struct pool *p, uint32_t frame)
{
    return move(p, frame, FRAME_GIVEN, FRAME_OUT_DIRTY) || move(p, frame, FRAME_OUT, FRAME_OUT_DIRTY) ||
           move(p, frame, FRAME_OUT_DIRTY, FRAME_OUT_DIRTY);
}

/*@ requires is_pool(p);
    assigns \nothing;
    ensures asked: \result <==> frame < p->frames && p->place[frame] == FRAME_OUT_DIRTY; */
bool frame_is_dirty(const struct pool *p, uint32_t frame)
{
    return frame < p->frames && p->place[frame] == FRAME_OUT_DIRTY;
}

/*@ requires is_pool(p);
    assigns p->place[0 .. p->frames - 1];
    ensures of_nobody: \result <==> frame < p->frames && \old(p->place[frame]) == FRAME_IN;
    ensures given: \result ==> p->place[frame] == FRAME_GIVEN;
    ensures no_other: \forall integer f; 0 <= f < p->frames && (f != frame || !\result) ==>
        p->place[f] == \old(p->place[f]); */
bool pool_learned(struct pool *p, uint32_t frame)
{
    return move(p, frame, FRAME_IN, FRAME_GIVEN);
}

/*@ requires is_pool(p);
    assigns p->place[0 .. p->frames - 1];
    ensures dirty: \forall integer f; 0 <= f < p->frames ==>
        p->place[f] == (\old(p->place[f]) == FRAME_GIVEN ? FRAME_GIVEN : FRAME_IN_DIRTY); */
static void distrust(struct pool *p)
{
    /*@ loop invariant 0 <= f <= p->frames;
        loop invariant \forall integer i; 0 <= i < f ==>
            p->place[i] == (\at(p->place[i], Pre) == FRAME_GIVEN ? FRAME_GIVEN : FRAME_IN_DIRTY);
        loop invariant \forall integer i; f <= i < p->frames ==> p->place[i] == \at(p->place[i], Pre);
        loop assigns f, p->place[0 .. p->frames - 1];
        loop variant p->frames - f; */
    for (uint32_t f = 0; f < p->frames; f++)
        if (p->place[f] != FRAME_GIVEN)
            p->place[f] = FRAME_IN_DIRTY;
}

/*@ requires is_pool(p) && \valid(done);
    requires \separated(done, p, p->back + (0 .. p->frames - 1), p->place + (0 .. p->frames - 1));
    assigns *done, p->cursor, p->backs, p->left, p->back[0 .. p->frames - 1], p->place[0 .. p->frames - 1];
    ensures is_pool(p);
    ensures dirty: \forall integer f; 0 <= f < p->frames ==>
        p->place[f] == (\old(p->place[f]) == FRAME_GIVEN ? FRAME_GIVEN : FRAME_IN_DIRTY); */
void pool_leave(struct pool *p, uint64_t *done)
{
    uint32_t n = 0, frames = p->frames, *back = p->back;

    distrust(p);
    p->cursor = 0;
    /*@ loop invariant is_pool(p) && n <= frames == p->frames && back == p->back;
        loop assigns f, n, *done, p->cursor, back[0 .. frames - 1];
        loop variant UINT64_MAX - p->cursor; */
    for (uint32_t f; n < frames && (f = next_number(p)) != POOL_NO_FRAME; ++*done)
        if (is_in(p, f))
            back[n++] = f;
    p->cursor = 1ull << 2 * p->half;
    p->backs = p->left = n;
    /*@ loop invariant is_pool(p) && 0 <= i <= n / 2;
        loop assigns i, back[0 .. frames - 1];
        loop variant n / 2 - i; */
    for (uint32_t i = 0; i < n / 2; i++) { /* the last one is taken first */
        uint32_t f = back[i];
        back[i] = back[n - 1 - i];
        back[n - 1 - i] = f;
    }
}

/*@ requires \valid_read(p);
    assigns \nothing;
    ensures \result == p->left; */
uint32_t pool_left(const struct pool *p)
{
    return p->left;
}

/*@ requires \valid(c) && \valid(frame_of + (0 .. gfns - 1)) && \separated(c, frame_of + (0 .. gfns - 1));
    assigns *c, frame_of[0 .. gfns - 1];
    ensures its_table: c->gfns == gfns && c->frame_of == frame_of;
    ensures its_quota: c->quota == quota;
    ensures has_nothing: c->mapped == 0 &&
        \forall integer g; 0 <= g < gfns ==> frame_of[g] == POOL_NO_FRAME; */
void client_init(struct client *c, uint32_t quota, uint32_t *frame_of, uint32_t gfns)
{
    *c = (struct client){ .quota = quota, .gfns = gfns, .frame_of = frame_of };
    /*@ loop invariant 0 <= i <= gfns;
        loop invariant \forall integer g; 0 <= g < i ==> frame_of[g] == POOL_NO_FRAME;
        loop assigns i, frame_of[0 .. gfns - 1];
        loop variant gfns - i; */
    for (uint32_t i = 0; i < gfns; i++)
        frame_of[i] = POOL_NO_FRAME;
}

/*@ requires \valid_read(c);
    assigns \nothing;
    ensures bounds: \result <==> 0 < pages && gfn + pages <= c->gfns; */
static bool inside(const struct client *c, uint64_t gfn, uint32_t pages)
{
    return pages && gfn < c->gfns && pages <= c->gfns - gfn;
}

/*@ requires \valid_read(p) && \valid_read(c) && \valid_read(c->frame_of + (0 .. c->gfns - 1));
    assigns \nothing;
    ensures within: \result == POOL_OK ==> 0 < pages && gfn + pages <= c->gfns;
    ensures quota_kept: \result == POOL_OK ==> c->mapped + pages <= c->quota;
    ensures enough: \result == POOL_OK ==> pages <= p->left;
    ensures over_nothing: \result == POOL_OK ==>
        \forall integer g; gfn <= g < gfn + pages ==> c->frame_of[g] == POOL_NO_FRAME; */
enum pool_answer client_may_map(const struct client *c, const struct pool *p, uint64_t gfn, uint32_t pages)
{
    if (!inside(c, gfn, pages))
        return POOL_RANGE;
    /*@ loop invariant 0 <= i <= pages;
        loop invariant \forall integer g; gfn <= g < gfn + i ==> c->frame_of[g] == POOL_NO_FRAME;
        loop assigns i;
        loop variant pages - i; */
    for (uint32_t i = 0; i < pages; i++)
        if (c->frame_of[gfn + i] != POOL_NO_FRAME)
            return POOL_MAPPED;
    if (c->mapped > c->quota || pages > c->quota - c->mapped)
        return POOL_QUOTA;
    return pages > pool_left(p) ? POOL_EMPTY : POOL_OK;
}

/*@ requires \valid_read(c) && \valid_read(c->frame_of + (0 .. c->gfns - 1));
    assigns \nothing;
    ensures within: \result == POOL_OK ==> 0 < pages && gfn + pages <= c->gfns;
    ensures all: \result == POOL_OK ==>
        \forall integer g; gfn <= g < gfn + pages ==> c->frame_of[g] != POOL_NO_FRAME; */
enum pool_answer client_has_all(const struct client *c, uint64_t gfn, uint32_t pages)
{
    if (!inside(c, gfn, pages))
        return POOL_RANGE;
    /*@ loop invariant 0 <= i <= pages;
        loop invariant \forall integer g; gfn <= g < gfn + i ==> c->frame_of[g] != POOL_NO_FRAME;
        loop assigns i;
        loop variant pages - i; */
    for (uint32_t i = 0; i < pages; i++)
        if (c->frame_of[gfn + i] == POOL_NO_FRAME)
            return POOL_NOT_MAPPED;
    return POOL_OK;
}

/*@ requires is_pool(p) && is_client(c, p);
    assigns c->mapped, c->frame_of[0 .. c->gfns - 1];
    assigns p->cursor, p->backs, p->left, p->place[0 .. p->frames - 1];
    ensures is_pool(p) && is_client(c, p);
    ensures quota_kept: \result != POOL_NO_FRAME ==> c->mapped <= c->quota;
    ensures counted: c->mapped == \old(c->mapped) + (\result != POOL_NO_FRAME ? 1 : 0);
    ensures within: \result != POOL_NO_FRAME ==> gfn < c->gfns && \result < p->frames;
    ensures had_none: \result != POOL_NO_FRAME ==> \old(c->frame_of[gfn]) == POOL_NO_FRAME;
    ensures noted: \result != POOL_NO_FRAME ==> c->frame_of[gfn] == \result;
    ensures no_other_gfn: \forall integer g; 0 <= g < c->gfns && (g != gfn || \result == POOL_NO_FRAME) ==>
        c->frame_of[g] == \old(c->frame_of[g]);
    ensures was_in: \forall integer f; 0 <= f < p->frames && f == \result ==> in(\old(p->place[f]));
    ensures in_no_more: \forall integer f; 0 <= f < p->frames && f == \result ==> !in(p->place[f]);
    ensures no_other: \forall integer f; 0 <= f < p->frames && f != \result ==>
        p->place[f] == \old(p->place[f]); */
uint32_t client_take(struct client *c, struct pool *p, uint64_t gfn)
{
    if (gfn >= c->gfns || c->frame_of[gfn] != POOL_NO_FRAME || c->mapped >= c->quota)
        return POOL_NO_FRAME;
    uint32_t f = pool_take(p);
    if (f != POOL_NO_FRAME) {
        c->frame_of[gfn] = f;
        c->mapped++;
    }
    return f;
}

/*@ requires is_pool(p) && is_client(c, p);
    requires counted_before: gfn < c->gfns && c->frame_of[gfn] != POOL_NO_FRAME ==> c->mapped > 0;
    assigns c->mapped, c->frame_of[0 .. c->gfns - 1], p->place[0 .. p->frames - 1];
    ensures is_pool(p) && is_client(c, p);
    ensures counted: c->mapped == \old(c->mapped) - (\result != POOL_NO_FRAME ? 1 : 0);
    ensures its_own: \result != POOL_NO_FRAME ==>
        gfn < c->gfns && \result == \old(c->frame_of[gfn]) && c->frame_of[gfn] == POOL_NO_FRAME;
    ensures no_other_gfn: \forall integer g; 0 <= g < c->gfns && (g != gfn || \result == POOL_NO_FRAME) ==>
        c->frame_of[g] == \old(c->frame_of[g]);
    ensures dirty: \forall integer f; 0 <= f < p->frames && f == \result ==> p->place[f] == FRAME_OUT_DIRTY;
    ensures no_other: \forall integer f; 0 <= f < p->frames && f != \result ==>
        p->place[f] == \old(p->place[f]); */
uint32_t client_drop(struct client *c, struct pool *p, uint64_t gfn)
{
    if (gfn >= c->gfns || !frame_returned(p, c->frame_of[gfn]))
        return POOL_NO_FRAME;
    uint32_t f = c->frame_of[gfn];
    c->frame_of[gfn] = POOL_NO_FRAME;
    c->mapped--;
    return f;
}

/*@ requires \valid_read(c) && \valid_read(c->frame_of + (0 .. c->gfns - 1));
    requires \valid(runs) && \valid(splits) && \separated(runs, splits, c, c->frame_of + (0 .. c->gfns - 1));
    assigns *runs, *splits;
    ensures bounds: *splits <= *runs <= c->gfns;
    ensures of_something: *runs > 0 <==>
        \exists integer g; 0 <= g < c->gfns && c->frame_of[g] != POOL_NO_FRAME; */
void client_shape(const struct client *c, uint32_t *runs, uint32_t *splits)
{
    *runs = *splits = 0;
    /*@ loop invariant 0 <= g <= c->gfns && *splits <= *runs <= g;
        loop invariant *runs > 0 <==> \exists integer i; 0 <= i < g && c->frame_of[i] != POOL_NO_FRAME;
        loop assigns g, *runs, *splits;
        loop variant c->gfns - g; */
    for (uint32_t g = 0; g < c->gfns; g++) {
        if (c->frame_of[g] == POOL_NO_FRAME)
            continue;
        bool before = g && c->frame_of[g - 1] != POOL_NO_FRAME;
        bool joined = before && c->frame_of[g - 1] + 1 == c->frame_of[g];
        *runs += !joined;
        *splits += before && !joined;
    }
}
