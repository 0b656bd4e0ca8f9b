/* SPDX-License-Identifier: BSD-2-Clause */
/* See pool.h. The permutation is a Feistel network of four rounds over 2 * half bits; results outside the
 * pool are skipped. */
#include "pool.h"

#define ROUNDS 4

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9; /* SplitMix64's finaliser */
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static uint64_t permute(const struct pool *p, uint64_t n)
{
    uint64_t mask = (1ull << p->half) - 1, left = n >> p->half, right = n & mask;

    for (unsigned r = 0; r < ROUNDS; r++) {
        uint64_t next = left ^ (mix(right ^ mix(p->seed + r)) & mask);
        left = right;
        right = next;
    }
    return left << p->half | right;
}

void pool_init(struct pool *p, uint64_t seed, uint32_t frames, uint32_t *back)
{
    *p = (struct pool){ .seed = seed, .frames = frames, .half = 1, .back = back };
    while (1ull << 2 * p->half < frames)
        p->half++;
}

uint32_t pool_take(struct pool *p)
{
    if (p->backs)
        return p->back[--p->backs];
    /* The domain is less than four times the pool: a few steps at most on average, all of it at the worst. */
    while (p->cursor < 1ull << 2 * p->half) {
        uint64_t n = permute(p, p->cursor++);
        if (n < p->frames) {
            p->given++;
            return (uint32_t)n;
        }
    }
    return POOL_NO_FRAME;
}

void pool_leave(struct pool *p, const uint8_t *used, uint64_t *done)
{
    uint32_t n = 0;

    p->cursor = p->given = p->backs = 0;
    for (uint32_t f; (f = pool_take(p)) != POOL_NO_FRAME; ++*done)
        if (!used[f])
            p->back[n++] = f;
    p->backs = n;
    for (uint32_t i = 0; i < n / 2; i++) { /* the last one is taken first */
        uint32_t f = p->back[i];
        p->back[i] = p->back[n - 1 - i];
        p->back[n - 1 - i] = f;
    }
}

uint32_t pool_left(const struct pool *p)
{
    return p->frames - p->given + p->backs;
}

void pool_back(struct pool *p, uint32_t frame)
{
    p->back[p->backs++] = frame;
}

void client_init(struct client *c, uint32_t quota, uint32_t *frame_of, uint32_t gfns)
{
    *c = (struct client){ .quota = quota, .gfns = gfns, .frame_of = frame_of };
    for (uint32_t i = 0; i < gfns; i++)
        frame_of[i] = POOL_NO_FRAME;
}

static bool inside(const struct client *c, uint64_t gfn, uint32_t pages)
{
    return pages && gfn < c->gfns && pages <= c->gfns - gfn;
}

enum pool_answer client_may_map(const struct client *c, const struct pool *p, uint64_t gfn, uint32_t pages)
{
    if (!inside(c, gfn, pages))
        return POOL_RANGE;
    for (uint32_t i = 0; i < pages; i++)
        if (c->frame_of[gfn + i] != POOL_NO_FRAME)
            return POOL_MAPPED;
    if (c->mapped > c->quota || pages > c->quota - c->mapped)
        return POOL_QUOTA;
    return pages > pool_left(p) ? POOL_EMPTY : POOL_OK;
}

enum pool_answer client_has_all(const struct client *c, uint64_t gfn, uint32_t pages)
{
    if (!inside(c, gfn, pages))
        return POOL_RANGE;
    for (uint32_t i = 0; i < pages; i++)
        if (c->frame_of[gfn + i] == POOL_NO_FRAME)
            return POOL_NOT_MAPPED;
    return POOL_OK;
}

void client_shape(const struct client *c, uint32_t *runs, uint32_t *splits)
{
    *runs = *splits = 0;
    for (uint32_t g = 0; g < c->gfns; g++) {
        if (c->frame_of[g] == POOL_NO_FRAME)
            continue;
        bool before = g && c->frame_of[g - 1] != POOL_NO_FRAME;
        bool joined = before && c->frame_of[g - 1] + 1 == c->frame_of[g];
        *runs += !joined;
        *splits += before && !joined;
    }
}
