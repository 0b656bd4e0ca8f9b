/* SPDX-License-Identifier: BSD-2-Clause */
/* The deadline heap against an array: order, removal from anywhere, equal deadlines, its shape (leftist, so
 * that a merge walks no more than log n) after every operation. */
/* USES: kernel/deadline.c */
#include "kernel/cpu.h"
#include "kernel/ipc.h"
#include "kernel/log.h"
#undef CHECK
#include "check.h"
#include <string.h>

#define TIMERS 200

struct cpu cpu;
unsigned char *phys_base_host;
static struct timer timers[TIMERS];
static struct sched scheds[TIMERS];
static uint64_t model[2 * TIMERS]; /* deadline; 0: not queued */
static unsigned fired[4 * TIMERS], fired_count;
static uint64_t seed = 88172645463325252ull;

static uint64_t any(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

void timer_fired(struct timer *t)
{
    fired[fired_count++] = t - timers;
}
void sched_refilled(struct sched *s)
{
    fired[fired_count++] = TIMERS + (s - scheds);
}
void panic(const char *file, int line, const char *format, ...)
{
    check_fail(file, line, "%s", format);
}

static struct deadline *node(unsigned i)
{
    return i < TIMERS ? &timers[i].deadline : &scheds[i - TIMERS].refill;
}

static unsigned check_heap(const struct deadline *d, const struct deadline *up)
{
    if (!d)
        return 0;
    CHECK(d->up == up && d->queued);
    CHECK(!up || up->when <= d->when);
    unsigned left = check_heap(d->left, d), right = check_heap(d->right, d);
    uint32_t l = d->left ? d->left->rank : 0, r = d->right ? d->right->rank : 0;
    CHECK(l >= r);
    CHECK_EQ(d->rank, r + 1);
    return left + right + 1;
}

static void check_all(void)
{
    unsigned queued = 0;
    uint64_t first = UINT64_MAX;

    for (unsigned i = 0; i < 2 * TIMERS; i++) {
        CHECK_EQ(node(i)->queued, model[i] != 0);
        if (!model[i])
            continue;
        CHECK_EQ(node(i)->when, model[i]);
        queued++;
        if (model[i] < first)
            first = model[i];
    }
    CHECK_EQ(check_heap(cpu.deadlines, NULL), queued);
    CHECK(!queued == !cpu.deadlines);
    if (queued)
        CHECK_EQ(cpu.deadlines->when, first);
}

/* Everything up to now fires, in order of time, each once and no other. */
static void expire(uint64_t now)
{
    uint64_t last = 0;
    unsigned due = 0;

    for (unsigned i = 0; i < 2 * TIMERS; i++)
        due += model[i] && model[i] <= now;
    fired_count = 0;
    deadline_expire(now);
    CHECK_EQ(fired_count, due);
    for (unsigned k = 0; k < fired_count; k++) {
        uint64_t when = model[fired[k]];
        CHECK(when && when <= now && when >= last);
        last = when;
        model[fired[k]] = 0;
    }
}

static void init(void)
{
    for (unsigned i = 0; i < TIMERS; i++) {
        timers[i].deadline.kind = DEADLINE_TIMER;
        scheds[i].refill.kind = DEADLINE_REFILL;
    }
}

TEST(random_deadlines_expire_in_order)
{
    uint64_t now = 1;

    init();
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = any(2 * TIMERS);
        uint64_t spread = step % 3 ? 1000 : 4; /* often equal */
        switch (any(8)) {
        case 0 ... 4:
            deadline_insert(node(i), model[i] = now + any(spread));
            break;
        case 5 ... 6:
            deadline_remove(node(i));
            model[i] = 0;
            break;
        default:
            if (any(4) == 0)
                expire(now += any(spread));
        }
        check_all();
    }
    expire(UINT64_MAX);
    CHECK(!cpu.deadlines);
}

TEST(sorted_insertions_keep_the_spine_short)
{
    init();
    for (unsigned i = 0; i < 2 * TIMERS; i++) {
        deadline_insert(node(i), model[i] = 10 + i);
        check_all();
    }
    CHECK_LE(cpu.deadlines->rank, 9); /* log2(401) */
    for (unsigned i = 0; i < 2 * TIMERS; i++) {
        expire(10 + i);
        CHECK_EQ(fired_count, 1);
        check_all();
    }
    for (unsigned i = 2 * TIMERS; i-- > 0;)
        deadline_insert(node(i), model[i] = 10 + i);
    check_all();
    for (unsigned i = 0; i < 2 * TIMERS; i += 2) { /* from the middle */
        deadline_remove(node(i));
        model[i] = 0;
        check_all();
    }
    expire(UINT64_MAX);
}

TEST(a_deadline_of_now_is_due_and_one_later_is_not)
{
    init();
    deadline_insert(node(0), model[0] = 100);
    deadline_insert(node(1), model[1] = 101);
    expire(99);
    CHECK_EQ(fired_count, 0);
    expire(100);
    CHECK_EQ(fired_count, 1);
    expire(101);
    CHECK_EQ(fired_count, 1);
}
