/* SPDX-License-Identifier: BSD-2-Clause */
/* What the short paths have in common: the processor's time going from one thread to another. */
#ifndef KERNEL_QUICK_H
#define KERNEL_QUICK_H

#include "fastpath.h"
#include "invoke.h"

#define unlikely(x)   __builtin_expect(!!(x), 0)
#define always_inline inline __attribute__((always_inline))

/* Where to has peers or a budget that ends, the timer must be armed early enough. */
static inline bool timer_fits(const struct tcb *to, uint64_t now)
{
    __asm__ volatile("" : : : "memory"); /* no register is kept for this on the way that is taken most */
    return to->priority + 1 >= cpu.highest && cpu.timer_armed - 1 < now + to->sc->remaining;
}

/* The last check, and the first of the commit: if the budget of the current thread can be charged, and to
 * would be chosen and can run, without the scheduler and the timer, then to has the processor's time from now
 * on. */
static inline bool take_turn(const struct tcb *from, struct tcb *to)
{
    struct sched *s = to->sc;
    uint64_t now = arch_now();

    if (unlikely(!s) || unlikely(!s->remaining) || unlikely(now >= cpu.slice_end) ||
        ((unlikely(to->priority < cpu.highest) || unlikely(!sched_is_full(s))) && !timer_fits(to, now)))
        return false;
    struct sched *f = from->sc;
    int64_t used = (int64_t)now - (int64_t)cpu.slice_start;
    f->consumed += (uint64_t)used;
    f->remaining -= (uint64_t)used;
    cpu.slice_start = now;
    cpu.slice_end = sched_slice_end(s, now);
    cpu.current = cpu.last = to;
    return true;
}

static inline struct regs *switch_to(struct tcb *from, struct tcb *to)
{
    COUNT(SWITCHES);
    arch_thread_switch(from, to);
    return &to->regs;
}

/* The same out of line, where a few more instructions matter less than the text. */
bool take_turn_far(const struct tcb *from, struct tcb *to);
struct regs *switch_far(struct tcb *from, struct tcb *to);

#endif
