/* SPDX-License-Identifier: BSD-2-Clause */
// ICOUNT: 1
/* Notifications, timers, scheduling contexts: bits are not lost, deadlines are kept, budgets are charged,
 * priorities decide. In virtual time, so that a busy host is not taken for a late kernel. */
#include "support/harness.h"

static struct thread threads[3];
static cptr_t note, ep;
static volatile uint64_t result[3], tag[3], count[3], started[3];

static void settle(void)
{
    root_priority(1);
    root_priority(255);
}

static void waiter(uint64_t i)
{
    result[i] = sys_wait(note);
    started[i]++;
}

static void spinner(uint64_t i)
{
    for (;;)
        count[i]++;
}

static bool set_up(void)
{
    note = new_object(OBJ_NOTIFICATION, 0);
    ep = new_object(OBJ_ENDPOINT, 0);
    for (unsigned i = 0; i < 3; i++)
        result[i] = tag[i] = count[i] = started[i] = 0;
    return note && ep;
}

static cptr_t badged(uint64_t badge)
{
    cptr_t s = new_slot();
    return sys_invoke4(SLOT_CNODE, CNODE_MINT, s, note, RIGHT_ALL, badge) == ERR_OK ? s : 0;
}

/* --- notifications --- */

TEST(signals_gather_until_they_are_taken)
{
    struct sys_message m = { 0 };

    CHECK(set_up());
    CHECK_EQ(sys_poll(note, 0, &m), ERR_WOULD_BLOCK);
    CHECK_OK(sys_signal(badged(4)));
    CHECK_OK(sys_signal(badged(16)));
    CHECK_OK(sys_signal(badged(16)));
    CHECK_OK(sys_signal(note));
    CHECK_OK(sys_poll(note, 0, &m));
    CHECK_EQ(m.badge, 21);
    CHECK_EQ(m.tag, TAG_SIGNAL);
    CHECK_EQ(sys_poll(note, 0, &m), ERR_WOULD_BLOCK);
}

TEST(one_signal_wakes_one_waiter)
{
    CHECK(set_up());
    CHECK(thread_make(&threads[0], waiter, 0, 100, 0) && thread_make(&threads[1], waiter, 1, 99, 0));
    settle();
    CHECK_OK(sys_signal(badged(2)));
    settle();
    CHECK_EQ(result[0], 2);
    CHECK_EQ(result[1], 0);
    CHECK_OK(sys_signal(badged(8)));
    settle();
    CHECK_EQ(result[1], 8);
}

TEST(the_end_of_a_notification_ends_the_wait)
{
    CHECK(set_up() && thread_make(&threads[0], waiter, 0, 100, 0));
    result[0] = 5;
    settle();
    CHECK_OK(delete_cap(note));
    settle();
    CHECK_EQ(started[0], 1);
    CHECK_EQ(result[0], 0);
}

static void bound_receiver(uint64_t i)
{
    for (;;) {
        struct sys_message m = { 0 };
        if (sys_recv(ep, 0, &m) != ERR_OK)
            break;
        result[i] = m.badge;
        tag[i] = m.tag;
        started[i]++;
    }
}

TEST(a_bound_notification_ends_a_receive)
{
    CHECK(set_up() && thread_make(&threads[0], bound_receiver, 0, 100, 0));
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, note));
    settle();
    CHECK_OK(sys_signal(badged(32)));
    settle();
    CHECK_EQ(started[0], 1);
    CHECK_EQ(result[0], 32);
    CHECK_EQ(tag[0], TAG_SIGNAL);
    struct sys_message m = { .tag = TAG(9, 1) };
    CHECK_OK(sys_send(ep, &m)); /* still in the endpoint's queue once */
    settle();
    CHECK_EQ(started[0], 2);
    CHECK_EQ(tag[0], TAG(9, 1));
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, 0));
    CHECK_OK(sys_signal(note));
    settle();
    CHECK_EQ(started[0], 2);
}

TEST(a_signal_before_the_receive_is_not_lost)
{
    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 100, 0));
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, note));
    CHECK_OK(sys_signal(badged(2)));
    CHECK_OK(thread_start(&threads[0], bound_receiver, 0));
    settle();
    CHECK_EQ(result[0], 2);
}

TEST(a_signal_before_the_binding_is_not_lost)
{
    CHECK(set_up() && thread_make(&threads[0], bound_receiver, 0, 100, 0));
    settle();
    CHECK_OK(sys_signal(badged(2)));
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, note));
    settle();
    CHECK_EQ(result[0], 2);
}

