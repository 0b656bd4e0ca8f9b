/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of the console's segment that init reads: a count that grows, the last lines that went to the
 * port, and the last bytes that came from it.
 *
 * Debug builds note the steps of a line and of a byte with plain stores. As with the exits of a VMM
 * (lib/vmm_env/trace.h) nothing depends on it, and its reader believes nothing of it. */
#ifndef LIB_CONSOLE_ENV_TRACE_H
#define LIB_CONSOLE_ENV_TRACE_H

#include <stdbool.h>
#include <umbra/types.h>

#define CONSOLE_STATE_MAGIC 0x3330305453434255ul /* "UBCST003" */
#define LINE_TRACES         16u
#define INPUT_TRACES        16u

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

/* How far it is with a byte that was typed: steps of a model, tests/verify/input.steps, which has the
 * letters. */
enum input_step {
    INPUT_RECEIVED = 1, /* V */
    INPUT_KEPT,         /* K: it was in the register of a dead console */
    INPUT_FOUND,        /* F: a new console goes on with it; nothing is decided */
    INPUT_DECIDED,      /* D */
    INPUT_RESUMED,      /* R: a new console goes on with it, as was decided */
    INPUT_GIVEN,        /* G: the ring has it */
    INPUT_LOST,         /* L: it is counted */
    INPUT_EMPTIED,      /* E: none waits any more */
    INPUT_DONE,         /* N: the next one may come */
    INPUT_STEPS
};
#define INPUT_STEP_LETTERS ".VKFDRGLEN"
#define INPUT_NOBODY       (~0u) /* a mark of the line, or to a guest that is not there */

/* All but byte and steps is of the decision. */
struct input_trace {
    uint64_t position, count;    /* bytes that the guest's ring was given before; given, or lost, with it */
    uint64_t released, answered; /* of them taken by the guest, and its last answered exit then */
    uint64_t steps;              /* as above */
    uint32_t guest, byte;        /* byte: as it came from the line */
};

struct console_trace {
    uint64_t lines; /* begun so far; line n is at n % LINE_TRACES */
    struct line_trace line[LINE_TRACES];
    uint64_t inputs; /* the same of bytes that were typed */
    struct input_trace input[INPUT_TRACES];
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

static inline void input_step(struct console_trace *t, enum input_step step)
{
    struct input_trace *i = &t->input[(t->inputs - 1) % INPUT_TRACES];

    i->steps = i->steps << 4 | step;
}

static inline bool input_under_way(const struct console_trace *t)
{
    uint64_t last = t->input[(t->inputs - 1) % INPUT_TRACES].steps & 15;

    return t->inputs && last != INPUT_EMPTIED && last != INPUT_DONE;
}

/* A byte begins, unless one is under way. */
static inline void input_begin(struct console_trace *t, enum input_step step, uint8_t byte)
{
    if (input_under_way(t))
        return;
    t->input[t->inputs % INPUT_TRACES] =
        (struct input_trace){ .steps = step, .guest = INPUT_NOBODY, .byte = byte };
    t->inputs++;
}

/* A new console goes on: with the last one, or with one that it is the first to see. */
static inline void input_found(struct console_trace *t, bool decided, uint8_t byte)
{
    if (decided || input_under_way(t))
        input_step(t, decided ? INPUT_RESUMED : INPUT_FOUND);
    else
        input_begin(t, INPUT_FOUND, byte);
}

static inline void input_decided(struct console_trace *t, struct input_trace how)
{
    struct input_trace *i = &t->input[(t->inputs - 1) % INPUT_TRACES];

    how.steps = i->steps << 4 | INPUT_DECIDED;
    how.byte = i->byte;
    *i = how;
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
static inline void input_step(struct console_trace *t, enum input_step step)
{
    (void)t, (void)step;
}
static inline void input_begin(struct console_trace *t, enum input_step step, uint8_t byte)
{
    (void)t, (void)step, (void)byte;
}
static inline void input_found(struct console_trace *t, bool decided, uint8_t byte)
{
    (void)t, (void)decided, (void)byte;
}
static inline void input_decided(struct console_trace *t, struct input_trace how)
{
    (void)t, (void)how;
}
#endif

#endif
