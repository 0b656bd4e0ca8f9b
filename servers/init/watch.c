/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMM that hangs: too much processor time spent on one exit; a server: without having done anything. Looked
 * at now and then, so that the exit path bears nothing of it; processor time, not time: who is kept from
 * running by others does not hang. A server that waits for what never comes uses none: it is asked for a sign
 * of life now and then, by its notification, and whoever lives does something then. Of who sets itself up to
 * wait the processor time counts until it does. */
#include "init.h"
#include "libc/libc.h"
#include <umbra/vcpu.h>

#define LOOK_MS   100u   /* chosen */
#define HANG_MS   500u   /* chosen: loading a guest's images takes some 100 in the emulator */
#define AUDIT_MS  10000u /* chosen: of the largest guest, in the emulator */
#define IDLE_MS   1000u  /* chosen: of a server; the longest step of one is the zeroing of 16 MB */
#define PING      10u    /* chosen: looks; who has done nothing for so long is asked for a sign of life */
#define SILENT    31u    /* chosen: looks; three were asked for and none came */
#define PREPARING 300u   /* chosen: looks; a VMM that is to wait waits for nobody till then */
#define NOBODY    (~0ull)

void watch_at(struct init *in, uint64_t tsc)
{
    sys_invoke1(in->watch_timer, TIMER_SET, tsc);
}

static void look_again(struct init *in)
{
    watch_at(in, libc_tsc() + in->boot->tsc_hz / 1000 * LOOK_MS);
}

void watch_exits(struct init *in, struct component *c)
{
    uint64_t address = INIT_EXITS + c->d->head.component * PAGE_BYTES;

    if (sys_invoke2(in->group[c->guest->vcpu].cap, VCPU_VIEW, c->exit_view, 0) != ERR_OK)
        fail(in, ERR_OK, "the exit page of %s", c->name);
    space_view(in, &in->space, c->exit_view, false, address);
    c->exit = (const volatile struct umbra_exit_page *)address;
}

void watch_begin(struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        struct component *c = &in->component[i];
        if (!c->restartable || !c->guest)
            continue;
        c->exit_view = slot_new(in, &in->slots);
        watch_exits(in, c);
    }
    in->signal = objects_new(in, NULL, &in->slots, OBJ_NOTIFICATION, 0, 1);
    in->watch_timer = objects_new(in, NULL, &in->slots, OBJ_TIMER, 0, 1);
    in->later_timer = objects_new(in, NULL, &in->slots, OBJ_TIMER, 0, 1);
    cptr_t watch = derived(in, &in->slots, in->signal, RIGHT_WRITE, SIGNAL_WATCH);
    cptr_t later = derived(in, &in->slots, in->signal, RIGHT_WRITE, SIGNAL_LATER);
    if (sys_invoke1(in->watch_timer, TIMER_BIND, watch) != ERR_OK ||
        sys_invoke1(in->later_timer, TIMER_BIND, later) != ERR_OK ||
        sys_invoke1(SLOT_TCB, TCB_BIND_NOTIFICATION, in->signal) != ERR_OK)
        fail(in, ERR_OK, "watch the guests' components");
    look_again(in);
}

/* The exit that a VMM is busy with; NOBODY: the guest runs or waits, or there is no exit yet. */
static uint64_t busy_with(struct init *in, const struct component *c)
{
    if (c->now->state == PROCESS_STARTED)
        return 0; /* sets itself up */
    if (c->now->state != PROCESS_READY)
        return NOBODY;
    uint64_t answered = restart_answered(in, c), seq = c->exit->seq;
    if (answered == c->began_at) /* the guest does not run before the first answer, received or not */
        return answered + 1;
    return seq > answered ? seq : NOBODY;
}

uint64_t watch_used(struct component *c)
{
    uint64_t used = 0;

    sys_invoke(c->sched, SCHED_CONSUMED, 0, 0, 0, 0, 0, &used);
    c->used += used;
    c->spent += used;
    return c->used;
}

static bool hangs(struct init *in, struct component *c)
{
    uint64_t seq = busy_with(in, c);

    watch_used(c);
    if (seq != c->watched || seq == NOBODY)
        c->spent = 0;
    c->watched = seq;
    bool audits = c->audited.asked && !c->audited.finished;
    return c->spent > in->boot->tsc_hz / 1000 * (audits ? AUDIT_MS : HANG_MS);
}

static bool server_hangs(struct init *in, struct component *c)
{
    uint64_t done = *c->done;

    watch_used(c);
    if (done != c->watched)
        c->spent = c->silent = 0;
    c->watched = done;
    if (c->spent > in->boot->tsc_hz / 1000 * IDLE_MS) {
        c->silent = 0;
        return true;
    }
    if (++c->silent % PING == 0)
        restart_ping(in, c);
    return c->silent == SILENT;
}

/* Who is to wait does not get so far: part of its guest's turn is for it till then. */
static bool never_ready(const struct init *in, struct component *c)
{
    if (c->process[c->now == &c->process[0]].state != PROCESS_STARTED)
        return false;
    share_preparing(c);
    return c->preparing > in->boot->tsc_hz / 1000 * HANG_MS || ++c->looks == PREPARING;
}

struct component *watch_next(struct init *in, struct process **p)
{
    while (in->watch_place < in->desc.header.components) {
        struct component *c = &in->component[in->watch_place];
        if (c->restartable && !c->ended && never_ready(in, c)) {
            *p = &c->process[c->now == &c->process[0]];
            return c;
        }
        in->watch_place++;
        *p = c->now;
        if (!c->restartable || c->ended)
            continue;
        if (c->guest ? hangs(in, c) : c->done && server_hangs(in, c))
            return c;
    }
    in->watch_place = 0;
    look_again(in);
    return NULL;
}