TEST(a_notification_is_bound_once)
{
    CHECK(set_up() && thread_make(&threads[0], waiter, 0, 100, 0) &&
          thread_make(&threads[1], NULL, 1, 100, 0));
    settle();
    CHECK_EQ(sys_invoke1(threads[1].tcb, TCB_BIND_NOTIFICATION, note),
             ERR_ALREADY_BOUND); /* somebody waits on it */
    CHECK_OK(sys_signal(note));
    CHECK_OK(sys_invoke1(threads[1].tcb, TCB_BIND_NOTIFICATION, note));
    CHECK_OK(sys_invoke1(threads[1].tcb, TCB_BIND_NOTIFICATION, note));
    CHECK_EQ(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, note), ERR_ALREADY_BOUND);
    CHECK_OK(delete_cap(threads[1].tcb));
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, note));
    CHECK_OK(delete_cap(note));
    CHECK_OK(sys_invoke1(threads[0].tcb, TCB_BIND_NOTIFICATION, 0));
}

/* --- timers --- */

static cptr_t timer_on(uint64_t badge)
{
    cptr_t t = new_object(OBJ_TIMER, 0);
    return sys_invoke1(t, TIMER_BIND, badged(badge)) == ERR_OK ? t : 0;
}

TEST(a_timer_signals_at_its_deadline_and_not_before)
{
    CHECK(set_up());
    cptr_t t = timer_on(64);
    CHECK(t);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t deadline = now() + (1000ul << 3 * i);
        CHECK_OK(sys_invoke1(t, TIMER_SET, deadline));
        CHECK_EQ(sys_wait(note), 64);
        CHECK(now() >= deadline);
    }
    CHECK_OK(sys_invoke1(t, TIMER_SET, 0)); /* long ago */
    CHECK_EQ(sys_wait(note), 64);
}

TEST(a_timer_interrupts_the_thread_that_set_it)
{
    CHECK(set_up());
    cptr_t t = timer_on(1);
    struct sys_message m = { 0 };
    uint64_t start = now(), deadline = start + boot->tsc_hz / 1000;
    CHECK_OK(sys_invoke1(t, TIMER_SET, deadline));
    while (sys_poll(note, 0, &m) != ERR_OK && now() - start < boot->tsc_hz) /* it never waits */
        ;
    CHECK_EQ(m.badge, 1);
    CHECK(now() >= deadline);
}

TEST(timers_fire_in_the_order_of_their_deadlines)
{
    static const unsigned place[8] = { 3, 1, 7, 0, 5, 2, 6, 4 };
    cptr_t timers[8];
    uint64_t start = now() + boot->tsc_hz / 200, step = boot->tsc_hz / 200;

    CHECK(set_up());
    for (unsigned i = 0; i < 8; i++) {
        timers[i] = timer_on(1ul << place[i]);
        CHECK(timers[i]);
        CHECK_OK(sys_invoke1(timers[i], TIMER_SET, start + place[i] * step));
    }
    CHECK_OK(sys_invoke0(timers[4], TIMER_CANCEL)); /* place 5 */
    CHECK_OK(sys_invoke0(timers[4], TIMER_CANCEL));
    for (uint64_t got = 0, now_bits; got != 0xdf; got |= now_bits) {
        now_bits = sys_wait(note);
        CHECK_EQ(now_bits & got, 0);
        CHECK_EQ(now_bits & 0x20, 0);
        /* None is early, none comes before one that is earlier. */
        CHECK((got | now_bits) == (((1u << (64 - __builtin_clzl(now_bits))) - 1) & 0xdf));
        CHECK(now() >= start + (63 - __builtin_clzl(now_bits)) * step);
    }
}

TEST(a_timer_set_again_forgets_the_first_deadline)
{
    CHECK(set_up());
    cptr_t t = timer_on(1), end = timer_on(2);
    uint64_t ms = boot->tsc_hz / 1000;
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 5 * ms));
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 1000000 * ms));
    CHECK_OK(sys_invoke1(end, TIMER_SET, now() + 10 * ms));
    CHECK_EQ(sys_wait(note), 2);
    CHECK_OK(delete_cap(end)); /* armed ones may be deleted, too */
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + ms));
    CHECK_OK(delete_cap(t));
    t = timer_on(4);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 3 * ms));
    CHECK_EQ(sys_wait(note), 4);
}

