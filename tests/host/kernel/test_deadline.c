/* SPDX-License-Identifier: BSD-2-Clause */
/* The deadline heap against an array: order, removal from anywhere, equal deadlines, its shape (leftist, so
 * that a merge walks no more than log n) after every operation. */
/* USES: kernel/deadline.c */
#include "kernel/cpu.h"
#include "kernel/ipc.h"
#include "kernel/log.h"
#undef CHECK
#include "check.h"
#include <stdlib.h>
#include <string.h>

#define TIMERS 200
#define FEW    5u /* nodes and different times of the heaps that are all looked at */

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

/* --- all heaps of a few deadlines: three numbers a node (0: none), and the root, in one word --- */

static uint64_t word_of(const struct deadline *d)
{
    return d ? (uint64_t)((const struct timer *)d - timers) + 1 : 0;
}

static uint64_t pack(void)
{
    uint64_t w = word_of(cpu.deadlines);

    for (unsigned i = 0; i < FEW; i++) {
        const struct deadline *d = node(i);
        w = w << 9 | (d->queued ? word_of(d->left) << 6 | word_of(d->right) << 3 | d->when : 0);
    }
    return w;
}

static struct deadline *few(uint64_t n)
{
    return n & 7 ? node((n & 7) - 1) : NULL;
}

static uint32_t rank_below(struct deadline *d, struct deadline *up)
{
    if (!d)
        return 0;
    d->up = up;
    rank_below(d->left, d);
    d->rank = rank_below(d->right, d) + 1;
    return d->rank;
}

static void unpack(uint64_t w)
{
    for (unsigned i = FEW; i-- > 0; w >>= 9) {
        uint64_t when = w & 7;
        *node(i) = (struct deadline){ .when = when,
                                      .left = few(w >> 6),
                                      .right = few(w >> 3),
                                      .kind = DEADLINE_TIMER,
                                      .queued = when != 0 };
        model[i] = when;
    }
    cpu.deadlines = few(w);
    rank_below(cpu.deadlines, NULL);
}

static void check_few(void)
{
    unsigned queued = 0;

    for (unsigned i = 0; i < FEW; i++) {
        CHECK_EQ(node(i)->queued, model[i] != 0);
        CHECK(!model[i] || node(i)->when == model[i]);
        queued += model[i] != 0;
    }
    CHECK_EQ(check_heap(cpu.deadlines, NULL), queued);
}

/* A set of words that remembers their order. */
#define SLOTS (1u << 22)
static uint64_t *heaps;
static uint32_t *slot, heap_count;

static void remember(uint64_t w)
{
    uint32_t h = (uint32_t)(w * 0x9e3779b97f4a7c15 >> 42);

    for (; slot[h]; h = (h + 1) % SLOTS)
        if (heaps[slot[h] - 1] == w)
            return;
    CHECK_LT(heap_count, SLOTS / 2);
    heaps[heap_count++] = w;
    slot[h] = heap_count;
}

TEST(every_heap_of_a_few_deadlines_stays_one)
{
    heaps = calloc(SLOTS / 2, sizeof(*heaps));
    slot = calloc(SLOTS, sizeof(*slot));
    remember(0);
    for (uint32_t i = 0; i < heap_count; i++) {
        for (unsigned n = 0; n < FEW; n++) {
            for (uint64_t when = 0; when <= FEW; when++) { /* 0: it goes */
                unpack(heaps[i]);
                if (when)
                    deadline_insert(node(n), when);
                else
                    deadline_remove(node(n));
                model[n] = when;
                check_few();
                remember(pack());
            }
        }
        for (uint64_t now = 1; now <= FEW; now++) {
            unpack(heaps[i]);
            expire(now);
            check_few();
            remember(pack());
        }
    }
    check_note("%u heaps", heap_count);
    CHECK_LT(10000, heap_count);
    free(heaps);
    free(slot);
}
