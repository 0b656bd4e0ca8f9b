/* SPDX-License-Identifier: BSD-2-Clause */
/* How long this program does not run while it wants to: it reads the time-stamp counter over and over and
 * keeps the longest difference between two reads. Says what it saw; there is nothing that would be wrong. */
#pragma once
#include "base.h"

#define GAP_STEP    64 /* passes between two reads: the reads must not be all that is done */
#define GAP_OWN_MIN 8192
#define GAP_OWN_MAX 65536
#define GAP_WARM_UP 50000000 /* ticks: what was written before is still shown meanwhile */

static uint64_t gap_end; /* the tick until which it goes on */

static inline uint64_t gap_read(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return low | (uint64_t)high << 32;
}

static inline uint64_t gap_pass(void)
{
    for (unsigned n = 0; n < GAP_STEP; n++)
        __asm__ volatile("");
    return gap_read();
}

/* Differences by the number of their bits; the short ones are the loop itself, those of some 10,000 ticks the
 * guest's own timer interrupt, which follows each longer one, too. */
static void say_gaps(const uint64_t *longer, uint64_t began, uint64_t ended, uint64_t longest, uint64_t at)
{
    dprintf(1, "gap from %llu to %llu longest %llu at %llu\n", (unsigned long long)began,
            (unsigned long long)ended, (unsigned long long)longest, (unsigned long long)at);
    for (unsigned bits = 11; bits < 64; bits++)
        if (longer[bits])
            dprintf(1, "gap at least %llu: %llu\n", 1ull << bits, (unsigned long long)longer[bits]);
}

static void say_own(uint64_t ticks, uint64_t count)
{
    dprintf(1, "gap own %llu\n", (unsigned long long)(count ? ticks / count : 0));
}

static void part_gap(void)
{
    uint64_t longer[64] = { 0 }, longest = 0, at = 0, own = 0, owns = 0, warm = gap_read() + GAP_WARM_UP,
             began, last;

    while (gap_pass() < warm)
        ;
    began = last = gap_read();

    while (last < gap_end) {
        uint64_t now = gap_pass(), gap = now - last;
        longer[63 - __builtin_clzll(gap | 1)]++;
        if (gap >= GAP_OWN_MIN && gap < GAP_OWN_MAX) {
            own += gap;
            owns++;
        }
        if (gap > longest) {
            longest = gap;
            at = last;
        }
        last = now;
    }
    say_own(own, owns);
    say_gaps(longer, began, last, longest, at);
}