TEST(timer_refusals)
{
    CHECK(set_up());
    cptr_t t = new_object(OBJ_TIMER, 0);
    CHECK_EQ(sys_invoke1(t, TIMER_SET, 0), ERR_NOT_BOUND);
    CHECK_EQ(sys_invoke1(t, TIMER_BIND, new_slot()), ERR_NO_CAP);
    CHECK_EQ(sys_invoke1(t, TIMER_BIND, ep), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke1(t, TIMER_BIND, copy_cap(note, RIGHT_READ)), ERR_NO_RIGHT);
    CHECK_OK(sys_invoke1(t, TIMER_BIND, note));
    CHECK_EQ(sys_invoke1(t, TIMER_BIND, note), ERR_ALREADY_BOUND);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 1000000000));
    CHECK_OK(delete_cap(note));
    CHECK_EQ(sys_invoke1(t, TIMER_SET, 0), ERR_NOT_BOUND);
    CHECK(set_up());
    CHECK_OK(sys_invoke1(t, TIMER_BIND, note));
    CHECK_OK(sys_invoke1(t, TIMER_SET, 0));
    CHECK_EQ(sys_wait(note), 1);
}

TEST(a_timer_interrupts_a_busy_thread)
{
    CHECK(set_up() && thread_make(&threads[0], spinner, 0, 100, 0));
    cptr_t t = timer_on(1);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + boot->tsc_hz / 100));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[0] > 0);
}

/* --- priorities and budgets --- */

TEST(higher_priority_runs_first)
{
    CHECK(set_up());
    for (unsigned i = 0; i < 3; i++)
        CHECK(thread_make(&threads[i], spinner, i, 50 + i, 0));
    cptr_t t = timer_on(1);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + boot->tsc_hz / 100));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[2] > 0);
    CHECK_EQ(count[1], 0);
    CHECK_EQ(count[0], 0);
    CHECK_OK(sys_invoke2(threads[0].tcb, TCB_SET_SCHED, threads[0].sched, 60));
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + boot->tsc_hz / 100));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[0] > 0);
    CHECK_EQ(count[1], 0);
}

static void yielder(uint64_t i)
{
    for (;;) {
        count[i]++;
        sys_yield();
    }
}

TEST(yield_lets_the_same_priority_run)
{
    CHECK(set_up() && thread_make(&threads[0], yielder, 0, 50, 0) &&
          thread_make(&threads[1], yielder, 1, 50, 0) && thread_make(&threads[2], yielder, 2, 49, 0));
    cptr_t t = timer_on(1);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + boot->tsc_hz / 100));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[0] > 10);
    CHECK(count[0] <= count[1] + 1 && count[1] <= count[0] + 1);
    CHECK_EQ(count[2], 0);
}

/* Threads that never give up the processor, with full budgets: each gets its turns. */
TEST(busy_threads_of_the_same_priority_take_turns)
{
    CHECK(set_up() && thread_make(&threads[0], spinner, 0, 50, 0) &&
          thread_make(&threads[1], spinner, 1, 50, 0));
    cptr_t t = timer_on(1);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 20 * THREAD_TICKS));
    CHECK_EQ(sys_wait(note), 1);
    uint64_t all = count[0] + count[1];
    CHECK(count[0] > all / 4 && count[1] > all / 4);
}

static err_t budget(cptr_t sched, uint64_t ticks, uint64_t period, unsigned ceiling)
{
    return sys_invoke4(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, ticks, period, ceiling);
}

static uint64_t consumed(cptr_t sched)
{
    uint64_t r = 0;
    sys_invoke(sched, SCHED_CONSUMED, 0, 0, 0, 0, 0, &r);
    return r;
}

/* A thread gets its budget a period and no more, however long it would run. */
TEST(a_budget_bounds_what_a_thread_consumes)
{
    uint64_t ms = boot->tsc_hz / 1000, period = 40 * ms, allowed = 10 * ms;

    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 100, 0) && thread_make(&threads[1], NULL, 1, 50, 0));
    CHECK_OK(budget(threads[0].sched, allowed, period, 255));
    cptr_t t = timer_on(1);
    CHECK_OK(thread_start(&threads[0], spinner, 0));
    CHECK_OK(thread_start(&threads[1], spinner, 1));
    consumed(threads[0].sched);
    uint64_t start = now();
    CHECK_OK(sys_invoke1(t, TIMER_SET, start + 10 * period));
    CHECK_EQ(sys_wait(note), 1);
    uint64_t end = now(), used = consumed(threads[0].sched), rest = consumed(threads[1].sched);
    print_number("# high: used 0x", used, "");
    print_number(" of 0x", end - start, "");
    print_number(", low: 0x", rest, "\n");
    CHECK(used >= 5 * allowed);                                                 /* it gets its share .. */
    CHECK(used <= ((end - start) / period + 2) * allowed + (end - start) / 20); /* .. and not more */
    CHECK(rest > (end - start) / 4);
    CHECK(count[1] > 0);
}

