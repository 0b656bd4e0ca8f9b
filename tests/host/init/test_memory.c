/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/init/memory.c lib/desc/desc.c
/* What init says of the memory that is left before it takes any. */
#include "check.h"
#include "servers/init/init.h"
#include <stdlib.h>

#define MB (1ul << 20)

void fail(const struct init *in, err_t e, const char *format, ...)
{
    (void)in, (void)e, (void)format;
    abort();
}

static bool possible(uint64_t bytes, uint64_t first, uint64_t second)
{
    static struct init in;

    in.pools = 2;
    in.pool[0] = (struct pool){ 1, 64 * MB, 64 * MB - first, false };
    in.pool[1] = (struct pool){ 2, 64 * MB, 64 * MB - second, false };
    return pool_possible(&in, bytes);
}

/* A waiting VMM is built only where page tables of those that run find room, too (limits.md, POOL_RESERVE).
 */
TEST(memory_is_possible_only_if_a_reserve_is_left)
{
    CHECK(possible(4 * MB, 4 * MB, MB));
    CHECK(!possible(4 * MB, 4 * MB, 0));
    CHECK(!possible(4 * MB, 4 * MB, MB - PAGE_BYTES));
    CHECK(possible(4 * MB, 0, 8 * MB));
    CHECK(possible(3 * MB, 4 * MB, MB)); /* it takes a power of two */
    CHECK(!possible(3 * MB, 4 * MB, MB / 2));
}

TEST(memory_that_is_left_in_pieces_is_not_possible)
{
    CHECK(!possible(8 * MB, 4 * MB, 12 * MB - PAGE_BYTES - 4 * MB));
    CHECK(!possible(8 * MB, 7 * MB, 7 * MB));
    CHECK(possible(4 * MB, 7 * MB, 7 * MB));
}
