/* SPDX-License-Identifier: BSD-2-Clause */
/* See flow.h. Rings are read once and checked: a client can spoil its own console only. Output is taken up to
 * the guest's last answered exit (I8). */
#include "servers/console/flow.h"
#include <string.h>

enum { TYPED_NOTHING, TYPED_GIVEN, TYPED_LOST };

/* --- output --- */

/* What follows from a line that was committed. */
static void settle(struct flow *f)
{
    const struct console_line *l = &f->state->line;

    f->state->out.current = (uint8_t)l->guest;
    flow_step();
    __atomic_store_n(&f->guest[l->guest].input->output_taken, l->position + 1, __ATOMIC_RELEASE);
    line_step(&f->state->trace, LINE_SETTLED);
    flow_step();
}

/* Entries up to this exit may be shown. Asked before the ring is looked at: one of a later exit may be
 * withdrawn and made anew by another VMM while it is copied, and be answered then. */
static uint64_t answered(const struct console_guest *g)
{
    return g->public ? __atomic_load_n(&g->public->answered, __ATOMIC_ACQUIRE) : UINT64_MAX;
}

/* Only when nothing is left of the last line. */
static void commit(struct flow *f, uint32_t guest, uint64_t position, const struct console_entry *e)
{
    struct console_line *l = &f->state->line;
    struct framer out = f->state->out;
    uint32_t n = e->length < CONSOLE_ENTRY_DATA ? e->length : CONSOLE_ENTRY_DATA;

    n = frame_out(&out, (uint8_t)guest, e->data, n, l->data);
    l->length = n;
    l->guest = guest;
    l->position = position;
    flow_step();
    l->left = n;
    line_step(&f->state->trace, LINE_COMMITTED);
    flow_step();
    settle(f);
}

static bool take_entry(struct flow *f, uint32_t i)
{
    const struct console_guest *g = &f->guest[i];
    struct console_entry e;
    uint64_t upto = answered(g);
    uint64_t produced = __atomic_load_n(&g->output->produced, __ATOMIC_ACQUIRE);
    uint64_t taken = g->input->output_taken, waiting = produced - taken;

    line_empty(&f->state->trace);
    if (g->output->magic != CONSOLE_MAGIC || waiting == 0)
        return false;
    if (waiting > CONSOLE_OUTPUT_ENTRIES) { /* the client broke its ring: begin anew */
        g->input->output_taken = produced;
        f->wake |= 1ul << i; /* or one that this console had, and broke: then the client waits for room */
        return false;
    }
    const struct console_entry *from = &g->output->entry[taken % CONSOLE_OUTPUT_ENTRIES];
    uint64_t seq = __atomic_load_n(&from->seq, __ATOMIC_ACQUIRE); /* first: init may make it 0 meanwhile */
    memcpy(&e, from, sizeof(e));
    flow_step();
    if (seq > upto)
        return false;
    line_begin(&f->state->trace,
               (struct line_trace){
                   .position = taken, .seq = seq, .answered = upto, .guest = i, .length = e.length });
    commit(f, i, taken, &e);
    waiting =
        __atomic_load_n(&g->output->produced, __ATOMIC_ACQUIRE) - taken; /* it may have filled meanwhile */
    if (waiting >= CONSOLE_OUTPUT_RUNNING) /* it was full: the client may wait for room */
        f->wake |= 1ul << i;
    return true;
}

bool flow_next(struct flow *f)
{
    struct console_state *s = f->state;

    for (uint32_t idle = 0; s->line.left == 0;) {
        if (idle++ == CONSOLE_GUESTS)
            return false;
        uint32_t i = s->turn++ % CONSOLE_GUESTS;
        if (f->guest[i].there && take_entry(f, i))
            idle = 0;
    }
    return true;
}

uint32_t flow_to_wake(struct flow *f)
{
    for (uint32_t i = 0; i < CONSOLE_GUESTS && f->wake; i++)
        if (f->wake & 1ul << i) {
            f->wake &= ~(1ul << i);
            return i;
        }
    return CONSOLE_GUESTS;
}

/* --- input --- */

