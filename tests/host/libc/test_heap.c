/* SPDX-License-Identifier: BSD-2-Clause */
// USES: lib/libc/heap.c
/* The page allocator under musl's malloc. */
#include "check.h"
#include "libc/heap.h"
#include <string.h>

#define PAGE 4096u
static uint8_t memory[64 * PAGE] __attribute__((aligned(4096)));

static struct heap fresh(size_t bytes)
{
    struct heap h;

    memset(memory, 0xa5, sizeof(memory));
    heap_init(&h, (uintptr_t)memory, bytes);
    return h;
}

TEST(heap_keeps_its_map_and_gives_the_rest)
{
    struct heap h = fresh(sizeof(memory));

    CHECK_EQ(h.pages, 63);
    CHECK_EQ(heap_take(&h, 63), (uintptr_t)memory + PAGE);
    CHECK_EQ(heap_take(&h, 1), 0);
    CHECK_EQ(h.peak, 63);
}

TEST(heap_too_small_for_its_map_gives_nothing)
{
    for (size_t bytes = 0; bytes < 2 * PAGE; bytes += 100) {
        struct heap h = fresh(bytes);
        CHECK_EQ(heap_take(&h, 1), 0);
        CHECK(!heap_give(&h, (uintptr_t)memory, 1));
    }
}

TEST(heap_zeroes_what_it_gives_again)
{
    struct heap h = fresh(sizeof(memory));
    uint8_t *p = (uint8_t *)heap_take(&h, 3);

    memset(p, 1, 3 * PAGE);
    CHECK(heap_give(&h, (uintptr_t)p, 3));
    CHECK_EQ(heap_take(&h, 2), (uintptr_t)p);
    for (unsigned i = 0; i < 2 * PAGE; i++)
        CHECK_EQ(p[i], 0);
    CHECK_EQ(p[2 * PAGE], 1);
}

TEST(heap_refuses_what_is_not_its_own)
{
    struct heap h = fresh(sizeof(memory));
    uintptr_t p = heap_take(&h, 2);

    CHECK(!heap_give(&h, p + 1, 1));
    CHECK(!heap_give(&h, (uintptr_t)memory, 1));
    CHECK(!heap_give(&h, p, 64));
    CHECK(!heap_give(&h, (uintptr_t)memory + sizeof(memory), 1));
    CHECK_EQ(h.used, 2);
    CHECK_EQ(heap_take(&h, 0), 0);
    CHECK_EQ(heap_take(&h, SIZE_MAX), 0);
}

/* Against a list of what is out: never two owners, used is right, and what fits is found. */
TEST(heap_random_use_never_overlaps)
{
    struct heap h = fresh(sizeof(memory));
    uint8_t owner[64] = { 0 };
    uint32_t x = 7;

    for (unsigned round = 0; round < 20000; round++) {
        uint32_t n = (x = x * 1103515245 + 12345) >> 16 & 7, at = (x = x * 1103515245 + 12345) >> 16 & 63,
                 used = 0;
        if (round & 1) {
            uintptr_t p = heap_take(&h, n);
            size_t first = p ? (p - h.base) / PAGE : 0;
            for (uint32_t i = 0; p && i < n; i++) {
                CHECK(!owner[first + i]);
                owner[first + i] = 1;
            }
        } else if (heap_give(&h, h.base + at * PAGE, n)) {
            memset(owner + at, 0, n);
        }
        for (unsigned i = 0; i < 64; i++)
            used += owner[i];
        CHECK_EQ(h.used, used);
    }
}
