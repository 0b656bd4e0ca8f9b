/* SPDX-License-Identifier: BSD-2-Clause */
/* See stop.h. */
#include "stop.h"

#if UMBRA_DEBUG
#include "libc/libc.h"
#include "supervisor.h"
#include "sys/sys.h"
#include <stdlib.h>

#define CALL_TICKS 40000 /* chosen: more than the call to init takes */
#define LEAD_TICKS 100   /* chosen: more than lies between the timer's tick and its interrupt */

static struct {
    const struct vmm_config *config;
    uint64_t at;    /* exit number */
    uint32_t stops; /* places in which it may be stopped at a tick */
} plan;

void stop_open(const struct vmm_config *c, uint32_t incarnation, uint64_t at)
{
    uint64_t us = vmm_info()->tsc_hz / 1000000;

    plan.config = c;
    plan.at = at;
    plan.stops = c->stop_exits;
    if (c->stop_period_us && incarnation == 0 &&
        supervisor_stop_every(CAP_SUPERVISOR, c->stop_from_us * us, c->stop_period_us * us, c->stop_count,
                              c->stop_hang) != ERR_OK)
        abort();
}

static enum stop_place place_of(const struct umbra_exit_page *x)
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
static bool is_rare(enum stop_place place)
{
    return place == AT_CPUID || place == AT_MSR || place == AT_DR || place == AT_HLT || place == AT_EXCEPTION;
}

/* Refused as long as nobody waits to take over: then it is a later exit, or, of the rare ones, waited for. */
void stop_within(const struct vmm *v)
{
    const struct vmm_config *c = plan.config;
    enum stop_place place = place_of(v->exit);
    uint64_t from;
    err_t e;

    if (!plan.stops || v->exit->seq < plan.at || !(plan.stops >> place & 1))
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
#endif
