/* SPDX-License-Identifier: BSD-2-Clause */
/* The scheduler with a clock that the test turns: which thread is chosen, to the tick what a budget is
 * charged. */
// USES: kernel/obj/*.c kernel/[dfils]*.c tests/host/kernel/fake_arch.c
#include "kernel/cpu.h"
#include "kernel/log.h"
#undef CHECK
#include "check.h"
#include "fake_arch.h"
#include <stdlib.h>
#include <string.h>

static struct tcb *thread[4];
static struct sched context[4];

static void init(unsigned i, unsigned priority, uint64_t budget, uint64_t period)
{
    thread[i] = aligned_alloc(64, sizeof(struct tcb));
    memset(thread[i], 0, sizeof(struct tcb));
    context[i] = (struct sched){ .tcb = thread[i],
                                 .budget = budget,
                                 .period = period,
                                 .remaining = budget,
                                 .period_start = fake.now,
                                 .ceiling = 255 };
    context[i].refill.kind = DEADLINE_REFILL;
    thread[i]->sc = &context[i];
    thread[i]->priority = priority;
    thread_ready(thread[i]);
}

/* Time passes, the timer interrupts. */
static struct tcb *after(uint64_t ticks)
{
    fake.now += ticks;
    cpu.timer_armed = 0;
    cpu.reschedule = true;
    deadline_expire(fake.now);
    return sched_choose();
}

TEST(the_highest_priority_is_chosen_first_in_first_out)
{
    init(0, 63, 1000, 1000);
    init(1, 64, 1000, 1000);
    init(2, 64, 1000, 1000);
    init(3, 255, 1000, 1000);
    CHECK(sched_choose() == thread[3]);
    thread_block(thread[3], THREAD_RECV);
    CHECK(sched_choose() == thread[1]);
    sched_yield();
    CHECK(sched_choose() == thread[2]);
    CHECK(after(500) == thread[2]);
    CHECK(after(500) == thread[1]); /* a full budget never ends, but its turn does */
    CHECK(after(1000) == thread[2]);
    thread_stop(thread[1]);
    CHECK(after(5000) == thread[2]);
    thread_stop(thread[2]);
    CHECK(sched_choose() == thread[0]);
    thread_ready(thread[3]);
    CHECK(sched_choose() == thread[3]);
    thread_stop(thread[3]);
    CHECK(sched_choose() == thread[0]);
    thread_stop(thread[0]);
    CHECK(sched_choose() == NULL);
}

TEST(who_gives_way_to_a_higher_priority_goes_on_before_its_own)
{
    init(0, 64, 1000, 1000);
    init(1, 64, 1000, 1000);
    CHECK(sched_choose() == thread[0]);
    fake.now += 300;
    init(2, 255, 1000, 1000);
    CHECK(sched_choose() == thread[2]);
    fake.now += 50;
    thread_block(thread[2], THREAD_RECV);
    CHECK(sched_choose() == thread[0]);
    CHECK(after(699) == thread[0]); /* what is left of its turn */
    CHECK(after(1) == thread[1]);
    thread_ready(thread[2]); /* just as a turn ends: then the next one has come */
    CHECK(after(1000) == thread[2]);
    thread_block(thread[2], THREAD_RECV);
    CHECK(sched_choose() == thread[0]);
}

TEST(a_budget_ends_and_is_refilled_at_the_period)
{
    fake.now = 1000000;
    init(0, 10, 100, 400);
    init(1, 5, 1000, 1000);
    CHECK(sched_choose() == thread[0]);
    CHECK_EQ(fake.timer, fake.now + 100);
    CHECK(after(60) == thread[0]);
    CHECK_EQ(context[0].remaining, 40);
    CHECK_EQ(fake.timer, fake.now + 40);
    CHECK(after(40) == thread[1]);
    CHECK_EQ(context[0].remaining, 0);
    CHECK_EQ(fake.timer, 1000400);
    CHECK(after(299) == thread[1]);
    CHECK(after(1) == thread[0]);
    CHECK_EQ(context[0].remaining, 100);
    CHECK_EQ(context[0].period_start, 1000400);
    CHECK_EQ(context[0].consumed, 100);
    CHECK_EQ(context[1].consumed, 300);
}

TEST(an_overrun_is_paid_in_the_next_periods)
{
    fake.now = 0;
    init(0, 10, 100, 400);
    CHECK(sched_choose() == thread[0]);
    CHECK(after(130) == NULL); /* the timer came 30 late */
    CHECK(after(270) == thread[0]);
    CHECK_EQ(context[0].remaining, 70);
    CHECK(after(350) == NULL); /* much later: two whole budgets and 80 */
    CHECK(after(50) == NULL);
    CHECK(after(400) == NULL);
    CHECK(after(400) == thread[0]);
    CHECK_EQ(context[0].remaining, 20);
    CHECK_EQ(context[0].consumed, 480);
}

TEST(a_slice_over_the_end_of_a_period_counts_in_both)
{
    fake.now = 0;
    init(0, 10, 100, 400);
    fake.now = 350;
    CHECK(sched_choose() == thread[0]);
    CHECK(after(90) == thread[0]); /* 50 in the old period, 40 in the new */
    CHECK_EQ(context[0].period_start, 400);
    CHECK_EQ(context[0].remaining, 60);
    CHECK(after(60) == NULL);
    CHECK(after(300) == thread[0]);
    CHECK_EQ(context[0].period_start, 800);
}

TEST(time_asleep_gives_no_more_than_one_budget)
{
    fake.now = 0;
    init(0, 10, 100, 400);
    CHECK(sched_choose() == thread[0]);
    fake.now = 10;
    thread_block(thread[0], THREAD_RECV);
    fake.now = 400 * 100 + 50;
    thread_ready(thread[0]);
    CHECK(sched_choose() == thread[0]);
    CHECK(after(10) == thread[0]);
    CHECK_EQ(context[0].remaining, 90);
    CHECK_EQ(context[0].period_start, 40000);
}

TEST(a_context_without_budget_never_runs)
{
    init(0, 10, 100, 400);
    context[0].remaining = 0;
    thread_stop(thread[0]);
    thread_ready(thread[0]);
    CHECK(sched_choose() == NULL);
    thread[0]->sc = NULL;
    thread_requeue(thread[0]);
    CHECK(sched_choose() == NULL);
}
