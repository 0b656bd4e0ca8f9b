/* SPDX-License-Identifier: BSD-2-Clause */
/* See inject.h. */
#include "servers/vmm/inject.h"

_Noreturn void inject_crash(void)
{
    __asm__ volatile("movq $0, 8");
    __builtin_unreachable();
}

static unsigned digits(uint32_t n)
{
    unsigned d = 0;

    for (; n; n >>= 4)
        d++;
    return d;
}

static enum inject_way way_of(const struct vmm_config *c, uint32_t incarnation)
{
    unsigned ways = digits(c->inject);

    if (c->inject_count && incarnation >= c->inject_count)
        return INJECT_NONE;
    return ways ? (enum inject_way)(c->inject >> incarnation % ways * 4 & 15) : INJECT_NONE;
}

static uint64_t exit_of(const struct vmm_config *c, uint32_t incarnation)
{
    return c->inject_at + (uint64_t)incarnation * c->inject_every;
}

uint64_t inject_until(const struct vmm_config *c, uint32_t incarnation)
{
    return !UMBRA_DEBUG && way_of(c, incarnation) == INJECT_DELIVERY ? exit_of(c, incarnation) : 0;
}

#if UMBRA_DEBUG
#include "libc/libc.h"
#include "supervisor.h"
#include "sys/sys.h"
#include <stdlib.h>
#include <string.h>

static struct {
    enum inject_way way;
    uint64_t at;     /* exit number */
    uint64_t stores; /* of INJECT_STORE: so many are still made */
    bool due;        /* this exit is the one */
    bool answered;   /* an exit; who takes over does not hang over the one that its predecessor did */
    const struct vmm_config *stop; /* stop_* */
    uint32_t stops;                /* places in which it may be stopped at a tick */
} plan;

#define CALL_TICKS 40000 /* chosen: more than the call to init takes */
#define LEAD_TICKS 100   /* chosen: more than lies between the timer's tick and its interrupt */

static void counting_note(struct dev_undo *dev, void *field, size_t bytes)
{
    if (plan.due && plan.stores-- == 0)
        inject_crash();
    undo_note(dev, field, bytes);
}

void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation, uint64_t tsc_hz)
{
    uint64_t us = tsc_hz / 1000000;

    plan.way = way_of(c, incarnation);
    plan.at = exit_of(c, incarnation);
    plan.stores = c->inject_stores && c->inject ? 1 + incarnation / digits(c->inject) % c->inject_stores : 1;
    if (plan.way == INJECT_STORE)
        v->undo.dev.note = counting_note;
    plan.stop = c;
    plan.stops = c->stop_exits;
    if (c->stop_period_us && incarnation == 0 &&
        supervisor_stop_every(CAP_SUPERVISOR, c->stop_from_us * us, c->stop_period_us * us, c->stop_count,
                              c->stop_hang) != ERR_OK)
        abort();
}

static enum inject_at place_of(const struct umbra_exit_page *x)
{
    enum { P = 1, W = 2, U = 4 }; /* of a #PF's error code: APM vol. 2, 8.4.2 */
    uint64_t error = x->info[1] & (P | W | U);

    switch (x->kind) {
    case EXIT_CPUID:
        return AT_CPUID;
    case EXIT_IO:
        return AT_IO;
    case EXIT_MSR:
        return AT_MSR;
    case EXIT_PAGE:
        return !(error & P) ? AT_ABSENT : error == (P | W) ? AT_TABLE : error & W ? AT_USER_WRITE : AT_OTHER;
    case EXIT_CR:
        return x->info[0] == 0x13 ? AT_CR3 : AT_CR; /* MOV to CR3: APM vol. 2, appendix C */
    case EXIT_DR:
        return AT_DR;
    case EXIT_INVLPG:
        return AT_INVLPG;
    case EXIT_HLT:
        return AT_HLT;
    case EXIT_EVENT:
        return AT_EVENT;
    case EXIT_WINDOW:
        return AT_WINDOW;
    case EXIT_EXCEPTION:
        return AT_EXCEPTION;
    default:
        return AT_OTHER;
    }
}

/* Exits that a guest has few of, most of them before anybody waits to take over. */
static bool is_rare(enum inject_at place)
{
    return place == AT_CPUID || place == AT_MSR || place == AT_DR || place == AT_HLT || place == AT_EXCEPTION;
}

/* Refused as long as nobody waits to take over: then it is a later exit, or, of the rare ones, waited for. */
static void stop_within(const struct vmm *v)
{
    const struct vmm_config *c = plan.stop;
    enum inject_at place = place_of(v->exit);

    uint64_t from;
    err_t e;

    if (!plan.answered || v->exit->seq < plan.at || !(plan.stops >> place & 1))
        return;
    for (;;) {
        from = libc_tsc() + CALL_TICKS;
        e = supervisor_stop_at(CAP_SUPERVISOR, from, place, c->stop_offset, c->stop_step, c->stop_count);
        if (e != ERR_WRONG_STATE || !is_rare(place))
            break;
        sys_yield();
    }
    if (e == ERR_RANGE)
        plan.stops &= ~(1u << place);
    if (e != ERR_OK)
        return;
    plan.stops = 0;
    while (libc_tsc() < from + LEAD_TICKS)
        ;
}

static void exhaust(void)
{
    for (size_t n = 1 << 20; n > 16; n /= 2)
        while (malloc(n))
            ;
    abort();
}

static _Noreturn void spin(void)
{
    for (;;)
        __asm__ volatile(""); /* no PAUSE: counting instructions, the emulator waits in one */
}

/* Over the soft state, as a wild pointer would. */
static void scribble(struct vmm *v)
{
    memset(v->shadow, 0xa5, 4096);
    memset(&v->map, 0x5a, sizeof(v->map));
}

void inject_begin(struct vmm *v)
{
    struct sys_message m = { .tag = TAG(0x7777, 4), .w = { 1, 2, 3, 4 } };

    if (plan.answered && v->exit->kind == EXIT_EVENT && v->exit->events & DESC_EVENT_HANG)
        spin();
    if (plan.stops)
        stop_within(v);
    plan.due = plan.way != INJECT_NONE && v->exit->seq >= plan.at;
    if (!plan.due)
        return;
    switch (plan.way) {
    case INJECT_DELIVERY:
        inject_crash();
    case INJECT_LOOP:
        spin();
    case INJECT_HEAP:
        exhaust();
        break;
    case INJECT_WILD:
        scribble(v);
        break;
    case INJECT_STATE:
        v->state->machine.served ^= 1;
        inject_crash();
    case INJECT_MESSAGE:
        if (sys_call(CAP_SUPERVISOR, &m) != ERR_OK || TAG_LABEL(m.tag) != 0)
            abort();
        break;
    case INJECT_CAPABILITY:
        if (sys_invoke1(CAP_VCPU, VCPU_SYNC, ~0ull) != ERR_OK)
            abort();
        break;
    case INJECT_EXIT:
        exit(3);
    default:
        break;
    }
}

void inject_end(struct vmm *v)
{
    (void)v;
    plan.answered = true;
    if (plan.due && (plan.way == INJECT_REPLY || plan.way == INJECT_STORE))
        inject_crash();
}
#endif