static volatile uint64_t spin_until;
static void late_spinner(uint64_t i)
{
    /* Sleeps until the last part of each period and runs over its end: no double helping. */
    for (;;) {
        sys_wait(note);
        while (now() < spin_until)
            count[i]++;
    }
}

TEST(budget_used_over_the_end_of_a_period_is_charged)
{
    uint64_t ms = boot->tsc_hz / 1000, period = 40 * ms, allowed = 10 * ms, used = 0, begin, elapsed;

    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 100, 0));
    cptr_t mine = new_object(OBJ_NOTIFICATION, 0), t = new_object(OBJ_TIMER, 0);
    CHECK_OK(sys_invoke1(t, TIMER_BIND, mine));
    CHECK_OK(thread_start(&threads[0], late_spinner, 0));
    settle();
    CHECK_OK(budget(threads[0].sched, allowed, period, 255));
    begin = now();
    consumed(threads[0].sched);
    for (unsigned i = 1; i <= 6; i++) {
        CHECK_OK(sys_invoke1(t, TIMER_SET, begin + i * period - allowed / 2));
        CHECK_EQ(sys_wait(mine), 1);
        spin_until = begin + i * period + 2 * allowed;
        CHECK_OK(sys_signal(note));
        CHECK_OK(sys_invoke1(t, TIMER_SET, spin_until));
        CHECK_EQ(sys_wait(mine), 1);
    }
    elapsed = now() - begin;
    used = consumed(threads[0].sched);
    print_number("# used 0x", used, "");
    print_number(" of 0x", elapsed, "\n");
    CHECK(used <=
          (elapsed / period + 2) * allowed); /* a window of n periods touches n + 1, and may end late */
}

TEST(a_thread_without_budget_waits_for_its_period)
{
    uint64_t ms = boot->tsc_hz / 1000;

    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 100, 0));
    CHECK_OK(budget(threads[0].sched, 2 * ms, 2000 * ms, 255));
    CHECK_OK(thread_start(&threads[0], spinner, 0));
    cptr_t t = timer_on(1);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 10 * ms));
    CHECK_EQ(sys_wait(note), 1);
    uint64_t before = count[0];
    CHECK(before > 0);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 10 * ms));
    CHECK_EQ(sys_wait(note), 1);
    CHECK_EQ(count[0], before);
    CHECK_OK(budget(threads[0].sched, 2 * ms, 2 * ms, 255)); /* a new configuration starts afresh */
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 10 * ms));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[0] > before);
}

/* The others of its priority wait for the end of its turn. */
TEST(a_turn_is_not_made_longer_by_a_configuration)
{
    uint64_t ms = boot->tsc_hz / 1000;

    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 50, 0) && thread_make(&threads[1], NULL, 1, 50, 0));
    CHECK_OK(budget(threads[0].sched, 400 * ms, 400 * ms, 255));
    CHECK_OK(budget(threads[1].sched, 4000 * ms, 4000 * ms, 255));
    cptr_t t = timer_on(1);
    CHECK_OK(thread_start(&threads[0], spinner, 0));
    CHECK_OK(thread_start(&threads[1], spinner, 1));
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 50 * ms));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[0] > 0);
    CHECK_OK(budget(threads[0].sched, 4000 * ms, 4000 * ms, 255));
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 900 * ms));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[1] > 0);
}

TEST(consumed_counts_ticks_since_the_last_call)
{
    CHECK(set_up() && thread_make(&threads[0], spinner, 0, 100, 0));
    cptr_t t = timer_on(1);
    uint64_t ms = boot->tsc_hz / 1000, start = now();
    CHECK_OK(sys_invoke1(t, TIMER_SET, start + 5 * ms));
    CHECK_EQ(sys_wait(note), 1);
    uint64_t used = consumed(threads[0].sched);
    CHECK(used > 2 * ms && used <= now() - start);
    CHECK_EQ(consumed(threads[0].sched), 0);
    uint64_t mine = consumed(SLOT_SCHED);
    CHECK(mine > 0);
    CHECK(consumed(SLOT_SCHED) < ms);
}

