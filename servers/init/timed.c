/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths on purpose, for tests, in debug builds. A VMM is stopped at a tick: once, a given time into an exit
 * (supervisor.stop_at), or over and over, with a hang now and then (supervisor.stop_every). The timer's
 * interrupt comes at that tick; the kernel says at which it was taken. Nothing here is on the way of a VMM
 * that asks for nothing. */
#include "init.h"
#include "libc/libc.h"
#include "servers/init/report.h"
#include "supervisor_server.h"
#include <stdio.h>
#include <umbra/vcpu.h>

static struct component *sender(struct init *in, uint64_t badge)
{
    return &in->component[DESC_BADGE_CLIENT(badge)];
}

static void make_timer(struct init *in)
{
    in->stop_timer = objects_new(in, NULL, &in->slots, OBJ_TIMER, 0, 1);
    cptr_t signal = derived(in, &in->slots, in->signal, RIGHT_WRITE, SIGNAL_STOP);
    if (sys_invoke1(in->stop_timer, TIMER_BIND, signal) != ERR_OK)
        fail(in, ERR_OK, "bind the timer of deaths");
}

/* The timer fires at the first of all ticks. */
static void set_timer(struct init *in)
{
    uint64_t when = UINT64_MAX;

    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (in->component[i].stop.at && in->component[i].stop.at < when)
            when = in->component[i].stop.at;
    if (when == UINT64_MAX)
        return;
    if (!in->stop_timer)
        make_timer(in);
    sys_invoke1(in->stop_timer, TIMER_SET, when);
}

/* So far it may be asked for. */
static err_t refuses(const struct init *in, const struct component *c)
{
    if (!in->boot->debug)
        return ERR_NO_SUPPORT;
    return c->restartable && c->guest ? ERR_OK : ERR_WRONG_STATE;
}

err_t supervisor_stop_at_impl(void *self, uint64_t badge, uint64_t from, uint8_t place, uint32_t first,
                              uint32_t step, uint32_t count)
{
    struct init *in = self;
    struct component *c = sender(in, badge);
    const struct process *next = &c->process[c->now == &c->process[0]];
    err_t e = refuses(in, c);

    if (e != ERR_OK)
        return e;
    if (c->stop.of[place] >= count)
        return ERR_RANGE;
    if (next->state != PROCESS_WAITING || libc_tsc() >= from ||
        c->now != &c->process[badge & INIT_BADGE_OTHER ? 1 : 0])
        return ERR_WRONG_STATE;
    c->stop.from = from;
    c->stop.at = from + first + c->stop.of[place]++ * step;
    c->stop.place = place;
    set_timer(in);
    return ERR_OK;
}

err_t supervisor_stop_every_impl(void *self, uint64_t badge, uint64_t from, uint64_t period, uint32_t count,
                                 uint32_t hang_every)
{
    struct init *in = self;
    struct component *c = sender(in, badge);
    err_t e = refuses(in, c);

    if (e != ERR_OK)
        return e;
    c->stop =
        (struct stop){ .from = from, .at = from, .period = period, .left = count, .hang_every = hang_every };
    set_timer(in);
    return ERR_OK;
}

err_t supervisor_forgive_impl(void *self, uint64_t badge)
{
    struct component *c = sender(self, badge);
    err_t e = refuses(self, c);

    if (e == ERR_OK)
        c->deaths = 0;
    return e;
}

/* The next tick of one that is stopped over and over; those that have passed are left out. */
static void next_tick(struct stop *s, uint64_t now)
{
    s->from += ((now - s->from) / s->period + 1) * s->period;
    s->at = s->left ? s->from : 0;
}

/* The VMM's thread stands still: where. */
static void describe(struct init *in, const struct component *c, const struct stop *s, char *text,
                     size_t room)
{
    static const char *const kinds[] = EXIT_KIND_NAMES;
    struct sys_message m = { .tag = TAG(KERNEL_STRETCHES, 1) };
    struct report_regs r = { 0 };
    uint64_t answered = restart_answered(in, c), seq = c->exit->seq;

    if (sys_call(SLOT_KERNEL, &m) != ERR_OK || !report_regs(c->now, &r))
        return;
    snprintf(text, room, "%ld ticks (wanted %lu) after %lu, exit %lu (%s, place %u), %s, rip %#lx",
             (long)(m.w[2] - s->from), s->at - s->from, s->from, seq,
             kinds[c->exit->kind < EXIT_KINDS ? c->exit->kind : 0], s->place,
             seq == answered ? "answered" : "pending", r.rip);
}

/* A VMM that has not answered yet would not be one whose guest goes on; one that hangs is found by watch.c.
 */
static bool has_served(struct init *in, const struct component *c)
{
    return c->restarts >= c->stop.restarts && c->now->state == PROCESS_READY && !c->paused &&
           restart_answered(in, c) > c->stopped_exit;
}

static bool stops(struct init *in, struct component *c, uint64_t now, char *text, size_t room)
{
    struct stop *s = &c->stop, was = *s;

    if (c->ended) {
        s->at = 0;
        return false;
    }
    bool counts = s->period ? has_served(in, c) : !c->paused;
    if (s->period && counts) {
        s->left--;
        s->made++;
    }
    if (s->period)
        next_tick(s, now);
    else
        s->at = 0;
    if (!counts)
        return false;
    if (was.hang_every && s->made % was.hang_every == 0) {
        printf("init: %s: its VMM is to hang\n", c->name);
        s->restarts = c->restarts + 1;
        restart_hang(in, c);
        return false;
    }
    sys_invoke0(c->now->tcb, TCB_SUSPEND);
    describe(in, c, &was, text, room);
    return true;
}

struct component *timed_next(struct init *in, char *text, size_t room)
{
    uint64_t now = libc_tsc();

    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        struct component *c = &in->component[i];
        if (c->stop.at && c->stop.at <= now && stops(in, c, now, text, room))
            return c;
    }
    set_timer(in);
    return NULL;
}
