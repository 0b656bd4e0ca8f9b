/* SPDX-License-Identifier: BSD-2-Clause */
/* The run queue and budgets, every state of a small machine: three threads, two of a budget that never ends
 * and one with a tick in three, at two priorities; every operation of cpu.h in each state, and time that
 * passes, on time or late. After each step the queues are whole, who can run is where it belongs, who runs is
 * the most urgent, nobody has moved past another, and the timer comes early enough. */
// USES: kernel/obj/*.c kernel/[dfils]*.c tests/host/kernel/fake_arch.c
#include "kernel/cpu.h"
#include "kernel/ipc.h"
#undef CHECK
#include "check.h"
#include "fake_arch.h"
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, LIMITED = 2, TURN = 2, PERIOD = 3, PRIORITIES_USED = 2 };
#define START    1000000ul /* when each step begins */
#define NEVER    15u
#define LATE_MAX 2u /* ticks at once */
#define LAG_MAX  (2 * PERIOD)
#define STATES   (1u << 20)

static const uint8_t priorities[PRIORITIES_USED] = { 63, 64 };
static struct tcb thread[THREADS];
static struct sched context[THREADS];

/* A state: times are counted from its moment. Places in a queue from 1; 0: in none. */
struct packed {
    struct {
        uint8_t state, priority, place, has_context, remaining, overrun, lag, refill;
    } t[THREADS];
    uint8_t current, partner, reschedule, turn_over, used, armed;
    uint8_t left; /* the kernel was left after that: time may pass */
};

static unsigned index_of(const struct tcb *t)
{
    return t ? (unsigned)(t - thread) + 1 : 0;
}
static struct tcb *of_index(unsigned i)
{
    return i ? &thread[i - 1] : NULL;
}

static unsigned place_of(const struct tcb *t)
{
    unsigned place = 1;

    if (!t->queued)
        return 0;
    for (const struct tcb *q = cpu.ready[t->priority].head; q && q != t; q = q->next)
        place++;
    return place;
}

static uint8_t until(uint64_t when)
{
    CHECK_LT(when - fake.now + 1, NEVER);
    return (uint8_t)(when - fake.now + 1);
}

/* How long ago, up to where it makes no difference but for the place in the period. */
static uint8_t lag(uint64_t since)
{
    uint64_t n = fake.now - since;

    return (uint8_t)(n < PERIOD ? n : PERIOD + n % PERIOD);
}

static struct packed pack(bool left)
{
    struct packed p;

    memset(&p, 0, sizeof(p));
    p.left = left;
    for (unsigned i = 0; i < THREADS; i++) {
        const struct sched *s = &context[i];
        p.t[i].state = thread[i].state == THREAD_FAULTED ? THREAD_INACTIVE : thread[i].state;
        p.t[i].priority = thread[i].priority;
        p.t[i].place = (uint8_t)place_of(&thread[i]);
        p.t[i].has_context = thread[i].sc != NULL;
        p.t[i].remaining = (uint8_t)s->remaining;
        p.t[i].overrun = (uint8_t)s->overrun;
        p.t[i].lag = i == LIMITED ? lag(s->period_start) : 0;
        p.t[i].refill = s->refill.queued ? until(s->refill.when) : 0;
    }
    p.current = (uint8_t)index_of(cpu.current);
    p.partner = (uint8_t)index_of(cpu.partner);
    p.reschedule = cpu.reschedule;
    p.turn_over = cpu.turn_over;
    uint64_t used = cpu.current ? fake.now - cpu.slice_start : 0;
    p.used = (uint8_t)(used < LAG_MAX ? used : LAG_MAX);
    p.armed = cpu.timer_armed ? until(cpu.timer_armed) : 0;
    return p;
}

static void unpack(const struct packed *p)
{
    memset(&cpu, 0, sizeof(cpu));
    memset(thread, 0, sizeof(thread));
    fake.now = START;
    for (unsigned i = 0; i < THREADS; i++) {
        struct sched *s = &context[i];
        *s = (struct sched){ .tcb = p->t[i].has_context ? &thread[i] : NULL,
                             .budget = i == LIMITED ? 1 : TURN,
                             .period = i == LIMITED ? PERIOD : TURN,
                             .remaining = p->t[i].remaining,
                             .overrun = p->t[i].overrun,
                             .period_start = START - p->t[i].lag };
        s->refill.kind = DEADLINE_REFILL;
        thread[i].state = p->t[i].state;
        thread[i].priority = p->t[i].priority;
        thread[i].sc = s->tcb ? s : NULL;
    }
    for (unsigned place = 1; place <= THREADS; place++)
        for (unsigned i = 0; i < THREADS; i++)
            if (p->t[i].place == place) {
                queue_push(&cpu.ready[thread[i].priority], &thread[i]);
                cpu.ready_bits[thread[i].priority / 64] |= BIT(thread[i].priority % 64);
                thread[i].queued = 1;
                if (thread[i].priority >= cpu.highest)
                    cpu.highest = thread[i].priority + 1;
            }
    for (unsigned i = 0; i < THREADS; i++)
        if (p->t[i].refill)
            deadline_insert(&context[i].refill, START + p->t[i].refill - 1);
    cpu.current = of_index(p->current);
    cpu.partner = of_index(p->partner);
    cpu.reschedule = p->reschedule;
    cpu.turn_over = p->turn_over;
    cpu.slice_start = START - p->used;
    cpu.timer_armed = p->armed ? START + p->armed - 1 : 0;
}

