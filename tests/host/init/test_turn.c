/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/init/turn.c
/* The parts of a component's processor time, for every share that a description may give. */
#include "check.h"
#include "servers/init/turn.h"

#define US 1000ul /* ticks, where the counter runs at 1 GHz; bochs's has 50 */

static const uint64_t periods[] = { 1, 2, 10, 100, 133, 134, 1000, 10000, 100000, 1000000, 1000000000 };

static bool possible(struct turn t)
{
    return t.budget >= TURN_LEAST && t.budget <= t.period;
}

/* A budget that the kernel takes, on a machine whose counter has so many ticks in a microsecond. */
static void check_share(uint64_t budget_us, uint64_t period_us, uint64_t us)
{
    struct turn whole = { budget_us * us, period_us * us };
    struct turn serves = turn_serving(whole), builds = turn_building(whole, us);
    uint64_t longest = whole.budget > TURN_US * us ? whole.budget : TURN_US * us;

    if (!possible(whole))
        return;

    CHECK(possible(serves));
    CHECK(possible(builds));
    CHECK(serves.budget <= whole.budget);
    CHECK(builds.budget <= longest);
    CHECK(builds.period <= 8 * builds.budget);
    CHECK((whole.budget == whole.period) == (serves.budget == serves.period) || whole.period <= TURN_LEAST);
    if (whole.budget == whole.period && whole.budget >= 2 * TURN_US * us)
        CHECK(serves.budget + builds.budget <= whole.budget);
}

TEST(every_share_can_be_divided_and_the_builder_has_an_eighth_in_turns_that_are_no_longer)
{
    for (unsigned i = 0; i < sizeof(periods) / sizeof(periods[0]); i++)
        for (uint64_t percent = 0; percent <= 100; percent++) {
            uint64_t budget = periods[i] * percent / 100;
            check_share(budget ? budget : 1, periods[i], US);
            check_share(budget ? budget : 1, periods[i], 50);
        }
}

TEST(who_builds_a_server_has_an_eighth_in_short_turns)
{
    for (uint64_t us = 1; us < 5000; us += 7) {
        struct turn t = turn_of_server(us);
        CHECK(possible(t));
        CHECK_EQ(t.period, 8 * t.budget);
        CHECK(t.budget == TURN_US * us || t.budget == TURN_LEAST);
    }
}

/* tests/system/test_gap.py counts on it. */
TEST(of_a_whole_share_the_builder_has_three_quarters_of_every_second_turn)
{
    struct turn whole = { 10000 * US, 10000 * US };

    CHECK_EQ(turn_serving(whole).budget, 2343750);
    CHECK_EQ(turn_building(whole, US).budget, 7500000);
    CHECK_EQ(turn_building(whole, US).period, 20000000);
}
