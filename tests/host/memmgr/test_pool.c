/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/memmgr/pool.c
/* memmgr's choice of frames: each once, scattered, within quotas. */
#include "check.h"
#include "servers/memmgr/pool.h"
#include <stdlib.h>
#include <string.h>

#define FRAMES 32768u

static uint8_t place[FRAMES];

/* What memmgr does with a frame: to a guest; back from it. */
static bool give(struct pool *p, uint32_t f)
{
    return (!frame_is_dirty(p, f) || frame_zeroed(p, f)) && frame_given(p, f);
}

static bool come_back(struct pool *p, uint32_t f)
{
    return frame_returned(p, f) && frame_zeroed(p, f) && pool_back(p, f);
}

TEST(pool_gives_every_frame_once)
{
    static uint8_t seen[FRAMES];
    struct pool p;

    for (uint64_t seed = 0; seed < 5; seed++) {
        memset(seen, 0, sizeof(seen));
        pool_init(&p, seed, FRAMES - 17, NULL, place);
        for (uint32_t i = 0; i < FRAMES - 17; i++) {
            uint32_t f = pool_take(&p);
            CHECK(f < FRAMES - 17);
            CHECK(!seen[f]);
            seen[f] = 1;
        }
        CHECK_EQ(pool_take(&p), POOL_NO_FRAME);
        CHECK_EQ(pool_left(&p), 0);
    }
}

TEST(pool_that_is_begun_anew_gives_what_nobody_has)
{
    static uint8_t theirs[FRAMES];
    static uint32_t back[FRAMES], order[FRAMES];
    struct pool p, q;
    uint32_t n = 0;
    uint64_t done = 0;

    pool_init(&p, 7, FRAMES - 5, back, place);
    pool_init(&q, 7, FRAMES - 5, back, theirs);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t f = pool_take(&p);
        CHECK(pool_learned(&q, f));
        CHECK(!pool_learned(&q, f));
    }
    CHECK(!pool_learned(&q, FRAMES - 5));
    for (uint32_t f; (f = pool_take(&p)) != POOL_NO_FRAME;)
        order[n++] = f;
    pool_leave(&q, &done);
    CHECK_EQ(done, FRAMES - 5);
    CHECK_EQ(pool_left(&q), n);
    for (uint32_t i = 0; i < n; i++) { /* in the same order as without that, and dirty */
        CHECK_EQ(pool_take(&q), order[i]);
        CHECK(frame_is_dirty(&q, order[i]));
    }
    CHECK_EQ(pool_take(&q), POOL_NO_FRAME);
    CHECK(come_back(&q, 3));
    CHECK_EQ(pool_take(&q), 3);
    CHECK(!frame_is_dirty(&q, 3));
}

TEST(pool_scatters_neighbours)
{
    static uint32_t distance[2 * FRAMES];
    struct pool p;
    uint32_t far = 0, most = 0, last = 0;

    for (uint64_t seed = 1; seed < 4; seed++) {
        memset(distance, 0, sizeof(distance));
        far = most = 0;
        pool_init(&p, seed, FRAMES, NULL, place);
        for (uint32_t i = 0; i < FRAMES; i++) {
            uint32_t f = pool_take(&p);
            if (i) {
                uint32_t d = f - last + FRAMES;
                far += d != FRAMES - 1 && d != FRAMES + 1;
                if (++distance[d] > most)
                    most = distance[d];
            }
            last = f;
        }
        CHECK(far > FRAMES * 9 / 10);
        CHECK(most < FRAMES / 20);
    }
}

TEST(pool_order_changes_with_the_seed)
{
    static uint8_t second[FRAMES];
    struct pool a, b;
    uint32_t same = 0;

    pool_init(&a, 1, FRAMES, NULL, place);
    pool_init(&b, 2, FRAMES, NULL, second);
    for (uint32_t i = 0; i < FRAMES; i++)
        same += pool_take(&a) == pool_take(&b);
    CHECK(same < FRAMES / 100);
}

TEST(pool_gives_again_what_came_back_and_nothing_else)
{
    static uint32_t back[64];
    uint8_t out[64] = { 0 };
    struct pool p;

    pool_init(&p, 3, 64, back, place);
    for (uint32_t i = 0; i < 64; i++)
        out[pool_take(&p)] = 1;
    for (uint32_t turn = 0; turn < 100; turn++) {
        uint32_t n = turn % 64;
        for (uint32_t i = 0; i < n; i++) {
            CHECK(come_back(&p, (i * 7 + turn) % 64));
            CHECK(!come_back(&p, (i * 7 + turn) % 64)); /* it is there already */
            out[(i * 7 + turn) % 64] = 0;
        }
        CHECK_EQ(pool_left(&p), n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t f = pool_take(&p);
            CHECK(f < 64 && !out[f]);
            out[f] = 1;
        }
        CHECK_EQ(pool_take(&p), POOL_NO_FRAME);
    }
}