/* --- what must hold --- */

static bool can_run(const struct tcb *t)
{
    return (t->state == THREAD_READY || t->state == THREAD_GUEST) && t->sc && t->sc->remaining;
}

static void check_queue(unsigned priority)
{
    const struct thread_queue *q = &cpu.ready[priority];
    const struct tcb *before = NULL;

    CHECK_EQ(cpu.ready_bits[priority / 64] >> priority % 64 & 1, q->head != NULL);
    for (const struct tcb *t = q->head; t; before = t, t = t->next) {
        CHECK(t->prev == before && t->queued && t->priority == priority && t != cpu.current);
        CHECK(!before || before != t->next);
    }
    CHECK(q->head == NULL || q->tail == before);
}

static void check_whole(void)
{
    unsigned queued = 0, found = 0, highest = 0;

    for (unsigned p = 0; p < PRIORITIES_USED; p++) {
        check_queue(priorities[p]);
        for (const struct tcb *t = cpu.ready[priorities[p]].head; t; t = t->next)
            found++;
        if (cpu.ready[priorities[p]].head)
            highest = priorities[p] + 1u;
    }
    CHECK_EQ(cpu.highest, highest);
    for (unsigned w = 0; w < PRIORITIES / 64; w++)
        CHECK(!(cpu.ready_bits[w] & ~(w == 0 ? BIT(63) : w == 1 ? BIT(0) : 0)));
    for (unsigned i = 0; i < THREADS; i++) {
        const struct tcb *t = &thread[i];
        queued += t->queued;
        if (t != cpu.current)
            CHECK_EQ(t->queued, can_run(t));
        else
            CHECK(!t->queued);
        CHECK(context[i].remaining <= context[i].budget);
        if (i == LIMITED) /* who has no budget gets one again */
            CHECK(context[i].remaining || context[i].refill.queued);
    }
    CHECK_EQ(queued, found);
}

/* The turn of who ran is over when the next is chosen. */
static bool turn_ends(const struct packed *before)
{
    unsigned n = before->current;

    return before->turn_over || (before->reschedule && n && n - 1 != LIMITED &&
                                 before->t[n - 1].has_context && before->used >= before->t[n - 1].remaining);
}

/* Who stays in a queue keeps his place before and behind the others; who comes (moved: n, even to where he
 * was) is the last of it, or, who gave way to a higher priority, the first. */
static void check_order(const struct packed *before, bool chosen, unsigned moved)
{
    for (unsigned i = 0; i < THREADS; i++)
        for (unsigned k = 0; k < THREADS; k++) {
            unsigned a = place_of(&thread[i]), b = place_of(&thread[k]);
            if (i == k || !a || !b || thread[i].priority != thread[k].priority || !before->t[k].place ||
                before->t[k].priority != thread[k].priority || k + 1 == moved)
                continue;
            if (i + 1 != moved && before->t[i].place && before->t[i].priority == thread[i].priority)
                CHECK_EQ(a < b, before->t[i].place < before->t[k].place);
            else
                CHECK_EQ(a < b, chosen && before->current == i + 1 && !turn_ends(before));
        }
}

static void check_chosen(const struct tcb *chosen, const struct packed *before)
{
    CHECK(chosen == cpu.current && !cpu.reschedule && !cpu.turn_over && !cpu.partner);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(!can_run(&thread[i]) || (chosen && thread[i].priority <= chosen->priority));
    if (!chosen)
        return;
    CHECK(can_run(chosen));
    unsigned n = index_of(chosen);
    const uint8_t place = before->t[n - 1].place;
    CHECK((before->current == n) == !place);
    if (place && (before->partner != n || before->turn_over))
        for (unsigned i = 0; i < THREADS; i++)
            CHECK(!before->t[i].place || before->t[i].priority != chosen->priority ||
                  before->t[i].place >= place);
    uint64_t end = cpu.slice_start + chosen->sc->remaining;
    if (!sched_is_full(chosen->sc) || sched_has_peer(chosen))
        CHECK(cpu.timer_armed && cpu.timer_armed <= end);
    if (cpu.deadlines)
        CHECK(cpu.timer_armed && cpu.timer_armed <= cpu.deadlines->when);
}

/* --- steps --- */

