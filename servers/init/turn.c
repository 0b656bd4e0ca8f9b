/* SPDX-License-Identifier: BSD-2-Clause */
/* See turn.h. */
#include "turn.h"

/* In parts of 64: what remains is for the switches between the two. */
#define SERVES 15u
#define BUILDS 48u
#define LEAST  8u /* chosen: one part of so many of the processor */

static uint64_t at_least(uint64_t n, uint64_t least)
{
    return n < least ? least : n;
}

struct turn turn_serving(struct turn whole)
{
    uint64_t budget = at_least(whole.budget * SERVES / 64, TURN_LEAST);

    return (struct turn){ budget, whole.budget == whole.period ? budget : at_least(whole.period, budget) };
}

/* In every second period, as the guests' turns follow each other; more often, rather than longer, for one
 * that has little. */
struct turn turn_building(struct turn whole, uint64_t us)
{
    uint64_t budget = at_least(at_least(whole.budget * BUILDS / 64, TURN_US * us), TURN_LEAST);
    uint64_t seldom = 2 * whole.period, often = LEAST * budget;

    return (struct turn){ budget, at_least(seldom < often ? seldom : often, budget) };
}

struct turn turn_of_server(uint64_t us)
{
    uint64_t budget = at_least(TURN_US * us, TURN_LEAST);

    return (struct turn){ budget, LEAST * budget };
}