/* Each of these is refused, and changes nothing. */
TEST(pool_frame_goes_only_where_its_place_lets_it)
{
    static uint32_t back[4];
    struct pool p;

    pool_init(&p, 1, 4, back, place);
    for (uint32_t f = 0; f < 5; f++) /* in the pool, or none of it */
        CHECK(!frame_zeroed(&p, f) && !frame_given(&p, f) && !pool_back(&p, f) && !frame_returned(&p, f));
    uint32_t f = pool_take(&p);
    CHECK(!frame_zeroed(&p, f)); /* it is */
    CHECK(give(&p, f));
    CHECK(!frame_given(&p, f) && !pool_back(&p, f) && !frame_zeroed(&p, f));
    CHECK(frame_returned(&p, f) && frame_is_dirty(&p, f));
    CHECK(!frame_given(&p, f) && !pool_back(&p, f));
    CHECK(frame_zeroed(&p, f) && pool_back(&p, f));
    CHECK_EQ(pool_left(&p), 4);
}

TEST(client_takes_within_its_quota_and_drops_what_it_has)
{
    static uint32_t back[8];
    uint32_t table[6];
    struct client c;
    struct pool p;

    pool_init(&p, 1, 8, back, place);
    client_init(&c, 2, table, 6);
    uint32_t f = client_take(&c, &p, 3);
    CHECK(f < 8 && table[3] == f && c.mapped == 1);
    CHECK_EQ(client_take(&c, &p, 3), POOL_NO_FRAME); /* has one */
    CHECK_EQ(client_take(&c, &p, 6), POOL_NO_FRAME);
    CHECK(client_take(&c, &p, 5) < 8);
    CHECK_EQ(client_take(&c, &p, 0), POOL_NO_FRAME); /* quota */
    CHECK_EQ(c.mapped, 2);
    CHECK_EQ(client_drop(&c, &p, 0), POOL_NO_FRAME);
    CHECK_EQ(client_drop(&c, &p, 6), POOL_NO_FRAME);
    CHECK_EQ(client_drop(&c, &p, 3), f);
    CHECK(c.mapped == 1 && table[3] == POOL_NO_FRAME && frame_is_dirty(&p, f));
    CHECK_EQ(client_drop(&c, &p, 3), POOL_NO_FRAME);
    CHECK(frame_zeroed(&p, f) && pool_back(&p, f));
    CHECK_EQ(client_take(&c, &p, 0), f);
    c.quota = 8;
    while (pool_take(&p) != POOL_NO_FRAME)
        ;
    CHECK_EQ(client_take(&c, &p, 1), POOL_NO_FRAME); /* pool */
    CHECK_EQ(c.mapped, 2);
}

TEST(client_quota_and_ranges)
{
    uint32_t table[100];
    struct client c;
    struct pool p;

    pool_init(&p, 1, 64, NULL, place);
    client_init(&c, 50, table, 100);
    CHECK_EQ(client_may_map(&c, &p, 0, 50), POOL_OK);
    CHECK_EQ(client_may_map(&c, &p, 0, 51), POOL_QUOTA);
    CHECK_EQ(client_may_map(&c, &p, 100, 1), POOL_RANGE);
    CHECK_EQ(client_may_map(&c, &p, 99, 2), POOL_RANGE);
    CHECK_EQ(client_may_map(&c, &p, UINT64_MAX, 2), POOL_RANGE);
    CHECK_EQ(client_may_map(&c, &p, 0, 0), POOL_RANGE);
    CHECK_EQ(client_has_all(&c, 0, 1), POOL_NOT_MAPPED);
    table[7] = pool_take(&p);
    c.mapped = 1;
    CHECK_EQ(client_may_map(&c, &p, 5, 3), POOL_MAPPED);
    CHECK_EQ(client_has_all(&c, 7, 1), POOL_OK);
    CHECK_EQ(client_may_map(&c, &p, 10, 50), POOL_QUOTA);
    while (pool_take(&p) != POOL_NO_FRAME)
        ;
    CHECK_EQ(client_may_map(&c, &p, 10, 1), POOL_EMPTY);
}

TEST(client_shape_counts_runs)
{
    uint32_t table[6] = { 5, 6, 9, POOL_NO_FRAME, 10, 11 }, runs, splits;
    struct client c = { .gfns = 6, .frame_of = table };

    client_shape(&c, &runs, &splits);
    CHECK_EQ(runs, 3);
    CHECK_EQ(splits, 1);
}