static void decide(struct flow *f, uint8_t from)
{
    struct console_typed *t = &f->state->typed;
    struct input_trace seen = { .guest = INPUT_NOBODY };

    t->after = f->state->in;
    t->what = TYPED_NOTHING;
    if (frame_in(&t->after, from, &t->byte) && t->after.current < CONSOLE_GUESTS &&
        f->guest[t->after.current].there) {
        const struct console_guest *g = &f->guest[t->after.current];
        uint64_t taken = __atomic_load_n(&g->output->input_taken, __ATOMIC_ACQUIRE);
        bool full = g->input->produced - taken >= CONSOLE_INPUT_BYTES;
        t->guest = t->after.current;
        t->what = full ? TYPED_LOST : TYPED_GIVEN;
        t->count = 1 + (full ? g->input->lost : g->input->produced);
        seen = (struct input_trace){ .position = g->input->produced,
                                     .count = t->count,
                                     .released = taken,
                                     .answered = UMBRA_DEBUG ? answered(g) : 0,
                                     .guest = t->guest };
    }
    flow_step();
    t->decided = true;
    input_decided(&f->state->trace, seen);
    flow_step();
}

static void perform(struct flow *f)
{
    struct console_state *s = f->state;
    const struct console_typed *t = &s->typed;
    struct console_input *ring = f->guest[t->guest].input;

    if (t->what == TYPED_GIVEN) {
        ring->data[(t->count - 1) % CONSOLE_INPUT_BYTES] = t->byte;
        flow_step();
        __atomic_store_n(&ring->produced, t->count, __ATOMIC_RELEASE);
        input_step(&s->trace, INPUT_GIVEN);
        f->wake |= 1ul << t->guest;
    } else if (t->what == TYPED_LOST) {
        ring->lost = t->count;
        input_step(&s->trace, INPUT_LOST);
    }
    flow_step();
    s->in = t->after;
    flow_step();
    /* in this order: a decision without a byte is harmless, a byte without one is decided again */
    s->received = NOTHING_RECEIVED;
    input_step(&s->trace, INPUT_EMPTIED);
    flow_step();
    s->typed.decided = false;
    input_step(&s->trace, INPUT_DONE);
}

void flow_typed(struct flow *f)
{
    input_begin(&f->state->trace, INPUT_RECEIVED, (uint8_t)f->state->received);
    if (!f->state->typed.decided)
        decide(f, (uint8_t)f->state->received);
    perform(f);
}

/* --- a console before this one --- */

static bool sensible(const struct flow *f)
{
    const struct console_state *s = f->state;
    const struct console_line *l = &s->line;

    if (s->magic != CONSOLE_STATE_MAGIC || s->bytes != sizeof(*s))
        return false;
    if (l->length > sizeof(l->data) || l->left > l->length ||
        (l->left && (l->guest >= CONSOLE_GUESTS || !f->guest[l->guest].there)))
        return false;
    if (s->received != NOTHING_RECEIVED && s->received > 0xff)
        return false;
    return !s->typed.decided || s->typed.what == TYPED_NOTHING ||
           (s->typed.guest < CONSOLE_GUESTS && f->guest[s->typed.guest].there);
}

static void begin(struct flow *f, bool framed)
{
    struct console_state *s = f->state;

    s->magic = 0;
    flow_step();
    s->bytes = sizeof(*s);
    s->received = NOTHING_RECEIVED;
    s->port_set = s->turn = 0;
    s->out = (struct framer){ .framed = framed };
    s->in = (struct deframer){ .framed = framed };
    s->line.length = s->line.left = 0;
    s->trace.lines = s->trace.inputs = 0;
    s->typed.decided = false;
    flow_step();
    s->magic = CONSOLE_STATE_MAGIC;
}

bool flow_open(struct flow *f, bool framed, const struct flow_left *left)
{
    struct console_state *s = f->state;

    if (s->magic == CONSOLE_STATE_MAGIC && left->putting) {
        s->line.left--;
        line_step(&s->trace, LINE_COUNTED);
    }
    if (s->magic == CONSOLE_STATE_MAGIC && left->getting) {
        s->received = left->byte;
        input_begin(&s->trace, INPUT_KEPT, left->byte);
    }
    flow_step();
    bool whole = sensible(f);
    for (uint32_t i = 0; (whole || left->before) && i < CONSOLE_GUESTS; i++)
        f->wake |= (uint64_t)f->guest[i].there << i; /* whom the one before has not told yet */
    if (!whole) {
        begin(f, framed);
        return false;
    }
    if (s->line.left) {
        line_step(&s->trace, LINE_FOUND);
        settle(f);
    }
    if (s->typed.decided || s->received != NOTHING_RECEIVED) {
        input_found(&s->trace, s->typed.decided, (uint8_t)s->received);
        flow_typed(f);
    }
    return true;
}
