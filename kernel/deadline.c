/* SPDX-License-Identifier: BSD-2-Clause */
/* Deadlines of timers and budget refills: a leftist heap whose nodes lie in the objects.
 *
 * Invariants: a parent is not later than its children; rank(left) >= rank(right); the right spine, all that a
 * merge walks, is at most log2(n + 1) long. Checked by tests/host/kernel/test_deadline.c. */
#include "cpu.h"
#include "ipc.h"
#include "log.h"

static uint32_t rank_of(const struct deadline *d)
{
    return d ? d->rank : 0;
}

/* Swap children if needed, set the rank; true if it changed. */
static bool settle(struct deadline *d)
{
    if (rank_of(d->left) < rank_of(d->right)) {
        struct deadline *t = d->left;
        d->left = d->right;
        d->right = t;
    }
    uint32_t rank = rank_of(d->right) + 1;
    bool changed = rank != d->rank;
    d->rank = rank;
    return changed;
}

/* Merge two heaps: down the right spines, then up again to settle the ranks. */
static struct deadline *merge(struct deadline *a, struct deadline *b)
{
    struct deadline *up = NULL, *root = NULL;

    while (a && b) {
        if (b->when < a->when) {
            struct deadline *t = a;
            a = b;
            b = t;
        }
        if (up)
            up->right = a;
        else
            root = a;
        a->up = up;
        up = a;
        a = a->right;
    }
    struct deadline *rest = a ? a : b;
    if (rest)
        rest->up = up;
    if (!up)
        return rest;
    up->right = rest;
    for (struct deadline *d = up; d; d = d->up)
        settle(d);
    return root;
}

void deadline_insert(struct deadline *d, uint64_t when)
{
    if (d->queued)
        deadline_remove(d);
    *d = (struct deadline){ .when = when, .kind = d->kind, .queued = 1, .rank = 1 };
    cpu.deadlines = merge(cpu.deadlines, d);
    cpu.deadlines->up = NULL;
}

void deadline_remove(struct deadline *d)
{
    if (!d->queued)
        return;
    struct deadline *sub = merge(d->left, d->right);
    struct deadline *up = d->up;

    if (sub)
        sub->up = up;
    if (!up)
        cpu.deadlines = sub;
    else if (up->left == d)
        up->left = sub;
    else
        up->right = sub;
    /* The rank of an ancestor falls only while the change comes from below: at most log n steps. */
    for (; up && settle(up); up = up->up)
        ;
    d->queued = 0;
    d->left = d->right = d->up = NULL;
}

void deadline_expire(uint64_t now)
{
    while (cpu.deadlines && cpu.deadlines->when <= now) {
        struct deadline *d = cpu.deadlines;
        deadline_remove(d);
        if (d->kind == DEADLINE_TIMER)
            timer_fired((struct timer *)d);
        else
            sched_refilled((struct sched *)d);
    }
}
