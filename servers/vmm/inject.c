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
#include "sys/sys.h"
#include <stdlib.h>
#include <string.h>

static struct {
    enum inject_way way;
    uint64_t at;     /* exit number */
    uint64_t stores; /* of INJECT_STORE: so many are still made */
    bool due;        /* this exit is the one */
    bool answered;   /* an exit; who takes over does not hang over the one that its predecessor did */
} plan;

static void counting_note(struct dev_undo *dev, void *field, size_t bytes)
{
    if (plan.due && plan.stores-- == 0)
        inject_crash();
    undo_note(dev, field, bytes);
}

void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation)
{
    plan.way = way_of(c, incarnation);
    plan.at = exit_of(c, incarnation);
    plan.stores = c->inject_stores && c->inject ? 1 + incarnation / digits(c->inject) % c->inject_stores : 1;
    if (plan.way == INJECT_STORE)
        v->undo.dev.note = counting_note;
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
