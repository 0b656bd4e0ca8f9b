/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of the console's segment that init reads: a count that grows, and the last lines that went to the
 * port.
 *
 * Debug builds note the steps of a line with plain stores. As with the exits of a VMM (lib/vmm_env/trace.h)
 * nothing depends on it, and its reader believes nothing of it. */
#ifndef LIB_CONSOLE_ENV_TRACE_H
#define LIB_CONSOLE_ENV_TRACE_H

#include <umbra/types.h>

#define CONSOLE_STATE_MAGIC 0x3230305453434255ul /* "UBCST002" */
#define LINE_TRACES         16u

/* How far a console is with an entry of a guest's ring: steps of a model, tests/verify/console.steps, which
 * has the letters. */
enum line_step {
    LINE_TAKEN = 1, /* T: read from the ring, and its exit was answered before */
    LINE_COMMITTED, /* L */
    LINE_SETTLED,   /* S: the ring knows that it is taken */
    LINE_COUNTED,   /* G: its dead console had given a byte to the port and not counted it */
    LINE_FOUND,     /* R: a new console goes on with it */
    LINE_SHOWN,     /* U: nothing is left of it */
    LINE_STEPS
};
#define LINE_STEP_LETTERS ".TLSGRU"

struct line_trace {
    uint64_t position, seq, answered; /* in the guest's ring; its exit; the guest's last answered one then */
    uint64_t steps;                   /* a digit each, the last lowest */
    uint32_t guest, length;
};

struct console_trace {
    uint64_t lines; /* begun so far; line n is at n % LINE_TRACES */
    struct line_trace line[LINE_TRACES];
};

/* struct console_state begins with this (servers/console/flow.h). */
struct console_head {
    uint64_t done; /* bytes carried, and waits: init looks whether it grows */
    uint64_t magic;
    struct console_trace trace;
};

#if UMBRA_DEBUG
static inline void line_begin(struct console_trace *t, struct line_trace line)
{
    line.steps = LINE_TAKEN;
    t->line[t->lines % LINE_TRACES] = line;
    t->lines++;
}

static inline void line_step(struct console_trace *t, enum line_step step)
{
    struct line_trace *l = &t->line[(t->lines - 1) % LINE_TRACES];

    l->steps = l->steps << 4 | step;
}

/* Nothing is left; of what was only taken, or said before, there is nothing to say. */
static inline void line_empty(struct console_trace *t)
{
    uint64_t last = t->line[(t->lines - 1) % LINE_TRACES].steps & 15;

    if (last != LINE_TAKEN && last != LINE_SHOWN)
        line_step(t, LINE_SHOWN);
}
#else
static inline void line_begin(struct console_trace *t, struct line_trace line)
{
    (void)t, (void)line;
}
static inline void line_step(struct console_trace *t, enum line_step step)
{
    (void)t, (void)step;
}
static inline void line_empty(struct console_trace *t)
{
    (void)t;
}
#endif

#endif
