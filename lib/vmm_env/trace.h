/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of the state segment that init reads: the last exits, then the head of the guest's state.
 *
 * The VMM writes an entry an exit before it does anything else, with plain stores; exit n has entry n % 64.
 * It is a help for who looks for a fault: nothing depends on it, it is no part of what is undone or summed
 * up, and its reader believes nothing of it (servers/init/report_text.c). */
#ifndef LIB_VMM_ENV_TRACE_H
#define LIB_VMM_ENV_TRACE_H

#include <umbra/vcpu.h>

#define TRACE_ENTRIES 64u

struct trace_entry {
    uint64_t seq, kind, rip, info[2], tsc;
    uint64_t
        steps; /* debug builds: enum trace_step, a digit each, the last lowest, of whoever served this exit */
    uint64_t produced; /* the same: entries in the console's ring so far, at step O */
};

/* How far a VMM is with an exit: steps of the models, tests/verify/exit.steps, which has the letters. */
enum trace_step {
    TRACE_RECOVERED = 1, /* R: took over, and rolled an unfinished exit back */
    TRACE_WITHDRAWN,     /* W: what a dead one wrote to the console for it */
    TRACE_BEGUN,         /* B */
    TRACE_HANDLED,       /* H */
    TRACE_OUTPUT,        /* O: the console's entries of it are there */
    TRACE_COMMITTED,     /* C: to be answered */
    TRACE_STEPS
};
#define TRACE_STEP_LETTERS ".RWBHOC"

/* Behind the ring: struct vmm_state begins with this (servers/vmm/core/vmm.h). */
struct trace_state {
    uint64_t magic;
    uint32_t version, bytes;
    uint64_t memory_bytes, input_taken;
    uint64_t cr0, cr3, cr4, efer; /* as the guest believes */
};

struct trace_pages {
    struct trace_entry ring[TRACE_ENTRIES];
    struct trace_state state;
};
BUILD_ASSERT(sizeof(struct trace_entry[TRACE_ENTRIES]) == PAGE_BYTES);

#if UMBRA_DEBUG
/* The entry is of this exit from now on; steps of an exit that is served again stay. */
static inline void trace_step(struct trace_entry *ring, const struct umbra_exit_page *x, enum trace_step step)
{
    struct trace_entry *e = &ring[x->seq % TRACE_ENTRIES];

    if (e->seq != x->seq)
        *e = (struct trace_entry){ .seq = x->seq, .kind = x->kind, .rip = x->rip, .tsc = x->tsc };
    e->steps = e->steps << 4 | step;
}

static inline void trace_output(struct trace_entry *ring, const struct umbra_exit_page *x, uint64_t produced)
{
    trace_step(ring, x, TRACE_OUTPUT);
    ring[x->seq % TRACE_ENTRIES].produced = produced;
}
#else
static inline void trace_step(struct trace_entry *ring, const struct umbra_exit_page *x, enum trace_step step)
{
    (void)ring, (void)x, (void)step;
}
static inline void trace_output(struct trace_entry *ring, const struct umbra_exit_page *x, uint64_t produced)
{
    (void)ring, (void)x, (void)produced;
}
#endif

/* seq and tsc are the exit's: whoever calls needs them, too. */
static inline void trace_exit(struct trace_entry *ring, const struct umbra_exit_page *x, uint64_t seq,
                              uint64_t tsc)
{
    struct trace_entry *e = &ring[seq % TRACE_ENTRIES];

    trace_step(ring, x, TRACE_BEGUN);
    e->seq = seq;
    e->kind = x->kind;
    e->rip = x->rip;
    e->info[0] = x->info[0];
    e->info[1] = x->info[1];
    e->tsc = tsc;
}

#endif