TEST(sched_refusals)
{
    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 100, 0) && thread_make(&threads[1], NULL, 0, 100, 0));
    cptr_t s = threads[0].sched, weak = copy_cap(SLOT_SCHEDCONTROL, RIGHT_READ);
    CHECK_EQ(sys_invoke4(s, SCHED_CONFIGURE, new_slot(), 10000, 10000, 255), ERR_NO_CAP);
    CHECK_EQ(sys_invoke4(s, SCHED_CONFIGURE, SLOT_KERNEL, 10000, 10000, 255), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke4(s, SCHED_CONFIGURE, weak, 10000, 10000, 255), ERR_NO_RIGHT);
    CHECK_EQ(budget(s, 0, 10000, 255), ERR_RANGE);
    CHECK_EQ(budget(s, 999, 10000, 255), ERR_RANGE);
    CHECK_EQ(budget(s, 10001, 10000, 255), ERR_RANGE);
    CHECK_EQ(budget(s, 10000, BIT(48) + 1, 255), ERR_RANGE);
    CHECK_EQ(budget(s, ~0ul, ~0ul, 255), ERR_RANGE);
    CHECK_EQ(budget(s, 10000, 10000, 256), ERR_RANGE);
    CHECK_EQ(budget(s, 10000, 10000, 99), ERR_PRIORITY);
    CHECK_OK(budget(s, 10000, 10000, 100));
    CHECK_EQ(sys_invoke2(threads[0].tcb, TCB_SET_SCHED, s, 101), ERR_PRIORITY);
    CHECK_EQ(sys_invoke2(threads[0].tcb, TCB_SET_SCHED, s, 256), ERR_RANGE);
    CHECK_EQ(sys_invoke2(threads[1].tcb, TCB_SET_SCHED, s, 1), ERR_ALREADY_BOUND);
    CHECK_EQ(sys_invoke2(threads[1].tcb, TCB_SET_SCHED, new_slot(), 1), ERR_NO_CAP);
    CHECK_EQ(sys_invoke2(threads[1].tcb, TCB_SET_SCHED, note, 1), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke2(threads[1].tcb, TCB_SET_SCHED, copy_cap(s, RIGHT_READ), 1), ERR_NO_RIGHT);
    CHECK_OK(delete_cap(threads[0].tcb));
    CHECK_OK(sys_invoke2(threads[1].tcb, TCB_SET_SCHED, s, 1));
}

TEST(a_thread_that_loses_its_context_stops_and_may_get_another)
{
    CHECK(set_up() && thread_make(&threads[0], yielder, 0, 100, 0));
    cptr_t t = timer_on(1);
    uint64_t ms = boot->tsc_hz / 1000;
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 5 * ms));
    CHECK_EQ(sys_wait(note), 1);
    CHECK_OK(delete_cap(threads[0].sched));
    uint64_t before = count[0];
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 5 * ms));
    CHECK_EQ(sys_wait(note), 1);
    CHECK_EQ(count[0], before);
    cptr_t s = new_object(OBJ_SCHED, 0);
    CHECK_OK(budget(s, 10 * ms, 10 * ms, 255));
    CHECK_OK(sys_invoke2(threads[0].tcb, TCB_SET_SCHED, s, 50));
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + 5 * ms));
    CHECK_EQ(sys_wait(note), 1);
    CHECK(count[0] > before);
}

TEST(a_new_context_has_no_budget)
{
    CHECK(set_up() && thread_make(&threads[0], NULL, 0, 100, 0));
    cptr_t s = new_object(OBJ_SCHED, 0);
    CHECK_EQ(sys_invoke2(threads[0].tcb, TCB_SET_SCHED, s, 1), ERR_PRIORITY);
    CHECK_OK(sys_invoke2(threads[0].tcb, TCB_SET_SCHED, s, 0));
    CHECK_OK(thread_start(&threads[0], spinner, 0));
    cptr_t t = timer_on(1);
    CHECK_OK(sys_invoke1(t, TIMER_SET, now() + boot->tsc_hz / 200));
    CHECK_EQ(sys_wait(note), 1);
    CHECK_EQ(count[0], 0);
}