/* Time passes; the timer comes if it is due, perhaps late. */
static bool pass(unsigned ticks, bool *left)
{
    if (!*left)
        return false;
    fake.now += ticks;
    if (!cpu.timer_armed || cpu.timer_armed > fake.now)
        return true;
    *left = false;
    cpu.timer_armed = 0;
    cpu.reschedule = true;
    deadline_expire(fake.now);
    return true;
}

static bool give_or_take_context(unsigned i)
{
    struct tcb *t = &thread[i];

    if (i == 0) /* keeps its own */
        return false;
    if (t->sc) {
        if (t == cpu.current)
            sched_account();
        t->sc = NULL;
        context[i].tcb = NULL;
    } else {
        t->sc = &context[i];
        context[i].tcb = t;
    }
    thread_requeue(t);
    return true;
}

/* The numbers of steps: with nobody, then those with each thread. */
enum { STEP_CHOOSE, STEP_YIELD, STEP_PASS, STEP_BLOCK = STEP_PASS + LATE_MAX, STEP_GUEST, STEP_THREAD };
enum { OF_READY, OF_STOP, OF_CONTEXT, OF_PARTNER, OF_PRIORITY, OF_ALL = OF_PRIORITY + PRIORITIES_USED };

static bool thread_step(unsigned i, unsigned what)
{
    struct tcb *t = &thread[i];

    switch (what) {
    case OF_READY: /* whoever waits */
        if (t->state == THREAD_GUEST)
            return false;
        thread_ready(t);
        return true;
    case OF_STOP:
        if (t->state == THREAD_GUEST) /* has a vCPU */
            return false;
        thread_stop(t);
        return true;
    case OF_CONTEXT:
        return give_or_take_context(i);
    case OF_PARTNER: /* the current thread has blocked for it */
        if (cpu.current || cpu.partner)
            return false;
        cpu.partner = t;
        return true;
    default:
        thread_priority(t, priorities[what - OF_PRIORITY]);
        thread_requeue(t);
        return true;
    }
}

/* False: not possible here. left: the kernel was, and is. */
static bool step(unsigned n, bool *left)
{
    if (n >= STEP_PASS && n < STEP_BLOCK)
        return pass(n - STEP_PASS + 1, left);
    *left = n == STEP_CHOOSE;
    switch (n) {
    case STEP_CHOOSE:
        sched_choose();
        return true;
    case STEP_YIELD:
        if (cpu.current)
            sched_yield();
        return true;
    case STEP_BLOCK:
        if (cpu.current)
            thread_block(cpu.current, THREAD_FAULTED);
        return true;
    case STEP_GUEST: /* one of them is a VMM's */
        if (cpu.current == &thread[0])
            cpu.current->state = cpu.current->state == THREAD_GUEST ? THREAD_READY : THREAD_GUEST;
        return true;
    default:
        return thread_step((n - STEP_THREAD) / OF_ALL, (n - STEP_THREAD) % OF_ALL);
    }
}

/* --- all of them --- */

static struct packed *known;
static uint32_t *slot, count;

static void remember(const struct packed *p)
{
    uint64_t h = 14695981039346656037ul;

    for (unsigned i = 0; i < sizeof(*p); i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 1099511628211ul;
    uint32_t at = (uint32_t)(h >> 32) % (4 * STATES);
    for (; slot[at]; at = (at + 1) % (4 * STATES))
        if (!memcmp(&known[slot[at] - 1], p, sizeof(*p)))
            return;
    CHECK_LT(count, STATES);
    known[count++] = *p;
    slot[at] = count;
}

TEST(every_state_of_a_small_run_queue_is_whole)
{
    known = calloc(STATES, sizeof(*known));
    slot = calloc(4 * STATES, sizeof(*slot));
    struct packed none = { .current = 0 };
    for (unsigned i = 0; i < THREADS; i++) {
        none.t[i].state = THREAD_INACTIVE;
        none.t[i].priority = priorities[0];
        none.t[i].has_context = 1;
        none.t[i].remaining = i == LIMITED ? 1 : TURN;
    }
    remember(&none);
    for (uint32_t i = 0; i < count; i++) {
        check_note("state %u", i);
        for (unsigned n = 0; n < STEP_THREAD + THREADS * OF_ALL; n++) {
            struct packed before = known[i];
            unpack(&before);
            bool left = before.left;
            if (!step(n, &left))
                continue;
            check_whole();
            unsigned of = (n - STEP_THREAD) % OF_ALL >= OF_PRIORITY ? (n - STEP_THREAD) / OF_ALL + 1 : 0;
            check_order(&before, n == STEP_CHOOSE, n < STEP_THREAD ? 0 : of);
            if (n == STEP_CHOOSE)
                check_chosen(cpu.current, &before);
            struct packed after = pack(left);
            remember(&after);
        }
    }
    CHECK_LT(100000, count);
}
